"""Finding a network by its name, normalizing its input, counting its work."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_r3d.applications.builders import r3d
from keras_r3d.applications.builders.c3d import C3D
from keras_r3d.applications.builders.frame_net import FrameNet
from keras_r3d.applications.builders.i3d import I3D
from keras_r3d.applications.metadata import read_metadata
from keras_r3d.applications.weights import pretrained

_ALL: tuple[Callable[..., keras.Model], ...] = (*r3d.BUILDERS, C3D, I3D, FrameNet)
_BUILDERS = {builder.__name__.lower(): builder for builder in _ALL}
_BUILDERS["c3d_bn"] = functools.partial(C3D, with_batch_norm=True, name="c3d_bn")


def list_models() -> list[str]:
    """Lists the names that `get_model` takes."""
    return list(_BUILDERS)


def list_weights(name: str) -> list[str]:
    """Lists the names of public weights that a network's `weights` takes.

    Raises:
        ValueError: there is no such network.
    """
    return pretrained.list_names(_check_name(name))


def get_model(name: str, /, **arguments: Any) -> keras.Model:
    """Builds a network by its name; capitals do not matter.

    Args:
        name: one of `list_models()`. "r3d18" is the paper's, "r3d_18" torchvision's.
        **arguments: of its builder.

    Raises:
        ValueError: there is no such network, or an argument is wrong.
    """
    return _BUILDERS[_check_name(name)](**arguments)


def _check_name(name: str) -> str:
    if str(name).lower() not in _BUILDERS:
        raise ValueError(f"`name` must be one of {list_models()}. Received: name={name}")
    return str(name).lower()


def preprocess_input(clips, model: keras.Model | None = None):
    """Normalizes clips for a model that does not do so itself.

    Args:
        clips: `(…, channels)`, RGB, 0-255, uint8 or float.
        model: the network, as it was built or loaded. None stands for one that normalizes inside,
            as all do unless they were built with `include_preprocessing=False`.

    Returns:
        The clips as they came if the model normalizes inside; else (clips - mean) / std, float32.

    Raises:
        ValueError: the model does not say how its input is normalized.
    """
    if model is None:
        return clips
    about = read_metadata(model)
    if about is None:
        raise ValueError(
            f"The model {model.name} does not say how its input is normalized: keras_r3d did not "
            "build it."
        )
    if about.normalises:
        return clips
    clips = keras.ops.cast(clips, "float32")
    return (clips - np.array(about.mean, np.float32)) / np.array(about.std, np.float32)


def operations(model: keras.Model) -> list[Any]:
    """Lists what a model computes, in order: layers, and operations that are none (a reshape)."""
    return getattr(model, "operations", model.layers)  # a `Sequential` has layers only


def multiply_adds(model: keras.Model) -> int:
    """Counts the multiply-adds of a network for one clip.

    Those of convolutions, of fully connected layers, and of batch norm, which multiplies and adds
    once for each value (under 0.2 % of the whole). Those of a FrameNet are of all its frames.

    Args:
        model: built with a full `input_shape`.

    Raises:
        ValueError: an axis of the input is open, or there are models inside the model.
    """
    shape = model.inputs[0].shape[1:]
    if None in shape:
        raise ValueError(
            "Multiply-adds depend on the size of the clip: build the model with a full "
            f"`input_shape`. Received: {model.name} with input_shape={tuple(shape)}"
        )
    total, images = 0, 1
    for layer in operations(model):
        if not isinstance(layer, layers.Layer):  # makes a batch of images of a clip, or a clip
            images = layer.input.shape[1] if len(layer.output.shape) == 4 else 1
            continue
        if isinstance(layer, keras.Model):
            raise ValueError(
                f"{model.name} has the model {layer.name} inside: count each on its own."
            )
        if isinstance(layer, layers.Conv3D):
            total += math.prod(layer.output.shape[1:4]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
            total += images * math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, layers.Dense):
            total += math.prod(layer.kernel.shape)
        elif isinstance(layer, layers.BatchNormalization):
            total += images * math.prod(layer.output.shape[1:])
    return total
