"""Lowering a network over clips to operators over images, which TensorFlow Lite has and is fast at.

TensorFlow Lite has no 3D pooling, and a 3D convolution that it never quantizes and runs slowly.
Both can be said in 2D, exactly. The clip `(1, frames, height, width, channels)` becomes a batch of
images `(frames, height, width, channels)`, and of each layer the part in space is the same layer in
2D. For its part in time:

- a convolution reads each image together with its neighbors in time, as channels of one image;
- what only looks along time (3x1x1) is a 2D layer too, over `(1, frames, height * width,
  channels)`, which is the same memory under another name.

docs/export.md has a drawing.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from keras_r3d.applications.builders.blocks import GroupedConv3D
from keras_r3d.applications.models import operations
from keras_r3d.system.errors import ExportError

Pads = tuple[tuple[int, int], ...]  # before and behind, of each axis

_NONE: Pads = ((0, 0), (0, 0), (0, 0))

_OTHER = "The format saved_model can hold this model."
_GROUPED = f"TFLite export does not know grouped convolutions: {{}} has groups={{}}. {_OTHER}"
_FEW_CHANNELS = 4  # that are slow to copy pixel by pixel
_MOST = 15 / 16  # of the products, for several convolutions to be worth their weights


@dataclasses.dataclass(frozen=True)
class _Images:
    """A clip as images, and zeros that are still to be put around it: the next layer may do it."""

    x: Any  # (frames, height, width, channels)
    pads: Pads = _NONE  # of frames, height and width

    def padded(self, axes: Sequence[int] = (0, 1, 2)) -> "_Images":
        """Puts the zeros there, along some of the axes."""
        now = tuple(self.pads[axis] if axis in axes else (0, 0) for axis in range(3))
        later = tuple((0, 0) if axis in axes else self.pads[axis] for axis in range(3))
        return _Images(_pad(self.x, now), later)


@dataclasses.dataclass(frozen=True)
class _Joined:
    """Vectors that stand for one: int8 then keeps a scale of each, and not of the largest alone."""

    parts: Sequence[Any]  # (1, d) each


def lower(model: keras.Model, *, skip_zeros: bool = False) -> keras.Model:
    """Returns a network of the same function for one clip, float32, at a time, of 2D layers.

    Args:
        model: functional, of the layers that `keras_r3d.applications` uses, else ExportError.
        skip_zeros: makes first and last frames with convolutions of their own, which leave out what
            reads zeros before and behind the clip: 9 % less to compute for an R3D-18, for a quarter
            more weights. Not for int8, whose converter leaves some of them in float.
    """
    shape = model.input_shape
    if len(shape) != 5 or None in shape[1:]:
        raise ExportError(
            "TFLite export needs a model of one clip size: (frames, height, width, channels). "
            f"Received: {shape[1:]}"
        )
    clip = keras.Input(batch_shape=(1, *shape[1:]), dtype="float32", name="clip")
    values = {id(model.inputs[0]): _Images(ops.reshape(clip, shape[1:]))}
    convolution = functools.partial(_convolution, skip_zeros=skip_zeros)
    rules = _RULES | dict.fromkeys((layers.Conv3D, GroupedConv3D), convolution)
    for layer in operations(model):
        if isinstance(layer, layers.InputLayer):
            continue
        rule = _as_it_is if _is_batching(layer) else rules.get(type(layer))
        inputs = [values.get(id(tensor)) for tensor in keras.tree.flatten(layer.input)]
        if rule is None or None in inputs or len(layer._inbound_nodes) > 1:
            raise ExportError(
                f"TFLite export does not know the layer {layer.name} ({type(layer).__name__}) as "
                f"it is used here. {_OTHER}"
            )
        if rule is not _zero_padding and getattr(layer, "data_format", "") == "channels_first":
            raise ExportError(f"TFLite export does not know channels first: {layer.name} has them.")
        values[id(layer.output)] = rule(layer, *inputs)
    outputs = [ops.reshape(_whole(values[id(y)]), (1, *y.shape[1:])) for y in model.outputs]
    return keras.Model(clip, outputs[0] if len(outputs) == 1 else outputs, name=model.name)


def _whole(value: Any):
    """Returns a tensor, with all zeros around it, in one piece."""
    if isinstance(value, _Joined):
        return ops.concatenate(value.parts, axis=-1)
    return value.padded().x if isinstance(value, _Images) else value


def _pad(x, pads: Pads):
    return ops.pad(x, (*pads, (0, 0))) if any(map(any, pads)) else x


def same_pads(size: int, window: int, stride: int) -> tuple[int, int]:
    """Returns how TensorFlow pads an axis for 'same': the odd value comes behind.

    `window` counts the values from the first to the last that a kernel reads.
    """
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _sizes(images: _Images) -> list[int]:
    """Returns frames, height and width with the zeros around them."""
    return [n + sum(pads) for n, pads in zip(images.x.shape[:3], images.pads, strict=True)]


def _convolution(layer: layers.Conv3D, images: _Images, skip_zeros: bool = False) -> _Images:
    spans = zip(layer.kernel_size, layer.dilation_rate, strict=True)
    windows = [(n - 1) * dilation + 1 for n, dilation in spans]
    if layer.padding == "same":
        more = map(same_pads, _sizes(images), windows, layer.strides)
        pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(images.pads, more, strict=True))
        images = _Images(images.x, pads)
    kernel, *bias = layer.get_weights()
    # Of fewer frames than the kernel spans it has taps that never read any: see _all_frames.
    grouped = layer.groups > 1
    if not grouped and layer.kernel_size[1:] == (1, 1) and 1 < windows[0] <= images.x.shape[0]:
        images = _every(images.padded((1, 2)), (1, *layer.strides[1:]))
        x, shape = _along_time(images.x)
        y = _conv2d(layer, (0, None), x, (images.pads[0], (0, 0)), kernel[:, 0], bias, layer.name)
        return _Images(layer.activation(ops.reshape(y, (-1, *shape[1:3], layer.filters))))
    if not grouped and 1 < images.x.shape[0] < layer.kernel_size[0]:
        return _Images(layer.activation(_all_frames(layer, images, kernel, bias)))
    parts: list[Any] = []
    for run, taps in _runs(layer, images, skip_zeros):
        name = f"{layer.name}_{len(parts)}" if parts else layer.name
        if grouped:
            parts.append(_tap_by_tap(layer, images, run, taps, name))
            continue
        few = images.x.shape[-1] <= _FEW_CHANNELS and len(taps) > 1 and layer.dilation_rate[0] == 1
        stacked = (_spans if few else _neighbors)(layer, images, run, taps)
        # (time, height, width, in, out) to (height, width, time * in, out)
        part = np.moveaxis(kernel[taps], 0, 2).reshape(*kernel.shape[1:3], -1, layer.filters)
        parts.append(_conv2d(layer, (1, 2), stacked.x, stacked.pads[1:], part, bias, name))
    return _Images(layer.activation(_joined(parts, axis=0)))


class _GroupedConv2D(layers.Conv2D):
    """The stock grouped convolution without Keras's XLA, which the converter aborts at."""

    def convolution_op(self, inputs, kernel):
        return tf.nn.conv2d(
            inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate
        )


