import numpy as np
import pytest

from keras_r3d.inference.embeddings import novelty


def test_distance_is_in_units_of_the_spread_inside_classes():
    """Two classes around (0, 0) and (4, 0), spread 2 along x and 1 along y."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20_000)
    rows = rng.normal(size=(40_000, 2)) * (2, 1) + np.array([[0, 0], [4, 0]])[labels]
    distances = novelty.fit([rows], labels)
    # The covariance diag(4, 1), shrunk by a tenth to diag(2.5, 2.5), is diag(3.85, 1.15).
    squared = distances.squared(np.array([[0, 0], [4, 0], [0, 3], [-4, 0], [2, 0]]))
    assert squared == pytest.approx([0, 0, 9 / 1.15, 16 / 3.85, 4 / 3.85], rel=0.05, abs=0.01)


def test_a_class_that_was_not_shown_is_far():
    """Of 12 directions, in which classes lie 6 deviations apart, one is of an unknown class."""
    rng = np.random.default_rng(1)
    places = 6 * np.eye(12, 500)
    labels = np.repeat(np.arange(11), 12)
    shown = places[labels] + rng.normal(size=(132, 500)) / 100
    distances = novelty.fit([shown], labels)
    same = distances.squared(places[labels] + rng.normal(size=(132, 500)) / 100)
    other = distances.squared(places[11] + rng.normal(size=(132, 500)) / 100)
    assert other.min() > same.max()
    assert distances.kernel.shape[1] <= 12


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 3, 3]])
def test_few_rows_and_classes_without_any(labels):
    rows = np.random.default_rng(2).normal(size=(4, 50))
    distances = novelty.fit([rows], np.array(labels))
    assert np.isfinite(distances.kernel).all()
    squared = distances.squared(rows)
    assert np.isfinite(squared).all()
    assert squared[0] < distances.squared(rows[:1] + 100)[0]
