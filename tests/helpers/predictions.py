"""Predictions made of probabilities written by hand."""

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.data.opening import file_reader
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.scoring import score


def make(video, labels, windows, *, seconds=None, status="ok", detail="") -> Prediction:
    """Makes the prediction of a video.

    Args:
        video: a path or a `Video`.
        windows: probabilities of each window; a video without any is an error.
        seconds: start and end of each; None is one second each.
    """
    source = video if isinstance(video, Video) else Video(str(video), labels[0])
    scores = np.array(windows, np.float32).reshape(-1, len(labels))
    if not len(scores):
        return Prediction.error(source, labels, detail)
    if seconds is None:
        seconds = [[number, number + 1] for number in range(len(scores))]
    whole = scores.astype(float).mean(axis=0)
    return Prediction(source, status, detail, labels, whole, scores, np.array(seconds, float))


def score_files(classifier, videos):
    """Scores video files."""
    return score(classifier, file_reader(videos, classifier.clips), videos)
