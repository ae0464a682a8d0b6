"""R3D: residual networks with 3x3x3 convolutions, and their mixed and factorized relatives.

Reference:
    Hara, Kataoka & Satoh, Learning Spatio-Temporal Features with 3D Residual Networks for Action
    Recognition, ICCV Workshops 2017, https://arxiv.org/abs/1708.07632, table 1. Depths of 50 and
    more: Hara, Kataoka & Satoh, Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and
    ImageNet?, CVPR 2018, https://arxiv.org/abs/1711.09577. `r3d_18`, `mc3_18`, `r2plus1d_18`: Tran
    et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018,
    https://arxiv.org/abs/1711.11248, as torchvision builds them.
"""

import functools
import os
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_r3d.applications.builders import blocks, building
from keras_r3d.applications.networks import FILTERS, NETWORKS, Network
from keras_r3d.applications.weights.weights_file import open_weights
from keras_r3d.recipe import Clips

R2PLUS1D_STEM = 45  # filters of the stem's convolution in space, to FILTERS[0] of that in time


def _build_layers(x, options: dict[str, Any], *, network: Network):
    """conv1 to the last layer: the paper's table from top to bottom."""
    t_size, t_stride = options["conv1_t_size"], options["conv1_t_stride"]
    building.check_count("conv1_t_size", t_size)
    building.check_count("conv1_t_stride", t_stride)
    filters = building.scale_widths(FILTERS, options["width"])
    conv1: dict[str, Any] = {"kernel_size": (t_size, 7, 7), "strides": (t_stride, 2, 2)}
    if network.stem == "3d":
        x = blocks.conv(x, filters[0], "conv1", **conv1)
    else:
        middle = max(1, R2PLUS1D_STEM * filters[0] // FILTERS[0])
        x = blocks.conv_2plus1d(x, filters[0], "conv1", middle=middle, **conv1)
    x = blocks.relu(blocks.batch_norm(x, "conv1_bn"), "conv1_relu")
    if options["max_pool"]:
        # Zeros around values of 0 and above never are the largest: as good as padding with -inf.
        x = layers.ZeroPadding3D(1, data_format="channels_last", name="pool1_pad")(x)
        x = layers.MaxPooling3D(3, 2, data_format="channels_last", name="pool1")(x)
    block_function = blocks.bottleneck if network.bottleneck else blocks.basic
    for stage, count in enumerate(network.blocks):
        convolution = network.convolutions[stage]
        for block in range(count):
            strides = (1, 1, 1)
            if stage > 0 and block == 0:  # halves the feature map
                strides = (1, 2, 2) if convolution == "2d" else (2, 2, 2)
            name = f"conv{stage + 2}_{block + 1}"
            x = block_function(x, filters[stage], strides, options["shortcut"], convolution, name)
    if not options["include_top"]:
        return building.pool(x, options["pooling"])
    x = building.pool(x, "avg")
    if options["dropout"]:
        x = layers.Dropout(options["dropout"], name="dropout")(x)
    return building.classify(x, options)


_OPTIONS = """
        shortcut: "A" (identity, zero-padded channels; else for R3D of up to 34 layers) or "B"
            (1x1x1 projection where the shape changes; else for all others).
        conv1_t_size: frames that the first convolution spans; else 7, torchvision's networks 3.
        conv1_t_stride: its stride in time; else 1.
        max_pool: halve the feature map after it; else as the paper does, torchvision's do not."""


def _builder(public_name: str, description: str):
    """Makes the public builder of one network; all share one signature."""
    network_name = public_name.lower()
    network = NETWORKS[network_name]

    def build(
        include_top: bool = True,
        weights: str | os.PathLike[str] | None = None,
        input_tensor=None,
        input_shape: Sequence[int | None] | None = None,
        pooling: str | None = None,
        classes: int | None = None,
        classifier_activation: str | None = "softmax",
        name: str = network_name,
        *,
        shortcut: str | None = None,
        width: float | None = None,
        dropout: float = 0.0,
        in_channels: int | None = None,
        conv1_t_size: int | None = None,
        conv1_t_stride: int | None = None,
        max_pool: bool | None = None,
        include_preprocessing: bool = True,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        labels: str | os.PathLike[str] | Sequence[str] | None = None,
        clips: Clips | None = None,
    ) -> keras.Model:
        arguments = locals()  # by name, before there are other variables
        building.check_choice("shortcut", shortcut, [*blocks.SHORTCUTS, None])
        building.check_choice("max_pool", max_pool, [True, False, None])
        file = None if weights is None else open_weights(network_name, weights)
        # A checkpoint of a relative, such as R3D18's in r3d_18, brings its own defaults.
        default = network
        if file is not None and file.checkpoint is not None:
            default = NETWORKS.get(file.network or "", network)
        defaults = {
            "shortcut": default.shortcut,
            "width": 1.0,
            "conv1_t_size": default.conv1_t_size,
            "conv1_t_stride": 1,
            "max_pool": default.max_pool,
        }
        build_layers = functools.partial(_build_layers, network=network)
        return building.build_network(build_layers, arguments, defaults, file, default.conventions)

    build.__name__ = build.__qualname__ = public_name
    build.__doc__ = building.DOCSTRING.format(summary=f"{description}.", options=_OPTIONS)
    return build


R3D10 = _builder("R3D10", "a 10-layer R3D, the smallest")
R3D18 = _builder("R3D18", "an 18-layer R3D")
R3D34 = _builder("R3D34", "a 34-layer R3D")
R3D50 = _builder("R3D50", "a 50-layer R3D, of bottleneck blocks")
R3D101 = _builder("R3D101", "a 101-layer R3D, of bottleneck blocks")
R3D152 = _builder("R3D152", "a 152-layer R3D, of bottleneck blocks")
R3D200 = _builder("R3D200", "a 200-layer R3D, of bottleneck blocks")
r3d_18 = _builder("r3d_18", "torchvision's 18-layer R3D: a shorter conv1 and no max-pooling")
mc3_18 = _builder("mc3_18", "torchvision's MC3: convolutions in space only from conv3_x on")
r2plus1d_18 = _builder("r2plus1d_18", "torchvision's R(2+1)D: convolutions in space, then in time")
