"""Which pixels of a frame the network sees: places, sizes and flips of crops."""

import dataclasses
import math
from collections.abc import Sequence

from numpy.random import Generator


@dataclasses.dataclass(frozen=True)
class Crop:
    """A rectangle of a frame, in pixels.

    Attributes:
        scale: of a placed square, its side before rounding as a share of the frame's short side; of
            a random resized crop, its area as a share of the frame's.
    """

    top: int
    left: int
    height: int
    width: int
    flip: bool = False  # mirrors it left to right
    scale: float = 1.0


_TRIES = 10  # rectangles that may fail to fit, before a random resized crop takes the center

# Share of the free rows above the crop, share of the free columns left of it.
POSITIONS = {
    "center": (0.5, 0.5),
    "top_left": (0.0, 0.0),
    "top_right": (0.0, 1.0),
    "bottom_left": (1.0, 0.0),
    "bottom_right": (1.0, 1.0),
}


def place(height: int, width: int, scale: float, position: str, flip: bool = False) -> Crop:
    """Places a square crop of `scale` times the short side at one of `POSITIONS`."""
    side = max(1, round(min(height, width) * scale))
    down, right = POSITIONS[position]
    top, left = int((height - side) * down), int((width - side) * right)
    return Crop(top, left, side, side, flip, scale)


def center(height: int, width: int) -> Crop:
    """Returns the largest centered square, the crop of the paper's evaluation."""
    return place(height, width, 1.0, "center")


def whole(height: int, width: int) -> Crop:
    """Returns all of the frame, which is later scaled to a square whatever its shape."""
    return Crop(0, 0, height, width)


# Squares of an evaluation: share of the short side, and positions; mirrored ones are added.
_VIEWS: dict[int, tuple[float, tuple[str, ...]]] = {
    1: (1.0, ("center",)),
    3: (1.0, ("top_left", "center", "bottom_right")),
    10: (0.875, ("center", "top_left", "top_right", "bottom_left", "bottom_right")),
}


@dataclasses.dataclass(frozen=True)
class Views:
    """The crops of each frame in an evaluation.

    1: the largest centered square. 3: the largest squares at both ends and in the middle of the
    long side. 10: squares of 7/8 of the short side in the center and the corners, and the same
    mirrored. If `whole`, 1 is all of the frame, made square; 2 adds the largest centered square.

    Reference:
        3: Wang et al., Non-local Neural Networks, CVPR 2018, section 4.1. 10: Krizhevsky et al.,
        ImageNet Classification with Deep CNNs, NIPS 2012, section 4.1 (there 224 of 256 pixels).
    """

    count: int
    whole: bool = False

    @property
    def middle(self) -> int:
        """Number of the crop that shows the middle of the frame, or all of it."""
        return 1 if self.count == 3 else 0

    def crops(self, height: int, width: int) -> list[Crop]:
        """Returns the crops of a frame."""
        if self.whole and self.count <= 2:
            return [whole(height, width), center(height, width)][: self.count]
        scale, positions = _VIEWS[self.count]
        flips = (False, True) if self.count == 2 * len(positions) else (False,)
        return [
            place(height, width, scale, position, flip) for flip in flips for position in positions
        ]


def random_crop(
    rng: Generator,
    height: int,
    width: int,
    scales: Sequence[float],
    positions: Sequence[str],
    flip: bool,
) -> Crop:
    """Draws position, scale and, if `flip`, mirroring of a square crop, each uniformly.

    Reference:
        Hara et al., Learning Spatio-Temporal Features with 3D Residual Networks for Action
        Recognition, ICCVW 2017, section 3.2 (4 corners or center, 5 scales).
    """
    position = positions[rng.integers(len(positions))]
    scale = scales[rng.integers(len(scales))]
    return place(height, width, scale, position, flip and bool(rng.integers(2)))


def random_resized_crop(
    rng: Generator,
    height: int,
    width: int,
    area: Sequence[float],
    aspect: Sequence[float],
    flip: bool,
) -> Crop:
    """Draws a rectangle by its area and shape, then its place; if `flip`, mirrors half of them.

    Its share of the frame's area, and the logarithm of width:height, are uniform between limits.
    The first of ten rectangles that fits into the frame is taken, else the largest centered one of
    an allowed shape, whatever its area.

    Reference:
        Szegedy et al., Going Deeper with Convolutions, CVPR 2015, section 6,
        https://arxiv.org/abs/1409.4842, as torchvision draws it.
    """
    for _ in range(_TRIES):
        pixels = height * width * rng.uniform(area[0], area[1])
        shape = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        rows, columns = round(math.sqrt(pixels / shape)), round(math.sqrt(pixels * shape))
        if 1 <= rows <= height and 1 <= columns <= width:
            top = int(rng.integers(height - rows + 1))
            left = int(rng.integers(width - columns + 1))
            break
    else:
        rows = max(1, min(height, round(width / aspect[0])))
        columns = max(1, min(width, round(height * aspect[1])))
        top, left = (height - rows) // 2, (width - columns) // 2
    share = rows * columns / (height * width)
    return Crop(top, left, rows, columns, flip and bool(rng.integers(2)), share)
