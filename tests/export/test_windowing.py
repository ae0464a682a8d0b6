import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_reader import VIDEO, MemoryReader

from keras_r3d import recipe
from keras_r3d.data import clips
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.sampling import temporal
from keras_r3d.export.saved_model import windowing
from keras_r3d.inference.models import averaging

DATA = recipe.load("kinetics34").data


class Counted(MemoryReader):
    """Tells frame numbers only."""

    def __init__(self, count: int):
        Reader.__init__(self)
        self._frames = np.broadcast_to(np.uint8(0), (count, 1, 1, 3))

    def cut(self, source, cuts):
        return []


@functools.cache
def numbering(data: recipe.Data, windows: int):
    spec = tf.TensorSpec((), tf.int64)
    return tf.function(
        lambda count: windowing.frame_numbers(count, data, windows), input_signature=[spec]
    )


def cut_data(frames: int, stride: int, sampling: str) -> recipe.Data:
    return dataclasses.replace(
        DATA, frames=frames, frame_stride=stride, sampling=sampling, size=1, short_side=0
    )


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 400),
    clip=st.sampled_from([(1, 1), (10, 3), (16, 2)]),
    sampling=st.sampled_from(["consecutive", "segments"]),
    windows=st.sampled_from([0, 1, 10]),
)
def test_windows_lie_where_an_evaluation_places_them(count, clip, sampling, windows):
    data = cut_data(*clip, sampling)
    expected = [w.frame_numbers for w in clips.windows(Counted(count), VIDEO, data, windows)]
    found = numbering(data, windows)(tf.constant(count, tf.int64))
    assert found.numpy().tolist() == np.stack(expected).tolist()


@pytest.mark.parametrize("shares", [(1.0,), (1.0, 0.667), (1.0, 2 / 3, 0.5), (0.3, 0.05)], ids=str)
@pytest.mark.parametrize("frames", [1, 7, 16])
def test_spans_lie_where_an_evaluation_places_them(frames, shares):
    """Also in videos so short that some of them are alike."""
    data = dataclasses.replace(cut_data(frames, 1, "uniform"), spans=shares)
    for count in (*range(1, 40), 100, 299, 300, 301, 12_345):
        expected = temporal.spans(count, frames, shares)
        found = numbering(data, 0)(tf.constant(count, tf.int64))
        assert found.numpy().tolist() == [one.tolist() for one in expected]
    taken = [w.frame_numbers.tolist() for w in clips.windows(Counted(count), VIDEO, data)]
    assert taken == found.numpy().tolist()


def test_spans_give_way_to_windows_that_are_asked_for():
    data = dataclasses.replace(cut_data(4, 1, "segments"), spans=(1.0, 0.5))
    expected = [w.frame_numbers for w in clips.windows(Counted(20), VIDEO, data, 2)]
    found = numbering(data, 2)(tf.constant(20, tf.int64)).numpy()
    assert found.tolist() == np.stack(expected).tolist() == [[1, 6, 11, 16], [3, 8, 13, 18]]


def test_places_round_as_those_of_numpy():
    # The graph optimiser would make of 98 / 98 a product below 1; and of 49 * (2 / 98) numpy does.
    data = cut_data(1, 1, "consecutive")
    for count in (3, 99):
        expected = [w.frame_numbers for w in clips.windows(Counted(count), VIDEO, data, 99)]
        found = numbering(data, 99)(tf.constant(count, tf.int64))
        assert found.numpy().tolist() == np.stack(expected).tolist()


@pytest.mark.parametrize("kind", ["rgb", "dis"])
@pytest.mark.parametrize("views", [1, 3, 10])
@pytest.mark.parametrize("shape", [(30, 41), (41, 30), (16, 16), (9, 12), (64, 37), (100, 90)])
def test_views_are_those_of_an_evaluation(shape, views, kind):
    data = dataclasses.replace(
        DATA, frames=2, frame_stride=1, size=16, short_side=32, input=kind, sampling="uniform"
    )
    rng = np.random.default_rng(0)
    frames = rng.integers(1, 256, (2, *shape, data.channels), np.uint8)
    (window,) = clips.windows(MemoryReader(frames, data), VIDEO, data, 1, views)
    found = windowing.views(frames, data, views).numpy()
    assert found.shape == window.pixels.shape
    difference = found - window.pixels.astype(int)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.05


@pytest.mark.parametrize("kind", ["rgb", "dis"])
@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("shape", [(30, 41), (41, 30), (16, 16), (9, 12), (64, 37), (20, 90)])
def test_views_of_whole_frames_are_those_of_an_evaluation(shape, views, kind):
    data = dataclasses.replace(
        DATA, frames=2, size=16, short_side=32, input=kind, sampling="uniform", crop="whole"
    )
    rng = np.random.default_rng(0)
    frames = rng.integers(1, 256, (2, *shape, data.channels), np.uint8)
    (window,) = clips.windows(MemoryReader(frames, data), VIDEO, data, 1, views)
    found = windowing.views(frames, data, views).numpy()
    assert found.shape == window.pixels.shape == (views, 2, 16, 16, data.channels)
    difference = found - window.pixels.astype(int)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.05


def test_the_whole_frame_shows_what_the_centre_cuts_off():
    data = dataclasses.replace(DATA, frames=1, size=16, short_side=0, crop="whole")
    frames = np.zeros((1, 16, 48, 3), np.uint8)
    frames[:, :, :8] = 255  # the left sixth
    whole, centre = windowing.views(frames, data, 2).numpy()
    assert (whole[:, :, :2] == 255).all()
    assert not whole[:, :, 4:].any()
    assert not centre.any()


@pytest.mark.parametrize("of", ["probabilities", "log_probabilities"])
def test_averages_are_those_of_an_evaluation(of):
    scores = np.random.default_rng(0).dirichlet([0.1] * 5, (3, 4)).astype(np.float32)
    scores[0, 0] = [1, 0, 0, 0, 0]
    expected = [averaging.average(one, of) for one in scores]
    assert windowing.average(scores, of).numpy() == pytest.approx(np.stack(expected), abs=1e-6)
