"""95 % intervals of accuracies: Wilson's, which have a width even where all are right or all wrong.

Videos are the independent units, never windows: the windows of one video are alike. A share that
counts several things of a video has as many observations as independent ones that would be as
certain: `p (1 - p)` over the variance between videos, and no more than were counted. Where there
is no variance, as where all are right or all wrong, it is the number of videos.

References:
    Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927. For
    clusters: Dean & Pagano, Evaluating confidence interval methods for binomial proportions in
    clustered surveys, Journal of Survey Statistics and Methodology 2015.
"""

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float64]

_Z = 1.959963984540054  # 97.5 % of the normal distribution


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
    there = sizes > 0
    recalls = np.bincount(labels, weights=correct)[there] / sizes[there]
    return np.array(wilson(float(recalls.mean()), there.sum() ** 2 / (1 / sizes[there]).sum()))
