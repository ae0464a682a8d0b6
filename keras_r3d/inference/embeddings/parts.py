"""Embeddings of the videos that are finished, in parts, kept until all are: a kill loses little."""

import contextlib
import itertools
import json
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.inference.embeddings.feature_file import Batch
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError

SECONDS = 10.0  # after which what is finished becomes a part


class Entry(NamedTuple):
    """Where the rows of a finished video are, and what there is to say of it."""

    part: int
    first: int
    rows: int
    status: str
    detail: str


class Parts:
    """The embeddings of finished videos, in files `NUMBER.npz` of a folder; without one, in memory.

    Attributes:
        entries: by name of the video.
        gone: names of videos that an earlier call finished, and that are no longer in the list.

    Raises:
        ArgumentError: what an earlier call left in the folder is damaged.
    """

    def __init__(self, videos: Sequence[Video], folder: Path | None = None):
        self._videos, self._folder = videos, folder
        self._parts: dict[int, Path | Batch] = {}
        self._new: dict[str, tuple[Batch, str, str]] = {}  # in no part yet
        self._written = time.monotonic()
        self.entries: dict[str, Entry] = {}
        for path in folder.glob("[0-9]*.npz") if folder else ():
            with self._opened(path) as arrays:
                self._add(int(path.stem), path, json.loads(str(arrays["videos"])))
        self.gone = sorted(self.entries.keys() - {video.name for video in videos})
        for name in self.gone:
            del self.entries[name]

    def add(self, name: str, rows: Batch, status: str, detail: str) -> None:
        """Keeps the rows of a video; they are on the disk some seconds later, or at `flush`."""
        self._new[name] = rows, status, detail
        if time.monotonic() - self._written >= SECONDS:
            self.flush()

    def flush(self) -> None:
        """Makes a part of what is in none; WriteError says that the disk is full, …"""
        new, self._new = self._new, {}
        if new:
            number = max(self._parts, default=-1) + 1
            batches = [rows for rows, _, _ in new.values()]
            part = {name: np.concatenate([rows[name] for rows in batches]) for name in batches[0]}
            videos = [(name, len(rows["window"]), *said) for name, (rows, *said) in new.items()]
            path = self._folder and self._folder / f"{number:06}.npz"
            if path:
                with files.atomic(path) as temporary:
                    np.savez(temporary, videos=np.array(json.dumps(videos)), **part)
            self._add(number, path or part, videos)
        self._written = time.monotonic()

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """Yields columns of the rows of some videos at a time, in the order of the list."""
        finished = [(v, self.entries[v.name]) for v in self._videos if v.name in self.entries]
        for number, group in itertools.groupby(finished, lambda pair: pair[1].part):
            videos, entries = zip(*group, strict=True)
            rows = np.concatenate([np.arange(e.first, e.first + e.rows) for e in entries])
            texts = {
                "video": [video.name for video in videos],
                "path": [video.path for video in videos],
                "status": [entry.status for entry in entries],
                "label": [video.label for video in videos],
            }
            with self._opened(self._parts[number]) as part:
                counts = [entry.rows for entry in entries]
                batch = {
                    name: np.repeat(texts[name], counts) if name in texts else part[name][rows]
                    for name in columns
                }
            yield batch

    def details(self, status: str) -> dict[str, str]:
        """Returns what there is to say of the videos of a status, by name."""
        entries = [(v.name, self.entries[v.name]) for v in self._videos if v.name in self.entries]
        return {name: e.detail for name, e in entries if e.status == status and e.detail}

    def _add(self, number: int, part: Path | Batch, videos: Iterable[Sequence]) -> None:
        first, self._parts[number] = 0, part
        for name, rows, status, detail in videos:
            self.entries[name] = Entry(number, first, rows, status, detail)
            first += rows

    @contextlib.contextmanager
    def _opened(self, part: Path | Batch) -> Iterator[Mapping[str, np.ndarray]]:
        try:
            with (
                np.load(part) if isinstance(part, Path) else contextlib.nullcontext(part) as arrays
            ):
                yield arrays
        except (OSError, ValueError, TypeError, LookupError, EOFError, zipfile.BadZipFile) as error:
            raise ArgumentError(
                f"{part} is damaged ({error}): remove {self._folder} to start over."
            ) from error
