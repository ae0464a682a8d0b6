import numpy as np
import pytest

from keras_r3d.inference.embeddings import novelty
from keras_r3d.inference.embeddings.ridge import Labeled


def labeled(features, labels, classes, clips=1):
    videos = np.arange(len(labels))
    return Labeled([*features], np.repeat(videos, clips), np.array(labels), videos, classes)


def test_distance_is_in_units_of_the_spread_inside_classes():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20_000)
    rows = rng.normal(size=(40_000, 2)) * (2, 1) + np.array([[0, 0], [4, 0]])[labels]
    distances = novelty.fit(labeled([rows], labels, 2), [True])
    # The covariance diag(4, 1), shrunk by a tenth to diag(2.5, 2.5), is diag(3.85, 1.15).
    squared = distances.squared(np.array([[0, 0], [4, 0], [0, 3]]))
    expected = [[0, 16 / 3.85], [16 / 3.85, 0], [9 / 1.15, 9 / 1.15 + 16 / 3.85]]
    assert squared == pytest.approx(np.array(expected), rel=0.05, abs=0.01)
    far = distances.over(4.0).squared(np.array([[0, 0]]))
    assert far == pytest.approx(np.array(expected[:1]) / 4, rel=0.05, abs=0.01)


def test_a_class_that_was_not_shown_is_far():
    """Eleven classes in a space of 500 numbers are known, the twelfth is not."""
    rng = np.random.default_rng(1)
    places = 6 * np.eye(12, 500)
    labels = np.repeat(np.arange(11), 12)
    shown = places[labels] + rng.normal(size=(132, 500)) / 100
    distances = novelty.fit(labeled([shown], labels, 11), [True])
    same = distances.squared(places[labels] + rng.normal(size=(132, 500)) / 100)
    other = distances.squared(places[11] + rng.normal(size=(132, 500)) / 100)
    assert other.min() > same.min(axis=1).max()
    assert (same.argmin(axis=1) == labels).all()


def test_each_clip_of_a_video_has_a_center_of_its_own():
    """Two classes, each at two places 100 apart: what lies between the places is near neither."""
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 10)
    clips = np.repeat(3 * labels, 2) + np.tile([0, 100], 20)
    rows = clips[:, None] + rng.normal(size=(40, 1))
    distances = novelty.fit(labeled([rows], labels, 2, clips=2), [True])
    assert distances.centers.shape == (2, 2, 1)
    squared = distances.squared(np.array([[0.0], [103], [50]]))
    assert squared.argmin(axis=1)[:2].tolist() == [0, 1]
    assert squared[:2].min(axis=1).max() < 3 < 100 < squared[2].min()


def test_networks_that_are_not_used_do_not_count():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(12, 3)), rng.normal(size=(12, 4))
    alone = novelty.fit(labeled([first], [0, 1] * 6, 2), [True])
    both = novelty.fit(labeled([first, second], [0, 1] * 6, 2), [True, False])
    assert (both.kernel[3:] == 0).all()
    rows = np.concatenate([first, second], axis=1)
    assert both.squared(rows) == pytest.approx(alone.squared(first))


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 3, 3], [0, 0, 0, 0]])
def test_few_rows_classes_without_any_and_copies(labels):
    rows = np.random.default_rng(2).normal(size=(4, 50))
    rows[1] = rows[0]
    distances = novelty.fit(labeled([rows], labels, 4), [True])
    assert np.isfinite(distances.kernel).all()
    squared = distances.squared(rows)
    assert np.isfinite(squared[:, labels]).all()
    lacking = [number for number in range(4) if number not in labels]
    assert np.isinf(squared[:, lacking]).all()
