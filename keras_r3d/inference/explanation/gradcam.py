"""Grad-CAM in three dimensions: where and when a clip speaks for a class."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from keras_r3d.inference.explanation import feature_maps, heat
from keras_r3d.inference.explanation.heat import Heat
from keras_r3d.system.errors import ArgumentError

METHODS = ("integrated", "grad_cam", "layer_cam")
_BATCH = 4  # clips at a time
_STEPS = 8  # of the way from no picture to the clip; 16 change no share by more than 0.002


def grad_cam(
    model: keras.Model,
    clips: np.ndarray,
    class_index: int | Sequence[int] | None = None,
    layer: str | None = None,
    method: str = "integrated",
) -> Heat:
    """Shows which places and times of clips speak for a class.

    The channels of a layer's map are weighted by the mean gradient of the class's score (before the
    softmax) and added; what is below 0 is dropped. "integrated" does so along the way from the
    clip's mean color to the clip and counts only what the clip changes of the map, so that a
    channel that is always on adds nothing.

    Args:
        model: functional or sequential, with convolutions, gives scores `(batch, classes)`.
        clips: uint8 or float `(clips, frames, height, width, channels)`, as the model takes them.
        class_index: one for all clips or one for each; None is each clip's highest score.
        layer: whose map is used. None is the deepest one with 14 cells or more on each side, else
            the finest.
        method: "integrated", "grad_cam" (as published) or "layer_cam" (each cell's own gradient,
            those above 0, instead of their mean).

    Returns:
        float32 `(clips, frames, height, width)`: 0-1, 1 the clip's hottest pixel; all 0 where
        nothing speaks for the class.

    Raises:
        ArgumentError: the model has no such map.

    Reference:
        Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
        Localization, ICCV 2017, https://arxiv.org/abs/1610.02391. Integrated: Sattarzadeh et al.,
        Integrated Grad-CAM, ICASSP 2021, https://arxiv.org/abs/2102.07805; here the map's change
        along the way is taken in each step, and the start is the clip's mean color. Jiang et al.,
        LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE TIP 2021.
    """
    if method not in METHODS:
        raise ArgumentError(f"`method` must be one of {list(METHODS)}. Received: method={method}")
    shape = clips.shape[1:4]
    stage = feature_maps.choose(model, shape, layer)
    parts = keras.Model(model.inputs[0], [model.get_layer(stage.layer).output, _logits(model)])
    maps = []
    for start in range(0, len(clips), _BATCH):
        pixels = clips[start : start + _BATCH].astype(np.float32)
        if class_index is None:
            classes = parts(pixels, training=False)[1].numpy().argmax(axis=1)
        else:
            classes = np.broadcast_to(class_index, len(clips))[start : start + _BATCH]
        maps.append(_maps(parts, pixels, classes, method))
    # Normalized only after it is spread: a clip's hottest pixel may lie between the cells.
    return heat.normalized(heat.enlarge(np.concatenate(maps), shape, stage.first, stage.steps))


def _maps(parts: keras.Model, pixels: np.ndarray, classes: np.ndarray, method: str) -> np.ndarray:
    """Returns the weighted maps of clips, float32 `(clips, frames, height, width)`, at least 0."""
    if method != "integrated":
        activation, gradient = _activation(parts, pixels, classes)
        if method == "layer_cam":
            weighted = activation * np.maximum(gradient, 0)
        else:
            weighted = activation * gradient.mean(axis=(1, 2, 3), keepdims=True)
        return np.maximum(weighted.sum(axis=-1), 0)
    # From the clip's mean color to the clip. The gradient is that at the end of each step: at the
    # start of the first, of one flat color, all maxima are ties and it is of no use.
    flat = np.broadcast_to(pixels.mean(axis=(1, 2, 3), keepdims=True), pixels.shape)
    before = _of_clips(parts(flat, training=False)[0], len(flat))
    weighted = np.zeros_like(before)
    for step in range(1, _STEPS + 1):
        point = flat + np.float32(step / _STEPS) * (pixels - flat)
        activation, gradient = _activation(parts, point, classes)
        weighted += (activation - before) * gradient.mean(axis=(1, 2, 3), keepdims=True)
        before = activation
    return np.maximum(weighted.sum(axis=-1), 0)


def _activation(
    parts: keras.Model, pixels: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns clips' maps and the scores' gradients by them, float32 `(clips, …, channels)`."""
    clips = tf.constant(pixels)
    with tf.GradientTape() as tape:
        tape.watch(clips)  # or nothing is recorded of a model that is frozen
        activation, logits = parts(clips, training=False)
        scores = tf.gather(logits, classes, axis=1, batch_dims=1)
    gradient = tape.gradient(scores, activation, unconnected_gradients="zero")
    return _of_clips(activation, len(pixels)), _of_clips(gradient, len(pixels))


def _of_clips(value: tf.Tensor, count: int) -> np.ndarray:
    """Returns maps of clips, float32; those of a FrameNet come as one batch of images."""
    return tf.cast(value, tf.float32).numpy().reshape(count, -1, *value.shape[-3:])


def _logits(model: keras.Model) -> keras.KerasTensor:
    """Returns the scores before any softmax, float32 `(batch, classes)`."""
    last = model.layers[-1]
    if isinstance(last, layers.Softmax | layers.Activation):
        return ops.cast(last.input, "float32")
    if not isinstance(last, layers.Dense):
        return ops.cast(model.outputs[0], "float32")
    scores = ops.matmul(ops.cast(last.input, "float32"), ops.cast(last.kernel, "float32"))
    return ops.add(scores, ops.cast(last.bias, "float32")) if last.use_bias else scores
