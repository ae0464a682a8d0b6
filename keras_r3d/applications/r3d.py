"""R3D: residual networks with 3x3x3 convolutions, and their mixed and factorized relatives.

Reference:
    Hara, Kataoka & Satoh, Learning Spatio-Temporal Features with 3D Residual Networks for Action
    Recognition, ICCV Workshops 2017, https://arxiv.org/abs/1708.07632, table 1. Depths of 50 and
    more: Hara, Kataoka & Satoh, Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and
    ImageNet?, CVPR 2018, https://arxiv.org/abs/1711.09577. `r3d_18`, `mc3_18`, `r2plus1d_18`: Tran
    et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018,
    https://arxiv.org/abs/1711.11248, as torchvision builds them.
"""

import os
from collections.abc import Sequence

import keras
from keras import layers

from keras_r3d.applications import blocks, building
from keras_r3d.applications.blocks import batch_norm, conv, relu
from keras_r3d.applications.building import Clips
from keras_r3d.applications.networks import FILTERS, HEAD, NETWORKS, Network
from keras_r3d.applications.weights.weights_file import open_weights

R2PLUS1D_STEM = 45  # filters of the stem's convolution in space, to FILTERS[0] of that in time


def _stem(x, network: Network, filters: int, t_size: int, t_stride: int):
    """conv1: 7x7 in space, `t_size` frames in time, stride 2 in space."""
    if network.stem == "3d":
        x = conv(x, filters, "conv1", kernel_size=(t_size, 7, 7), strides=(t_stride, 2, 2))
    else:
        middle = max(1, R2PLUS1D_STEM * filters // FILTERS[0])
        x = conv(x, middle, "conv1_spatial", kernel_size=(1, 7, 7), strides=(1, 2, 2))
        x = relu(batch_norm(x, "conv1_spatial_bn"), "conv1_spatial_relu")
        x = conv(x, filters, "conv1_temporal", kernel_size=(t_size, 1, 1), strides=(t_stride, 1, 1))
    return relu(batch_norm(x, "conv1_bn"), "conv1_relu")


def _max_pool(x):
    # Zeros around values of 0 and above never are the largest: as good as padding with -inf.
    x = layers.ZeroPadding3D(1, name="pool1_pad")(x)
    return layers.MaxPooling3D(3, 2, name="pool1")(x)


def _stages(x, network: Network, filters: Sequence[int], shortcut: str):
    """conv2_x to conv5_x; the first block of the later three halves the feature map."""
    block_function = blocks.bottleneck if network.bottleneck else blocks.basic
    for stage, count in enumerate(network.blocks):
        convolution = network.convolutions[stage]
        for block in range(count):
            strides = (1, 1, 1)
            if stage > 0 and block == 0:
                strides = (1, 2, 2) if convolution == "2d" else (2, 2, 2)
            name = f"conv{stage + 2}_{block + 1}"
            x = block_function(x, filters[stage], strides, shortcut, convolution, name)
    return x


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
        building.check_choice("shortcut", shortcut, [*blocks.SHORTCUTS, None])
        building.check_choice("max_pool", max_pool, [True, False, None])
        file = None if weights is None else open_weights(network_name, weights)
        # A checkpoint of a relative, such as R3D18's in r3d_18, brings its own defaults.
        default = network
        if file is not None and file.checkpoint is not None:
            default = NETWORKS.get(file.network or "", network)
        options = {
            "shortcut": (shortcut, default.shortcut),
            "width": (width, 1.0),
            "conv1_t_size": (conv1_t_size, default.conv1_t_size),
            "conv1_t_stride": (conv1_t_stride, 1),
            "max_pool": (max_pool, default.max_pool),
        }

        def body(x, options):
            t_size, t_stride = options["conv1_t_size"], options["conv1_t_stride"]
            building.check_count("conv1_t_size", t_size)
            building.check_count("conv1_t_stride", t_stride)
            filters = building.scale_widths(FILTERS, options["width"])
            x = _stem(x, network, filters[0], t_size, t_stride)
            if options["max_pool"]:
                x = _max_pool(x)
            x = _stages(x, network, filters, options["shortcut"])
            x = building.pool(x, "avg" if include_top else pooling)
            if include_top:
                if dropout:
                    x = layers.Dropout(dropout, name="dropout")(x)
                x = layers.Dense(options["classes"], activation=classifier_activation, name=HEAD)(x)
            return x

        return building.build_network(
            body,
            options,
            file,
            default.conventions,
            include_top=include_top,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            name=name,
            in_channels=in_channels,
            include_preprocessing=include_preprocessing,
            mean=mean,
            std=std,
            labels=labels,
            clips=clips,
        )

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
