import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_r3d.data.decoding import decoder
from keras_r3d.export.saved_model import scaling


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (2, height, width, channels), np.uint8)


def difference(ours: tf.Tensor, theirs: np.ndarray) -> np.ndarray:
    assert ours.dtype == tf.uint8
    return np.abs(ours.numpy().astype(int) - theirs)


def filled(frames: np.ndarray, size: int) -> np.ndarray:
    out = np.empty((len(frames), size, size, frames.shape[-1]), np.uint8)
    for frame, into in zip(frames, out, strict=True):
        decoder.fill(into, frame, 0, 0, *frame.shape[:2], False)
    return out


@settings(max_examples=40, deadline=None)
@given(size=st.integers(8, 40), share=st.floats(0, 1), channels=st.sampled_from([2, 3]))
def test_up_to_a_side_of_two_it_is_opencv_to_the_bit(size, share, channels):
    frames = noise(*(max(2, round(2 * size * share)),) * 2, channels)
    assert not difference(scaling.fill(frames, size), filled(frames, size)).any()


@pytest.mark.parametrize("size", [16, 30])
@pytest.mark.parametrize("times", [1, 1.375, 1.4, 1.5, 2, 3, 7])
def test_at_whole_shares_it_is_opencv_to_the_bit(size, times):
    side = round(size * times)
    assert not difference(
        scaling.fill(noise(side, side), size), filled(noise(side, side), size)
    ).any()


@settings(max_examples=30, deadline=None)
@given(size=st.integers(8, 40), times=st.floats(2, 9))
def test_where_it_shrinks_much_it_is_opencv_but_for_roundings(size, times):
    frames = noise(*(round(size * times),) * 2)
    found = difference(scaling.fill(frames, size), filled(frames, size))
    assert found.max() <= 1
    assert (found > 0).mean() < 0.1  # at shares such as 5/2, where many averages are halves


@settings(max_examples=150, deadline=None)
@given(
    size=st.sampled_from([8, 16, 30]),
    sides=st.tuples(st.floats(0.2, 4), st.floats(0.2, 4)),
    channels=st.sampled_from([2, 3]),
)
def test_frames_of_any_shape_are_filled_as_by_opencv(size, sides, channels):
    """To the bit but for averages of areas, where both sides shrink and one of them by over two."""
    height, width = (max(2, round(size * times)) for times in sides)
    frames = noise(height, width, channels)
    found = difference(scaling.fill(frames, size), filled(frames, size))
    if max(height, width) < 2 * size or min(height, width) < size:
        assert not found.any()
    else:
        assert found.max() <= 1
        assert (found > 0).mean() < 0.15


SHAPES = (
    *((1, 1), (16, 15), (16, 16), (16, 22), (16, 23), (23, 16), (16, 31), (31, 32)),
    *((16, 32), (15, 32), (32, 15), (32, 32), (33, 32), (32, 48), (48, 32), (64, 16)),
    *((15, 80), (2, 200)),
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_ways_to_scale_change_at_the_same_shapes(shape):
    found = difference(scaling.fill(noise(*shape), 16), filled(noise(*shape), 16))
    averaged = min(shape) >= 16 and max(shape) >= 32 and shape != (32, 32)
    assert found.max() <= averaged
    assert (found > 0).mean() <= 0.1 * averaged


@settings(max_examples=40, deadline=None)
@given(height=st.integers(4, 120), width=st.integers(4, 120), short_side=st.integers(4, 90))
def test_frames_are_shrunk_as_by_the_reader(height, width, short_side):
    frames = noise(height, width)
    size = decoder.shrunk(frames[0], short_side)
    found = difference(
        scaling.shrink(
            tf.constant(frames), short_side
        ),  # and of another shape it would not broadcast
        np.stack([decoder.resize(frame, *size) for frame in frames]),
    )
    assert found.shape[1:3] == size
    assert found.max() <= 1
    assert (found > 0).mean() < 0.15


def test_a_short_side_of_0_keeps_frames():
    assert scaling.shrink(noise(30, 20), 0).shape == (2, 30, 20, 3)
