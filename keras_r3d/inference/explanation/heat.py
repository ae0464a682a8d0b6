"""Heat over a clip, how strongly each pixel speaks for a class: NumPy only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Heat = NDArray[np.float32]


def enlarge(
    maps: NDArray[np.floating], shape: Sequence[int], first: Sequence[float], steps: Sequence[int]
) -> Heat:
    """Spreads maps of cells over the pixels of clips, linearly: float32 `(clips, *shape)`.

    The center of a cell keeps its value; beyond the outer centers the value stays.

    Args:
        first: frame, row and column at the center of the first cell.
        steps: frames, rows and columns from one cell to the next.
    """
    for axis, (size, start, step) in enumerate(zip(shape, first, steps, strict=True), start=1):
        last = maps.shape[axis] - 1
        place = np.clip((np.arange(size) - start) / step, 0, last)
        below = np.minimum(place.astype(int), max(0, last - 1))
        share = (place - below).reshape([-1, *[1] * (maps.ndim - axis - 1)])
        above = np.minimum(below + 1, last)
        maps = np.take(maps, below, axis) * (1 - share) + np.take(maps, above, axis) * share
    return maps.astype(np.float32)


def normalized(heat: NDArray[np.floating]) -> Heat:
    """Keeps what is above 0 of each clip, `(clips, …)`, and scales the largest value to 1."""
    heat = np.maximum(heat, 0)
    most = heat.max(axis=tuple(range(1, heat.ndim)), keepdims=True)
    return np.divide(heat, most, out=np.zeros_like(heat), where=most > 0).astype(np.float32)


def rank_correlation(heat: Heat, other: Heat) -> float:
    """Returns Spearman's rank correlation of two heats, -1 to 1; NaN if either is constant.

    Values that are equal share their mean rank.
    """
    ranks = []
    for values in (heat, other):
        _, place, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[place])
        if len(counts) == 1:
            return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def overlap(heat: Heat, other: Heat, hottest: float = 0.1) -> float:
    """Returns the share of the hottest pixels that are the other's, too; by chance `hottest`."""
    count = max(1, round(hottest * heat.size))
    order, others = (np.argsort(-values.ravel(), kind="stable") for values in (heat, other))
    return len(np.intersect1d(order[:count], others[:count])) / count
