"""The scores of a split, and what they come to: figures, records, confusions."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.evaluation import intervals, metrics
from keras_r3d.inference.evaluation.scoring import TIMEOUT, Scored, score
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.system.errors import DataError, R3DError

_TOP = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of a split.

    Attributes:
        classes: class names in label order.
        videos: of the split; labels and scores are in this order.
        labels: int `(videos,)`.
        video_scores: float64 `(videos, classes)`, probabilities; NaN where a video has no score.
        window_scores: float `(windows, classes)`, probabilities.
        window_videos: int `(windows,)`, the video of each window.
        window_seconds: float64 `(windows, 2)`, start and end of each window.
        errors: video number -> why it has no score.
        partial: video number -> what was lacking; its score is of what decoded.
        notes: video number -> what else there is to say, such as that its frames were repeated.
        split: name of the split, if it has one.
        reader: of the videos, from which pictures of mistakes are drawn; None draws none.
    """

    classes: Sequence[str]
    videos: Sequence[Video]
    labels: np.ndarray
    video_scores: np.ndarray
    window_scores: np.ndarray
    window_videos: np.ndarray
    window_seconds: np.ndarray
    errors: dict[int, str]
    partial: dict[int, str]
    notes: dict[int, str] = dataclasses.field(default_factory=dict)
    split: str = ""
    reader: Reader | None = None

    def __str__(self) -> str:
        from keras_r3d.inference.evaluation import report

        return report.table(self)

    def save(self, folder: str | Path) -> list[str]:
        """Writes a new folder of results: figures, tables and pictures, as docs/evaluation.md says.

        Returns:
            Names of the files.

        Raises:
            R3DError: the folder exists already.
            WriteError: it cannot be written.
        """
        from keras_r3d.inference.evaluation import results

        if Path(folder).exists():
            raise R3DError(f"{folder} already exists; choose another folder.")
        return results.write(self, self.reader, Path(folder), self.split, {})

    @property
    def top_places(self) -> int:
        """The k of the figures called top-5: 5, or all classes where there are fewer."""
        return min(_TOP, len(self.classes))

    @functools.cached_property
    def scored(self) -> np.ndarray:
        """Numbers of the videos that have a score, int64 `(scored,)`."""
        return np.flatnonzero(~np.isnan(self.video_scores).any(axis=1))

    def predicted(self) -> np.ndarray:
        """Returns the predicted class of the scored videos, int64 `(scored,)`."""
        return metrics.predicted(self.video_scores[self.scored], self.labels[self.scored])

    @property
    def one_window_each(self) -> bool:
        """Whether every video has one window, so that clip and video accuracy are the same."""
        return bool((np.bincount(self.window_videos, minlength=len(self.videos)) <= 1).all())

    def floor(self) -> str:
        """Says what a figure is worth: nothing, where its interval reaches down to a simple guess.

        Returns:
            A sentence, or "".
        """
        figures = self.figures()
        interval = figures["video_top1_interval"]
        guesses = {
            "guessing": figures["chance"],  # the first of two that are as good
            f"always naming '{figures['largest_class']}'": figures["largest_class_share"],
        }
        best = max(guesses, key=lambda name: guesses[name])
        if interval is None or interval[0] > guesses[best]:
            return ""
        return (
            f"Warning: the interval of the video accuracy reaches down to {interval[0]:.1%}, and "
            f"{best} would be right in {guesses[best]:.1%}: this does not show that the model has "
            "learnt anything."
        )

    def confusion(self) -> np.ndarray:
        """Counts the scored videos by true and predicted class, int64 `(classes, classes)`."""
        return metrics.confusion(self.labels[self.scored], self.predicted(), len(self.classes))

    def by_class(self) -> metrics.ByClass:
        """Returns precision and recall of each class; a video without score counts as missed."""
        videos = np.bincount(self.labels, minlength=len(self.classes))
        return metrics.by_class(self.confusion(), videos)

    def calibration(self) -> metrics.Calibration:
        """Compares confidence and accuracy of the scored videos."""
        return metrics.calibration(self.video_scores[self.scored], self.labels[self.scored])

    def figures(self) -> dict[str, Any]:
        """Returns counts, accuracies (0-1) and beside each, as `NAME_interval`, low and high.

        `clip_*` count windows, `video_*` videos; `readable_video_*` leave videos without score
        out, all others count them as wrong. `*_top5` is of `top5_places` classes. `*_mean` is the
        mean of `*_top1` and `*_top5`, by which the paper compares. `largest_class_share` is the
        accuracy of always naming the most frequent class, `chance` that of guessing. What cannot be
        said, such as an accuracy of no videos, is None.
        """
        return dict(self._figures)

    @functools.cached_property
    def _figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "videos": len(self.videos),
            "errors": len(self.errors),
            "partial": len(self.partial),
            "windows": len(self.window_scores),
            "top5_places": self.top_places,
        }
        shares = self._shares()
        right, counted = (np.stack(one, axis=1) for one in zip(*shares.values(), strict=True))
        found = intervals.ratio_intervals(right, counted)
        for number, name in enumerate(shares):
            total = counted[:, number].sum()
            figures[name] = float(right[:, number].sum() / total) if total else None
            figures[f"{name}_interval"] = _numbers(found[number])
        correct = metrics.topk_correct(self.video_scores, self.labels, 1)
        figures["mean_class_accuracy"] = _number(metrics.mean_class_accuracy(correct, self.labels))
        interval = intervals.class_mean_interval(correct, self.labels)
        figures["mean_class_accuracy_interval"] = _numbers(interval)
        figures["ece"] = _number(self.calibration().error)
        sizes = np.bincount(self.labels, minlength=len(self.classes))
        figures["largest_class"] = self.classes[int(sizes.argmax())]
        figures["largest_class_share"] = float(sizes.max() / max(1, len(self.labels)))
        figures["chance"] = 1 / len(self.classes)
        return figures

    def _shares(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Returns, by name, what each video adds to the right ones and to all, `(videos,)`."""
        count = len(self.videos)
        windows = np.bincount(self.window_videos, minlength=count)
        readable = np.isin(np.arange(count), self.scored).astype(int)
        window_labels = self.labels[self.window_videos]
        shares: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for top, places in (("top1", 1), ("top5", self.top_places)):
            clips = metrics.topk_correct(self.window_scores, window_labels, places)
            right = metrics.topk_correct(self.video_scores, self.labels, places).astype(int)
            clips_right = np.bincount(self.window_videos, weights=clips, minlength=count)
            shares[f"clip_{top}"] = clips_right, windows
            shares[f"video_{top}"] = right, np.ones(count)
            shares[f"readable_video_{top}"] = right, readable
        for kind in ("clip", "video", "readable_video"):
            (top1, counted), (top5, _) = (shares[f"{kind}_{top}"] for top in ("top1", "top5"))
            shares[f"{kind}_mean"] = top1 + top5, 2 * counted
        return shares

    def records(self) -> list[dict[str, Any]]:
        """Returns one record a video: label, status, windows, best classes with scores."""
        windows = np.bincount(self.window_videos, minlength=len(self.videos))
        correct = metrics.topk_correct(self.video_scores, self.labels, 1)
        scored = set(self.scored.tolist())
        records = []
        for number, video in enumerate(self.videos):
            record: dict[str, Any] = {"video": video.name, "label": video.label, "status": "ok"}
            if number in self.errors:
                record |= {"status": "error", "detail": self.errors[number]}
            elif number in self.partial:
                record |= {"status": "partial", "detail": self.partial[number]}
            elif number in self.notes:
                record["detail"] = self.notes[number]
            record["windows"] = int(windows[number])
            if number in scored:
                record["correct"] = bool(correct[number])
                record["top"] = self.top(number, _TOP)
            records.append(record)
        return records

    def top(self, video: int, most: int) -> list[dict[str, Any]]:
        """Returns the best classes of a scored video, `{"label", "score"}`, the best first."""
        scores = self.video_scores[video]
        best = np.argsort(-scores, kind="stable")[:most]
        return [{"label": self.classes[i], "score": float(scores[i])} for i in best]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _numbers(interval: np.ndarray) -> list[float] | None:
    return None if np.isnan(interval).any() else [float(value) for value in interval]


def evaluate_videos(
    classifier: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    *,
    split: str,
    timeout: float = TIMEOUT,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Scores every video exactly once.

    Args:
        split: name of the videos' split, for messages.
        timeout: seconds after which a video that gives no more window is given up.
        progress: takes the number of videos done, and of all.

    Raises:
        DataError: a video has a class the model does not know, or no video can be read.
        ModelError: the model gives something else than probabilities.
    """
    check_labels(videos, classifier.classes)
    reader.require_readable(videos, split)
    scored = score(classifier, reader, videos, timeout=timeout)
    return collected(counted(scored, len(videos), progress), classifier.classes)


def counted(
    scored: Iterable[Scored], of: int, progress: Callable[[int, int], None] | None
) -> list[Scored]:
    """Returns all of them, and tells how many there are as they come."""
    done = []
    for one in scored:
        done.append(one)
        if progress is not None:
            progress(len(done), of)
    return done


def check_labels(videos: Sequence[Video], classes: Sequence[str]) -> None:
    """Raises DataError if a video has a class that is not among `classes`."""
    known = set(classes)
    for video in videos:
        if video.label not in known:
            raise DataError(
                f"{video.name} has the class '{video.label}', which the model was not trained "
                f"on. Its classes: {list(classes)}"
            )


def collected(scored: Sequence[Scored], classes: Sequence[str]) -> Evaluation:
    """Puts the scores of labelled videos together."""
    numbers = {name: number for number, name in enumerate(classes)}
    counts = [len(one.window_scores) for one in scored]
    return Evaluation(
        classes=classes,
        videos=[one.video for one in scored],
        labels=np.array([numbers[one.video.label] for one in scored]),
        video_scores=np.stack([one.scores for one in scored]),
        window_scores=np.concatenate([one.window_scores for one in scored]),
        window_videos=np.repeat(np.arange(len(scored)), counts),
        window_seconds=np.concatenate([one.window_seconds for one in scored]),
        errors={n: one.detail for n, one in enumerate(scored) if one.status == "error"},
        partial={n: one.detail for n, one in enumerate(scored) if one.status == "partial"},
        notes={n: one.detail for n, one in enumerate(scored) if one.status == "ok" and one.detail},
    )
