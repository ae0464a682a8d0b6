"""Accuracy of clips and of videos: NumPy only."""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Labels = NDArray[np.integer]


def topk_correct(scores: Scores, labels: Labels, k: int) -> NDArray[np.bool_]:
    """Tells for each row whether its label is among the `k` highest scores.

    A label that shares its score with others takes the worst place among them, so a constant
    output earns nothing.

    Args:
        scores: float `(rows, classes)`; a row of NaN is never correct.
        labels: int `(rows,)`.

    Returns:
        bool `(rows,)`.
    """
    own = scores[np.arange(len(labels)), labels]
    not_below = (scores >= own[:, None]).sum(axis=1)
    return (not_below <= k) & ~np.isnan(own)


def video_scores(window_scores: Scores, video: Labels, video_count: int) -> Scores:
    """Averages the class probabilities of each video's windows.

    Args:
        window_scores: float `(windows, classes)`.
        video: int `(windows,)`, the video of each window, counted from 0.

    Returns:
        float64 `(video_count, classes)`; a video without windows has a row of NaN.
    """
    sums = np.zeros((video_count, window_scores.shape[1]))
    np.add.at(sums, video, window_scores)
    counts = np.bincount(video, minlength=video_count)[:, None]
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def confusion(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """Counts videos by true class (row) and predicted class (column).

    Returns:
        int64 `(classes, classes)`.
    """
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix
