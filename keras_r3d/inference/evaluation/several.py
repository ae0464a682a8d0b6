"""The scores of videos that may have several labels, and what they come to."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from keras_r3d.applications.embedding import NONE
from keras_r3d.data.annotations.labels import targets
from keras_r3d.data.annotations.video import some
from keras_r3d.inference.evaluation import metrics
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.evaluation.open_set import OpenSet
from keras_r3d.inference.prediction.prediction import Prediction


def evaluation_of(
    classes: Sequence[str], predictions: Sequence[Prediction], **options: Any
) -> Evaluation:
    """Returns the evaluation of predictions: of one label each, or of any number of labels."""
    several = any(prediction.thresholds is not None for prediction in predictions)
    kind = SeveralLabels if several else OpenSet if NONE in classes else Evaluation
    return kind(classes, predictions, **options)


@dataclasses.dataclass(frozen=True, eq=False)
class SeveralLabels(Evaluation):
    """Scores of a split whose videos may have several labels.

    `top1` says that the best class is one of the labels, `top5` that one of the best five is;
    videos without a label are left out there. A class is named where its score reaches its
    threshold.
    """

    several: ClassVar[bool] = True

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """Whether a class is a label, bool `(videos, classes)`."""
        return targets(self.videos, self.classes, several=True) > 0

    @functools.cached_property
    def positive(self) -> np.ndarray:
        """Whether a class is named, bool `(videos, classes)`; none is without a score."""
        rows = [p.scores >= p.thresholds for p in self.predictions]
        return np.array(rows, bool).reshape(-1, len(self.classes))

    @functools.cached_property
    def average_precision(self) -> np.ndarray:
        """Of each class, float64 `(classes,)`; NaN of one that is no label of a video."""
        return metrics.average_precision(self.labels, self.video_scores)

    @functools.cached_property
    def precision_interval(self) -> list[float] | None:
        """Of the mean average precision, low and high, by a bootstrap over videos."""
        numbers = np.arange(len(self.videos))
        means = []
        for counts in metrics.resamples(len(numbers)):
            drawn = np.repeat(numbers, counts)
            values = metrics.average_precision(self.labels[drawn], self.video_scores[drawn])
            means.append(_mean(values[~np.isnan(values)]))
        return metrics.bootstrap_interval(np.array(means, float))

    def predicted(self) -> np.ndarray:
        """Returns the best class of the scored videos, int64 `(scored,)`."""
        return self.video_scores[self.scored].argmax(axis=1)

    def decided(self, scores: np.ndarray) -> np.ndarray:
        """Returns which classes scores `(n, classes)` name, `(n, classes)`."""
        return scores >= self.predictions[0].thresholds

    def by_class(self) -> metrics.ByClass:
        """Returns precision and recall of each class; a video without score counts as missed."""
        return metrics.by_label(self.labels, self.positive)

    def class_columns(self) -> dict[str, Iterable[Any]]:
        """Returns what a table has of each class, by column."""
        limits = [np.asarray(prediction.thresholds) for prediction in self.predictions]
        more = {"average_precision": self.average_precision, "threshold": np.mean(limits, axis=0)}
        return self.by_class().columns() | more

    def pictures(self) -> dict[str, Figure]:
        """Draws nothing: a confusion matrix is of one label each."""
        return {}

    def records(self) -> list[dict[str, Any]]:
        """Returns a record of each video, with its labels and the classes that were named."""
        return [
            record | {"labels": list(prediction.source.labels), "named": prediction.named_classes()}
            for record, prediction in zip(super().records(), self.predictions, strict=True)
        ]

    def rows(self) -> list[tuple[str, str]]:
        """Returns further figures for the table, each with its title."""
        figures = self.figures()
        guess = f"guessing: {_percent(figures['chance_average_precision'])}"
        if self.precision_interval is not None:
            low, high = self.precision_interval
            guess = f"{low * 100:.1f}-{high:.1%}; {guess}"
        return [
            ("mean avg. precision", f"{_percent(figures['mean_average_precision'])} ({guess})"),
            *(
                (f"{name} of classes", _percent(figures[f"mean_{name.lower()}"]))
                for name in ("Precision", "Recall", "F1")
            ),
        ]

    def explained(self) -> str:
        """Returns what the table says below its figures, in sentences."""
        left_out = self.figures()["classes_left_out"]
        text = (
            " Videos may have several labels: top-1 says that the best class is one of them. "
            "Precision, recall and F1 are means over classes, at the model's thresholds."
        )
        if left_out:
            text += f" Classes of no video are left out of the means: {some(left_out)}."
        return text

    def _class_figures(self) -> dict[str, Any]:
        by_class, there = self.by_class(), self.labels.any(axis=0)
        right = int((self.labels & self.positive).sum())
        return {
            "mean_average_precision": _mean(self.average_precision[there]),
            "mean_average_precision_interval": self.precision_interval,
            "chance_average_precision": _mean(self.labels.mean(axis=0)[there]),
            # Of a class that is never named the precision is 0.
            "mean_precision": _mean(np.nan_to_num(by_class.precision[there])),
            "mean_recall": _mean(by_class.recall[there]),
            "mean_f1": _mean(by_class.f1[there]),
            "micro_f1": 2 * right / max(1, int(self.labels.sum() + self.positive.sum())),
            "classes_left_out": [c for c, one in zip(self.classes, there, strict=True) if not one],
        }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _percent(share: float | None) -> str:
    return "     -" if share is None else f"{share:6.1%}"