def _tap_by_tap(layer: layers.Conv3D, images: _Images, run: range, taps: Sequence[int], name: str):
    """Adds up a grouped convolution for each tap: side by side, taps would lie across groups."""
    kernel, *bias = layer.get_weights()
    sums: list[Any] = []
    for tap in taps:
        x, pads = _neighbors(layer, images, run, [tap]).x, images.pads[1:]
        named = f"{name}_tap{tap}"
        sums.append(_conv2d(layer, (1, 2), x, pads, kernel[tap], [] if sums else bias, named))
    return functools.reduce(ops.add, sums)


def _conv2d(layer: layers.Conv3D, axes, x, pads: Pads, kernel, bias: list[np.ndarray], name: str):
    """Calls a convolution along two of its three axes, on `(batch, axis, axis, channels)`.

    Of `axes` 0 is time, 1 and 2 space, None one that it does not look along; `pads` are zeros still
    to be put around them; `kernel` is `(axis, axis, in, out)`.
    """

    def along(values: Sequence[int]) -> tuple[int, ...]:
        return tuple(1 if axis is None else values[axis] for axis in axes)

    strides, dilation = along(layer.strides), along(layer.dilation_rate)
    windows = [(n - 1) * step + 1 for n, step in zip(kernel.shape, dilation, strict=False)]
    if any(map(any, pads)) and pads == tuple(map(same_pads, x.shape[1:3], windows, strides)):
        padding = "same"  # costs no copy
    else:
        padding, x = "valid", _pad(x, ((0, 0), *pads))
    lowered = (layers.Conv2D if layer.groups == 1 else _GroupedConv2D)(
        kernel.shape[-1],
        kernel.shape[:2],
        strides=strides,
        padding=padding,
        data_format="channels_last",
        dilation_rate=dilation,
        groups=layer.groups,
        use_bias=bool(bias),
        name=name,
        dtype="float32",
    )
    y = lowered(x)
    lowered.set_weights([kernel, *bias])
    return y


