from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d.data import colour, cropping

sides = st.integers(1, 400)
SCALES = tuple(2 ** (-k / 4) for k in range(5))


@given(sides, sides, st.integers(0, 2**32))
def test_a_crop_lies_inside_the_frame(height, width, seed):
    crop = cropping.random_crop(
        np.random.default_rng(seed), height, width, SCALES, list(cropping.POSITIONS), True
    )
    assert crop.side >= 1
    assert 0 <= crop.top <= height - crop.side
    assert 0 <= crop.left <= width - crop.side


def test_positions_are_the_corners_and_the_centre():
    places = {name: cropping.place(100, 200, 0.5, name) for name in cropping.POSITIONS}
    assert {name: (c.top, c.left, c.side) for name, c in places.items()} == {
        "centre": (25, 75, 50),
        "top_left": (0, 0, 50),
        "top_right": (0, 150, 50),
        "bottom_left": (50, 0, 50),
        "bottom_right": (50, 150, 50),
    }


def test_evaluation_takes_the_largest_centred_square():
    assert cropping.centre(240, 320) == cropping.Crop(0, 40, 240)


def test_every_position_scale_and_flip_is_as_likely():
    rng = np.random.default_rng(0)
    draws = 20_000
    counts = Counter(
        cropping.random_crop(rng, 112, 200, SCALES, list(cropping.POSITIONS), True)
        for _ in range(draws)
    )
    # At full scale the top and the bottom of a frame that is 112 high coincide.
    expected = Counter(
        cropping.place(112, 200, scale, position, flip)
        for scale in SCALES
        for position in cropping.POSITIONS
        for flip in (False, True)
    )
    assert set(counts) == set(expected)
    share = draws / 50
    chi_square = sum((counts[c] - n * share) ** 2 / (n * share) for c, n in expected.items())
    assert chi_square < 85  # 45 degrees of freedom: 1 in 3,000 by chance


def test_without_flip_nothing_is_mirrored():
    rng = np.random.default_rng(0)
    crops = [cropping.random_crop(rng, 50, 60, [1.0], ["centre"], False) for _ in range(50)]
    assert not any(crop.flip for crop in crops)


def test_colours_change_alike_in_all_frames_and_not_at_strength_0():
    clip = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    clip = np.repeat(clip, 3, axis=0)
    same = colour.apply(colour.random_table(np.random.default_rng(1), 0.0), clip)
    assert (same == clip).all()
    changed = colour.apply(colour.random_table(np.random.default_rng(1), 0.4), clip)
    assert changed.dtype == np.uint8
    assert (changed != clip).any()
    assert (changed[0] == changed[1]).all()
    assert (changed[0] == changed[2]).all()


def test_a_colour_table_keeps_channels_apart():
    table = np.stack([np.arange(256), 255 - np.arange(256), np.full(256, 7)], 1).astype(np.uint8)
    pixel = np.array([10, 20, 30], np.uint8).reshape(1, 1, 1, 3)
    assert colour.apply(table, pixel).ravel().tolist() == [10, 235, 7]
