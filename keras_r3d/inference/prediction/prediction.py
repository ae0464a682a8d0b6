"""What a model says of one video: its classes, when, and how surely."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_r3d.data.annotations import Video
from keras_r3d.data.annotations.labels import join_labels
from keras_r3d.data.annotations.listing import printable
from keras_r3d.inference.prediction import annotated_copy, page
from keras_r3d.pictures import fonts, timeline
from keras_r3d.pictures.timeline import Part
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError

_EXACT = 9  # digits, of a float32
_COLUMNS = ("video", "status", "detail", "windows", "seconds")


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The scores of a video.

    Attributes:
        source: the video, or the segment of one, that was scored.
        status: "ok"; "partial": it breaks in the middle, and what decodes was scored; "error": it
            has no score.
        detail: what is wrong; of a video shorter than a clip, that frames were repeated.
        labels: class names, in the order of the scores.
        scores: float64 `(classes,)`, probabilities; NaN of an error.
        window_scores: float32 `(windows, classes)`, probabilities, averaged over the views; or
            `(windows, views, classes)`, if each view's are kept.
        window_seconds: float64 `(windows, 2)`, when a window starts and ends.
        thresholds: `(classes,)`, the scores from which on a model that names several labels names
            each class; None of a model that names one.
    """

    source: Video
    status: str
    detail: str
    labels: Sequence[str]
    scores: np.ndarray
    window_scores: np.ndarray
    window_seconds: np.ndarray
    thresholds: np.ndarray | None = None

    @classmethod
    def error(
        cls,
        source: Video,
        labels: Sequence[str],
        detail: str,
        thresholds: np.ndarray | None = None,
    ) -> "Prediction":
        """Returns what there is of a video without a score."""
        scores, windows = np.full(len(labels), np.nan), np.empty((0, len(labels)), np.float32)
        return cls(source, "error", detail, labels, scores, windows, np.empty((0, 2)), thresholds)

    @property
    def video(self) -> str:
        """Path of the video, with the seconds if it is a segment."""
        return self.source.name

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Returns the `k` best classes with their scores, the best first; none of an error."""
        return [] if self.status == "error" else best(self.labels, self.scores, k)

    def named_classes(self) -> list[str]:
        """Returns the classes that are named, the best first: those whose scores reach their
        thresholds; by a model that names one label the best one; none of an error."""
        return [] if self.status == "error" else reached(self.labels, self.scores, self.thresholds)

    def lines(self, k: int = 5) -> list[tuple[str, float, bool]]:
        """Returns what is printed of it: names, scores, and whether a threshold is reached."""
        names = self.named_classes() if self.thresholds is not None else []
        return [(label, score, label in names) for label, score in self.top(k)]

    def headline(self, k: int = 5) -> str:
        """Returns what a page says first of it: the `k` best classes."""
        return " · ".join(f"{name} {score:.1%}" for name, score in self.top(k))

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
            **named_record(self),
        }

    def columns(self, k: int = 5) -> list[str]:
        """Returns the header of a CSV file of several videos."""
        named_column = [] if self.thresholds is None else ["named"]
        best_columns = [f"{key}_{n}" for n in range(1, k + 1) for key in ("label", "score")]
        return [*_COLUMNS, *named_column, *best_columns]

    def rows(self, k: int = 5) -> list[list[Any]]:
        """Returns its rows in that file."""
        record = self.record(k)
        names = [] if self.thresholds is None else [join_labels(self.named_classes())]
        best_values = [value for row in record["top"] for value in row.values()]
        return [[*(record[key] for key in _COLUMNS), *names, *best_values]]

    def timeline(self, k: int = 5) -> Figure:
        """Draws the scores over time of the `k` classes that are highest in any window.

        Raises:
            ArgumentError: it has no windows.
        """
        self._require_windows()
        seconds, scores = over_time(self.window_seconds, self.window_scores)
        return timeline.figure(
            *(seconds, scores, self.labels, printable(self.video), k, self.strips())
        )

    def strips(self) -> Mapping[str, Sequence[Part]]:
        """Returns rows of parts of the video, to draw below its scores over time; none here."""
        return {}

    def save(self, path: str | os.PathLike[str], k: int = 5, timeout: float = 300.0) -> Path:
        """Writes a file; its suffix says which.

        `.json`: the record. `.csv`: start, end and all scores of each window. `.png`: the scores
        over time. `.html`: a page with the video and the scores of the moment. `.mp4`, `.avi`: a
        copy of the video, without sound, with the class and score of the moment at the bottom.

        Args:
            k: classes that `.json`, `.png` and `.html` name.
            timeout: seconds after which a video that gives no more frame ends there in a copy.

        Raises:
            ArgumentError: the file exists, its suffix is another, or there is nothing to write.
            VideoError: the video cannot be read again.
            WriteError: the disk is full, …
        """
        path = Path(path)
        suffix = path.suffix.lower()
        files.check_new(path, "path")
        if suffix == ".json":
            files.write_json(path, self.record(k))
        elif suffix == ".csv":
            self._require_windows()
            rows = [
                [*(f"{second:.6f}" for second in seconds), *(f"{x:.{_EXACT}g}" for x in scores)]
                for seconds, scores in zip(self.window_seconds, self.window_scores, strict=True)
            ]
            header = ["start_seconds", "end_seconds", *self.labels]
            files.write_text(path, files.csv_text(header, rows))
        elif suffix == ".png":
            fonts.save(self.timeline(k), path)
        elif suffix == ".html":
            self._require_windows()
            over = over_time(self.window_seconds, self.window_scores)
            lines = list(filter(None, [self.headline(k), self.detail]))
            text = page.page(*(self.source, lines, *over, self.labels, k, self.strips(), timeout))
            files.write_text(path, text)
        elif suffix in annotated_copy.CODECS:
            if self.status == "error":
                raise ArgumentError(f"{self.video} has no score: {self.detail}")
            seconds, scores = over_time(self.window_seconds, self.window_scores)
            if not len(scores):  # of models whose windows differ
                seconds, scores = np.array([[0, np.inf]]), self.scores[None]
            captions = [
                (" + ".join(reached(self.labels, row, self.thresholds)) or "-", float(row.max()))
                for row in scores
            ]
            annotated_copy.write(path, self.source, seconds, captions, timeout)
        else:
            kinds = [".json", ".csv", ".png", ".html", *annotated_copy.CODECS]
            raise ArgumentError(f"`path` must end in one of {kinds}. Received: {path}")
        return path

    def _require_windows(self) -> None:
        if not len(self.window_scores):
            detail = self.detail or "the fused models have other windows each."
            raise ArgumentError(f"{self.video} has no scores of windows: {detail}")


def over_time(seconds: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores in the order of time where windows lie in others, as of clips that are spread.

    Each stretch between the starts and ends of windows, `(windows, 2)`, then has the mean of the
    windows that show it. Other windows are returned as they are.
    """
    starts, ends = seconds.T
    inside = (starts[:, None] <= starts) & (ends <= ends[:, None])
    if not (inside & (seconds[:, None] != seconds).any(axis=2)).any():
        return seconds, scores
    edges = np.unique(seconds)
    stretches = np.stack([edges[:-1], edges[1:]], axis=1)
    shown = (starts <= stretches[:, :1]) & (stretches[:, 1:] <= ends)
    stretches, shown = stretches[shown.any(axis=1)], shown[shown.any(axis=1)]
    return stretches, (shown @ scores / shown.sum(axis=1, keepdims=True)).astype(scores.dtype)


def named(top: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    """Returns classes and scores as they are written to JSON."""
    return [{"label": label, "score": score} for label, score in top]


def named_record(scored: Any) -> dict[str, Any]:
    """Returns what JSON also has of a model that names several labels: those it names."""
    if scored.thresholds is None:
        return {}
    return {"named": reached(scored.labels, scored.scores, scored.thresholds)}


def reached(labels: Sequence[str], scores: np.ndarray, thresholds: np.ndarray | None) -> list[str]:
    """Returns the labels whose scores `(classes,)` reach their thresholds, the best first.

    Without thresholds the best one.
    """
    if thresholds is None:
        return [best(labels, scores, 1)[0][0]]
    order = np.argsort(-scores, kind="stable")
    return [labels[number] for number in order if scores[number] >= thresholds[number]]


def best(labels: Sequence[str], scores: np.ndarray, k: int) -> list[tuple[str, float]]:
    """Returns the `k` best of scores `(classes,)` with their labels, the best first."""
    order = np.argsort(-scores, kind="stable")[:k]
    return [(labels[number], float(scores[number])) for number in order]
