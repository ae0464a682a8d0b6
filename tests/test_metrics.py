import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d.inference import metrics


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


def test_video_scores_average_windows_and_mark_missing_videos():
    windows = np.array([[1.0, 0.0], [0.0, 1.0], [0.2, 0.8]])
    scores = metrics.video_scores(windows, np.array([0, 0, 2]), 3)
    assert scores[0].tolist() == [0.5, 0.5]
    assert np.isnan(scores[1]).all()
    assert scores[2] == pytest.approx([0.2, 0.8])


def test_confusion_has_true_classes_in_rows():
    matrix = metrics.confusion(np.array([0, 0, 1]), np.array([1, 1, 1]), 2)
    assert matrix.tolist() == [[0, 2], [0, 1]]
