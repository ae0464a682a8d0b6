import dataclasses
from collections import Counter

import cv2
import numpy as np
import pytest
from chances import LEAST_P, Numbered, generators, p_value
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from keras_r3d import recipe
from keras_r3d.data import clips
from keras_r3d.data.sampling import augmentation
from keras_r3d.recipe.clips import Augment, RandAugment

GEOMETRY = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
names = st.sampled_from(list(augmentation.OPERATIONS))
strengths = st.floats(-1, 1)


def picture(seed: int, size: int = 32, frames: int = 4) -> np.ndarray:
    """Smooth colors, not all of the range, other ones in each frame."""
    coarse = np.random.default_rng(seed).integers(20, 230, (frames, 4, 4, 3), dtype=np.uint8)
    return np.stack([cv2.resize(frame, (size, size)) for frame in coarse])


def changed(name: str, strength: float, clip: np.ndarray) -> np.ndarray:
    return augmentation.apply_operations([(name, strength)], clip)


@given(names, strengths, st.integers(0, 100), st.sampled_from([16, 33, 64]))
def test_a_clip_stays_a_clip_and_is_not_written_to(name, strength, seed, size):
    clip = picture(seed, size)
    before = clip.copy()
    after = changed(name, strength, clip)
    assert after.dtype == np.uint8
    assert after.shape == clip.shape
    assert (clip == before).all()


@given(names, strengths, st.integers(0, 100))
def test_equal_frames_stay_equal(name, strength, seed):
    clip = np.repeat(picture(seed, frames=1), 3, axis=0)
    after = changed(name, strength, clip)
    assert (after == after[:1]).all()


@given(st.sampled_from(sorted({*augmentation.OPERATIONS} - {*GEOMETRY, "sharpness"})), strengths)
def test_a_color_becomes_the_same_color_in_all_frames(name, strength):
    """Nothing flickers: frames of other contents are changed by the same table."""
    clip = picture(1)
    clip[:, :8, :8] = (90, 140, 200)
    corner = changed(name, strength, clip)[:, :8, :8]
    assert (corner == corner[0, 0, 0]).all()


@pytest.mark.parametrize("name", sorted({*augmentation.OPERATIONS} - {"autocontrast", "equalize"}))
def test_magnitude_0_changes_nothing(name):
    clip = picture(2)
    clip[0, 0, :2] = [[0], [255]]
    assert np.abs(changed(name, 0, clip).astype(int) - clip).max() <= (name == "color")


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_a_clip_of_one_color_stays_as_it_is(name):
    clip = np.full((2, 16, 16, 3), (0, 77, 255), np.uint8)
    assert (changed(name, 0.3, clip) == clip).all()


def pil(name: str, strength: float, clip: np.ndarray) -> np.ndarray:
    """What PIL makes of the frames, one below the other."""
    image = Image.fromarray(clip.reshape(-1, *clip.shape[2:]))
    changes = {
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(1 + 0.9 * strength),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(1 + 0.9 * strength),
        "color": lambda: ImageEnhance.Color(image).enhance(1 + 0.9 * strength),
        "posterize": lambda: ImageOps.posterize(image, 8 - round(4 * abs(strength))),
        "solarize": lambda: ImageOps.solarize(image, 256 * (1 - abs(strength))),
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
    }
    return np.asarray(changes[name]()).reshape(clip.shape)


@pytest.mark.parametrize("strength", [-1.0, -0.6, -0.2, 0.3, 0.9, 1.0])
@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("brightness", 1),
        ("contrast", 2),
        ("color", 2),
        ("posterize", 0),
        ("solarize", 0),
        ("autocontrast", 1),
        ("equalize", 3),
    ],
)
def test_colors_are_those_of_pil_on_the_whole_clip(name, levels, strength):
    clip = picture(3, 64)
    ours = changed(name, strength, clip).astype(int)
    assert np.abs(ours - pil(name, strength, clip)).max() <= levels
    assert (ours != clip).mean() > 0.02


@pytest.mark.parametrize("strength", [-1.0, 0.3, 1.0])
def test_sharpness_is_that_of_pil_but_for_the_border(strength):
    clip = picture(4)
    ours = changed("sharpness", strength, clip)[:, 1:-1, 1:-1].astype(int)
    for frame, our_frame in zip(clip, ours, strict=True):
        sharp = ImageEnhance.Sharpness(Image.fromarray(frame)).enhance(1 + 0.9 * strength)
        assert np.abs(our_frame - np.asarray(sharp)[1:-1, 1:-1]).max() <= 2


