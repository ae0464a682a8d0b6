"""The paper's evaluation: all windows of every video, class probabilities averaged per video."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_r3d.data import pipeline
from keras_r3d.data.annotations import AnnotationError, Video
from keras_r3d.data.reader import Reader
from keras_r3d.errors import R3DError
from keras_r3d.inference import metrics
from keras_r3d.inference.evaluation import Evaluation
from keras_r3d.recipe import Data


class EvaluationError(R3DError):
    """An evaluation that had to stop."""


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
        window_seconds=np.full((len(window_videos), 2), np.nan),  # not known here
        errors={number: reasons[videos[number].name] for number in missing},
        partial={},
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
