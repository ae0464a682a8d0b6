import numpy as np
import pytest

from keras_r3d.inference.segments import precision


def average(found, true, overlap):
    (value,) = precision.average_precision(found, true, overlap, np.ones((1, len(true))))
    return value


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
    assert average(found, true, 0.5) == pytest.approx((1 + 2 / 4) / 3)
    # At 0.85 of the union the last, 8 of 10, no longer counts.
    assert average(found, true, 0.85) == pytest.approx(1 / 3)
    assert average(found, true, 0.95) == 0


def test_precision_is_the_highest_at_its_recall_or_above():
    """Wrong, right, right: precision 1/2 then 2/3, so 2/3 at both recalls."""
    true = [np.array([[0.0, 1], [2, 3]])]
    found = [(np.array([[8.0, 9], [0, 1], [2, 3]]), np.array([0.9, 0.8, 0.7]))]
    assert average(found, true, 0.5) == pytest.approx(2 / 3)


def test_a_class_without_segments_is_left_out_of_the_mean():
    none, one = np.empty((0, 2)), np.array([[0.0, 1]])
    found = {
        "a": [(one, np.array([0.5]))],
        "b": [(one, np.array([0.5]))],
        "c": [(none, none[:, 0])],
    }
    true = {"a": [one], "b": [none], "c": [one]}
    assert precision.mean_average_precision(found, true, 0.5, np.ones((1, 1))) == 0.5
    assert np.isnan(
        precision.mean_average_precision({"b": found["b"]}, {"b": [none]}, 0.5, np.ones((1, 1)))
    )


def test_overlapping_segments_of_one_class_count_each():
    """One that is found takes one of them, and a second is needed for the other."""
    true, score = [np.array([[0.0, 10], [1, 11]])], np.array([0.9])
    assert average([(np.array([[0.0, 10]]), score)], true, 0.5) == pytest.approx(1 / 2)
    both = (np.array([[0.0, 10], [0, 10]]), np.array([0.9, 0.8]))
    assert average([both], true, 0.5) == 1


def test_samples_are_those_of_repeated_videos():
    rng = np.random.default_rng(0)
    found, true = [], []
    for _ in range(6):
        starts = rng.uniform(0, 20, (5, 1))
        true.append(np.concatenate([starts, starts + 3], axis=1))
        found.append((true[-1] + rng.uniform(-2, 2, (5, 1)), rng.random(5)))
    counts = rng.multinomial(6, np.full(6, 1 / 6), 20)
    values = precision.average_precision(found, true, 0.5, counts)
    for value, row in zip(values, counts, strict=True):
        drawn = np.repeat(np.arange(6), row)
        again = average([found[n] for n in drawn], [true[n] for n in drawn], 0.5)
        assert value == pytest.approx(again, abs=1e-9)
    assert values.std() > 0.01
