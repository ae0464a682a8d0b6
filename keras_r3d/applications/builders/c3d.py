"""C3D: eight 3x3x3 convolutions, five max-poolings and two wide fully connected layers.

Reference:
    Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015,
    https://arxiv.org/abs/1412.0767, figure 3. With batch norm: Carreira & Zisserman, Quo Vadis,
    Action Recognition?, CVPR 2017, https://arxiv.org/abs/1705.07750, who put it behind every
    convolution and fully connected layer.
"""

import os
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_r3d.applications.builders import building
from keras_r3d.applications.builders.blocks import batch_norm, conv, relu
from keras_r3d.applications.networks import C3D_NETWORKS, KINETICS_2017
from keras_r3d.applications.weights import loading
from keras_r3d.applications.weights.weights_file import open_weights
from keras_r3d.recipe import Clips
from keras_r3d.system.errors import WeightsError

# Filters of each group's convolutions; a max-pooling ends each group.
GROUPS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
FULLY_CONNECTED = 4096
SMALLEST = (8, 16, 16)
CLIP = (16, 112, 112)


def _fully_connected(x, units: int, name: str, normalized: bool, dropout: float):
    x = layers.Dense(units, use_bias=not normalized, kernel_initializer="he_normal", name=name)(x)
    if normalized:
        x = batch_norm(x, f"{name}_bn")
    x = relu(x, f"{name}_relu")
    return layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def _build_layers(x, options: dict[str, Any]):
    building.check_choice("pool5_padding", options["pool5_padding"], ["behind", "both"])
    normalized, dropout = options["with_batch_norm"], options["dropout"]
    for group, filters in enumerate(GROUPS, start=1):
        widths = building.scale_widths(filters, options["width"])
        for letter, count in zip("ab", widths, strict=False):
            name = f"conv{group}{letter}" if len(filters) > 1 else f"conv{group}"
            x = conv(x, count, name, use_bias=not normalized)
            if normalized:
                x = batch_norm(x, f"{name}_bn")
            x = relu(x, f"{name}_relu")
        size, padding = (1, 2, 2) if group == 1 else (2, 2, 2), "valid"
        if group == len(GROUPS) and options["pool5_padding"] == "behind":
            padding = "same"
        elif group == len(GROUPS):  # zeros behind a ReLU never are the largest
            pad = (0, 1, 1)
            x = layers.ZeroPadding3D(pad, data_format="channels_last", name="pool5_pad")(x)
        x = layers.MaxPooling3D(
            size, size, padding, data_format="channels_last", name=f"pool{group}"
        )(x)
    if not options["include_top"]:
        return building.pool(x, options["pooling"])
    x = layers.Flatten(data_format="channels_last", name="flatten")(x)
    units = FULLY_CONNECTED * count // GROUPS[-1][-1]
    x = _fully_connected(x, units, "fc6", normalized, dropout)
    x = _fully_connected(x, units, "fc7", normalized, dropout)
    return building.classify(x, options)


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
    pool5_padding: str | None = None,
    bgr: bool | None = None,
    width: float | None = None,
    dropout: float = 0.5,
    in_channels: int | None = None,
    include_preprocessing: bool = True,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    clips: Clips | None = None,
) -> keras.Model:
    arguments = locals()  # by name, before there are other variables
    file = None if weights is None else open_weights("c3d", weights)
    if file is not None:
        if file.network not in C3D_NETWORKS:
            raise WeightsError(f"`weights`: {file.path} is not of C3D: it has no conv5b/kernel.")
        pool5_padding = pool5_padding or file.options.get("pool5_padding")
        if file.options.get("bgr") if bgr is None else bgr:
            file = loading.reverse_channels(file)
    return building.build_network(
        _build_layers,
        arguments,
        {"with_batch_norm": False, "pool5_padding": "behind", "width": 1.0},
        file,
        KINETICS_2017,
        # Without padding in time, pool5 needs two frames.
        smallest=(16, 16, 16) if pool5_padding == "both" else SMALLEST,
        clip=CLIP if include_top else None,
    )


C3D.__doc__ = building.DOCSTRING.format(
    summary="""C3D, the baseline of the R3D paper.

    The top is fc6, fc7 and the classifier, with dropout behind the first two. It fixes the size of
    the input: `input_shape` is then (16, 112, 112, `in_channels`) unless it says otherwise. `width`
    multiplies fully connected units, too. Files of other projects are read: `docs/models.md`.""",
    options="""
        with_batch_norm: batch norm behind every convolution, fc6 and fc7; else without.
        pool5_padding: where pool5 gets 4x4 of 7x7 from: "behind" keeps the odd row and column
            behind, as the published network does (else); "both" adds one on each side, as its
            ports to PyTorch and Keras do.
        bgr: `weights` are of a network that takes blue first; conv1's kernel is then turned, so
            that the model takes RGB. Else as the file's project does.""",
)
