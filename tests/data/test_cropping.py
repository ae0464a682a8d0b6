import dataclasses

import numpy as np
import pytest
from chances import Numbered
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d import recipe
from keras_r3d.data import clips
from keras_r3d.data.sampling import augmentation, cropping
from keras_r3d.recipe.clips import MultiScale, Uniform, Whole

SQUARE = (16, 16)
UNIFORM = dataclasses.replace(
    recipe.load("kinetics34").clips, frames=1, size=16, sampling=Uniform()
)

sides = st.integers(1, 400)
SCALES = tuple(2 ** (-k / 4) for k in range(5))


@given(sides, sides, st.integers(0, 2**32))
def test_a_crop_lies_inside_the_frame(height, width, seed):
    crop = cropping.random_crop(
        np.random.default_rng(seed), height, width, SCALES, list(cropping.POSITIONS), True
    )
    assert crop.height == crop.width >= 1
    assert 0 <= crop.top <= height - crop.height
    assert 0 <= crop.left <= width - crop.width


def test_positions_are_the_corners_and_the_center():
    places = {name: cropping.place(100, 200, 0.5, name) for name in cropping.POSITIONS}
    assert {name: (c.top, c.left, c.height, c.width) for name, c in places.items()} == {
        "center": (25, 75, 50, 50),
        "top_left": (0, 0, 50, 50),
        "top_right": (0, 150, 50, 50),
        "bottom_left": (50, 0, 50, 50),
        "bottom_right": (50, 150, 50, 50),
    }


def test_evaluation_takes_the_largest_centered_square():
    assert cropping.center(240, 320) == cropping.Crop(0, 40, 240, 240)


def test_evaluation_may_take_a_part_of_it():
    """I3D's: 224 of 256 pixels."""
    cut = recipe.load("i3d").clips
    views = clips.views_of(cut, 1)
    assert views.crops(256, 340) == [cropping.Crop(16, 58, 224, 224, scale=0.875)]
    ends = [(crop.left, crop.width) for crop in clips.views_of(cut, 3).crops(256, 340)]
    assert ends == [(0, 224), (58, 224), (116, 224)]
    tall = dataclasses.replace(cut, crop=MultiScale(center=0.5))
    assert clips.views_of(tall, 1).crops(256, 340)[0].height == 128


limits = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted)
shapes = st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)).map(sorted)


@given(sides, sides, limits, shapes, st.integers(0, 2**32))
def test_a_random_resized_crop_lies_inside_the_frame_and_its_limits(
    height, width, area, aspect, seed
):
    rng = np.random.default_rng(seed)
    crop = cropping.random_resized_crop(rng, height, width, area, aspect, True)
    rows, columns = crop.height, crop.width
    assert min(rows, columns) >= 1
    assert 0 <= crop.top <= height - rows
    assert 0 <= crop.left <= width - columns
    assert crop.scale == rows * columns / (height * width)
    # Sides are rounded to pixels.
    least, most = (rows - 0.5) * (columns - 0.5), (rows + 0.5) * (columns + 0.5)
    area_fits = least <= area[1] * height * width and most >= area[0] * height * width
    narrowest, widest = (columns - 0.5) / (rows + 0.5), (columns + 0.5) / (rows - 0.5)
    shape_fits = narrowest <= aspect[1] and widest >= aspect[0]
    shape = min(max(width / height, aspect[0]), aspect[1])
    largest = max(1, min(height, width / shape)), max(1, min(width, height * shape))
    is_largest = np.allclose((rows, columns), largest, atol=0.5 + 1e-9)
    is_centered = abs(height - rows - 2 * crop.top) <= 1 >= abs(width - columns - 2 * crop.left)
    assert (area_fits and shape_fits) or (is_largest and is_centered)


