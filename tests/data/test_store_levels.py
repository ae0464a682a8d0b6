"""Which level a crop is cut from, and where: arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d import recipe
from keras_r3d.data.sampling import cropping
from keras_r3d.data.sampling.cropping import Crop
from keras_r3d.data.store import levels
from keras_r3d.data.store.levels import LevelCut, Levels

PAPER = recipe.load("kinetics34").clips
SIDES = st.integers(16, 600)


def test_levels_of_the_paper():
    assert levels.for_crops(PAPER.size, PAPER.crop.scales) == Levels(
        "short_side", (224, 188, 158, 133, 112)
    )


@pytest.mark.parametrize(
    ("height", "width", "by_short_side", "by_height"),
    [
        (360, 640, [(240, 427), (120, 213)], [(240, 427), (120, 213)]),
        (640, 360, [(427, 240), (213, 120)], [(240, 135), (120, 68)]),
        (200, 300, [(200, 300), (120, 180)], [(200, 300), (120, 180)]),
        (300, 100, [(300, 100), (300, 100)], [(240, 80), (120, 40)]),
        (16, 4000, [(16, 4000), (16, 4000)], [(16, 4000), (16, 4000)]),
        (4000, 16, [(4000, 16), (4000, 16)], [(240, 1), (120, 1)]),
    ],
)
def test_sizes_of_a_frame(height, width, by_short_side, by_height):
    assert Levels("short_side", (240, 120)).of(height, width) == by_short_side
    assert Levels("height", (240, 120)).of(height, width) == by_height


@given(
    st.sampled_from(["short_side", "height"]),
    st.lists(SIDES, min_size=1, max_size=5, unique=True),
    st.integers(1, 5000),
    st.integers(1, 5000),
)
def test_no_level_is_larger_than_the_frame(by, sizes, height, width):
    sizes = sorted(sizes, reverse=True)
    found = Levels(by, tuple(sizes)).of(height, width)
    assert len(found) == len(sizes)
    for size, (rows, columns) in zip(sizes, found, strict=True):
        side = height if by == "height" else min(height, width)
        assert 1 <= rows <= height
        assert 1 <= columns <= width
        kept = rows if by == "height" else min(rows, columns)
        assert kept == min(size, side)
        if min(rows, columns) > 1:
            assert rows == pytest.approx(height * kept / side, abs=0.5001)
            assert columns == pytest.approx(width * kept / side, abs=0.5001)
    assert found == sorted(found, reverse=True)


SHAPES = [(360, 640), (640, 360), (480, 480), (224, 398), (1080, 1921), (225, 224), (341, 257)]


@pytest.mark.parametrize("frame", SHAPES)
@pytest.mark.parametrize("flip", [False, True])
def test_crops_of_the_paper_are_cut_and_not_resized(frame, flip):
    sizes = levels.for_crops(PAPER.size, PAPER.crop.scales).of(*frame)
    for number, scale in enumerate(sorted(PAPER.crop.scales)):
        for position, (down, right) in cropping.POSITIONS.items():
            crop = cropping.place(*sizes[0], scale, position, flip)
            height, width = sizes[number]
            top, left = int((height - 112) * down), int((width - 112) * right)
            assert levels.choose(crop, sizes, (112, 112)) == LevelCut(
                number, top, left, 112, 112, 1
            )


@st.composite
def cases(draw):
    """A crop, sizes of a frame, and the side that the network wants."""
    sides = sorted(draw(st.lists(SIDES, min_size=1, max_size=4, unique=True)), reverse=True)
    frame = draw(SIDES), draw(SIDES)
    by = draw(st.sampled_from(["short_side", "height"]))
    sizes = Levels(by, tuple(sides)).of(*frame)
    height, width = sizes[0]
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    rows, columns = draw(st.integers(1, height - top)), draw(st.integers(1, width - left))
    return Crop(top, left, rows, columns), sizes, draw(st.integers(8, 256))


@given(cases())
def test_a_cut_lies_in_its_level_and_is_large_enough(case):
    crop, sizes, size = case
    cut = levels.choose(crop, sizes, (size, size))
    height, width = sizes[cut.level]
    assert cut.top >= 0
    assert cut.left >= 0
    assert 1 <= cut.height <= height - cut.top
    assert 1 <= cut.width <= width - cut.left
    assert cut.shrink in (1, 2, 4, 8)
    assert {n % cut.shrink for n in (cut.top, cut.left, cut.height, cut.width)} == {0}
    # Never enlarged (beyond a pixel) unless the largest level is too small already.
    shown = min(cut.height, cut.width) // cut.shrink
    assert shown >= size or (cut.level == 0 and shown >= min(crop.height, crop.width) - 1)
    assert cut.shrink == 1 or shown < 2 * size or cut.shrink == 8


@given(cases())
def test_the_smallest_level_that_serves_is_taken(case):
    crop, sizes, size = case
    cut = levels.choose(crop, sizes, (size, size))
    for number, (height, width) in enumerate(sizes):
        sides = crop.height * height / sizes[0][0], crop.width * width / sizes[0][1]
        if min(sides) >= size + 1:
            assert cut.level >= number
        if number and min(sides) < size - 1:
            assert cut.level < number


@given(cases())
def test_a_cut_keeps_its_share_of_the_free_space(case):
    crop, sizes, size = case
    cut = levels.choose(crop, sizes, (size, size))
    height, width = sizes[0]
    for place, side, whole, found, kept, there in [
        (crop.top, crop.height, height, cut.top, cut.height, sizes[cut.level][0]),
        (crop.left, crop.width, width, cut.left, cut.width, sizes[cut.level][1]),
    ]:
        if side == whole:
            assert found <= (there - kept) / 2 < found + cut.shrink + 1
            continue
        share = place / (whole - side)
        # To the nearest pixel that shrinking allows.
        assert -cut.shrink < found - share * (there - kept) <= 0.5
        if place == 0:
            assert found == 0
        if place + side == whole:
            assert there - kept - found < cut.shrink


@pytest.mark.parametrize(
    ("side", "size", "shrink"), [(112, 112, 1), (223, 112, 1), (224, 112, 2), (900, 112, 8)]
)
def test_what_is_far_too_large_is_decoded_smaller(side, size, shrink):
    cut = levels.choose(Crop(0, 0, side, side), [(side, 2 * side)], (size, size))
    assert (cut.shrink, cut.height, cut.width) == (
        shrink,
        side - side % shrink,
        side // shrink * shrink,
    )


def test_within_a_pixel_nothing_is_resized():
    for side in (111, 112, 113):
        assert levels.choose(Crop(7, 9, side, side), [(240, 320)], (112, 112)).height == 112
    assert (
        levels.choose(Crop(0, 0, 111, 111), [(111, 200)], (112, 112)).height == 111
    )  # no more is there
    assert levels.choose(Crop(0, 0, 110, 111), [(240, 320)], (112, 112)) == LevelCut(
        0, 0, 0, 110, 112, 1
    )


def test_random_resized_crops_serve_at_each_level():
    rng = np.random.default_rng(0)
    sizes = Levels("short_side", (240, 160, 128)).of(480, 854)
    seen = set()
    for _ in range(300):
        crop = cropping.random_resized_crop(rng, *sizes[0], (0.08, 1.0), (0.75, 4 / 3), True)
        cut = levels.choose(crop, sizes, (64, 64))
        assert min(cut.height, cut.width) // cut.shrink >= min(64, crop.height, crop.width)
        # Its shape is kept: what is seen is neither wider nor narrower than asked for.
        shape = cut.width / cut.height
        assert shape == pytest.approx(crop.width / crop.height, rel=0.04)
        seen.add(cut.level)
    assert seen == {0, 1, 2}