def test_moves_are_exact_and_filled_with_gray():
    clip = picture(5, 331)
    right = changed("translate_x", 1.0, clip)
    assert (right[:, :, 150:] == clip[:, :, :-150]).all()
    assert (right[:, :, :150] == 128).all()
    up = changed("translate_y", -0.5, clip)
    assert (up[:, :-75] == clip[:, 75:]).all()
    assert (up[:, -75:] == 128).all()


@pytest.mark.parametrize(
    ("name", "strength", "x", "y"),
    [
        # A light at (80, 50) of 101, 30 right of the center, or at (50, 80), 30 below it.
        ("rotate", 1.0, 50 + 30 * np.cos(np.pi / 6), 50 - 15),
        ("rotate", -0.5, 50 + 30 * np.cos(np.pi / 12), 50 + 30 * np.sin(np.pi / 12)),
        ("shear_y", 1.0, 80, 59),
        ("shear_y", -1.0, 80, 41),
        ("shear_x", 1.0, 59, 80),
        ("shear_x", -1 / 3, 47, 80),
    ],
)
def test_turns_and_shears_move_a_light_about_the_center(name, strength, x, y):
    clip = np.zeros((1, 101, 101, 3), np.uint8)
    place = (80, 50) if name == "shear_x" else (50, 80)
    clip[0, *place] = 255
    after = changed(name, strength, clip)[0, :, :, 0].astype(float)
    after[after == 128] = 0
    after[[0, -1]] = after[:, [0, -1]] = 0
    rows, columns = np.indices(after.shape)
    light = after * (np.hypot(rows - y, columns - x) < 3)
    assert light.sum() > 100
    assert (light * columns).sum() / light.sum() == pytest.approx(x, abs=0.2)
    assert (light * rows).sum() / light.sum() == pytest.approx(y, abs=0.2)


@given(st.sampled_from(GEOMETRY), strengths, st.integers(2, 58), st.integers(2, 58))
def test_nothing_is_shown_twice_or_mirrored(name, strength, row, column):
    clip = np.full((1, 64, 64, 3), 128, np.uint8)
    clip[0, row : row + 4, column : column + 2] = (255, 128, 128)
    clip[0, row : row + 4, column + 2 : column + 4] = (128, 128, 255)
    red, _, blue = np.moveaxis(changed(name, strength, clip)[0], -1, 0) > 160
    for light in (red, blue):
        assert cv2.connectedComponents(light.astype(np.uint8))[0] <= 2
    if red.sum() > 6 and blue.sum() > 6:
        assert np.nonzero(red)[1].mean() < np.nonzero(blue)[1].mean()


def test_every_operation_and_direction_is_as_likely_and_independent_of_the_last():
    drawn = [augmentation.random_operations(rng, 2, 15) for rng in generators(10_000)]
    both = [(name, by) for name in augmentation.OPERATIONS for by in (-0.5, 0.5)]
    for place in range(2):
        counts = Counter(operations[place] for operations in drawn)
        assert p_value(counts, dict.fromkeys(both, 1)) > LEAST_P
    pairs = Counter((first, second) for (first, _), (second, _) in drawn)
    every = {
        (one, other): 1 for one in augmentation.OPERATIONS for other in augmentation.OPERATIONS
    }
    assert p_value(pairs, every) > LEAST_P


def test_operations_come_one_after_the_other():
    clip = picture(6)
    both = augmentation.apply_operations([("posterize", 1.0), ("brightness", 0.5)], clip)
    assert (both == changed("brightness", 0.5, changed("posterize", 1.0, clip))).all()


def test_training_clips_are_changed_as_drawn_and_only_if_asked_for():
    data = dataclasses.replace(recipe.load("kinetics34").clips, size=32)
    augmented = dataclasses.replace(data, augment=Augment(randaugment=RandAugment(2, 20.0)))
    reader, seen = Numbered(60, 48, 64), 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        plain = clips.training_clip(reader, None, data, rng)
        operations = augmentation.random_operations(rng, 2, 20.0)
        ours = clips.training_clip(reader, None, augmented, np.random.default_rng(seed))
        assert (ours.frame_numbers == plain.frame_numbers).all()
        assert ours.crop == plain.crop
        assert (ours.pixels == augmentation.apply_operations(operations, plain.pixels)).all()
        seen += (ours.pixels != plain.pixels).any()
    assert seen > 10
