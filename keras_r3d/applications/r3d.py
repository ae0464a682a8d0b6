"""R3D: residual networks with 3x3x3 convolutions.

Reference:
    Hara, Kataoka & Satoh, Learning Spatio-Temporal Features with 3D Residual Networks for Action
    Recognition, ICCV Workshops 2017, https://arxiv.org/abs/1708.07632, table 1.
"""

from collections.abc import Sequence

import keras
from keras import layers

from keras_r3d.applications import weights as weight_files

# Blocks in conv2_x, conv3_x, conv4_x and conv5_x.
DEPTHS = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
}
FILTERS = (64, 128, 256, 512)

# Mean of the Kinetics training frames, RGB, 0-255, as the authors' code subtracts it.
KINETICS_MEAN = (114.7748, 107.7354, 99.4750)
SMALLEST_SIDE = 16


def _conv(
    x,
    filters: int,
    name: str,
    *,
    kernel_size: int | Sequence[int] = 3,
    strides: int | Sequence[int] = 1,
):
    """Convolution without bias, padded alike on both sides."""
    if isinstance(kernel_size, int):
        kernel_size = (kernel_size,) * 3
    padding = "same"
    if strides != 1:
        # "same" puts an odd pixel of padding behind only; at stride 2 that moves the grid.
        if kernel_size != (1, 1, 1):
            pad = tuple(size // 2 for size in kernel_size)
            x = layers.ZeroPadding3D(pad, name=f"{name}_pad")(x)
        padding = "valid"
    return layers.Conv3D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=name,
    )(x)


def _batch_norm(x, name: str):
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _shortcut_a(x, filters: int, strides: int, name: str):
    """Identity: every `strides`-th value, missing channels filled with zeros. No parameters."""
    if strides != 1:
        x = layers.AveragePooling3D(1, strides, name=f"{name}_shortcut_pool")(x)
    missing = filters - x.shape[-1]
    if missing:
        # Told that channels come first, the layer takes (height, width, channels) for the three
        # axes it pads: the stock way to pad channels.
        x = layers.ZeroPadding3D(
            ((0, 0), (0, 0), (0, missing)),
            data_format="channels_first",
            name=f"{name}_shortcut_pad",
        )(x)
    return x


