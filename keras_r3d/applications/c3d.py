"""C3D: eight 3x3x3 convolutions, five max-poolings and two wide fully connected layers.

Reference:
    Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015,
    https://arxiv.org/abs/1412.0767, figure 3. With batch norm: Carreira & Zisserman, Quo Vadis,
    Action Recognition?, CVPR 2017, https://arxiv.org/abs/1705.07750, who put it behind every
    convolution and fully connected layer.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_r3d.applications import building
from keras_r3d.applications.blocks import batch_norm, conv, relu
from keras_r3d.applications.building import Clips
from keras_r3d.applications.channels import adapted
from keras_r3d.applications.weights.conventions import KINETICS_2017
from keras_r3d.applications.weights.identify import HEAD
from keras_r3d.applications.weights.weights_file import Source, open_source
from keras_r3d.system.errors import WeightsError

# Filters of each group's convolutions; a max-pooling ends each group.
GROUPS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
FULLY_CONNECTED = 4096
SMALLEST = (8, 16, 16)
CLIP = (16, 112, 112)

_LAST = "conv5b/kernel"
_FILES = (".keras", ".weights.h5")


def _convolution(x, filters: int, name: str, normalised: bool):
    x = conv(x, filters, name, use_bias=not normalised)
    if normalised:
        x = batch_norm(x, f"{name}_bn")
    return relu(x, f"{name}_relu")


def _fully_connected(x, units: int, name: str, normalised: bool, dropout: float):
    x = layers.Dense(units, use_bias=not normalised, kernel_initializer="he_normal", name=name)(x)
    if normalised:
        x = batch_norm(x, f"{name}_bn")
    x = relu(x, f"{name}_relu")
    return layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def C3D(  # noqa: N802 (builders are written like classes)
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor=None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | None = "softmax",
    name: str = "c3d",
    *,
    with_batch_norm: bool | None = None,
    width: float | None = None,
    dropout: float = 0.5,
    in_channels: int | None = None,
    include_preprocessing: bool = True,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    clips: Clips | None = None,
) -> keras.Model:
    """Builds C3D, the baseline of the R3D paper.

    pool5 keeps the odd row and column behind, as the published network does (4x4 of 7x7).

    An option that is None is read from the file of `weights`, else it has its default.

    Args:
        include_top: keep fc6, fc7 and the classifier; they fix the size of the input.
        weights: None (He initialisation), or path of a `.keras` or `.weights.h5` file.
        input_tensor: Keras tensor to use as the input, `(batch, frames, height, width, channels)`.
        input_shape: `(frames, height, width, channels)`; None is (16, 112, 112, `in_channels`), and
            without the top leaves the first three open.
        pooling: of pool5 without the top: None (left as it is), "avg" or "max".
        classes: of the classifier; else 400. If the file of `weights` has another number, its
            classifier is not loaded, and a warning says so.
        classifier_activation: "softmax", or None for logits.
        name: of the model.
        with_batch_norm: batch norm behind every convolution, fc6 and fc7; else without.
        width: multiplies all numbers of filters and of fully connected units; else 1.
        dropout: rate behind fc6 and fc7.
        in_channels: 3 for RGB, 2 for optical flow; else 3. Weights of an RGB network fit other
            input, too: conv1 then has the mean over red, green and blue for each channel.
        include_preprocessing: normalise inside the model; the input is then RGB, 0-255, uint8 or
            float. Otherwise `preprocess_input` does it.
        mean: per channel, RGB, 0-255: what normalising subtracts. None is that of the weights, else
            the R3D paper's; 128 for other than 3 channels.
        std: per channel, RGB, 0-255: what it then divides by. None likewise, else 1.
        labels: class names, kept in the model and in every file it is saved to: a list, a file of
            them, or "kinetics400". None is those of the weights, if they are known.
        clips: how clips are cut for it, `keras_r3d.data.Clips`; kept in the model likewise.

    Returns:
        Functional `keras.Model` of stock layers: a saved file loads without keras_r3d.

    Raises:
        ValueError: an argument out of range, or weights that cannot be had or do not fit.
    """
    building.check_choice("pooling", pooling, [None, "avg", "max"])
    channels = building.channels_of(input_tensor, input_shape, in_channels)
    source = None if weights is None else adapted(_open(weights), channels)
    names, classes = building.settle_labels(labels, source, classes)
    options = building.settle(
        {
            "classes": classes,
            "with_batch_norm": with_batch_norm,
            "width": width,
            "in_channels": channels,
        },
        source,
        {
            "classes": building.CLASSES,
            "with_batch_norm": False,
            "width": 1.0,
            "in_channels": 3,
        },
    )
    normalised = options["with_batch_norm"]
    if names is None:
        names = building.known_labels(source, options["classes"])
    if include_top and input_shape is None and input_tensor is None:
        input_shape = (*CLIP, options["in_channels"])

    inputs = building.entrance(input_tensor, input_shape, options["in_channels"], SMALLEST)
    if include_top and None in inputs.shape[1:]:
        raise ValueError(
            "C3D with its top takes clips of one size: `input_shape` must have frames, height and "
            f"width. Received: input_shape={tuple(inputs.shape[1:])}"
        )
    x = building.normalise(
        inputs,
        include_preprocessing=include_preprocessing,
        mean=mean,
        std=std,
        labels=names if include_top else None,
        clips=clips,
        source=source,
        default=KINETICS_2017,
    )
    for group, filters in enumerate(GROUPS, start=1):
        for letter, count in zip("ab", building.widths(filters, options["width"]), strict=False):
            layer = f"conv{group}{letter}" if len(filters) > 1 else f"conv{group}"
            x = _convolution(x, count, layer, normalised)
        size = (1, 2, 2) if group == 1 else (2, 2, 2)
        padding = "same" if group == len(GROUPS) else "valid"
        x = layers.MaxPooling3D(size, size, padding=padding, name=f"pool{group}")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        units = FULLY_CONNECTED * count // GROUPS[-1][-1]
        x = _fully_connected(x, units, "fc6", normalised, dropout)
        x = _fully_connected(x, units, "fc7", normalised, dropout)
        x = layers.Dense(options["classes"], activation=classifier_activation, name=HEAD)(x)
    else:
        x = building.pool(x, pooling)
    return building.finish(inputs, input_tensor, x, name, source, include_top)


def _open(weights: str | os.PathLike[str] | Source) -> Source:
    if not isinstance(weights, Source) and not os.fspath(weights).endswith(_FILES):
        raise WeightsError(
            "`weights` of C3D must be None or the path of a .keras or .weights.h5 file: PyTorch "
            f"checkpoints of it are not read, and none is registered. Received: weights={weights}"
        )
    source = open_source("c3d", weights)
    if not is_of_c3d(source):
        raise WeightsError(f"`weights`: {source.path} is not of C3D: it has no {_LAST}.")
    return identified(source)


def is_of_c3d(source: Source) -> bool:
    """Whether an opened file of weights is of C3D."""
    return _LAST in source.values


def identified(source: Source) -> Source:
    """Returns weights of C3D with the builder's arguments, which are read from their shapes."""
    shapes = {name: value.shape for name, value in source.values.items()}
    options: dict[str, Any] = {
        "with_batch_norm": "conv1_bn/gamma" in shapes,
        "width": shapes[_LAST][-1] / GROUPS[-1][-1],
        "in_channels": shapes["conv1/kernel"][3],
    }
    if bias := shapes.get(f"{HEAD}/bias"):
        options["classes"] = bias[0]
    return dataclasses.replace(source, options=options)
