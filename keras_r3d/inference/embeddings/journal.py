"""Embeddings of the videos that are finished, kept until all are: a kill loses little.

In a folder these are two files that only grow: the rows of embeddings, and a line of JSON for each
video, written after its rows. What is behind the last whole line does not count.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.inference.embeddings.feature_file import Batch, row_dtype
from keras_r3d.system.errors import ArgumentError

_SECONDS = 10.0  # after which what is finished is written
_VIDEOS = 64  # of a batch


class Entry(NamedTuple):
    """A finished video: its first row and how many it has, and what there is to say of it."""

    first: int
    rows: int
    status: str
    detail: str


class Journal:
    """The embeddings of finished videos, in a folder; without one, in memory.

    Attributes:
        entries: by name of the video.
        gone: names of videos that an earlier call finished, and that are no longer in the list.

    Raises:
        ArgumentError: what an earlier call left in the folder is damaged.
    """

    def __init__(self, videos: Sequence[Video], dimension: int, folder: Path | None = None):
        self._videos, self._dtype = videos, row_dtype(dimension)
        self._paths = [folder / "rows.bin", folder / "videos.jsonl"] if folder else []
        self._rows, self._lines = list[np.ndarray](), list[str]()  # not on the disk yet
        self._count, self._written = 0, time.monotonic()
        self.entries: dict[str, Entry] = {}
        try:
            self._resume()
        except (OSError, ValueError, TypeError) as error:
            raise ArgumentError(
                f"{folder} holds a damaged part ({error}): remove the folder to start over."
            ) from error
        self.gone = sorted(self.entries.keys() - {video.name for video in videos})
        for name in self.gone:
            del self.entries[name]

    def add(self, name: str, rows: np.ndarray, status: str, detail: str) -> None:
        """Keeps the rows of a video; they are on the disk some seconds later, or at `flush`."""
        entry = self.entries[name] = Entry(self._count, len(rows), status, detail)
        self._count += len(rows)
        self._rows.append(rows)
        self._lines.append(json.dumps([name, *entry]) + "\n")
        if time.monotonic() - self._written >= _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes what is not on the disk yet; an OSError says that the disk is full, …"""
        if not self._paths:
            return
        contents = [b"".join(map(np.ndarray.tobytes, self._rows)), "".join(self._lines).encode()]
        self._rows, self._lines = [], []  # also if it fails: the next may not stand behind a half
        for path, content in zip(self._paths, contents, strict=True):
            with path.open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        self._written = time.monotonic()

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """Yields columns of the rows of some videos at a time, in the order of the list."""
        if self._paths:
            numbers = np.memmap(self._paths[0], self._dtype, "r")
        else:
            numbers = np.concatenate(self._rows)
        finished = [video for video in self._videos if video.name in self.entries]
        for start in range(0, len(finished), _VIDEOS):
            videos = finished[start : start + _VIDEOS]
            entries = [self.entries[video.name] for video in videos]
            counts = [entry.rows for entry in entries]
            rows = np.concatenate([np.arange(e.first, e.first + e.rows) for e in entries])
            texts = {
                "video": [video.name for video in videos],
                "path": [video.path for video in videos],
                "status": [entry.status for entry in entries],
                "label": [video.label for video in videos],
            }
            yield {
                name: np.repeat(texts[name], counts) if name in texts else numbers[name][rows]
                for name in columns
            }

    def details(self, status: str) -> dict[str, str]:
        """Returns what there is to say of the videos of a status, by name."""
        entries = [(v.name, self.entries[v.name]) for v in self._videos if v.name in self.entries]
        return {name: e.detail for name, e in entries if e.status == status and e.detail}

    def _resume(self) -> None:
        """Reads what is there, and cuts off what is behind the last whole line."""
        if not self._paths:
            return
        for path in self._paths:
            path.touch()
        text = self._paths[1].read_bytes()
        lines = text[: text.rfind(b"\n") + 1]
        for name, *entry in map(json.loads, lines.splitlines()):
            self.entries[name] = Entry(*entry)
            self._count = sum(self.entries[name][:2])
        sizes = [self._count * self._dtype.itemsize, len(lines)]
        for path, size in zip(self._paths, sizes, strict=True):
            if path.stat().st_size < size:
                raise ValueError(f"{path.name} is cut short")
            os.truncate(path, size)
