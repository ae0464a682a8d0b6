"""Networks whose signatures are tried, and their clips."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf
from exports import source_of

from keras_r3d import recipe
from keras_r3d.applications import C3D, R3D10
from keras_r3d.export.formats import Source
from keras_r3d.export.saved_model import saved_model
from keras_r3d.recipe.tables import as_dict

CLASSES = ["wave", "clap 👏", "jump", "run", "sit", "stand"]
FRAMES = 8
SIZE = 16
PAPER = recipe.load(recipe.PAPER).clips
CLIPS = dataclasses.replace(PAPER, frames=FRAMES, size=SIZE, short_side=24)
BUILDERS = {
    "A": lambda **kwargs: R3D10(shortcut="A", **kwargs),
    "B": lambda **kwargs: R3D10(shortcut="B", **kwargs),
    "C3D": lambda **kwargs: C3D(with_batch_norm=True, **kwargs),
}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)


def network(kind: str = "A", **kwargs) -> keras.Model:
    """Builds a network whose scores differ from clip to clip, and whose statistics show."""
    keras.utils.set_random_seed(0)
    shape = (FRAMES, SIZE, SIZE, kwargs.get("in_channels", 3))
    model = BUILDERS[kind](input_shape=shape, width=0.0625, classes=len(CLASSES), **kwargs)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    head = model.get_layer("predictions")
    head.set_weights([0.02 * weights for weights in head.get_weights()])  # or one class has all
    return model


def source(model: keras.Model, clips=CLIPS, classes=CLASSES) -> Source:
    """What is exported of a model, with an example of its clips."""
    return source_of(model, classes, recipe.with_clips({"clips": as_dict(clips)}))


def served(model: keras.Model, path: Path, clips=CLIPS, quantize="none"):
    """Writes a model and returns the signatures of what is loaded again."""
    saved_model.write(source(model, clips), path, quantize)
    loaded = tf.saved_model.load(str(path))
    return SimpleNamespace(model=model, path=path, loaded=loaded, **loaded.signatures)


def scores(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(pixels))
