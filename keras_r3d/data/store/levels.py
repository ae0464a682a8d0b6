"""Sizes at which a store keeps each frame, and which of them a crop is cut from: arithmetic."""

import dataclasses
from collections.abc import Sequence

from keras_r3d.data.sampling.cropping import Crop

Size = tuple[int, int]  # height, width, in pixels


@dataclasses.dataclass(frozen=True)
class Levels:
    """The sizes of a store in pixels, the largest first."""

    by: str  # "short_side" or "height": what `sizes` are
    sizes: tuple[int, ...]

    def of(self, height: int, width: int) -> list[Size]:
        """Returns the size of a frame at each level; none is larger than the frame."""
        side = height if self.by == "height" else min(height, width)
        scales = [min(1.0, size / side) for size in self.sizes]
        return [(max(1, round(height * s)), max(1, round(width * s))) for s in scales]


def for_crops(size: int, scales: Sequence[float]) -> Levels:
    """Returns the levels from which crops of these scales are cut without being resized.

    Crops are `size` pixels wide as the network sees them; scales are shares of the short side.
    """
    sizes = {round(size / scale) for scale in scales}
    return Levels("short_side", tuple(sorted(sizes, reverse=True)))


@dataclasses.dataclass(frozen=True)
class LevelCut:
    """Where a crop lies at a level."""

    level: int  # its number
    top: int
    left: int
    height: int
    width: int
    shrink: int  # how many times smaller it is decoded, a side


def choose(crop: Crop, sizes: Sequence[Size], size: Sequence[int]) -> LevelCut:
    """Places a crop of the first level at the smallest level that needs not be enlarged for it.

    Where the crop comes out within a pixel of `size`, the clip's as the network sees it, it is cut
    at exactly that, so that nothing is resized; its share of free rows above and of free
    columns to the left stays. `sizes` are those of the frame at each level, the largest first.
    """
    height, width = sizes[0]
    level, best = 0, (crop.height, crop.width)
    for number, (level_height, level_width) in enumerate(sizes):
        sides = (
            _side(crop.height * level_height / height, size[0], level_height),
            _side(crop.width * level_width / width, size[1], level_width),
        )
        if number == 0 or _fits(size, sides):
            level, best = number, sides
    shrink = next(s for s in (8, 4, 2, 1) if s == 1 or _fits((s * size[0], s * size[1]), best))
    rows, columns = (side - side % shrink for side in best)
    free_rows, free_columns = sizes[level][0] - rows, sizes[level][1] - columns
    top = _scaled(crop.top, height - crop.height, free_rows)
    left = _scaled(crop.left, width - crop.width, free_columns)
    return LevelCut(level, top // shrink * shrink, left // shrink * shrink, rows, columns, shrink)


def _fits(size: Sequence[int], sides: Sequence[int]) -> bool:
    return size[0] <= sides[0] and size[1] <= sides[1]


def _side(side: float, size: int, most: int) -> int:
    if abs(side - size) <= 1:
        return min(size, most)
    return min(max(1, round(side)), most)


def _scaled(place: int, free: int, there: int) -> int:
    """Returns the place among `there` free pixels that has the share of `place` among `free`.

    The nearest; of two as near the smaller, as crops are centered (`cropping.place`).
    """
    if free <= 0:
        return there // 2
    return min(there, -((free - 2 * place * there) // (2 * free)))
