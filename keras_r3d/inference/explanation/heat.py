"""Heat over a clip, how strongly each pixel speaks for a class: NumPy only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Heat = NDArray[np.float32]


def enlarge(
    maps: NDArray[np.floating],
    shape: Sequence[int],
    first: Sequence[float],
    steps: Sequence[int],
) -> Heat:
    """Spreads maps of cells over the pixels of a clip, linearly along each axis.

    The center of a cell keeps its value; beyond the outer centers the value stays.

    Args:
        maps: float `(clips, frames, height, width)`, in cells.
        shape: of the clip, `(frames, height, width)`.
        first: frame, row and column at the center of the first cell.
        steps: frames, rows and columns from one cell to the next.

    Returns:
        float32 `(clips, *shape)`.
    """
    for axis, (size, start, step) in enumerate(zip(shape, first, steps, strict=True), start=1):
        last = maps.shape[axis] - 1
        place = np.clip((np.arange(size) - start) / step, 0, last)
        below = np.minimum(place.astype(int), max(0, last - 1))
        share = (place - below).reshape([-1 if one == axis else 1 for one in range(maps.ndim)])
        above = np.minimum(below + 1, last)
        maps = np.take(maps, below, axis) * (1 - share) + np.take(maps, above, axis) * share
    return maps.astype(np.float32)


def normalized(heat: NDArray[np.floating]) -> Heat:
    """Keeps what speaks for the class and scales each clip's largest value to 1.

    Args:
        heat: float `(clips, …)`; a clip without anything above 0 becomes all 0.
    """
    heat = np.maximum(heat, 0)
    most = heat.max(axis=tuple(range(1, heat.ndim)), keepdims=True)
    return np.divide(heat, most, out=np.zeros_like(heat), where=most > 0).astype(np.float32)


def rank_correlation(one: Heat, other: Heat) -> float:
    """Returns Spearman's rank correlation of two heats, -1 to 1; NaN if either is constant.

    Values that are equal share their mean rank.
    """
    first, second = (_ranks(heat.ravel()) for heat in (one, other))
    if min(first.std(), second.std()) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[place]


def overlap(one: Heat, other: Heat, hottest: float = 0.1) -> float:
    """Returns the share of one's hottest pixels that are among the other's; by chance `hottest`."""
    count = max(1, round(hottest * one.size))
    best = [set(np.argsort(-heat.ravel(), kind="stable")[:count].tolist()) for heat in (one, other)]
    return len(best[0] & best[1]) / count
