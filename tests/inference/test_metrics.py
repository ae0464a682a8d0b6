import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d.inference.evaluation import metrics


def test_topk_counts_ties_against_the_model():
    scores = np.array([[0.5, 0.3, 0.2], [0.5, 0.5, 0.0], [1 / 3] * 3, [np.nan] * 3])
    labels = np.array([0, 0, 0, 0])
    assert metrics.topk_correct(scores, labels, 1).tolist() == [True, False, False, False]
    assert metrics.topk_correct(scores, labels, 2).tolist() == [True, True, False, False]
    assert metrics.topk_correct(scores, labels, 3).tolist() == [True, True, True, False]


@given(st.integers(1, 30), st.integers(2, 8), st.integers(0, 2**32))
def test_topk_agrees_with_sorting(rows, classes, seed):
    rng = np.random.default_rng(seed)
    scores = rng.random((rows, classes))
    labels = rng.integers(0, classes, rows)
    for k in range(1, classes + 1):
        best = np.argsort(-scores, axis=1)[:, :k]
        expected = (best == labels[:, None]).any(axis=1)
        assert (metrics.topk_correct(scores, labels, k) == expected).all()


def test_confusion_has_true_classes_in_rows():
    matrix = metrics.confusion(np.array([0, 0, 1]), np.array([1, 1, 1]), 2)
    assert matrix.tolist() == [[0, 2], [0, 1]]


def test_the_predicted_class_of_a_tie_is_not_the_label():
    scores = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    labels = np.array([0, 1, 0, 0])
    assert metrics.predicted(scores, labels).tolist() == [1, 0, 0, 2]
    assert scores[0].tolist() == [0.4, 0.4, 0.2]  # as it was


@given(st.integers(0, 40), st.integers(1, 6), st.integers(0, 2**32))
def test_the_confusion_matrix_agrees_with_the_accuracy(rows, classes, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (rows, classes)) / 4  # with many ties
    labels = rng.integers(0, classes, rows)
    matrix = metrics.confusion(labels, metrics.predicted(scores, labels), classes)
    assert matrix.sum(axis=1).tolist() == np.bincount(labels, minlength=classes).tolist()
    assert np.trace(matrix) == metrics.topk_correct(scores, labels, 1).sum()


def test_precision_and_recall_by_class():
    matrix = np.array([[3, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 4]])
    found = metrics.by_class(matrix, np.array([5, 2, 0, 4]))  # one of class 0 has no score
    assert found.precision == pytest.approx([3 / 5, 0, np.nan, 1], nan_ok=True)
    assert found.recall == pytest.approx([3 / 5, 0, np.nan, 1], nan_ok=True)
    assert found.f1 == pytest.approx([6 / 10, 0, np.nan, 1], nan_ok=True)


def test_mean_class_accuracy_counts_every_class_alike_and_leaves_empty_ones_out():
    correct = np.array([True, True, True, False, True])
    assert metrics.mean_class_accuracy(correct, np.array([0, 0, 0, 0, 3])) == (0.75 + 1) / 2
    assert np.isnan(metrics.mean_class_accuracy(np.empty(0, bool), np.empty(0, int)))


def test_calibration_of_a_hand_computed_case():
    # Bins of two: (0, 0.5] holds the first, (0.5, 1] the others.
    scores = np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.2, 0.8, 0.0], [0.0, 0.0, 1.0]])
    found = metrics.calibration(scores, np.array([0, 1, 1, 2]), bins=2)
    assert found.counts.tolist() == [1, 3]
    assert found.confidence == pytest.approx([0.5, 0.8])
    assert found.accuracy == pytest.approx([1, 2 / 3])
    assert found.error == pytest.approx(1 / 4 * 0.5 + 3 / 4 * (0.8 - 2 / 3))


def test_calibration_without_rows_and_of_probabilities_just_above_one():
    empty = metrics.calibration(np.empty((0, 3)), np.empty(0, int))
    assert np.isnan(empty.error)
    assert empty.counts.tolist() == [0] * 15
    above = metrics.calibration(np.array([[np.float32(1.0000001), 0]]), np.array([0]))
    assert above.counts.tolist() == [0] * 14 + [1]


@given(st.lists(st.integers(11, 20), min_size=1, max_size=8))
def test_a_perfectly_calibrated_model_has_no_error(twentieths):
    """Of 20 predictions made with confidence n/20, n are right."""
    scores = np.repeat([[n / 20, 1 - n / 20] for n in twentieths], 20, axis=0)
    labels = np.concatenate([np.repeat([0, 1], [n, 20 - n]) for n in twentieths])
    assert metrics.calibration(scores, labels).error == pytest.approx(0)


@given(st.integers(1, 60), st.integers(2, 5), st.integers(0, 2**32))
def test_the_calibration_error_is_bounded_and_needs_no_order(rows, classes, seed):
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(classes), rows)
    labels = rng.integers(0, classes, rows)
    found = metrics.calibration(scores, labels)
    assert 0 <= found.error <= 1
    assert found.counts.sum() == rows
    # All bins in one cannot be worse than the bins by themselves.
    assert metrics.calibration(scores, labels, bins=1).error <= found.error + 1e-12
    order = rng.permutation(rows)
    assert metrics.calibration(scores[order], labels[order]).error == pytest.approx(found.error)
