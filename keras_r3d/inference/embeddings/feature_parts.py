"""Embeddings of the videos that are finished, kept in parts until all are: a kill loses little.

A part is a file of embeddings of a few consecutive videos. Which ones follows from their names
alone, so that a video more or less in the list changes one part only.
"""

import hashlib
import json
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.inference.embeddings.feature_file import Batch
from keras_r3d.system.errors import ArgumentError
from keras_r3d.system.work import Work

PLAN = "request.json"
_VIDEOS = 64  # of a part, on average
_SECONDS = 10.0  # after which what is finished is written
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class Parts:
    """The finished videos in a folder.

    Args:
        work: that is open.
        videos: to be embedded, in the order of the output.

    Attributes:
        finished: names of those that are.
        gone: names of videos that an earlier call finished, and that are no longer in the list.

    Raises:
        ArgumentError: a part is damaged.
    """

    def __init__(self, work: Work, videos: Sequence[Video]):
        self._work, self._videos = work, videos
        self._paths: list[Path] = []  # of each video, its part
        for video in videos:
            if not self._paths or zlib.crc32(video.name.encode()) % _VIDEOS == 0:
                digest = hashlib.sha256(video.name.encode()).hexdigest()
                self._paths.append(work.folder / f"{digest[:16]}.npz")
            else:
                self._paths.append(self._paths[-1])
        self._path_of = {v.name: p for v, p in zip(videos, self._paths, strict=True)}
        self._waiting: list[tuple[Batch, dict[str, str]]] = []
        self._waiting_path = Path()
        self._written = time.monotonic()
        self.finished: set[str] = set()
        self.gone: set[str] = set()
        try:
            for path in work.folder.glob("*.npz"):
                with np.load(path) as arrays:
                    names = set(arrays["video"].tolist())
                own = {name for name in names if self._path_of.get(name) == path}
                self.finished |= own
                self.gone |= {name for name in names if name not in self._path_of}
        except _DAMAGED as error:
            raise ArgumentError(
                f"{work.folder} holds a damaged part ({error}): remove the folder to start over."
            ) from error

    def add(self, name: str, batch: Batch, detail: str) -> None:
        """Keeps a video; it is on the disk some seconds later, or after `flush`.

        Args:
            batch: its rows.
            detail: what there is to say of it.
        """
        if self._path_of[name] != self._waiting_path:
            self.flush()
        self._waiting_path = self._path_of[name]
        self._waiting.append((batch, {name: detail} if detail else {}))
        self.finished.add(name)
        if time.monotonic() - self._written >= _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes the videos that are not on the disk yet.

        Raises:
            OSError: the disk is full, …
        """
        if self._waiting:
            path = self._waiting_path
            some = [*([_read(path)] if path.exists() else []), *self._waiting]
            details = {name: detail for _, one in some for name, detail in one.items()}
            columns = {
                name: np.concatenate([batch[name] for batch, _ in some]) for name in some[0][0]
            }
            temporary = self._work.scratch / path.name
            np.savez(temporary, **columns, details=np.array(json.dumps(details)))
            self._work.put(temporary, path)
        self._waiting, self._written = [], time.monotonic()

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """Yields columns of the output, those of a part at a time, in the order of the videos."""
        places = {video.name: place for place, video in enumerate(self._videos)}
        for path in self._existing():
            with np.load(path) as arrays:
                rows = np.array([places.get(name, -1) for name in arrays["video"].tolist()])
                order = np.argsort(rows, kind="stable")
                order = order[rows[order] >= 0]
                batch = {name: arrays[name][order] for name in columns if name != "label"}
            if "label" in columns:
                batch["label"] = np.array([self._videos[n].label for n in rows[order]], np.str_)
            yield batch

    def details(self) -> dict[str, dict[str, str]]:
        """Returns what there is to say of "partial" videos, and of those that are "ok", by name."""
        details: dict[str, dict[str, str]] = {"partial": {}, "ok": {}}
        for path in self._existing():
            with np.load(path) as arrays:
                notes = json.loads(str(arrays["details"]))
                names, statuses = arrays["video"].tolist(), arrays["status"].tolist()
            status = dict(zip(names, statuses, strict=True))
            for name, detail in notes.items():
                if name in self._path_of:
                    details[status[name]][name] = detail
        return {
            kind: {v.name: some[v.name] for v in self._videos if v.name in some}
            for kind, some in details.items()
        }

    def _existing(self) -> Iterator[Path]:
        return (path for path in dict.fromkeys(self._paths) if path.exists())


def _read(path: Path) -> tuple[Batch, dict[str, str]]:
    with np.load(path) as arrays:
        columns = {name: arrays[name] for name in arrays.files if name != "details"}
        return columns, dict(json.loads(str(arrays["details"])))