@pytest.mark.parametrize(
    ("height", "width", "area", "aspect", "expected"),
    [
        (100, 300, (1, 1), (0.5, 2), (0, 50, 100, 200)),  # the frame is too wide
        (300, 100, (1, 1), (0.5, 2), (50, 0, 200, 100)),  # too high
        (100, 300, (0.9, 0.9), (1, 1), (0, 100, 100, 100)),  # no square is that large
        (1, 400, (0.01, 0.01), (1, 1), (0, 199, 1, 1)),
    ],
)
def test_where_no_rectangle_fits_the_largest_centered_one_is_taken(
    height, width, area, aspect, expected
):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        crop = cropping.random_resized_crop(rng, height, width, area, aspect, False)
        assert (crop.top, crop.left, crop.height, crop.width) == expected


def test_without_flip_nothing_is_mirrored():
    rng = np.random.default_rng(0)
    crops = [cropping.random_crop(rng, 50, 60, [1.0], ["center"], False) for _ in range(50)]
    crops += [
        cropping.random_resized_crop(rng, 50, 60, (0.1, 1), (0.5, 2), False) for _ in range(50)
    ]
    assert not any(crop.flip for crop in crops)


def test_colors_change_alike_in_all_frames_and_not_at_strength_0():
    clip = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    clip = np.repeat(clip, 3, axis=0)
    same = augmentation.look_up(augmentation.random_table(np.random.default_rng(1), 0.0), clip)
    assert (same == clip).all()
    changed = augmentation.look_up(augmentation.random_table(np.random.default_rng(1), 0.4), clip)
    assert changed.dtype == np.uint8
    assert (changed != clip).any()
    assert (changed[0] == changed[1]).all()
    assert (changed[0] == changed[2]).all()


def test_a_color_table_keeps_channels_apart():
    table = np.stack([np.arange(256), 255 - np.arange(256), np.full(256, 7)], 1).astype(np.uint8)
    pixel = np.array([10, 20, 30], np.uint8).reshape(1, 1, 1, 3)
    assert augmentation.look_up(table, pixel).ravel().tolist() == [10, 235, 7]


@given(sides, sides, st.integers(16, 400), st.integers(16, 400))
def test_a_crop_has_the_shape_of_the_clip_and_is_the_largest(height, width, rows, columns):
    crop = cropping.center(height, width, columns / rows)
    assert crop.height == height or crop.width == width
    assert crop.height <= height
    assert crop.width <= width
    for ours, exact in (
        (crop.width, min(width, height * columns / rows)),
        (crop.height, min(height, width * rows / columns)),
    ):
        assert ours == max(1, round(exact)) or abs(abs(ours - exact) - 0.5) < 1e-6
    assert abs(2 * crop.top + crop.height - height) <= 1
    assert abs(2 * crop.left + crop.width - width) <= 1


def test_crops_that_are_not_square():
    crop = cropping.Crop
    # C3D's frames: those of 4:3 lose rows, those of 16:9 columns.
    assert cropping.center(240, 320, 171 / 112) == crop(15, 0, 210, 320)
    assert cropping.center(360, 640, 171 / 112) == crop(0, 45, 360, 550)
    assert cropping.center(112, 171, 171 / 112) == crop(0, 0, 112, 171)
    assert cropping.place(100, 400, 0.5, "bottom_right", aspect=2.0) == crop(
        50, 300, 50, 100, False, 0.5
    )
    assert cropping.Views(3, (50, 100)).crops(100, 400) == [
        *(crop(0, 0, 100, 200), crop(0, 100, 100, 200), crop(0, 200, 100, 200))
    ]
    assert cropping.Views(3, (50, 100)).crops(400, 200) == [
        *(crop(0, 0, 100, 200), crop(150, 0, 100, 200), crop(300, 0, 100, 200))
    ]
    assert cropping.Views(2, (50, 100), whole=True).crops(100, 400) == [
        *(crop(0, 0, 100, 400), crop(0, 100, 100, 200))
    ]
    tall = dataclasses.replace(UNIFORM, size=(200, 100), crop=MultiScale((1.0, 0.5)), flip=False)
    rng = np.random.default_rng(0)
    drawn = {clips.training_clip(Numbered(3, 400, 900), None, tall, rng).crop for _ in range(200)}
    assert {(c.height, c.width) for c in drawn} == {(400, 200), (200, 100)}
    assert len(drawn) == 3 + 5  # the largest are as high as the frame
    middle = clips.middle_clip(Numbered(3, 400, 900), None, tall)
    assert (middle.crop, middle.pixels.shape) == (crop(0, 350, 400, 200), (1, 200, 100, 3))


