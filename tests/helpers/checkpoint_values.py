"""Values of checkpoints, as the authors' code names them."""

import contextlib
from collections import OrderedDict
from unittest import mock

import keras
import numpy as np

from keras_r3d.applications.weights import pytorch

CLIP = np.random.default_rng(0).integers(0, 256, (1, 4, 24, 24, 3), dtype=np.uint8)


LOGITS = {"classifier_activation": None}  # a softmax of such weights would hide what differs


@contextlib.contextmanager
def without_drawing():
    """Leaves the kernels of networks that are built inside at 0, which is quicker."""

    def zeros(self, shape, dtype=None, **_):
        return keras.ops.zeros(shape, dtype)

    with mock.patch.object(keras.initializers.VarianceScaling, "__call__", zeros):
        yield


def moved(model: keras.Model) -> keras.Model:
    """Gives a network weights and statistics that no initialization has."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        for variable in layer.weights:
            values = rng.uniform(0.5, 1.5, variable.shape)
            if "kernel" in variable.name:
                values = rng.normal(0, (2 / np.prod(variable.shape[:-1])) ** 0.5, variable.shape)
            variable.assign(values)
    return model


def state_dict(model: keras.Model, names=pytorch.AUTHORS, dtype=np.float32) -> OrderedDict:
    """What PyTorch would save of the same network."""
    tensors = OrderedDict()
    for layer in model.layers:
        for variable in layer.weights:
            values = keras.ops.convert_to_numpy(variable).astype(dtype)
            axes = {5: (4, 3, 0, 1, 2), 2: (1, 0), 1: (0,)}[values.ndim]
            name = pytorch.tensor(names, f"{layer.name}/{variable.name}")
            tensors[name] = np.array(values.transpose(axes), order="C")
            if name.endswith("running_var"):
                counter = name.replace("running_var", "num_batches_tracked")
                tensors[counter] = np.array(3, np.int64)
    return tensors


def logits(model: keras.Model) -> np.ndarray:
    """Logits of a network that was built with LOGITS; they are far from equal."""
    values = keras.ops.convert_to_numpy(model(CLIP))
    assert values.std() > 0.1
    return values
