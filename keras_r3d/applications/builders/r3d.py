"""R3D: residual networks with 3x3x3 convolutions, and their relatives.

Reference:
    Hara, Kataoka & Satoh, Learning Spatio-Temporal Features with 3D Residual Networks for Action
    Recognition, ICCV Workshops 2017, https://arxiv.org/abs/1708.07632, table 1. Depths of 50 and
    more, and pre-activated, wide, grouped and dense networks: Hara, Kataoka & Satoh, Can
    Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?, CVPR 2018,
    https://arxiv.org/abs/1711.09577, as the authors' files have them: 64 filters in every conv1,
    and nothing between the last sum of a pre-activated network and its average. `r3d_18`, `mc3_18`,
    `r2plus1d_18`: Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition,
    CVPR 2018, https://arxiv.org/abs/1711.11248, as torchvision builds them; `R2P1D18` and deeper as
    the authors of the first two papers do, with other widths and a longer conv1.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from keras_r3d.applications.builders import blocks, building
from keras_r3d.applications.networks import NETWORKS, Network
from keras_r3d.applications.weights.weights_file import open_weights
from keras_r3d.recipe import Clips

BUILDERS: list[
    Callable[..., keras.Model]
] = []  # the public ones, in the order of their names below
_LEAST_CELLS = 8  # of a map along each axis that DenseNet's three transitions leave something of


def _build_layers(x, options: dict[str, Any], *, network: Network):
    """conv1 to the last layer: the paper's table from top to bottom."""
    t_size, t_stride = options["conv1_t_size"], options["conv1_t_stride"]
    building.check_count("conv1_t_size", t_size)
    building.check_count("conv1_t_stride", t_stride)
    stem, *filters = building.scale_network(network, options["width"])
    if network.dense:
        cells = 2 * _LEAST_CELLS - 1 if options["max_pool"] else _LEAST_CELLS
        least = [stride * (cells - 1) + 1 for stride in (t_stride, 2, 2)]
        building.check_shape(tuple(x.shape[1:]), x.shape[-1], least)
    conv1: dict[str, Any] = {"kernel_size": (t_size, 7, 7), "strides": (t_stride, 2, 2)}
    if network.stem == "3d":
        x = blocks.conv(x, stem, "conv1", **conv1)
    else:
        middle = network.stem_middle(stem, t_size)
        x = blocks.conv_2plus1d(x, stem, "conv1", middle=middle, **conv1)
    x = blocks.relu(blocks.batch_norm(x, "conv1_bn"), "conv1_relu")
    if options["max_pool"]:
        # Zeros around values of 0 and above never are the largest: as good as padding with -inf.
        x = layers.ZeroPadding3D(1, data_format="channels_last", name="pool1_pad")(x)
        x = layers.MaxPooling3D(3, 2, data_format="channels_last", name="pool1")(x)
    for stage, count in enumerate(network.blocks):
        kind = network.convolutions[stage]
        halved = (1, 2, 2) if kind == "2d" else (2, 2, 2)
        if network.dense and stage > 0:
            x = blocks.transition(x, f"conv{stage + 2}_transition")
        for block in range(count):
            name = f"conv{stage + 2}_{block + 1}"
            if network.dense:
                x = blocks.dense(x, filters[stage], name)
                continue
            strides = halved if stage > 0 and block == 0 else (1, 1, 1)
            shape = filters[stage], strides, name
            x = blocks.residual(x, *shape, network, options["shortcut"], kind)
    if network.dense:
        x = blocks.relu(blocks.batch_norm(x, "conv5_bn"), "conv5_relu")
    return building.finish(x, options)


_OPTIONS = """
        shortcut: "A" (identity, zero-padded channels; else for R3D and PreResNet of up to 34
            layers) or "B" (1x1x1 projection where the shape changes; else for all others). DenseNet
            has none.
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
        shortcuts = () if network.dense else blocks.SHORTCUTS
        building.check_choice("shortcut", shortcut, [*shortcuts, None])
        building.check_choice("max_pool", max_pool, [True, False, None])
        file = None if weights is None else open_weights(network_name, weights)
        # A checkpoint of a relative, such as R3D18's in r3d_18, brings its own defaults.
        default = network
        if file is not None and file.checkpoint is not None:
            default = NETWORKS.get(file.network or "", network)
        defaults: dict[str, Any] = {
            "width": 1.0,
            "conv1_t_size": default.conv1_t_size,
            "conv1_t_stride": 1,
            "max_pool": default.max_pool,
        }
        if not network.dense:
            defaults["shortcut"] = default.shortcut or network.shortcut
        build_layers = functools.partial(_build_layers, network=network)
        return building.build_network(build_layers, arguments, defaults, file, default.conventions)

    build.__name__ = build.__qualname__ = public_name
    build.__doc__ = building.DOCSTRING.format(summary=f"{description}.", options=_OPTIONS)
    BUILDERS.append(build)
    return build


R3D10 = _builder("R3D10", "a 10-layer R3D, the smallest")
R3D18 = _builder("R3D18", "an 18-layer R3D")
R3D34 = _builder("R3D34", "a 34-layer R3D")
R3D50 = _builder("R3D50", "a 50-layer R3D, of bottleneck blocks")
R3D101 = _builder("R3D101", "a 101-layer R3D, of bottleneck blocks")
R3D152 = _builder("R3D152", "a 152-layer R3D, of bottleneck blocks")
R3D200 = _builder("R3D200", "a 200-layer R3D, of bottleneck blocks")
PreResNet18 = _builder("PreResNet18", "an 18-layer pre-activation ResNet")
PreResNet34 = _builder("PreResNet34", "a 34-layer pre-activation ResNet")
PreResNet50 = _builder("PreResNet50", "a 50-layer pre-activation ResNet")
PreResNet101 = _builder("PreResNet101", "a 101-layer pre-activation ResNet")
PreResNet152 = _builder("PreResNet152", "a 152-layer pre-activation ResNet")
PreResNet200 = _builder("PreResNet200", "a 200-layer pre-activation ResNet")
WideResNet50 = _builder("WideResNet50", "a 50-layer ResNet of wide bottleneck blocks")
ResNeXt50 = _builder("ResNeXt50", "a 50-layer ResNeXt, of 32 groups")
ResNeXt101 = _builder("ResNeXt101", "a 101-layer ResNeXt, of 32 groups")
ResNeXt152 = _builder("ResNeXt152", "a 152-layer ResNeXt, of 32 groups")
DenseNet121 = _builder("DenseNet121", "a 121-layer DenseNet")
DenseNet169 = _builder("DenseNet169", "a 169-layer DenseNet")
DenseNet201 = _builder("DenseNet201", "a 201-layer DenseNet")
DenseNet264 = _builder("DenseNet264", "a 264-layer DenseNet")
R2P1D18 = _builder("R2P1D18", "the authors' 18-layer R(2+1)D")
R2P1D34 = _builder("R2P1D34", "the authors' 34-layer R(2+1)D")
R2P1D50 = _builder("R2P1D50", "the authors' 50-layer R(2+1)D, of bottleneck blocks")
R2P1D101 = _builder("R2P1D101", "the authors' 101-layer R(2+1)D, of bottleneck blocks")
r3d_18 = _builder("r3d_18", "torchvision's 18-layer R3D: a shorter conv1 and no max-pooling")
mc3_18 = _builder("mc3_18", "torchvision's MC3: convolutions in space only from conv3_x on")
r2plus1d_18 = _builder("r2plus1d_18", "torchvision's R(2+1)D: convolutions in space, then in time")
