"""The two networks of a training: the one that is trained, and the one that is kept."""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from keras_r3d.applications.identify import HEAD
from keras_r3d.recipe import Recipe
from keras_r3d.training import finetune
from keras_r3d.training.devices import Devices

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@dataclasses.dataclass(frozen=True)
class Networks:
    """Two networks of the same weights.

    Attributes:
        trained: gives logits, computes in the recipe's precision, lies on all devices.
        kept: gives probabilities, computes in float32, and is made of stock parts, so that plain
            Keras loads it; has the weights of the other after `update`.
    """

    trained: keras.Model
    kept: keras.Model

    def update(self) -> None:
        """Gives the weights of the trained network to the other."""
        self.kept.set_weights(self.trained.get_weights())


def build(
    experiment: Recipe,
    classes: Sequence[str],
    hardware: Devices,
    say: Callable[[str], None] = print,
) -> Networks:
    """Builds both networks of a recipe.

    Raises:
        RecipeError, WeightsError, CheckpointError: as `finetune.build_model`.
    """
    data, model = experiment.data, experiment.model
    shape = (data.frames, data.size, data.size, 3)
    with tf.device("CPU:0"):
        kept = finetune.build_model(model, shape, classes, say)
        kept.compile(
            optimizer="sgd",
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=hardware.jit_compile,
        )
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[experiment.train.precision])
    try:
        with hardware.strategy.scope():
            bare = dataclasses.replace(model, weights="", freeze="")
            trained = finetune.build_model(bare, shape, classes, say)
    finally:
        keras.config.set_dtype_policy(policy)
    for layer in trained.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.dtype_policy = "float32"  # bfloat16 tells pixels of up to 256 levels apart by one
    trained.get_layer(HEAD).activation = keras.activations.linear
    trained.set_weights(kept.get_weights())
    finetune.freeze(trained, model.freeze)
    return Networks(trained, kept)
