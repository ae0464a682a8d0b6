"""Which colours the network sees: brightness, contrast and tint, alike in all frames of a clip."""

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.uint8]


def random_table(rng: np.random.Generator, strength: float) -> Table:
    """Draws a change of contrast, brightness and tint.

    Args:
        strength: 0 changes nothing; contrast is multiplied by 1 ± `strength`, brightness and each
            channel move by up to 80 `strength` levels.

    Returns:
        uint8 `(256, 3)`, new value of each value of each channel, RGB.
    """
    contrast = rng.uniform(1 - strength, 1 + strength)
    shift = 80 * strength * (rng.uniform(-1, 1) + rng.uniform(-1, 1, 3))
    levels = np.arange(256.0)[:, None]
    return np.clip(np.rint((levels - 128) * contrast + 128 + shift), 0, 255).astype(np.uint8)


def apply(table: Table, clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Looks every value of a clip up in a table.

    Args:
        clip: uint8 `(frames, height, width, 3)`, RGB.

    Returns:
        uint8 of the same shape.
    """
    return np.stack([table[:, channel][clip[..., channel]] for channel in range(3)], axis=-1)
