import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d.data.sampling import augmentation

sizes = st.integers(16, 40)


def noise(size: int, frames: int = 2) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (frames, size, size, 3), dtype=np.uint8)


@given(sizes, st.integers(0, 2**32))
def test_nothing_changes_at_zero(size, seed):
    change = augmentation.random_matrix(np.random.default_rng(seed), (size, size), 0.0, 0.0, 0.0)
    assert change.dtype == np.float64
    assert (change == [[1, 0, 0], [0, 1, 0]]).all()
    assert (augmentation.warp(change, noise(size)) == noise(size)).all()


@pytest.mark.parametrize("size", [16, 17, 112])
def test_a_quarter_turn_is_that_of_numpy(size):
    for turns in range(-2, 4):
        turned = augmentation.warp(
            augmentation.affine_matrix((size, size), 90 * turns, 0, 0, 0), noise(size)
        )
        assert (turned == np.rot90(noise(size), turns, axes=(1, 2))).all()


def test_a_frame_that_is_not_square_turns_about_its_center():
    clip = np.random.default_rng(0).integers(0, 256, (2, 24, 40, 3), np.uint8)
    turned = augmentation.warp(augmentation.affine_matrix((24, 40), 180, 0, 0, 0), clip)
    assert np.abs(turned.astype(int) - clip[:, ::-1, ::-1]).max() <= 1
    moves = [
        augmentation.random_matrix(np.random.default_rng(seed), (100, 400), 0, 0, 0.5)[:, 2]
        for seed in range(200)
    ]
    assert np.abs(moves).max(axis=0) == pytest.approx([200, 50], rel=0.05)
    for name, far in (("translate_x", 18), ("translate_y", 11)):  # 150/331 of 40 and of 24
        moved = augmentation.OPERATIONS[name](clip, 1.0)
        kept = moved[:, :, far:] if name == "translate_x" else moved[:, far:]
        assert (kept == (clip[:, :, :-far] if name == "translate_x" else clip[:, :-far])).all()


def test_moving_reflects_at_the_border():
    clip = noise(32)
    moved = augmentation.warp(augmentation.affine_matrix((32, 32), 0, 0, right=3, down=-2), clip)
    assert (moved[:, :-2, 3:] == clip[:, 2:, :-3]).all()
    assert (moved[:, :-2, :3] == clip[:, 2:, 3:0:-1]).all()
    assert (moved[:, -2:, 3:] == clip[:, -2:-4:-1, :-3]).all()


def test_moving_fills_the_border_where_asked_to():
    clip = noise(32)
    moved = augmentation.warp(
        augmentation.affine_matrix((32, 32), 0, 0, right=3, down=0), clip, fill=90
    )
    assert (moved[:, :, 3:] == clip[:, :, :-3]).all()
    assert (moved[:, :, :3] == 90).all()


def test_shear_slants_upright_lines_and_keeps_the_center():
    clip = np.zeros((1, 33, 33, 3), np.uint8)
    clip[:, :, 16] = 255
    slanted = augmentation.warp(augmentation.affine_matrix((33, 33), 0, 45, 0, 0), clip)[0, :, :, 0]
    diagonal = np.eye(33)  # the lower end to the right
    diagonal[0, 32] = diagonal[32, 0] = 1  # reflections of both ends
    assert (slanted == 255 * diagonal).all()


def test_a_turn_comes_after_the_slant():
    assert augmentation.affine_matrix((33, 33), 90, 45, 0, 0) @ (16, 32, 1) == pytest.approx(
        (32, 0)
    )


@given(sizes, st.floats(0, 180), st.floats(0, 60), st.floats(0, 0.5), st.integers(0, 2**32))
def test_all_frames_are_changed_alike(size, rotate, shear, translate, seed):
    change = augmentation.random_matrix(
        np.random.default_rng(seed), (size, size), rotate, shear, translate
    )
    clip = np.repeat(noise(size, 1), 3, axis=0)
    before = clip.copy()
    changed = augmentation.warp(change, clip)
    assert changed.dtype == np.uint8
    assert changed.shape == clip.shape
    assert (changed == changed[:1]).all()
    assert (clip == before).all()
