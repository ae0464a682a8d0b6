"""A tiny network, its batches and its steps."""

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

from keras_r3d import recipe, run_folder
from keras_r3d.recipe.schema import AdamwOptimizer, PlateauSchedule, SgdOptimizer
from keras_r3d.recipe.tables import keys as keys_of
from keras_r3d.system.devices import Devices
from keras_r3d.training.optimization.step import Steps
from keras_r3d.training.setup import Setup

CLASSES = 3


RATE = 0.05


HARDWARE = Devices(tf.distribute.get_strategy(), "CPU")


CONSTANT = PlateauSchedule(drops=0)  # of the learning rate


def train(optimizer="sgd", **keys) -> recipe.Train:
    """Plain SGD at a rate of `RATE`, with changes of [train] or of the optimizer by their names."""
    kind = {"sgd": SgdOptimizer, "adamw": AdamwOptimizer}[optimizer]
    plain = {"learning_rate": RATE, "momentum": 0.0, "weight_decay": 0.0}
    names = [name for name in keys_of(kind) if name in keys or name in plain]
    settings = kind(**{name: keys.pop(name, plain.get(name)) for name in names})
    return dataclasses.replace(recipe.load("demo").train, optimizer=settings, **keys)


def tiny(frozen_statistics=False, dropout=0.0) -> keras.Model:
    """A network with a batch norm, the same at each call."""
    keras.utils.set_random_seed(3)
    clip = keras.Input((2, 6, 6, 3), name="clip")
    x = keras.layers.Rescaling(1 / 255)(clip)
    x = keras.layers.Conv3D(4, (1, 3, 3), use_bias=False, name="conv1")(x)
    x = keras.layers.BatchNormalization(momentum=0.9, name="conv1_bn")(x)
    x = keras.layers.GlobalAveragePooling3D()(keras.layers.ReLU()(x))
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    network = keras.Model(clip, keras.layers.Dense(CLASSES, name="predictions")(x))
    # Else the gradients of the convolution would be those of the start, in which all is even.
    rng = np.random.default_rng(5)
    for variable in network.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.3, variable.shape))
    network.get_layer("conv1_bn").trainable = not frozen_statistics
    return network


def batch(count=8, seed=0) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(seed)
    clips = rng.integers(0, 256, (count, 2, 6, 6, 3), np.uint8)
    labels = np.arange(count) % CLASSES
    clips[:, :, :, :, 0] //= 1 + labels.reshape(-1, 1, 1, 1).astype(np.uint8)
    return tf.constant(clips), tf.constant(labels, tf.int32)


def take(steps: Steps, number=0, rate=RATE, clips=None) -> np.ndarray:
    """Takes one step; returns its sums."""
    steps.optimizer.learning_rate = rate
    sums = steps.train(clips or batch(), tf.constant(number, tf.int32), tf.constant(0.0))
    return sums.numpy()


def values(network: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in network.get_weights()]


class OneBatch(Setup):
    """A setup of three steps an epoch, all of the same batch, which is validated on, too."""

    steps_per_epoch = 3

    def batches(self, first_step):
        return itertools.repeat(batch())

    def validation(self):
        return [batch()]


def ready(
    steps: Steps, settings: recipe.Train, folder: Path, *, chooses=True
) -> tuple[OneBatch, run_folder.Run]:
    """Returns what `Training` takes."""
    experiment = dataclasses.replace(recipe.load("demo"), train=settings)
    source = SimpleNamespace(reader=SimpleNamespace(problems=[]))
    run = run_folder.create(folder, experiment, ["a", "b", "c"], "", {})
    return OneBatch(experiment, source, HARDWARE, tiny(), steps, chooses), run