def _count(images: _Images, layer: layers.Conv3D) -> int:
    """Returns how many frames a convolution makes of images that are padded in time for it."""
    size, stride, dilation = layer.kernel_size[0], layer.strides[0], layer.dilation_rate[0]
    return (_sizes(images)[0] - (size - 1) * dilation - 1) // stride + 1


def _runs(layer: layers.Conv3D, images: _Images, skip_zeros: bool) -> list[tuple[range, list[int]]]:
    """Divides the frames of the result into those that one 2D convolution makes, with which taps.

    A tap that falls on zeros for every frame is left out: of a single frame only the middle of
    three is read. With `skip_zeros` the first and last frames, whose kernels read zeros before and
    behind the clip, get convolutions with fewer taps, where that saves much.
    """
    frames, size, stride = images.x.shape[0], layer.kernel_size[0], layer.strides[0]
    dilation, before = layer.dilation_rate[0], images.pads[0][0]
    count = _count(images, layer)

    def taps(*run: int) -> list[int]:
        firsts = [image * stride - before for image in run]
        return [
            tap
            for tap in range(size)
            if any(0 <= first + tap * dilation < frames for first in firsts)
        ]

    used = taps(*range(count))
    if not used:
        raise ExportError(f"The layer {layer.name} reads nothing but zeros: the clip is too short.")
    groups = [(list(run), some) for some, run in itertools.groupby(range(count), taps)]
    needed = sum(len(run) * len(some) for run, some in groups)
    if not skip_zeros or not all(some for _, some in groups) or needed > _MOST * count * len(used):
        return [(range(count), used)]
    return [(range(run[0], run[-1] + 1), some) for run, some in groups]


def _neighbors(layer: layers.Conv3D, images: _Images, run: range, taps: Sequence[int]) -> _Images:
    """Puts the images that taps read for one image of the result into the channels of one image."""
    stride, dilation = layer.strides[0], layer.dilation_rate[0]
    first = run.start * stride - images.pads[0][0]
    parts = [_frames(images.x, first + tap * dilation, len(run), stride) for tap in taps]
    return _Images(_joined(parts, axis=-1), (_NONE[0], *images.pads[1:]))


def _joined(parts: list[Any], axis: int):
    return ops.concatenate(parts, axis=axis) if len(parts) > 1 else parts[0]


def _frames(x, start: int, count: int, stride: int):
    """Takes `count` frames, zeros where the clip has none.

    Each tap is cut first and padded then: cut from a padded clip, the int8 converter would leave
    some of the operators in float.
    """
    inside = [n for n in range(count) if 0 <= start + n * stride < x.shape[0]]
    first = start + inside[0] * stride
    x = _chosen(x, range(first, first + len(inside) * stride, stride))
    return _pad(x, ((inside[0], count - 1 - inside[-1]), (0, 0), (0, 0)))