def test_one_view_is_the_center():
    assert cropping.Views(1, SQUARE).crops(100, 200) == [cropping.center(100, 200)]


@pytest.mark.parametrize(("height", "width"), [(100, 200), (200, 100), (90, 90)])
def test_three_views_are_the_largest_squares_along_the_long_side(height, width):
    found = cropping.Views(3, SQUARE).crops(height, width)
    side = min(height, width)
    assert [(crop.height, crop.width, crop.flip) for crop in found] == [(side, side, False)] * 3
    ends = [(0, 0), ((height - side) // 2, (width - side) // 2), (height - side, width - side)]
    assert [(crop.top, crop.left) for crop in found] == ends


def test_ten_views_are_center_and_corners_and_the_same_mirrored():
    found = cropping.Views(10, SQUARE).crops(128, 256)
    places = [(8, 72), (0, 0), (0, 144), (16, 0), (16, 144)]
    assert [(crop.top, crop.left) for crop in found] == places * 2
    assert [crop.flip for crop in found] == [False] * 5 + [True] * 5
    assert {(crop.height, crop.width) for crop in found} == {(112, 112)}


def test_whole_views_are_all_of_the_frame_and_its_center():
    everything, center = cropping.Crop(0, 0, 100, 200), cropping.Crop(0, 50, 100, 100)
    assert cropping.Views(1, SQUARE, whole=True).crops(100, 200) == [everything]
    assert cropping.Views(2, SQUARE, whole=True).crops(100, 200) == [everything, center]
    for count in (3, 10):  # squares along the long side show all of it already
        views = cropping.Views(count, SQUARE)
        assert cropping.Views(count, SQUARE, whole=True).crops(100, 200) == views.crops(100, 200)


@pytest.mark.parametrize(
    "views",
    [*(cropping.Views(count, SQUARE) for count in (1, 3, 10)), cropping.Views(2, SQUARE, True)],
    ids=str,
)
def test_the_middle_view_is_in_the_middle_and_not_mirrored(views):
    crops = views.crops(96, 160)
    assert len(crops) == views.count
    crop = crops[views.middle]
    assert (2 * crop.top + crop.height, 2 * crop.left + crop.width) == (96, 160)
    assert not crop.flip


def whole_crop(height: int, width: int, seed: int, crop: Whole, flip: bool) -> cropping.Crop:
    data, rng = dataclasses.replace(UNIFORM, crop=crop, flip=flip), np.random.default_rng(seed)
    return clips.training_clip(Numbered(1, height, width), None, data, rng).crop


@given(sides, sides, st.integers(0, 2**32))
def test_a_random_whole_crop_without_room_is_the_whole_frame(height, width, seed):
    crop = whole_crop(height, width, seed, Whole(), flip=False)
    assert crop == cropping.whole(height, width) == cropping.Crop(0, 0, height, width)


@given(st.integers(40, 400), st.integers(40, 400), st.integers(0, 2**32))
def test_a_random_whole_crop_is_nearly_all_and_of_nearly_the_frames_shape(height, width, seed):
    crop = whole_crop(height, width, seed, Whole((0.7, 0.9), (0.9, 1.1)), flip=True)
    assert 0 <= crop.top <= height - crop.height
    assert 0 <= crop.left <= width - crop.width
    rounded = 2 / min(height, width)
    assert 0.7 - rounded <= crop.height * crop.width / (height * width) <= 0.9 + rounded
    assert 0.9 - rounded <= (crop.width / width) / (crop.height / height) <= 1.1 + rounded
