"""Predictions in parts that are kept until all videos are scored: a kill loses little."""

import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_r3d._version import __version__
from keras_r3d.data.annotations import Problem, Video, listed
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.models.classifier import Classifier, fingerprint
from keras_r3d.inference.prediction import fusion
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.scoring import score
from keras_r3d.recipe.tables import as_dict
from keras_r3d.system.errors import ArgumentError
from keras_r3d.system.work import PartMaker, Progress, Share, Spread, Work

Side = tuple[Reader, Sequence[Video]]


class KeptPredictions:
    """Predictions of videos, in their order, that are made once and kept in a folder.

    Args:
        models: that score; several are fused by `weights`.
        sides: of each model, what reads the videos, and the videos.
        timeout: seconds after which a video that gives no more window is given up.
        folder: for the parts; None keeps none.
        spread: who makes them.

    Raises:
        ArgumentError: a model cannot be told from others.
    """

    def __init__(
        self,
        models: Sequence[Classifier],
        sides: Sequence[Side],
        weights: Sequence[float],
        *,
        timeout: float,
        folder: Path | None = None,
        spread: Spread | None = None,
    ):
        self._models, self._sides, self._timeout = models, sides, timeout
        self._weights = list(weights) or [1.0]
        self._reader, self._videos = sides[0]
        self._maker = PartMaker(self._results, self._pack)
        self._work: Work | None = None
        if folder is None:
            return
        request = {
            "models": [_request(model) for model in models],
            "weights": self._weights,
            "versions": [__version__, keras.__version__, tf.__version__],
            **listed(self._videos),
        }
        names = [video.name for video in self._videos]
        self._work = Work(
            *(folder, "plan.json", request, ArgumentError, names),
            is_there=lambda number: bool(self._reader.state(self._videos[number])),
            length=lambda number: self._reader.length(self._videos[number]),
            spread=spread or Spread(),
        )

    def predictions(
        self, progress: Progress = lambda done, total: None
    ) -> Generator[Prediction, None, None]:
        """Yields the predictions of this process's share, or of all videos."""
        if self._work is None:
            for done, (_, prediction) in enumerate(self._results(range(len(self._videos))), 1):
                progress(done, len(self._videos))
                yield prediction
            return
        with self._work.open() as starts:
            ends = [*starts[1:], len(self._videos)]
            for number in self._work.make(starts, self._maker, progress):
                yield from self._read(self._work, number, slice(starts[number], ends[number]))

    @property
    def is_share(self) -> bool:
        """Whether others make parts, too."""
        return self._work is not None and self._work.spread.is_share

    def share(self) -> Share:
        """Returns what is made by now."""
        assert self._work is not None
        return self._work.share()

    def remove(self) -> None:
        """Removes the parts, when what they were kept for is written."""
        if self._work is not None:
            self._work.remove()

    def _results(
        self, numbers: Sequence[int], _: Path | None = None
    ) -> Generator[tuple[int, Prediction], None, None]:
        streams = [
            score(model, reader, [videos[n] for n in numbers], timeout=self._timeout)
            for model, (reader, videos) in zip(self._models, self._sides, strict=True)
        ]
        yield from zip(numbers, fusion.fuse(streams, self._weights), strict=True)

    def _pack(
        self, _: int, results: Iterator[tuple[int, Prediction]]
    ) -> tuple[list[Any], dict[str, np.ndarray]]:
        rows, made = [], []
        for _, prediction in results:
            problem = self._reader.problem(prediction.source)
            noted = [problem.status, problem.detail] if problem else None
            rows.append([prediction.status, prediction.detail, noted])
            made.append(prediction)
        return rows, {
            "scores": np.stack([prediction.scores for prediction in made]),
            "windows": np.array([len(prediction.window_scores) for prediction in made]),
            "window_scores": np.concatenate([prediction.window_scores for prediction in made]),
            "window_seconds": np.concatenate([prediction.window_seconds for prediction in made]),
        }

    def _read(self, work: Work, number: int, place: slice) -> Iterator[Prediction]:
        models = [(model.classes, model.thresholds) for model in self._models]
        shares = np.array(self._weights) / np.sum(self._weights)
        labels, thresholds = models[0][0], fusion.mean_thresholds(models, shares)
        rows, arrays = work.read(number)
        ends = np.cumsum(arrays["windows"])[:-1]
        windows, seconds = (np.split(arrays[f"window_{x}"], ends) for x in ("scores", "seconds"))
        columns = self._videos[place], rows, arrays["scores"], windows, seconds
        for video, (status, detail, noted), scores, *of_windows in zip(*columns, strict=True):
            if noted:
                self._reader.note(Problem(video.name, *noted))
            values = (video, status, detail, labels, scores, *of_windows, thresholds)
            yield Prediction(*values)


def is_served(model: Classifier) -> bool:
    """Whether a model is neither a file nor in memory, so that it may change unseen."""
    return model.network is None and not os.path.exists(model.name)


def _request(model: Classifier) -> dict[str, Any]:
    """Returns what a model's scores depend on, beside the videos."""
    if is_served(model):
        raise ArgumentError(
            f"{model.name} is served, and may be another one the next time: what several processes "
            "share is scored by a file."
        )
    protocol = {key: getattr(model.eval, key) for key in ("windows", "views", "average")}
    return {"sha256": fingerprint(model), "clips": as_dict(model.clips), "protocol": protocol}
