"""Where the heat over a clip lies."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.inference.explanation.heat import Heat


def share_on(heat: Heat, mask: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns how much of each clip's heat lies on a mask (0-1): float64 `(clips,)`, NaN of none.

    Args:
        heat: float `(clips, frames, height, width)`.
        mask: of the same shape, 0-1.
    """
    axes = tuple(range(1, heat.ndim))
    whole = heat.sum(axis=axes, dtype=np.float64)
    on = (heat * mask).sum(axis=axes, dtype=np.float64)
    return np.divide(on, whole, out=np.full_like(whole, np.nan), where=whole > 0)


def widened(mask: NDArray[np.floating], reach: Sequence[int]) -> NDArray[np.floating]:
    """Widens a mask to every pixel that is no farther from it than `reach` along each axis.

    Args:
        mask: `(clips, frames, height, width)`.
        reach: frames, rows and columns.
    """
    for axis, away in enumerate(reach, start=1):
        width = [(away, away) if number == axis else (0, 0) for number in range(mask.ndim)]
        seen = np.lib.stride_tricks.sliding_window_view(np.pad(mask, width), 2 * away + 1, axis)
        mask = seen.max(axis=-1)
    return mask
