"""Folding batch norms into the layers before them, for inference.

A batch norm that follows a convolution multiplies each channel by a number and adds another: the
convolution can do both with its own kernel and bias. What is left is one layer for two.
"""

import keras
import numpy as np
from keras import layers

# Their kernels have the output channels last (DepthwiseConv2D as two axes).
_LINEAR = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv2D, layers.Dense)


def fold(model: keras.Model) -> keras.Model:
    """Returns a network of the same function whose batch norms are folded where they can be.

    A batch norm stays if the layer before it is none that is linear, has an activation, or gives
    its values to other layers, too.
    """
    norms = _foldable(model)
    gone = {norm.name for norm in norms.values()}

    def clone(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        if layer.name in norms:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    def call(layer: layers.Layer, *args, **kwargs):
        return args[0] if layer.name in gone else layer(*args, **kwargs)

    folded = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in folded.layers:
        if not layer.weights:
            continue
        weights = model.get_layer(layer.name).get_weights()
        if layer.name in norms:
            weights = _merged(weights, norms[layer.name])
        layer.set_weights(weights)
    return folded


def _foldable(model: keras.Model) -> dict[str, layers.BatchNormalization]:
    """Returns the batch norms that can be folded, by the names of the layers before them."""
    makers = {id(layer.output): layer for layer in model.layers}
    uses = [id(tensor) for tensor in model.outputs]
    for layer in model.layers:
        uses += [id(tensor) for tensor in keras.tree.flatten(layer.input)]
    foldable = {}
    for norm in model.layers:
        if not isinstance(norm, layers.BatchNormalization):
            continue
        before = makers.get(id(norm.input))
        if (
            before is not None
            and isinstance(before, _LINEAR)
            and before.activation is keras.activations.linear
            and uses.count(id(before.output)) == 1
            and norm.axis in (-1, len(norm.input.shape) - 1)
            and getattr(before, "data_format", "channels_last") == "channels_last"
        ):
            foldable[before.name] = norm
    return foldable


def _merged(weights: list[np.ndarray], norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Returns kernel and bias of a layer and its batch norm; the sums are float64."""
    kernel = weights[0].astype(np.float64)
    bias = weights[1].astype(np.float64) if len(weights) > 1 else 0.0
    mean, variance = (
        np.asarray(keras.ops.convert_to_numpy(value), np.float64)
        for value in (norm.moving_mean, norm.moving_variance)
    )
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor *= keras.ops.convert_to_numpy(norm.gamma)
    bias = (bias - mean) * factor
    if norm.center:
        bias += keras.ops.convert_to_numpy(norm.beta)
    if kernel.shape[-1] != len(factor):
        factor = factor.reshape(kernel.shape[-2:])
    return [(kernel * factor).astype(np.float32), bias.astype(np.float32)]
