"""Intervals of accuracies by drawing the videos again: NumPy only.

Videos are drawn, never windows: the windows of one video are alike, and taken for independent they
would make clip accuracy look far more certain than it is.

Percentile intervals, 95 %. If all videos are right (or all wrong) the interval is that one value:
what was not seen is not drawn.

Reference:
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]

_RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)
_SEED = 0
_BLOCK = 2**20  # counts held at a time, 8 MiB


def ratio_intervals(right: NDArray, counted: NDArray) -> Counts:
    """Returns intervals of shares, of sums over videos divided by sums over videos.

    The order of the videos does not matter.

    Args:
        right: `(videos, shares)`, what counts for a share.
        counted: `(videos, shares)`, of how many.

    Returns:
        float64 `(shares, 2)`, low and high; NaN where nothing was counted.
    """
    if not len(right):
        return np.full((right.shape[1], 2), np.nan)
    rows = np.concatenate([right, counted], axis=1).astype(np.float64)
    rows = rows[np.lexsort(rows.T)]
    sums = [drawn @ rows for drawn in _draws(len(rows))]  # exact: whole numbers
    part, whole = np.split(np.concatenate(sums), 2, axis=1)
    return _interval(_ratio(part, whole))


def class_mean_interval(correct: NDArray[np.bool_], labels: NDArray[np.integer]) -> Counts:
    """Returns the interval of the mean class accuracy.

    A class of which no video was drawn is left out of that draw's mean. The order of the videos
    does not matter.

    Args:
        correct: bool `(videos,)`.
        labels: int `(videos,)`.

    Returns:
        float64 `(2,)`, low and high; NaN without videos.
    """
    if not len(labels):
        return np.full(2, np.nan)
    order = np.lexsort((correct, labels))
    correct, labels = correct[order], labels[order]
    first = np.flatnonzero(np.diff(labels, prepend=-1))  # of each class that has videos
    means = []
    for drawn in _draws(len(labels)):
        videos = np.add.reduceat(drawn, first, axis=1)
        recall = _ratio(np.add.reduceat(drawn * correct, first, axis=1), videos)
        means.append(np.nanmean(recall, axis=1))
    return _interval(np.concatenate(means)[:, None])[0]


def _draws(videos: int) -> Iterator[Counts]:
    """Yields how often each video was drawn, in blocks of draws, float64 `(draws, videos)`."""
    rng = np.random.default_rng(_SEED)
    block = max(1, _BLOCK // videos)
    for start in range(0, _RESAMPLES, block):
        draws = min(block, _RESAMPLES - start)
        drawn = rng.integers(videos, size=(draws, videos), dtype=np.int64)
        drawn += np.arange(draws)[:, None] * videos
        counts = np.bincount(drawn.ravel(), minlength=draws * videos)
        yield counts.reshape(draws, videos).astype(np.float64)


def _interval(values: Counts) -> Counts:
    """Returns the percentiles of `(draws, shares)` over the draws, `(shares, 2)`."""
    intervals = np.full((values.shape[1], 2), np.nan)
    for number, column in enumerate(values.T):
        if not np.isnan(column).all():
            intervals[number] = np.nanpercentile(column, _PERCENTILES)
    return intervals


def _ratio(part: Counts, whole: Counts) -> Counts:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
