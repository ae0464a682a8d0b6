import numpy as np
import pytest

from keras_r3d.inference.segments import precision


def test_overlap_is_of_the_union():
    first = np.array([[0.0, 10], [4, 6]])
    second = np.array([[5.0, 15], [20, 30], [0, 10], [6, 8]])
    expected = [[5 / 15, 0, 1, 2 / 10], [1 / 11, 0, 2 / 10, 0]]
    assert precision.overlaps(first, second) == pytest.approx(np.array(expected))
    nothing = np.array([[3.0, 3]])
    assert precision.overlaps(nothing, nothing).item() == 0


def test_average_precision_by_hand():
    """Two true segments in the first video, one in the second.

    By score: right (precision 1), twice the same (wrong), elsewhere (wrong), right (2 of 4). One is
    never found: (1 + 2/4) / 3.
    """
    true = [np.array([[0.0, 10], [20, 30]]), np.array([[0.0, 10]])]
    found = [
        (np.array([[1.0, 10], [0, 9], [22, 30]]), np.array([0.9, 0.8, 0.1])),
        (np.array([[40.0, 50]]), np.array([0.5])),
    ]
    assert precision.average_precision(found, true, 0.5) == pytest.approx((1 + 2 / 4) / 3)
    # At 0.85 of the union the last, 8 of 10, no longer counts.
    assert precision.average_precision(found, true, 0.85) == pytest.approx(1 / 3)
    assert precision.average_precision(found, true, 0.95) == 0


def test_precision_is_the_highest_at_its_recall_or_above():
    """Wrong, right, right: precision 1/2 then 2/3, so 2/3 at both recalls."""
    true = [np.array([[0.0, 1], [2, 3]])]
    found = [(np.array([[8.0, 9], [0, 1], [2, 3]]), np.array([0.9, 0.8, 0.7]))]
    assert precision.average_precision(found, true, 0.5) == pytest.approx(2 / 3)


def test_a_class_without_segments_is_left_out_of_the_mean():
    none, one = np.empty((0, 2)), np.array([[0.0, 1]])
    found = {
        "a": [(one, np.array([0.5]))],
        "b": [(one, np.array([0.5]))],
        "c": [(none, none[:, 0])],
    }
    true = {"a": [one], "b": [none], "c": [one]}
    assert precision.mean_average_precision(found, true, 0.5) == 0.5
    assert np.isnan(precision.mean_average_precision({"b": found["b"]}, {"b": [none]}, 0.5))
