"""The paper's evaluation: all windows of every video, class probabilities averaged per video."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_r3d.data import pipeline
from keras_r3d.data.annotations import AnnotationError, Video
from keras_r3d.data.reader import Reader
from keras_r3d.errors import R3DError
from keras_r3d.inference import metrics
from keras_r3d.recipe import Data

_TOP = 5


class EvaluationError(R3DError):
    """An evaluation that had to stop."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores of a split.

    Attributes:
        videos: that were scored; labels and scores are in this order.
        labels: int `(videos,)`.
        video_scores: float `(videos, classes)`, mean probabilities; NaN where a video is an error.
        window_scores: float `(windows, classes)`.
        window_videos: int `(windows,)`, the video of each window.
        errors: video number -> why it has no score.
    """

    classes: Sequence[str]
    videos: Sequence[Video]
    labels: np.ndarray
    video_scores: np.ndarray
    window_scores: np.ndarray
    window_videos: np.ndarray
    errors: dict[int, str]

    def confusion(self) -> np.ndarray:
        """Counts the scored videos by true and predicted class, int64 `(classes, classes)`."""
        scored = ~np.isnan(self.video_scores[:, 0])
        predicted = self.video_scores[scored].argmax(axis=1)
        return metrics.confusion(self.labels[scored], predicted, len(self.classes))

    def figures(self) -> dict[str, Any]:
        """Returns the accuracies (0-1) and counts.

        `video_*` count a video without score as wrong; `readable_video_*` leave it out.
        """
        k = min(_TOP, len(self.classes))
        window_labels = self.labels[self.window_videos]
        readable = len(self.videos) - len(self.errors)
        figures: dict[str, Any] = {
            "videos": len(self.videos),
            "errors": len(self.errors),
            "windows": len(self.window_scores),
        }
        for top, places in (("top1", 1), ("top5", k)):
            clips = metrics.topk_correct(self.window_scores, window_labels, places)
            videos = metrics.topk_correct(self.video_scores, self.labels, places)
            figures[f"clip_{top}"] = float(clips.mean())
            figures[f"video_{top}"] = float(videos.mean())
            figures[f"readable_video_{top}"] = float(videos.sum() / readable)
        return figures

    def records(self) -> list[dict[str, Any]]:
        """Returns one record a video: label, status, windows, best classes with scores."""
        windows = np.bincount(self.window_videos, minlength=len(self.videos))
        correct = metrics.topk_correct(self.video_scores, self.labels, 1)
        records = []
        for number, video in enumerate(self.videos):
            record: dict[str, Any] = {"video": video.name, "label": video.label}
            if number in self.errors:
                record |= {"status": "error", "detail": self.errors[number], "windows": 0}
            else:
                scores = self.video_scores[number]
                best = np.argsort(-scores, kind="stable")[:_TOP]
                record |= {"status": "ok", "windows": int(windows[number])}
                record["correct"] = bool(correct[number])
                record["top"] = [
                    {"label": self.classes[i], "score": float(scores[i])} for i in best
                ]
            records.append(record)
        return records


def evaluate(
    model: keras.Model,
    reader: Reader,
    videos: Sequence[Video],
    classes: Sequence[str],
    data: Data,
    *,
    split: str,
    batch_size: int,
    jit_compile: bool | str,
    verbose: int,
) -> Evaluation:
    """Scores every window of every video, each video exactly once.

    Args:
        split: name of the videos' split, for messages.
        model: takes uint8 clips `(batch, frames, size, size, 3)`, gives probabilities
            `(batch, classes)`.
        jit_compile: whether XLA compiles the model.
        verbose: of the progress bar, as in `keras.Model.predict`.

    Raises:
        AnnotationError: a video has a class the model does not know, or no video can be read.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    for video in videos:
        if video.label not in numbers:
            raise AnnotationError(
                f"{video.name} has the class '{video.label}', which the model was not trained "
                f"on. Its classes: {list(classes)}"
            )
    reader.require_readable(videos, split)
    windows = pipeline.evaluation_windows(reader, videos, data, batch_size=batch_size)
    scores = _score(model, windows, jit_compile, verbose)
    # The order of windows is that of batches, not of videos: sort, so that it never matters.
    order = np.lexsort((scores["window"], scores["video"]))
    window_scores, window_videos = scores["scores"][order], scores["video"][order]
    reasons = {problem.name: problem.detail for problem in reader.problems}
    missing = sorted(set(range(len(videos))) - set(window_videos.tolist()))
    return Evaluation(
        classes=classes,
        videos=videos,
        labels=np.array([numbers[video.label] for video in videos]),
        video_scores=metrics.video_scores(window_scores, window_videos, len(videos)),
        window_scores=window_scores,
        window_videos=window_videos,
        errors={number: reasons[videos[number].name] for number in missing},
    )


def _score(
    model: keras.Model, windows: tf.data.Dataset, jit_compile: bool | str, verbose: int
) -> dict[str, np.ndarray]:
    """Runs the model over windows; their video and window numbers pass through beside it."""
    inputs = {
        "clip": keras.Input(model.input_shape[1:], dtype="uint8", name="clip"),
        "video": keras.Input((), dtype="int32", name="video"),
        "window": keras.Input((), dtype="int32", name="window"),
    }
    outputs = {
        "scores": model(inputs["clip"]),
        "video": keras.layers.Identity(dtype="int32")(inputs["video"]),
        "window": keras.layers.Identity(dtype="int32")(inputs["window"]),
    }
    scorer = keras.Model(inputs, outputs)
    scorer.compile(jit_compile=jit_compile)
    try:
        return scorer.predict(windows, verbose=verbose)
    except tf.errors.OpError as error:
        if detail := pipeline.reason(error):
            raise EvaluationError(f"The evaluation stopped: {detail}") from error
        raise
