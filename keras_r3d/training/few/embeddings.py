"""Embeddings of the videos of a training, kept in its folder: each video is embedded once."""

import contextlib
import dataclasses
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_r3d.data import annotations
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.scoring import score
from keras_r3d.system import files

NAME = "embeddings.npz"
_SAVE_SECONDS = 60.0
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclasses.dataclass(frozen=True)
class Embedded:
    """What a network makes of a video."""

    status: str  # "ok", "partial" (what decodes is embedded) or "error" (there is nothing)
    detail: str  # what is wrong, or what else there is to say
    features: NDArray[np.float32]  # (windows, views, d)
    seconds: NDArray[np.float64]  # (windows, 2), when a window starts and ends


class Cache:
    """Embeddings by video, kept in the folder of a run; those of runs beside it are used, too.

    `request` is what embeddings depend on beside the video: those of another are never used.
    """

    def __init__(self, folder: Path, request: Mapping[str, Any], reader: Reader):
        self._path, self._reader = folder / NAME, reader
        self._request = json.dumps(request, sort_keys=True)
        self._rows: dict[str, Embedded] = {}
        paths = folder.parent.glob(f"*/{NAME}")
        for path in sorted(paths, key=lambda path: (path == self._path, path)):  # its own the last
            with contextlib.suppress(*_DAMAGED):  # it is made again
                self._rows |= self._read(path)

    def get(self, video: Video) -> Embedded | None:
        """Returns the embedding of a video, if it is there and the file is as it was."""
        return self._rows.get(self._key(video))

    def add(self, video: Video, row: Embedded) -> None:
        """Takes the embedding of a video."""
        self._rows[self._key(video)] = row

    def save(self, videos: Sequence[Video]) -> None:
        """Writes the embeddings of these videos that are there, but for errors, which may pass."""
        rows = {key: self._rows.get(key) for key in map(self._key, videos)}
        kept = {key: row for key, row in rows.items() if row is not None and row.status != "error"}
        about = {
            "request": self._request,
            "keys": list(kept),
            "status": [row.status for row in kept.values()],
            "detail": [row.detail for row in kept.values()],
            "shapes": [row.features.shape for row in kept.values()],
        }
        features = [np.empty(0, np.float32), *(row.features.ravel() for row in kept.values())]
        seconds = [np.empty((0, 2)), *(row.seconds for row in kept.values())]
        with files.atomic(self._path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                features=np.concatenate(features),
                seconds=np.concatenate(seconds),
            )

    def _key(self, video: Video) -> str:
        """Names a video and its state: one that was changed is another."""
        path, state = annotations.absolute(video.path), self._reader.state(video)
        return f"{path} {video.start_seconds} {video.end_seconds} {state}"

    def _read(self, path: Path) -> dict[str, Embedded]:
        """Returns what a file holds; nothing, if it is of another request."""
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if about["request"] != self._request:
                return {}
            features, seconds = file["features"], file["seconds"]
        shapes = np.array(about["shapes"], int).reshape(-1, 3)
        parts = np.split(features, np.cumsum(shapes.prod(axis=1))[:-1])
        times = np.split(seconds, np.cumsum(shapes[:, 0])[:-1])
        columns = [about[name] for name in ("keys", "status", "detail", "shapes")]
        return {
            key: Embedded(status, detail, part.reshape(shape), window_seconds)
            for key, status, detail, shape, part, window_seconds in zip(
                *columns, parts, times, strict=True
            )
        }


def embed(
    model: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    cache: Cache,
    progress: Callable[[int, int], None] | None = None,
) -> list[Embedded]:
    """Embeds the videos that the cache does not hold; what is done is kept if it is interrupted.

    The scores of `model` are the embeddings. `progress` takes the numbers of videos done and to do.
    """
    remaining = [video for video in videos if cache.get(video) is None]
    saved = time.monotonic()
    try:
        for done, (video, row) in enumerate(compute(model, reader, remaining), 1):
            cache.add(video, row)
            if progress is not None:
                progress(done, len(remaining))
            if time.monotonic() - saved > _SAVE_SECONDS:
                cache.save(videos)
                saved = time.monotonic()
    finally:
        cache.save(videos)
    rows = list(filter(None, map(cache.get, videos)))
    assert len(rows) == len(videos)
    return rows


def compute(
    model: Classifier, reader: Reader, videos: Sequence[Video]
) -> Iterator[tuple[Video, Embedded]]:
    """Embeds videos; each comes once, in their order."""
    for scored in score(model, reader, videos, probabilities=False, keep_views=True):
        features = scored.window_scores.astype(np.float32)
        if scored.status == "error":
            features = features.reshape(0, model.eval.views, len(model.classes))
        row = Embedded(scored.status, scored.detail, features, scored.window_seconds)
        yield scored.source, row
