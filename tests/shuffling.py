"""Video accuracy of a run when the frames of every clip are put in random order."""

import keras
import numpy as np

from keras_r3d.data.video_reader import VideoReader
from keras_r3d.inference import protocol
from keras_r3d.run_folder import Run


def video_top1(run: Run, *, shuffle: bool) -> float:
    """Evaluates a run as `evaluate` does, with the frames of all clips in one random order."""
    model = keras.models.load_model(run.model_path())
    if shuffle:
        order = np.random.default_rng(0).permutation(run.recipe.data.frames)
        clip = keras.Input(model.input_shape[1:])
        model = keras.Model(clip, model(keras.ops.take(clip, order, axis=1)))
    evaluation = protocol.evaluate(
        model,
        VideoReader(run.recipe.data.short_side, 0),
        run.open_split(run.recipe.eval.split)[0],
        run.classes,
        run.recipe.data,
        split=run.recipe.eval.split,
        batch_size=run.recipe.eval.batch_size,
        jit_compile=False,
        verbose=0,
    )
    return evaluation.figures()["video_top1"]
