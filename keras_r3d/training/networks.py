"""The two networks of a training: the one that is trained, and the one that is kept."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_r3d import recipe
from keras_r3d.applications import metadata
from keras_r3d.applications.networks import HEAD
from keras_r3d.recipe import Recipe
from keras_r3d.system.devices import Devices
from keras_r3d.training import finetune

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@dataclasses.dataclass(frozen=True)
class Networks:
    """Two networks that take the same weights.

    Attributes:
        trained: gives logits, computes in the recipe's precision, lies on all devices.
        kept: gives probabilities, computes in float32, and is made of stock parts, so that plain
            Keras loads it.
    """

    trained: keras.Model
    kept: keras.Model


def build(
    experiment: Recipe,
    classes: Sequence[str],
    hardware: Devices,
    say: Callable[[str], None] = print,
) -> Networks:
    """Builds both networks of a recipe, with the weights it starts from.

    Raises:
        RecipeError, WeightsError, CheckpointError: as `finetune.build_model`.
    """
    data, model = experiment.data, experiment.model
    shape = (data.frames, data.size, data.size, data.channels)
    with tf.device("CPU:0"):
        kept = finetune.build_model(model, shape, classes, say)
        metadata.record(kept, recipe=recipe.tables(experiment))
        kept.compile(
            optimizer="sgd",
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=hardware.jit_compile,
        )

    return pair(kept, experiment, hardware)


def pair(kept: keras.Model, experiment: Recipe, hardware: Devices) -> Networks:
    """Makes the network that is trained for one that is kept; both begin with its weights."""

    def for_training(layer: keras.Layer) -> keras.Layer:
        return _for_training(layer, experiment.train.precision, hardware.on_gpu)

    with hardware.strategy.scope():
        trained = keras.models.clone_model(kept, clone_function=for_training)
    trained.set_weights(kept.get_weights())
    finetune.freeze(trained, experiment.model.freeze)
    return Networks(trained, kept)


def _for_training(layer: keras.Layer, precision: str, on_gpu: bool) -> keras.Layer:
    kind, config = type(layer), layer.get_config()
    # Pixels and logits stay float32: bfloat16 has 256 levels, and would make many logits equal.
    if layer.name not in (metadata.LAYER, HEAD) and kind is not keras.layers.Normalization:
        config["dtype"] = _POLICIES[precision]
    if layer.name == HEAD:
        config["activation"] = "linear"
    if kind is keras.layers.Conv3D and precision == "bfloat16" and not on_gpu:
        frames, reach = layer.input.shape[1], layer.kernel_size[0]
        if layer.padding == "same" and 1 < frames < reach:
            kind = _PaddedConv3D
    return kind.from_config(config)


class _PaddedConv3D(keras.layers.Conv3D):
    """A convolution at stride 1 that is padded before, not by TensorFlow.

    TensorFlow (2.16 to 2.21, oneDNN, CPU) leaves a part of the gradient of a bfloat16 kernel as it
    finds the memory, if it pads and there are fewer frames than the kernel spans: 2, in conv4_x.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        sides = [(size // 2, size // 2) for size in self.kernel_size]
        return ops.conv(ops.pad(inputs, [(0, 0), *sides, (0, 0)]), kernel, padding="valid")
