"""What a model says of one video: its classes, when, and how surely."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.opening import file_reader
from keras_r3d.inference.evaluation.scoring import TIMEOUT, Scored, score
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.system import files
from keras_r3d.system.errors import VideoError


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The scores of a video.

    Attributes:
        video: path.
        status: "ok"; "partial": it breaks in the middle, and what decodes was scored; "error": it
            has no score.
        detail: what is wrong; of a video shorter than a clip, that frames were repeated.
        labels: class names, in the order of the scores.
        scores: float64 `(classes,)`, probabilities; NaN of an error.
        window_scores: float32 `(windows, classes)`, probabilities.
        window_seconds: float64 `(windows, 2)`, when a window starts and ends.
    """

    video: str
    status: str
    detail: str
    labels: Sequence[str]
    scores: np.ndarray
    window_scores: np.ndarray
    window_seconds: np.ndarray

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Returns the `k` best classes with their scores, the best first; none of an error."""
        return [] if self.status == "error" else best(self.labels, self.scores, k)

    def record(self, k: int = 5) -> dict[str, Any]:
        """Returns what is written to JSON: the `k` best classes, and seconds of all windows."""
        seconds = None
        if len(self.window_seconds):
            seconds = float(self.window_seconds[:, 1].max() - self.window_seconds[:, 0].min())
        return {
            "video": printable(self.video),
            "status": self.status,
            "detail": printable(self.detail),
            "windows": len(self.window_scores),
            "seconds": seconds,
            "top": named(self.top(k)),
        }


def records_csv(records: Sequence[dict[str, Any]], top: int) -> str:
    """Returns the text of a CSV file with a row for each of `Prediction.record`."""
    plain = ["video", "status", "detail", "windows", "seconds"]
    header = [*plain, *(f"{what}_{n}" for n in range(1, top + 1) for what in ("label", "score"))]
    rows = []
    for record in records:
        classes = [value for one in record["top"] for value in (one["label"], one["score"])]
        rows.append([*(record[name] for name in plain), *classes])
    return files.csv_text(header, rows)


def named(top: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    """Returns classes and scores as they are written to JSON."""
    return [{"label": label, "score": score} for label, score in top]


def best(labels: Sequence[str], scores: np.ndarray, k: int) -> list[tuple[str, float]]:
    """Returns the `k` best classes with their scores, the best first.

    Args:
        scores: `(classes,)`.
    """
    order = np.argsort(-scores, kind="stable")[:k]
    return [(labels[number], float(scores[number])) for number in order]


def of_scored(scored: Scored, labels: Sequence[str]) -> Prediction:
    """Takes the scores of a video; `labels` are names in their order."""
    return Prediction(
        scored.video.path,
        scored.status,
        scored.detail,
        labels,
        scored.scores,
        scored.window_scores,
        scored.window_seconds,
    )


def predict(model: Classifier, path: str, timeout: float = TIMEOUT) -> Prediction:
    """Scores a video file.

    Args:
        timeout: seconds after which a file that gives no more window is given up.

    Returns:
        The same scores, to the bit on CPU, as an evaluation gives this video.

    Raises:
        VideoError: no frame of it decodes, or it is no video.
    """
    (scored,) = score(model, file_reader([path], model.data), [Video(path, "")], timeout=timeout)
    if scored.status == "error":
        raise VideoError(scored.detail)
    return of_scored(scored, model.classes)
