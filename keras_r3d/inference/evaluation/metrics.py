"""Accuracy of clips and of videos, by class, their 95 % intervals, and calibration: NumPy only.

Labels are class numbers, `(rows,)`; of several labels rows of 0 and 1, `(rows, classes)`.

Intervals are Wilson's, which have a width even where all are right or all wrong. Videos are the
independent units, never windows: the windows of one video are alike. A share that counts several
things of a video has as many observations as independent ones that would be as certain:
`p (1 - p)` over the variance between videos, and no more than were counted. Where there is no
variance, as where all are right or all wrong, it is the number of videos. Those of average
precision, which is no share, are a bootstrap's over videos.

References:
    Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927. For
    clusters: Dean & Pagano, Evaluating confidence interval methods for binomial proportions in
    clustered surveys, Journal of Survey Statistics and Methodology 2015.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]  # (rows, classes)
Labels = NDArray[np.integer]  # (rows,)
Truth = NDArray[np.bool_]  # (rows, classes), of several labels
Shares = NDArray[np.float64]

BINS = 15  # of confidence, as Guo et al. take
_Z = 1.959963984540054  # 97.5 % of the normal distribution
_RESAMPLES = 200


def topk_correct(scores: Scores, labels: NDArray, k: int) -> NDArray[np.bool_]:
    """Tells for each row whether its label, or one of several, is among the `k` highest scores.

    A label that shares its score with others takes the worst place among them, so a constant
    output earns nothing. A row of NaN, or without a label, is never correct.
    """
    is_label = to_truth(labels, scores.shape[1])
    label_scores = np.where(is_label, scores, -np.inf).max(axis=1)
    above = ((scores >= label_scores[:, None]) & ~is_label).sum(axis=1)
    return (above < k) & np.isfinite(label_scores)


def to_truth(labels: NDArray, classes: int) -> Truth:
    """Returns rows of whether a class is a label, bool `(rows, classes)`."""
    return labels > 0 if labels.ndim == 2 else labels[:, None] == np.arange(classes)


def predicted(scores: Scores, labels: Labels) -> NDArray[np.int64]:
    """Returns the class of the highest score of each row, which has no NaN.

    As in `topk_correct`, a label that shares the highest score is not the predicted one: the
    first of the others is.
    """
    best = scores.argmax(axis=1)
    tied = np.flatnonzero((best == labels) & ~topk_correct(scores, labels, 1))
    others = scores[tied]  # a copy
    others[np.arange(len(tied)), labels[tied]] = -np.inf
    best[tied] = others.argmax(axis=1)
    return best


def confusion(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """Counts videos by true class (row) and predicted class (column)."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


@dataclasses.dataclass(frozen=True)
class ByClass:
    """Precision and recall of each class; every array is `(classes,)`."""

    videos: NDArray[np.int64]  # with this label, scored or not
    precision: Shares  # NaN of a class that is never predicted
    recall: Shares  # NaN of a class without videos
    f1: Shares  # NaN of a class without videos that is never predicted

    def columns(self) -> dict[str, Iterable[Any]]:
        """Returns all of them by name."""
        return dict(vars(self))


def by_class(matrix: NDArray[np.integer], videos: NDArray[np.int64]) -> ByClass:
    """Returns precision and recall of each class from `confusion`.

    `videos` is `(classes,)`: those that are not in the matrix count as missed.
    """
    return _by_class(matrix.diagonal(), matrix.sum(axis=0), videos)


def by_label(truth: Truth, positive: Truth) -> ByClass:
    """Returns precision and recall of each class from labels and the classes that were named."""
    return _by_class((truth & positive).sum(axis=0), positive.sum(axis=0), truth.sum(axis=0))


def _by_class(right: NDArray, predicted: NDArray, videos: NDArray) -> ByClass:
    f1 = _ratio(2 * right, videos + predicted)
    return ByClass(videos, _ratio(right, predicted), _ratio(right, videos), f1)


def average_precision(truth: Truth, scores: Scores) -> Shares:
    """Returns the average precision of each class, `(classes,)`; NaN of one that is no label.

    The mean, over the videos with the label, of the precision down to their score; those of equal
    scores are named together. A video without score, NaN, is never named.
    """
    precisions = np.full(truth.shape[1], np.nan)
    for number in np.flatnonzero(truth.any(axis=0)):
        hits, named, _ = _cuts(truth[:, number], scores[:, number])
        gained = np.diff(hits, prepend=0)
        precisions[number] = (gained * hits / named).sum() / truth[:, number].sum()
    return precisions


def best_thresholds(truth: Truth, scores: Scores) -> Shares:
    """Returns the threshold of each class with the highest F1, `(classes,)`, from held-out scores.

    It is midway between the last score that is named and the next; 0.5 of a class that is no label.
    """
    thresholds = np.full(truth.shape[1], 0.5)
    for number in np.flatnonzero((truth & ~np.isnan(scores)).any(axis=0)):
        hits, named, cuts = _cuts(truth[:, number], scores[:, number])
        best = int(np.argmax(hits / (named + truth[:, number].sum())))
        thresholds[number] = (cuts[best] + np.append(cuts, 0.0)[best + 1]) / 2
    return thresholds


