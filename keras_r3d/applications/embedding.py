"""Embeddings of several stages, by one network or several side by side, and a classifier of them.

The feature maps of each stage are averaged over frames and places; the last one over the quarters
of the picture, so that it is known where something was. Stock layers only, so that plain Keras
loads the model and every export takes it.
"""

import re
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from keras_r3d.applications.networks import HEAD

NONE = "none of these"  # the last class of a model that tells what is of none of the others
PROBABILITIES = "probabilities"  # the layer that gives them there
STEEPNESS = 20.0  # of probabilities, by squared distances over the threshold


def join(networks: Sequence[keras.Model], stages: Sequence[str]) -> list[keras.Model]:
    """Returns of each network a model that embeds clips, `(batch, d)`, all with the same input.

    Args:
        networks: take clips of one shape. Layers of all but the first get other names.
        stages: such as "conv3": the last feature map of each is averaged, that of the last over
            quarters of the picture. ValueError: a network has no such stage.
    """
    shared = networks[0].inputs[0]
    return [
        _embedder(network if not number else _beside(network, shared, number), stages, number)
        for number, network in enumerate(networks)
    ]


def classifier(
    embedders: Sequence[keras.Model],
    kernel: np.ndarray,
    bias: np.ndarray,
    several: bool = False,
    distances: tuple[np.ndarray, np.ndarray] | None = None,
) -> keras.Model:
    """Returns a model that classifies clips by the embeddings of some models of `join`.

    `kernel` is `(sum of d, classes)`, `bias` `(classes,)`, both float. Of `several` labels each
    class has a probability of its own.

    With `distances`, `(sum of d, k)` and centers `(classes, places, k)`, a last class is `NONE`.
    The logit of another one is then its log-probability less 20 (D - 1), and that of `NONE` 0: D is
    the squared distance, of the embedding times the first, from the nearest center of the class.
    """
    parts = [embedder.outputs[0] for embedder in embedders]
    x = layers.Concatenate(name="embeddings")(parts) if len(parts) > 1 else parts[0]
    activation = "sigmoid" if several else "softmax" if distances is None else "log_softmax"
    scores = _dense(x, kernel, bias, HEAD, activation)
    if distances is not None:
        scores = _with_none(scores, x, *distances)
    return keras.Model(embedders[0].inputs, scores, name=embedders[0].name)


def _dense(
    x: keras.KerasTensor,
    kernel: np.ndarray,
    bias: np.ndarray,
    name: str,
    activation: str | None = None,
) -> keras.KerasTensor:
    layer = layers.Dense(len(bias), activation=activation, dtype="float32", name=name)
    y = layer(x)
    layer.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return y


def _with_none(
    logs: keras.KerasTensor, x: keras.KerasTensor, kernel: np.ndarray, centers: np.ndarray
) -> keras.KerasTensor:
    """Returns probabilities; to all logits 20 (|z|^2 - 1) is added, z being the row.

    With c a center, D - |z|^2 is the least of |c|^2 - 2 z c.
    """
    middle = centers.mean(axis=(0, 1))  # taken off, or large squares would cancel in float32
    centers = (centers - middle).swapaxes(0, 1)
    places, classes, size = centers.shape
    z = _dense(x, kernel, -middle, "whitened")
    squares = layers.Multiply(name="squares")([z, z])
    none = _dense(squares, np.full((size, 1), STEEPNESS), np.array([-STEEPNESS]), "novelty")
    rows = STEEPNESS * centers.reshape(-1, size)
    nearness = _dense(z, 2 * rows.T, -(rows**2).sum(axis=1) / STEEPNESS, "nearness")
    by_place = layers.Reshape((places, classes), name="centers")(nearness)
    nearest = layers.GlobalMaxPooling1D(data_format="channels_last", name="nearest")(by_place)
    near = layers.Add(name="near")([logs, nearest])
    joined = layers.Concatenate(name="with_none")([near, none])
    return layers.Activation("softmax", dtype="float32", name=PROBABILITIES)(joined)


def _embedder(network: keras.Model, stages: Sequence[str], number: int) -> keras.Model:
    prefix = _prefix(number)
    pooled = []
    for stage in stages:
        pattern = rf"{prefix}{stage}(\D|$)"
        stage_layers = [layer for layer in network.layers if re.match(pattern, layer.name)]
        if not stage_layers or len(stage_layers[-1].output.shape) not in (4, 5):
            raise ValueError(f"The network {network.name} has no stage '{stage}'.")
        x, name = stage_layers[-1].output, f"{prefix}pool_{stage}"
        if len(x.shape) == 4:  # a FrameNet's frames, one batch
            (images,) = {o.input.shape[1] for o in network.operations if _makes_batch(o)}
            x = ops.reshape(x, (-1, images, *x.shape[1:]))
        if stage != stages[-1] or None in x.shape[1:] or min(x.shape[2:4]) < 2:
            pooled.append(layers.GlobalAveragePooling3D(data_format="channels_last", name=name)(x))
            continue
        frames, *sides = x.shape[1:4]
        # Of an odd number of cells both halves have the middle one.
        halves, steps = [-(-side // 2) for side in sides], [side // 2 for side in sides]
        windows = (frames, *halves), (frames, *steps)
        quarters = layers.AveragePooling3D(*windows, data_format="channels_last", name=name)(x)
        pooled.append(
            layers.Flatten(data_format="channels_last", name=f"{name}_quarters")(quarters)
        )
    joined = layers.Concatenate(name=f"{prefix}stages")(pooled) if len(pooled) > 1 else pooled[0]
    return keras.Model(network.inputs, joined, name=network.name)


def _makes_batch(operation: keras.Operation) -> bool:
    shapes = operation.input, operation.output
    return [len(getattr(tensor, "shape", ())) for tensor in shapes] == [5, 4]


def _prefix(number: int) -> str:
    return f"network{number + 1}_" if number else ""


def _beside(network: keras.Model, shared: keras.KerasTensor, number: int) -> keras.Model:
    """Returns a copy of a network that takes another's input, its layers called otherwise."""

    def renamed(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        config["name"] = f"{_prefix(number)}{layer.name}"
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(network, input_tensors=shared, clone_function=renamed)
    copy.set_weights(network.get_weights())
    return copy
