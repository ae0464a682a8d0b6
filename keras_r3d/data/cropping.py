"""Which pixels of a frame the network sees: positions, scales and flips of square crops."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Crop:
    """A square of a frame, in pixels.

    Attributes:
        flip: mirrors it left to right.
        scale: its side as a share of the frame's short side, as it was asked for.
    """

    top: int
    left: int
    side: int
    flip: bool = False
    scale: float = 1.0


# Share of the free rows above the crop, share of the free columns left of it.
POSITIONS = {
    "centre": (0.5, 0.5),
    "top_left": (0.0, 0.0),
    "top_right": (0.0, 1.0),
    "bottom_left": (1.0, 0.0),
    "bottom_right": (1.0, 1.0),
}


def place(height: int, width: int, scale: float, position: str, flip: bool = False) -> Crop:
    """Places a square crop of `scale` times the short side at one of `POSITIONS`."""
    side = max(1, round(min(height, width) * scale))
    down, right = POSITIONS[position]
    return Crop(int((height - side) * down), int((width - side) * right), side, flip, scale)


def centre(height: int, width: int) -> Crop:
    """Returns the largest centred square, the crop of the paper's evaluation."""
    return place(height, width, 1.0, "centre")


def random_crop(
    rng: np.random.Generator,
    height: int,
    width: int,
    scales: Sequence[float],
    positions: Sequence[str],
    flip: bool,
) -> Crop:
    """Draws a training crop: position, scale and, if `flip`, mirroring, each uniformly.

    Reference:
        Hara et al., Learning Spatio-Temporal Features with 3D Residual Networks for Action
        Recognition, ICCVW 2017, section 3.2 (4 corners or centre, 5 scales), after Wang et al.,
        Towards Good Practices for Very Deep Two-Stream ConvNets, 2015.
    """
    position = positions[rng.integers(len(positions))]
    scale = scales[rng.integers(len(scales))]
    return place(height, width, scale, position, flip and bool(rng.integers(2)))
