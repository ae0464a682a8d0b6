"""Embeddings of the videos of a training, kept in its folder: each video is embedded once."""

import contextlib
import dataclasses
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_r3d.data import annotations
from keras_r3d.data.annotations import Problem, Video
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.scoring import score
from keras_r3d.system import files
from keras_r3d.system.errors import RunError
from keras_r3d.system.work import PartMaker, Share, Spread, Work

NAME = "embeddings.npz"
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclasses.dataclass(frozen=True)
class Embedded:
    """What a network makes of a video."""

    status: str  # "ok", "partial" (what decodes is embedded) or "error" (there is nothing)
    detail: str  # what is wrong, or what else there is to say
    features: NDArray[np.float32]  # (windows, views, d)
    seconds: NDArray[np.float64]  # (windows, 2), when a window starts and ends


Rows = dict[str, Embedded]  # by the key of a video


class Cache:
    """Embeddings by video, kept in the folder of a run; those of runs beside it are used, too.

    `request` is what embeddings depend on beside the video: those of another are never used.
    """

    def __init__(self, folder: Path, request: Mapping[str, Any], reader: Reader):
        self._folder, self._request, self._reader = folder, dict(request), reader
        self._parts = Path(f"{os.path.abspath(folder)}.parts")
        self._text = json.dumps(request, sort_keys=True)
        self._rows: Rows = {}
        own = folder / NAME
        paths = folder.parent.glob(f"*/{NAME}")
        for path in sorted(paths, key=lambda path: (path == own, path)):  # its own the last
            with contextlib.suppress(*_DAMAGED), np.load(path, allow_pickle=False) as file:
                about = json.loads(file["about"].tobytes())
                if about["request"] == self._text:
                    self._rows |= _unpacked(about, file)

    def get(self, video: Video) -> Embedded | None:
        """Returns the embedding of a video, if it is there and the file is as it was."""
        return self._rows.get(self._key(video))

    def embed(
        self,
        model: Classifier,
        videos: Sequence[Video],
        progress: Callable[[int, int], None] | None = None,
        spread: Spread | None = None,
    ) -> list[Embedded] | Share:
        """Returns the embeddings of videos, of which only those that are not there are computed.

        Parts are kept beside the folder until all are made, then all but errors, which may pass, in
        the folder. The scores of `model` are the embeddings. `progress` takes the numbers of videos
        done and to do.

        Raises:
            RunError: the parts that are there are of another request.
        """
        keys = list(map(self._key, videos))

        def results(numbers: Sequence[int], _: Path) -> Generator[tuple[int, Embedded], None, None]:
            yield from ((n, self._rows[keys[n]]) for n in numbers if keys[n] in self._rows)
            new = [n for n in numbers if keys[n] not in self._rows]
            rows = compute(model, self._reader, [videos[n] for n in new])
            yield from zip(new, (row for _, row in rows), strict=True)

        def pack(_: int, results: Iterator[tuple[int, Embedded]]) -> tuple[Any, dict[str, Any]]:
            rows = dict(results)
            about, arrays = _packed({keys[n]: row for n, row in rows.items()})
            noted = filter(None, (self._reader.problem(videos[n]) for n in rows))
            about["first"] = min(rows)
            about["problems"] = [dataclasses.astuple(problem) for problem in noted]
            return about, arrays

        def is_whole(_: int, about: Any) -> bool:
            first = about["first"]  # a video that was changed has another key
            return list(about["keys"]) == keys[first : first + len(about["keys"])]

        maker = PartMaker(results, pack, is_whole)
        work = Work(
            *(self._parts, "plan.json", self._request | {"videos": len(videos)}, RunError),
            [video.name for video in videos],
            is_there=lambda number: bool(self._reader.state(videos[number])),
            length=lambda number: self._reader.length(videos[number]),
            spread=spread or Spread(),
        )
        with work.open() as starts:
            list(work.make(starts, maker, progress or (lambda done, total: None)))
            if work.spread.is_share:
                return work.share()
            for number in range(len(starts)):
                about, arrays = work.read(number)
                self._rows |= _unpacked(about, arrays)
                for problem in about["problems"]:
                    self._reader.note(Problem(*problem))
            self._save({key: self._rows[key] for key in keys})
        work.remove()
        return [self._rows[key] for key in keys]

    def forget(self) -> None:
        """Removes the parts that were made for a training that has not ended."""
        shutil.rmtree(self._parts, ignore_errors=True)

    def _save(self, rows: Rows) -> None:
        kept = {key: row for key, row in rows.items() if row.status != "error"}
        about, arrays = _packed(kept)
        text = json.dumps(about | {"request": self._text}).encode()
        with files.atomic(self._folder / NAME) as temporary, temporary.open("wb") as file:
            np.savez(file, about=np.frombuffer(text, np.uint8), **arrays)

    def _key(self, video: Video) -> str:
        """Names a video and its state: one that was changed is another."""
        path, state = annotations.absolute(video.path), self._reader.state(video)
        return f"{path} {video.start_seconds} {video.end_seconds} {state}"


def _packed(rows: Rows) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns embeddings as values for JSON, and arrays."""
    about = {
        "keys": list(rows),
        "status": [row.status for row in rows.values()],
        "detail": [row.detail for row in rows.values()],
        "shapes": [row.features.shape for row in rows.values()],
    }
    features = [np.empty(0, np.float32), *(row.features.ravel() for row in rows.values())]
    seconds = [np.empty((0, 2)), *(row.seconds.reshape(-1, 2) for row in rows.values())]
    return about, {"features": np.concatenate(features), "seconds": np.concatenate(seconds)}


def _unpacked(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Rows:
    """Returns the embeddings that `_packed` was given."""
    shapes = np.array(about["shapes"], int).reshape(-1, 3)
    parts = np.split(arrays["features"], np.cumsum(shapes.prod(axis=1))[:-1])
    times = np.split(arrays["seconds"], np.cumsum(shapes[:, 0])[:-1])
    columns = [about[name] for name in ("keys", "status", "detail", "shapes")]
    return {
        key: Embedded(status, detail, part.reshape(shape), window_seconds)
        for key, status, detail, shape, part, window_seconds in zip(
            *columns, parts, times, strict=True
        )
    }


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