def _shortcut_b(x, filters: int, strides: int, name: str):
    """Projection by a 1x1x1 convolution where the shape changes."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    x = _conv(x, filters, f"{name}_shortcut_conv", kernel_size=1, strides=strides)
    return _batch_norm(x, f"{name}_shortcut_bn")


_SHORTCUTS = {"A": _shortcut_a, "B": _shortcut_b}


def _basic_block(x, filters: int, strides: int, shortcut: str, name: str):
    """Two 3x3x3 convolutions and a shortcut around them."""
    identity = _SHORTCUTS[shortcut](x, filters, strides, name)
    x = _conv(x, filters, f"{name}_conv1", strides=strides)
    x = _batch_norm(x, f"{name}_bn1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _conv(x, filters, f"{name}_conv2")
    x = _batch_norm(x, f"{name}_bn2")
    x = layers.Add(name=f"{name}_add")([x, identity])
    return layers.ReLU(name=f"{name}_out")(x)


def _r3d(
    depth: int,
    include_top: bool,
    weights,
    input_tensor,
    input_shape,
    pooling,
    classes: int,
    classifier_activation,
    name: str,
    shortcut: str | None,
    width: float,
    dropout: float,
    include_preprocessing: bool,
    mean: Sequence[float],
    std: Sequence[float],
) -> keras.Model:
    shortcut = shortcut or "A"
    if shortcut not in _SHORTCUTS:
        raise ValueError(
            f"`shortcut` must be one of {list(_SHORTCUTS)} or None. Received: shortcut={shortcut}"
        )
    if pooling not in (None, "avg", "max"):
        raise ValueError(
            f"`pooling` must be one of [None, 'avg', 'max']. Received: pooling={pooling}"
        )
    if not isinstance(classes, int) or classes < 1:
        raise ValueError(f"`classes` must be an int of at least 1. Received: classes={classes}")
    if not width > 0:
        raise ValueError(f"`width` must be above 0. Received: width={width}")
    filters = [max(1, int(count * width)) for count in FILTERS]
    inputs = _input(input_tensor, input_shape)

    x = inputs
    if include_preprocessing:
        variance = [value**2 for value in std]
        x = layers.Normalization(mean=list(mean), variance=variance, name="normalization")(x)
    x = _conv(x, filters[0], "conv1", kernel_size=7, strides=(1, 2, 2))
    x = _batch_norm(x, "conv1_bn")
    x = layers.ReLU(name="conv1_relu")(x)
    # Zeros around values of 0 and above never are the largest: as good as padding with -inf.
    x = layers.ZeroPadding3D(1, name="pool1_pad")(x)
    x = layers.MaxPooling3D(3, 2, name="pool1")(x)
    for stage, blocks in enumerate(DEPTHS[depth]):
        for block in range(blocks):
            strides = 2 if stage > 0 and block == 0 else 1
            block_name = f"conv{stage + 2}_{block + 1}"
            x = _basic_block(x, filters[stage], strides, shortcut, block_name)
    if include_top or pooling == "avg":
        x = layers.GlobalAveragePooling3D(name="avg_pool")(x)
    elif pooling == "max":
        x = layers.GlobalMaxPooling3D(name="max_pool")(x)
    if include_top:
        if dropout:
            x = layers.Dropout(dropout, name="dropout")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)

    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
    model = keras.Model(inputs, x, name=name)
    if weights is not None:
        weight_files.load(model, weights)
    return model


def _input(input_tensor, input_shape):
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, the output of `keras.Input` or a layer. "
                f"Received: {type(input_tensor).__name__}"
            )
        shape = tuple(input_tensor.shape[1:])
    else:
        shape = (None, None, None, 3) if input_shape is None else tuple(input_shape)
    sides = shape[1:3]
    if len(shape) != 4 or shape[3] != 3 or any(s is not None and s < SMALLEST_SIDE for s in sides):
        raise ValueError(
            "`input_shape` must be (frames, height, width, 3), height and width at least "
            f"{SMALLEST_SIDE} (or None). Received: input_shape={shape}"
        )
    return keras.Input(shape, name="clip") if input_tensor is None else input_tensor


_ARGUMENTS = """

    Args:
        include_top: keep the classifier.
        weights: None (He initialisation), or path of a `.keras` or `.weights.h5` file.
        input_tensor: Keras tensor to use as the input, `(batch, frames, height, width, 3)`.
        input_shape: `(frames, height, width, 3)`; None leaves all three open.
        pooling: of the last feature map without the top: None (left as it is,
            `(batch, frames / 16, height / 32, width / 32, 512)`), "avg" or "max".
        classes: of the classifier.
        classifier_activation: "softmax", or None for logits.
        name: of the model.
        shortcut: "A" (identity, zero-padded channels: the paper's) or "B" (1x1x1 projection where
            the shape changes). None is "A".
        width: multiplies all numbers of filters.
        dropout: rate before the classifier.
        include_preprocessing: normalise inside the model; the input is then RGB, 0-255, uint8 or
            float.
        mean: per channel, RGB, 0-255; what `include_preprocessing` subtracts.
        std: per channel, RGB, 0-255; what it then divides by.

    Returns:
        Functional `keras.Model` of stock layers: a saved file loads without keras_r3d.

    Raises:
        ValueError: an argument out of range, or weights that do not fit.

    Reference:
        Hara, Kataoka & Satoh, Learning Spatio-Temporal Features with 3D Residual Networks for
        Action Recognition, ICCV Workshops 2017, https://arxiv.org/abs/1708.07632
    """


def _builder(depth: int):
    """Makes the public builder of one depth; all share one signature."""

    def build(
        include_top: bool = True,
        weights: str | None = None,
        input_tensor=None,
        input_shape: Sequence[int | None] | None = None,
        pooling: str | None = None,
        classes: int = 400,
        classifier_activation: str | None = "softmax",
        name: str = f"r3d{depth}",
        *,
        shortcut: str | None = None,
        width: float = 1.0,
        dropout: float = 0.0,
        include_preprocessing: bool = True,
        mean: Sequence[float] = KINETICS_MEAN,
        std: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> keras.Model:
        return _r3d(
            depth,
            include_top,
            weights,
            input_tensor,
            input_shape,
            pooling,
            classes,
            classifier_activation,
            name,
            shortcut,
            width,
            dropout,
            include_preprocessing,
            mean,
            std,
        )

    build.__name__ = build.__qualname__ = f"R3D{depth}"
    build.__doc__ = f"Builds a {depth}-layer R3D.{_ARGUMENTS}"
    return build


R3D10 = _builder(10)
R3D18 = _builder(18)
R3D34 = _builder(34)