def _cuts(is_label: NDArray[np.bool_], scores: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Returns of each different score, the highest first: labels and rows down to it, and it."""
    ranked = scores[order := np.argsort(-scores, kind="stable")]  # NaN comes last
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True) & ~np.isnan(ranked))
    return np.cumsum(is_label[order])[last], last + 1, ranked[last].astype(np.float64)


def auroc(positive: NDArray, negative: NDArray) -> float:
    """Returns how often a positive score `(n,)` is above a negative one, a tie as half; or NaN."""
    if not (len(positive) and len(negative)):
        return float("nan")
    order = np.sort(negative)
    below = np.searchsorted(order, positive) + np.searchsorted(order, positive, side="right")
    return float(below.mean() / 2 / len(order))


def mean_class_accuracy(correct: NDArray[np.bool_], labels: Labels) -> float:
    """Averages the recall of the classes that have videos; NaN without any."""
    if not len(labels):
        return float("nan")
    videos = np.bincount(labels)
    recall = _ratio(np.bincount(labels, weights=correct), videos)
    return float(recall[videos > 0].mean())


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy; every array is `(bins,)`, bins of equal width from 0 to 1.

    The error is the expected calibration error, the mean over all rows of the distance between the
    accuracy and the confidence of their bin; NaN without rows.
    """

    counts: NDArray[np.int64]  # rows whose highest score lies in the bin
    confidence: Shares  # mean of these scores; NaN of an empty bin
    accuracy: Shares  # share of these rows that are right; NaN of an empty bin
    error: float


def calibration(scores: Scores, labels: Labels, bins: int = BINS) -> Calibration:
    """Compares the confidence of predictions, probabilities without NaN, with their accuracy.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2,
        https://arxiv.org/abs/1706.04599. Bins are open below and closed above, as there.
    """
    confidence = scores.max(axis=1).astype(np.float64)
    correct = topk_correct(scores, labels, 1)
    place = np.ceil(confidence * bins).astype(np.int64) - 1
    place = place.clip(0, bins - 1)  # rounding lifts float32 probabilities above 1
    counts = np.bincount(place, minlength=bins)
    sure = np.bincount(place, weights=confidence, minlength=bins)
    right = np.bincount(place, weights=correct, minlength=bins)
    error = float(np.abs(right - sure).sum() / len(labels)) if len(labels) else float("nan")
    return Calibration(counts, _ratio(sure, counts), _ratio(right, counts), error)


def _ratio(part: NDArray, whole: NDArray) -> Shares:
    """Divides; NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def wilson(share: float, observations: float) -> tuple[float, float]:
    """Returns the interval of a share of independent observations, low and high."""
    square = _Z**2 / observations
    middle = (share + square / 2) / (1 + square)
    half = (
        _Z / (1 + square) * np.sqrt(share * (1 - share) / observations + square / observations / 4)
    )
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def resamples(videos: int) -> NDArray[np.int64]:
    """Returns how often each video is in a bootstrap's samples, `(1 + samples, videos)`.

    The first holds each once, the others are drawn, always the same.
    """
    shares = np.full(videos, 1 / max(1, videos))
    drawn = np.random.default_rng(0).multinomial(videos, shares, _RESAMPLES)
    return np.concatenate([np.ones((1, videos), np.int64), drawn])


def bootstrap_interval(values: NDArray) -> list[float] | None:
    """Returns the interval of a figure by its values in `resamples`; None without any."""
    drawn = values[1:][np.isfinite(values[1:])]
    return np.quantile(drawn, [0.025, 0.975]).tolist() if len(drawn) else None


def ratio_intervals(right: NDArray, counted: NDArray) -> Shares:
    """Returns intervals of sums over videos divided by sums over videos, `(videos, shares)`.

    They are `(shares, 2)`, low and high; NaN where nothing was counted.
    """
    intervals = np.full((right.shape[1], 2), np.nan)
    for number, (part, whole) in enumerate(zip(right.T, counted.T, strict=True)):
        total = whole.sum()
        if not total:
            continue
        share = part.sum() / total
        if np.allclose(part, share * whole):  # but for roundings
            observations = float(np.count_nonzero(whole))
        else:
            variance = ((part - share * whole) ** 2).sum() / total**2
            observations = min(total, share * (1 - share) / variance)
        intervals[number] = wilson(float(share), float(observations))
    return intervals


def class_mean_interval(correct: NDArray[np.bool_], labels: NDArray[np.integer]) -> Shares:
    """Returns the interval of the mean class accuracy, low and high; NaN without videos.

    It is as certain as the accuracy of as many videos as the harmonic mean of the classes' sizes,
    times the number of classes.
    """
    if not len(labels):
        return np.full(2, np.nan)
    sizes = np.bincount(labels)
    sizes = sizes[sizes > 0]
    mean = mean_class_accuracy(correct, labels)
    return np.array(wilson(mean, len(sizes) ** 2 / (1 / sizes).sum()))


def mcnemar(only_first: int, only_second: int) -> float:
    """Returns the p value, two-sided, of McNemar's exact test of two classifiers.

    The numbers are those of the videos that only one of them gets right; by chance each falls to
    either with the same probability.

    Reference:
        McNemar, Note on the sampling error of the difference between correlated proportions or
        percentages, Psychometrika 1947.
    """
    count = only_first + only_second
    tail = sum(math.comb(count, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**count)  # of whole numbers, which have no limits


def difference_interval(only_first: int, only_second: int, videos: int) -> tuple[float, float]:
    """Returns the interval of a difference of accuracies, the first minus the second.

    By the bootstrap: the videos, of which some only one classifier gets right, are drawn again
    10,000 times with replacement; 95 % of the differences lie between the limits.
    """
    shares = np.array([only_first, only_second, videos - only_first - only_second]) / videos
    drawn = np.random.default_rng(0).multinomial(videos, shares, 10_000)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / videos, [0.025, 0.975])
    return float(low), float(high)
