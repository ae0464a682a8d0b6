"""Embeddings of the videos that are finished, kept in parts until all are: a kill loses little.

The folder holds `request.json`, what the embeddings are of, and numbered `.npz` files, each of
some videos. The order of the parts says nothing: the list of videos orders the output.
"""

import contextlib
import dataclasses
import functools
import json
import shutil
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d import run_folder
from keras_r3d.data.annotations import Video
from keras_r3d.inference.embeddings.feature_file import Batch
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError

REQUEST, _LOCK = "request.json", "lock"
_SECONDS = 10.0  # between two parts
_BYTES = 2**24  # of a part


@dataclasses.dataclass(frozen=True)
class Finished:
    """The embeddings of a video.

    Attributes:
        status: "ok" or "partial".
        detail: what is lacking of a partial one; that frames of a short one were repeated.
        embeddings: float32 `(n, d)`.
        windows: int64 `(n,)`, numbers in the video, counted from 0; -1 of a whole video.
        seconds: float64 `(n, 2)`, start and end.
    """

    name: str
    status: str
    detail: str
    embeddings: np.ndarray
    windows: np.ndarray
    seconds: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where the embeddings of a video are kept: rows of a part."""

    part: int
    first: int
    count: int
    status: str
    detail: str


class Parts:
    """A folder of finished videos; see `opened`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._places: dict[str, _Place] = {}
        self._waiting: list[Finished] = []
        self._written = time.monotonic()
        self._next = 0
        self._column = functools.lru_cache(maxsize=8)(self._load_column)
        for path in sorted(folder.glob("[0-9]*.npz")):
            number = int(path.stem)
            self._next = max(self._next, number + 1)
            with np.load(path) as part:
                counts = part["counts"].tolist()
                known = (part[name].tolist() for name in ("names", "statuses", "details"))
                first = 0
                for name, status, detail, count in zip(*known, counts, strict=True):
                    self._places[name] = _Place(number, first, count, status, detail)
                    first += count

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def names(self) -> list[str]:
        """Returns the names of the finished videos."""
        return list(self._places)

    def add(self, finished: Finished) -> None:
        """Keeps a video; it is on the disk some seconds later, or after `flush`."""
        self._waiting.append(finished)
        size = sum(one.embeddings.nbytes for one in self._waiting)
        if size >= _BYTES or time.monotonic() - self._written >= _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes the videos that are not on the disk yet.

        Raises:
            WriteError: the disk is full, …
        """
        waiting, number = self._waiting, self._next
        if waiting:
            with files.atomic(self._path(number)) as temporary:
                np.savez(
                    temporary,
                    names=np.array([one.name for one in waiting]),
                    statuses=np.array([one.status for one in waiting]),
                    details=np.array([one.detail for one in waiting]),
                    counts=np.array([len(one.embeddings) for one in waiting]),
                    embedding=np.concatenate([one.embeddings for one in waiting]),
                    window=np.concatenate([one.windows for one in waiting]),
                    seconds=np.concatenate([one.seconds for one in waiting]),
                )
        first = 0
        for one in waiting:
            count = len(one.embeddings)
            self._places[one.name] = _Place(number, first, count, one.status, one.detail)
            first += count
        self._next, self._waiting = number + bool(waiting), []
        self._written = time.monotonic()

    def rows(self, videos: Sequence[Video]) -> int:
        """Returns how many embeddings the finished ones of some videos have."""
        return sum(self._places[one.name].count for one in videos if one.name in self._places)

    def details(self, videos: Sequence[Video], status: str) -> dict[str, str]:
        """Returns what is said of the videos of a status, by name."""
        places = ((one.name, self._places.get(one.name)) for one in videos)
        return {n: p.detail for n, p in places if p and p.status == status and p.detail}

    def batches(
        self, videos: Sequence[Video], columns: Sequence[str], labelled: bool
    ) -> Iterator[Batch]:
        """Yields columns of the output, in the order of the videos, those of a video at a time.

        Args:
            labelled: whether the labels of `videos` are known.
        """
        for video in videos:
            place = self._places.get(video.name)
            if place is None:
                continue
            texts = {"video": video.name, "path": video.path, "status": place.status}
            if labelled:
                texts["label"] = video.label
            yield {
                column: np.full(place.count, texts[column])
                if column in texts
                else self._values(place, column)
                for column in columns
            }

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder)

    def _values(self, place: _Place, column: str) -> np.ndarray:
        rows = slice(place.first, place.first + place.count)
        if column in ("start_seconds", "end_seconds"):
            return self._column(place.part, "seconds")[rows, int(column == "end_seconds")]
        return self._column(place.part, column)[rows]

    def _load_column(self, part: int, name: str) -> np.ndarray:
        with np.load(self._path(part)) as arrays:
            return arrays[name]

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.npz"


@contextlib.contextmanager
def opened(folder: Path, request: dict[str, Any]) -> Iterator[Parts]:
    """Opens the parts of an output, those of an earlier start if there are any.

    Args:
        request: what the embeddings are of: values that JSON has. Parts of another one are refused.

    Raises:
        ArgumentError: they are of another request or damaged, or another process writes them.
        WriteError: the folder cannot be written.
    """
    run_folder.make(folder)
    taken = ArgumentError(
        f"Another process writes to {folder}: wait for its end, or choose another --output."
    )
    with files.locked(folder / _LOCK, taken):
        files.remove_leftovers(folder)
        path = folder / REQUEST
        if path.is_file():
            _compare(folder, request)
        else:
            files.write_json(path, request)
        try:
            parts = Parts(folder)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ArgumentError(
                f"{folder} holds a damaged part ({error}): remove the folder to start over."
            ) from error
        yield parts


def _compare(folder: Path, request: dict[str, Any]) -> None:
    """Raises ArgumentError if parts are of another request, with what differs."""
    try:
        before = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"{folder / REQUEST} is damaged ({error}): remove the folder to start over."
        ) from error
    old, new = dict(_flat(before)), dict(_flat(json.loads(json.dumps(request))))
    differing = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    if differing == ["model"]:  # it was moved, and is the same
        return
    if differing:
        lines = "\n".join(f"  {key}: {old.get(key)} then, {new.get(key)} now" for key in differing)
        raise ArgumentError(
            f"{folder} was begun with another model or recipe, and is left as it is:\n{lines}\n"
            "Go on with that one, choose another --output, or remove the folder."
        )


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
