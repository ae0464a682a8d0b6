"""How well segments are found in time: average precision at temporal overlap, NumPy only.

Reference:
    Caba Heilbron et al., ActivityNet: A Large-Scale Video Benchmark for Human Activity
    Understanding, CVPR 2015: a segment that is found counts if it overlaps one of the same class,
    which no surer one has taken, by enough of their union.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OVERLAPS = (0.5, 0.75, 0.95)


def overlaps(first: Floats, second: Floats) -> Floats:
    """Returns the share of their union that intervals `(n, 2)` and `(m, 2)` share, `(n, m)`."""
    starts = np.maximum(first[:, None, 0], second[None, :, 0])
    ends = np.minimum(first[:, None, 1], second[None, :, 1])
    shared = np.maximum(0, ends - starts)
    lengths = np.diff(first)[:, :1] + np.diff(second)[:, 0] - shared
    return np.divide(shared, lengths, out=np.zeros(shared.shape), where=lengths > 0)


def average_precision(
    found: Sequence[tuple[Floats, Floats]], true: Sequence[Floats], overlap: float, counts: NDArray
) -> Floats:
    """Returns the average precision of one class in samples of videos, `(samples,)`.

    Precision at each recall is the highest at that recall or above. NaN: no video has the class.

    Args:
        found: of each video, intervals `(n, 2)` and their scores `(n,)`.
        true: of each video, intervals `(m, 2)`.
        overlap: least share of the union.
        counts: how often each video is in a sample, `(samples, videos)`.
    """
    videos = np.repeat(np.arange(len(found)), [len(scores) for _, scores in found])
    places = np.concatenate([np.arange(len(scores)) for _, scores in found])
    scores = np.concatenate([scores for _, scores in found])
    shares = [overlaps(intervals, truth) for (intervals, _), truth in zip(found, true, strict=True)]
    taken = [np.zeros(len(truth), bool) for truth in true]
    right = np.zeros(len(scores), bool)
    order = np.argsort(-scores, kind="stable")
    for rank, number in enumerate(order):
        video = videos[number]
        row = np.where(taken[video], -1.0, shares[video][places[number]])
        if len(row) and row.max() >= overlap:
            taken[video][row.argmax()] = right[rank] = True
    weights = counts[:, videos[order]]
    hits = np.cumsum(right * weights, axis=1)
    precision = hits / np.maximum(1, np.cumsum(weights, axis=1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    total = counts @ np.array([len(truth) for truth in true])
    gained = (precision * right * weights).sum(axis=1)
    return np.divide(gained, total, out=np.full(len(counts), np.nan), where=total > 0)


def mean_average_precision(
    found: Mapping[str, Sequence[tuple[Floats, Floats]]],
    true: Mapping[str, Sequence[Floats]],
    overlap: float,
    counts: NDArray,
) -> Floats:
    """Returns the mean over the classes that have a true segment, `(samples,)`; each as above."""
    values = np.array(
        [average_precision(found[name], true[name], overlap, counts) for name in true]
    )
    there = np.isfinite(values).sum(axis=0)
    sums = np.nansum(values, axis=0)
    return np.divide(sums, there, out=np.full(len(counts), np.nan), where=there > 0)
