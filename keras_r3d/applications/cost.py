"""Counting the multiply-adds of a network."""

import math

import keras
from keras import layers


def multiply_adds(model: keras.Model) -> int:
    """Counts the multiply-adds of a network for one clip.

    Those of convolutions, of fully connected layers, and of batch norm, which multiplies and adds
    once for each value (under 0.2 % of the whole).

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
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            raise ValueError(
                f"{model.name} has the model {layer.name} inside: count each on its own."
            )
        if isinstance(layer, layers.Conv3D):
            positions = math.prod(layer.output.shape[1:4])
            total += positions * math.prod(layer.kernel.shape)
        elif isinstance(layer, layers.Dense):
            total += math.prod(layer.kernel.shape)
        elif isinstance(layer, layers.BatchNormalization):
            total += math.prod(layer.output.shape[1:])
    return total
