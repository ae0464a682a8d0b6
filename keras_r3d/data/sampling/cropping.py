"""Which pixels of a frame the network sees: places, sizes and flips of crops."""

import dataclasses
import math
from collections.abc import Sequence

from numpy.random import Generator


@dataclasses.dataclass(frozen=True)
class Crop:
    """A rectangle of a frame, in pixels.

    Attributes:
        scale: of a placed crop, its height before rounding as a share of the largest's; of a random
            resized crop, its area as a share of the frame's.
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


def place(
    height: int, width: int, scale: float, position: str, flip: bool = False, aspect: float = 1.0
) -> Crop:
    """Places a crop of `scale` times the largest of its width:height at one of `POSITIONS`."""
    largest = min(height, width / aspect)
    rows, columns = max(1, round(largest * scale)), max(1, round(largest * aspect * scale))
    down, right = POSITIONS[position]
    top, left = int((height - rows) * down), int((width - columns) * right)
    return Crop(top, left, rows, columns, flip, scale)


def center(height: int, width: int, aspect: float = 1.0) -> Crop:
    """Returns the largest centered crop of a width:height, that of the paper's evaluation."""
    return place(height, width, 1.0, "center", aspect=aspect)


def whole(height: int, width: int) -> Crop:
    """Returns all of the frame, which is later scaled to the clip whatever its shape."""
    return Crop(0, 0, height, width)


# Crops of an evaluation: share of the largest, and positions; mirrored ones are added.
_VIEWS: dict[int, tuple[float, tuple[str, ...]]] = {
    1: (1.0, ("center",)),
    3: (1.0, ("top_left", "center", "bottom_right")),
    10: (0.875, ("center", "top_left", "top_right", "bottom_left", "bottom_right")),
}


@dataclasses.dataclass(frozen=True)
class Views:
    """The crops of each frame in an evaluation, and the height and width they are scaled to.

    1: the largest centered crop of the shape of `size`. 3: the largest ones at both ends and in the
    middle of what is left free. 10: crops of 7/8 of their sides in the center and the corners, and
    the same mirrored. If `whole`, 1 is all of the frame; 2 adds the largest centered crop.
    `share` of the largest is the most that a crop's sides may be otherwise.

    Reference:
        3: Wang et al., Non-local Neural Networks, CVPR 2018, section 4.1. 10: Krizhevsky et al.,
        ImageNet Classification with Deep CNNs, NIPS 2012, section 4.1 (there 224 of 256 pixels).
    """

    count: int
    size: tuple[int, int]
    whole: bool = False
    share: float = 1.0

    @property
    def middle(self) -> int:
        """Number of the crop that shows the middle of the frame, or all of it."""
        return 1 if self.count == 3 else 0

    def crop(self, number: int, height: int, width: int) -> Crop:
        """Returns one of the crops of a frame."""
        return self.crops(height, width)[number]

    def crops(self, height: int, width: int) -> list[Crop]:
        """Returns the crops of a frame."""
        aspect = self.size[1] / self.size[0]
        if self.whole and self.count <= 2:
            return [whole(height, width), center(height, width, aspect)][: self.count]
        scale, positions = _VIEWS[self.count]
        scale = min(scale, self.share)
        flips = (False, True) if self.count == 2 * len(positions) else (False,)
        return [
            place(height, width, scale, position, flip, aspect)
            for flip in flips
            for position in positions
        ]


def random_crop(
    rng: Generator,
    height: int,
    width: int,
    scales: Sequence[float],
    positions: Sequence[str],
    flip: bool,
    aspect: float = 1.0,
) -> Crop:
    """Draws position, scale and, if `flip`, mirroring of a crop of a width:height, each uniformly.

    Reference:
        Hara et al., Learning Spatio-Temporal Features with 3D Residual Networks for Action
        Recognition, ICCVW 2017, section 3.2 (4 corners or center, 5 scales).
    """
    position = positions[rng.integers(len(positions))]
    scale = scales[rng.integers(len(scales))]
    return place(height, width, scale, position, flip and bool(rng.integers(2)), aspect)


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
