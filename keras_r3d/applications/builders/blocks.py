"""What the networks are made of: plain functions from a tensor to a tensor.

Every layer is a stock Keras layer named after its place in the paper's table.
"""

from collections.abc import Sequence
from math import gcd

import keras
from keras import layers, ops

from keras_r3d.applications.networks import Network

Strides = tuple[int, int, int]


class GroupedConv3D(layers.Conv3D):
    """The stock grouped convolution, on CPU without XLA, which is many times slower there.

    Keras hands every grouped convolution to XLA. Here each group is a convolution of its own, with
    its part of the kernel. In a file it is the stock layer: plain Keras loads it, and is slow.
    """

    def convolution_op(self, inputs, kernel):
        if keras.distribution.list_devices("gpu"):  # cuDNN has grouped convolutions
            return super().convolution_op(inputs, kernel)
        pieces = ops.split(inputs, self.groups, axis=-1)
        kernels = ops.split(kernel, self.groups, axis=-1)
        return ops.concatenate(list(map(super().convolution_op, pieces, kernels)), axis=-1)


GroupedConv3D.__name__, GroupedConv3D.__module__ = "Conv3D", "keras.layers"  # what files name


def split_groups(model: keras.Model) -> keras.Model:
    """Makes the grouped convolutions of a model that Keras loaded `GroupedConv3D`."""
    for layer in model.layers:
        if type(layer) is layers.Conv3D and layer.groups > 1:
            layer.__class__ = GroupedConv3D
    return model


def conv(
    x,
    filters: int,
    name: str,
    *,
    kernel_size: Sequence[int] = (3, 3, 3),
    strides: Strides = (1, 1, 1),
    groups: int = 1,
    use_bias: bool = False,
):
    """Convolution, padded alike on both sides by half the kernel."""
    pad = tuple(size // 2 for size in kernel_size)
    padding = "same"
    if strides != (1, 1, 1) or not all(size % 2 for size in kernel_size) or groups > 1:
        # "same" puts an odd pixel of padding behind only; at stride 2 that moves the grid. And each
        # group would pad for itself.
        if any(pad):
            x = layers.ZeroPadding3D(pad, data_format="channels_last", name=f"{name}_pad")(x)
        padding = "valid"
    convolution = GroupedConv3D if groups > 1 else layers.Conv3D
    return convolution(
        filters,
        tuple(kernel_size),
        strides=strides,
        padding=padding,
        data_format="channels_last",
        groups=groups,
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


def residual(
    x, filters: int, strides: Strides, name: str, network: Network, shortcut: str, kind: str
):
    """Two convolutions, of a bottleneck three, with batch norm, and a shortcut around them.

    `kind` is that of the convolutions: "3d" (3x3x3), "2d" (1x3x3) or "2+1d" (factorized).

    Reference:
        Order "pre": He et al., Identity Mappings in Deep Residual Networks, ECCV 2016,
        https://arxiv.org/abs/1603.05027. "2d" and "2+1d": Tran et al., A Closer Look at
        Spatiotemporal Convolutions for Action Recognition, CVPR 2018,
        https://arxiv.org/abs/1711.11248.
    """
    before, pre = x.shape[-1], network.order == "pre"

    def convolve(x, filters: int, kind: str, strides: Strides, name: str):
        if kind == "2+1d":
            middle = network.middle(before, x.shape[-1], filters)
            return conv_2plus1d(x, filters, name, strides=strides, middle=middle)
        if kind == "1x1x1":
            return conv(x, filters, name, kernel_size=(1, 1, 1))
        size, groups = (3 if kind == "3d" else 1, 3, 3), gcd(network.groups, filters)
        return conv(x, filters, name, kernel_size=size, strides=strides, groups=groups)

    last, once = filters, (1, 1, 1)
    parts = [(filters, kind, strides), (filters, kind, once)]
    if network.bottleneck:
        last = network.expansion * filters
        parts = [(filters, "1x1x1", once), (filters, kind, strides), (last, "1x1x1", once)]
    identity = SHORTCUTS[shortcut](x, last, strides, name)
    for i, part in enumerate(parts, start=1):
        if pre:
            x = relu(batch_norm(x, f"{name}_bn{i}"), f"{name}_relu{i}")
        x = convolve(x, *part, f"{name}_conv{i}")
        if not pre:
            x = batch_norm(x, f"{name}_bn{i}")
            x = relu(x, f"{name}_relu{i}") if i < len(parts) else x
    if pre:
        return layers.Add(name=f"{name}_out")([x, identity])
    return relu(layers.Add(name=f"{name}_add")([x, identity]), f"{name}_out")


def dense(x, filters: int, name: str):
    """Adds channels, a quarter of `filters`, made of all there are by 1x1x1 and 3x3x3.

    Reference:
        Huang et al., Densely Connected Convolutional Networks, CVPR 2017,
        https://arxiv.org/abs/1608.06993
    """
    y = relu(batch_norm(x, f"{name}_bn1"), f"{name}_relu1")
    y = conv(y, filters, f"{name}_conv1", kernel_size=(1, 1, 1))
    y = relu(batch_norm(y, f"{name}_bn2"), f"{name}_relu2")
    y = conv(y, filters // 4, f"{name}_conv2")
    return layers.Concatenate(name=f"{name}_out")([x, y])


def transition(x, name: str):
    """Halves channels, frames, height and width; an odd frame, row or column is left out."""
    x = relu(batch_norm(x, f"{name}_bn"), f"{name}_relu")
    x = conv(x, x.shape[-1] // 2, f"{name}_conv", kernel_size=(1, 1, 1))
    return layers.AveragePooling3D(2, data_format="channels_last", name=f"{name}_pool")(x)
