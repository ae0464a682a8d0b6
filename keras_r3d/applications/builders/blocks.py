"""What the networks are made of: plain functions from a tensor to a tensor.

Every layer is a stock Keras layer named after its place in the paper's table.
"""

from collections.abc import Sequence

import keras
from keras import layers

Strides = tuple[int, int, int]


def conv(
    x,
    filters: int,
    name: str,
    *,
    kernel_size: Sequence[int] = (3, 3, 3),
    strides: Strides = (1, 1, 1),
    use_bias: bool = False,
):
    """Convolution, padded alike on both sides by half the kernel."""
    pad = tuple(size // 2 for size in kernel_size)
    padding = "same"
    if strides != (1, 1, 1) or not all(size % 2 for size in kernel_size):
        # "same" puts an odd pixel of padding behind only; at stride 2 that moves the grid.
        if any(pad):
            x = layers.ZeroPadding3D(pad, data_format="channels_last", name=f"{name}_pad")(x)
        padding = "valid"
    return layers.Conv3D(
        filters,
        tuple(kernel_size),
        strides=strides,
        padding=padding,
        data_format="channels_last",
        use_bias=use_bias,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=name,
    )(x)


def batch_norm(x, name: str):
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def relu(x, name: str):
    return layers.ReLU(name=name)(x)


def conv_2plus1d(
    x,
    filters: int,
    name: str,
    *,
    middle: int,
    kernel_size: Sequence[int] = (3, 3, 3),
    strides: Strides = (1, 1, 1),
):
    """A convolution in space to `middle` filters, batch norm and ReLU, then one in time."""
    size, stride = (1, *kernel_size[1:]), (1, *strides[1:])
    x = conv(x, middle, f"{name}_spatial", kernel_size=size, strides=stride)
    x = relu(batch_norm(x, f"{name}_spatial_bn"), f"{name}_spatial_relu")
    size, stride = (kernel_size[0], 1, 1), (strides[0], 1, 1)
    return conv(x, filters, f"{name}_temporal", kernel_size=size, strides=stride)


def shortcut_a(x, filters: int, strides: Strides, name: str):
    """Identity: every `strides`-th value, missing channels filled with zeros. No parameters."""
    if strides != (1, 1, 1):
        x = layers.AveragePooling3D(
            1, strides, data_format="channels_last", name=f"{name}_shortcut_pool"
        )(x)
    if missing := filters - x.shape[-1]:
        # Told that channels come first, the layer takes (height, width, channels) for the three
        # axes it pads: the stock way to pad channels.
        pad, name = ((0, 0), (0, 0), (0, missing)), f"{name}_shortcut_pad"
        x = layers.ZeroPadding3D(pad, data_format="channels_first", name=name)(x)
    return x


def shortcut_b(x, filters: int, strides: Strides, name: str):
    """Projection by a 1x1x1 convolution where the shape changes."""
    if strides == (1, 1, 1) and x.shape[-1] == filters:
        return x
    x = conv(x, filters, f"{name}_shortcut_conv", kernel_size=(1, 1, 1), strides=strides)
    return batch_norm(x, f"{name}_shortcut_bn")


SHORTCUTS = {"A": shortcut_a, "B": shortcut_b}


def basic(x, filters: int, strides: Strides, shortcut: str, convolution: str, name: str):
    """Two convolutions ("3d": 3x3x3, "2d": 1x3x3, "2+1d": factorized) and a shortcut around them.

    Reference:
        "2d" and "2+1d": Tran et al., A Closer Look at Spatiotemporal Convolutions for Action
        Recognition, CVPR 2018, https://arxiv.org/abs/1711.11248, as torchvision builds them: both
        convolutions of a block share the middle width of the first.
    """
    before = x.shape[-1]

    def convolve(x, name: str, strides: Strides = (1, 1, 1)):
        if convolution == "2+1d":
            # As many parameters as the 3x3x3 convolution that it stands for.
            middle = 27 * before * filters // (9 * before + 3 * filters)
            return conv_2plus1d(x, filters, name, strides=strides, middle=middle)
        kernel_size = (3, 3, 3) if convolution == "3d" else (1, 3, 3)
        return conv(x, filters, name, kernel_size=kernel_size, strides=strides)

    identity = SHORTCUTS[shortcut](x, filters, strides, name)
    x = convolve(x, f"{name}_conv1", strides)
    x = relu(batch_norm(x, f"{name}_bn1"), f"{name}_relu1")
    x = convolve(x, f"{name}_conv2")
    return _join(batch_norm(x, f"{name}_bn2"), identity, name)


EXPANSION = 4  # of a bottleneck's channels, in its last convolution


def bottleneck(x, filters: int, strides: Strides, shortcut: str, convolution: str, name: str):
    """1x1x1, 3x3x3 and 1x1x1 convolutions and a shortcut around them."""
    del convolution  # there is no other bottleneck than that of 3x3x3
    identity = SHORTCUTS[shortcut](x, EXPANSION * filters, strides, name)
    x = conv(x, filters, f"{name}_conv1", kernel_size=(1, 1, 1))
    x = relu(batch_norm(x, f"{name}_bn1"), f"{name}_relu1")
    x = conv(x, filters, f"{name}_conv2", strides=strides)
    x = relu(batch_norm(x, f"{name}_bn2"), f"{name}_relu2")
    x = conv(x, EXPANSION * filters, f"{name}_conv3", kernel_size=(1, 1, 1))
    return _join(batch_norm(x, f"{name}_bn3"), identity, name)


def _join(x, identity, name: str):
    return relu(layers.Add(name=f"{name}_add")([x, identity]), f"{name}_out")