def _chosen(x, numbers: range):
    """Takes frames, without a stride where it can: ai-edge-litert copies those value by value."""
    frames, *image = x.shape
    if len(numbers) == frames:
        return x
    if numbers.step == 1 or frames % numbers.step:
        return x[numbers.start : numbers[-1] + 1 : numbers.step, ...]
    size = math.prod(image)
    row, column = divmod(numbers.start, numbers.step)
    x = ops.reshape(x, (frames // numbers.step, numbers.step * size))
    x = x[row : row + len(numbers), column * size : (column + 1) * size]
    return ops.reshape(x, (len(numbers), *image))


def _spans(layer: layers.Conv3D, images: _Images, run: range, taps: Sequence[int]) -> _Images:
    """Does the same for images of few channels, which are slow to copy by themselves.

    With time before channels, what neighboring taps read for one image lies side by side.
    """
    channels, (before, behind) = images.x.shape[-1], images.pads[0]
    x = _time_into_channels(images.x)
    x = ops.pad(x, ((0, 0), *images.pads[1:], (before * channels, behind * channels)))
    starts = [(image * layer.strides[0] + taps[0]) * channels for image in run]
    spans = [x[..., start : start + len(taps) * channels] for start in starts]
    return _Images(_joined(spans, axis=0))


def _all_frames(layer: layers.Conv3D, images: _Images, kernel: np.ndarray, bias: list[np.ndarray]):
    """Makes all frames of the result at once, channels of one image, of all that there are.

    Of fewer frames than the kernel spans most of its taps would read zeros.
    """
    frames, height, width, channels = images.x.shape
    count, (before, _) = _count(images, layer), images.pads[0]
    taps = np.zeros((*kernel.shape[1:3], frames, channels, count, layer.filters), np.float32)
    for image, tap in np.ndindex(count, layer.kernel_size[0]):
        frame = image * layer.strides[0] + tap * layer.dilation_rate[0] - before
        if 0 <= frame < frames:
            taps[:, :, frame, :, image] = kernel[tap]
    taps = taps.reshape(*kernel.shape[1:3], frames * channels, count * layer.filters)
    bias = [np.tile(values, count) for values in bias]
    x = _time_into_channels(images.x)
    y = _conv2d(layer, (1, 2), x, images.pads[1:], taps, bias, layer.name)
    _, height, width, _ = y.shape
    y = ops.transpose(ops.reshape(y, (height * width, count, layer.filters)), (1, 0, 2))
    return ops.reshape(y, (count, height, width, layer.filters))


def _time_into_channels(x):
    """Returns images as one, `(1, height, width, frames * channels)`."""
    frames, height, width, channels = x.shape
    x = ops.transpose(ops.reshape(x, (frames, height * width, channels)), (1, 0, 2))
    return ops.reshape(x, (1, height, width, frames * channels))


def _pooling(pool: type[layers.Layer]):
    """Lowers a pooling to one in space, then one in time; `pool` is the one in 2D.

    The largest of a box is the largest over time of the largest over space; so is the mean.
    """

    options = {"data_format": "channels_last", "dtype": "float32"}

    def rule(layer: layers.Layer, images: _Images) -> _Images:
        (size, *sizes), (stride, *strides) = layer.pool_size, layer.strides
        images = images.padded()
        if sizes == [1, 1]:
            images = _every(images, (1, *strides))
        else:
            images = _Images(pool(sizes, strides, layer.padding, **options)(images.x))
        if size == 1:
            return _every(images, (stride, 1, 1))
        x, shape = _along_time(images.x)
        y = pool((size, 1), (stride, 1), layer.padding, **options)(x)
        return _Images(ops.reshape(y, (-1, *shape[1:])))

    return rule


def _along_time(x) -> tuple[Any, tuple[int, ...]]:
    """Returns images as `(1, frames, height * width, channels)`, and their shape until now."""
    frames, height, width, channels = x.shape
    return ops.reshape(x, (1, frames, height * width, channels)), x.shape


def _every(images: _Images, strides: Sequence[int]) -> _Images:
    """Takes every so many-th frame, row and column."""
    if tuple(strides) == (1, 1, 1):
        return images
    x, (stride, *strides) = _whole(images), strides
    if stride > 1:
        x = _chosen(x, range(0, x.shape[0], stride))
    if strides != [1, 1]:
        # In space a slice with a stride is an operator that XNNPACK leaves to others.
        options = {"use_bias": False, "depthwise_initializer": "ones", "dtype": "float32"}
        x = layers.DepthwiseConv2D(1, strides, data_format="channels_last", **options)(x)
    return _Images(x)


def _is_batching(layer: Any) -> bool:
    """Whether it makes a batch of images of a clip, or a clip of them: the operation `reshape`."""
    if isinstance(layer, layers.Layer) or type(layer).__name__ != "Reshape":
        return False
    before, after = layer.input.shape, layer.output.shape
    return {len(before), len(after)} == {4, 5} and before[-3:] == after[-3:]


def _as_it_is(layer: Any, value: Any) -> Any:
    return value


def _reshape(layer: layers.Reshape, value: Any):
    """Of a clip; or of each image alike."""
    if len(layer.input.shape) < 5:
        return _same(layer, value)
    return _Images(ops.reshape(_whole(value), layer.output.shape[1:]))


def _permute(layer: layers.Permute, images: _Images) -> _Images:
    return _Images(ops.transpose(_whole(images), [axis - 1 for axis in layer.dims]))


def _global_pooling(pool: type[layers.Layer]):
    def rule(layer: layers.Layer, images: _Images):
        x = _whole(images)
        frames, height, width, channels = x.shape
        x = pool(data_format="channels_last", dtype="float32")(
            ops.reshape(x, (1, frames * height, width, channels))
        )
        return ops.reshape(x, (1, *layer.output.shape[1:]))

    return rule


def _zero_padding(layer: layers.ZeroPadding3D, images: _Images) -> _Images:
    if layer.data_format == "channels_first":  # how keras_r3d pads channels, too
        height, width, channels = layer.padding
        return _Images(ops.pad(_whole(images), ((0, 0), height, width, channels)))
    pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(images.pads, layer.padding, strict=True))
    return _Images(images.x, pads)


def _normalization(layer: layers.Normalization, images: _Images) -> _Images:
    """Scales each row as one long vector, `(width * channels,)`: short vectors are slow."""
    x = _whole(images)
    frames, height, width, channels = x.shape
    mean, variance = (
        np.broadcast_to(keras.ops.convert_to_numpy(value).reshape(-1), channels).astype(np.float64)
        for value in (layer.mean, layer.variance)
    )
    factor = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
    factor, offset = (
        np.tile(value, width).astype(np.float32) for value in (factor, -mean * factor)
    )
    x = ops.reshape(x, (frames, height, width * channels)) * factor + offset
    return _Images(ops.reshape(x, (frames, height, width, channels)))


def _concatenate(layer: layers.Concatenate, *values: Any):
    axes = len(layer.output.shape)
    if axes == 4:
        return _same(layer, *values)
    if layer.axis not in (-1, axes - 1):
        raise ExportError(
            f"TFLite export joins channels only: {layer.name} joins axis {layer.axis} of "
            f"{layer.input[0].shape} and others. {_OTHER}"
        )
    if axes == 5:
        return _Images(ops.concatenate([_whole(value) for value in values], axis=-1))
    return _Joined([part for value in values for part in getattr(value, "parts", [value])])


def _dense(layer: layers.Dense, value: Any):
    """The layer itself; of joined vectors, the sum of one for each."""
    if not isinstance(value, _Joined):
        return _same(layer, value)
    kernel, *bias = layer.get_weights()
    ends = np.cumsum([part.shape[-1] for part in value.parts])
    sums: list[Any] = []
    for part, rows in zip(value.parts, np.split(kernel, ends[:-1]), strict=True):
        last = len(sums) == len(value.parts) - 1
        dense = layers.Dense(kernel.shape[1], use_bias=last and bool(bias), dtype="float32")
        sums.append(dense(part))
        dense.set_weights([rows, *bias] if last else [rows])
    activation = layers.Activation(layer.activation, dtype="float32")
    return activation(functools.reduce(ops.add, sums))


def _same(layer: layers.Layer, *values: Any):
    """The layer itself: it treats every pixel, row or image alike."""
    if getattr(layer, "groups", 1) != 1:
        raise ExportError(_GROUPED.format(layer.name, layer.groups))
    config = layer.get_config() | {"dtype": "float32"}
    lowered = layer.__class__.from_config(config)
    inputs = [_whole(value) for value in values]
    y = lowered(inputs if len(inputs) > 1 else inputs[0])
    lowered.set_weights(layer.get_weights())
    return _Images(y) if isinstance(values[0], _Images) else y


_RULES: dict[type[layers.Layer], Callable[..., Any]] = {
    layers.Conv3D: _convolution,
    layers.MaxPooling3D: _pooling(layers.MaxPooling2D),
    layers.AveragePooling3D: _pooling(layers.AveragePooling2D),
    layers.GlobalAveragePooling3D: _global_pooling(layers.GlobalAveragePooling2D),
    layers.GlobalMaxPooling3D: _global_pooling(layers.GlobalMaxPooling2D),
    layers.ZeroPadding3D: _zero_padding,
    layers.Normalization: _normalization,
    layers.Flatten: lambda layer, value: ops.reshape(_whole(value), (1, -1)),
    layers.Concatenate: _concatenate,
    layers.Dense: _dense,
    layers.Reshape: _reshape,
    layers.Permute: _permute,
    **dict.fromkeys((layers.Dropout, layers.Identity), _as_it_is),
    **dict.fromkeys((layers.ReLU, layers.Activation, layers.Add, layers.BatchNormalization), _same),
    **dict.fromkeys(
        (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Multiply), _same
    ),
    **dict.fromkeys(
        (layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalAveragePooling2D), _same
    ),
    **dict.fromkeys((layers.ZeroPadding2D, layers.Cropping2D, layers.GlobalMaxPooling1D), _same),
}
