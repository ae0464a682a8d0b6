"""Accuracy of clips and of videos, by class, their 95 % intervals, and calibration: NumPy only.

Intervals are Wilson's, which have a width even where all are right or all wrong. Videos are the
independent units, never windows: the windows of one video are alike. A share that counts several
things of a video has as many observations as independent ones that would be as certain:
`p (1 - p)` over the variance between videos, and no more than were counted. Where there is no
variance, as where all are right or all wrong, it is the number of videos.

References:
    Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927. For
    clusters: Dean & Pagano, Evaluating confidence interval methods for binomial proportions in
    clustered surveys, Journal of Survey Statistics and Methodology 2015.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]  # (rows, classes)
Labels = NDArray[np.integer]  # (rows,)
Shares = NDArray[np.float64]

BINS = 15  # of confidence, as Guo et al. take
_Z = 1.959963984540054  # 97.5 % of the normal distribution


def topk_correct(scores: Scores, labels: Labels, k: int) -> NDArray[np.bool_]:
    """Tells for each row whether its label is among the `k` highest scores.

    A label that shares its score with others takes the worst place among them, so a constant
    output earns nothing. A row of NaN is never correct.
    """
    label_scores = scores[np.arange(len(labels)), labels]
    not_below = (scores >= label_scores[:, None]).sum(axis=1)
    return (not_below <= k) & ~np.isnan(label_scores)


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


def by_class(matrix: NDArray[np.integer], videos: NDArray[np.int64]) -> ByClass:
    """Returns precision and recall of each class from `confusion`.

    `videos` is `(classes,)`: those that are not in the matrix count as missed.
    """
    right, predicted = matrix.diagonal(), matrix.sum(axis=0)
    f1 = _ratio(2 * right, videos + predicted)
    return ByClass(videos, _ratio(right, predicted), _ratio(right, videos), f1)


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
