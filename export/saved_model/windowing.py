"""Where an evaluation looks, by TensorFlow: frame numbers of windows, crops, averages.

The arithmetic is that of `keras_r3d.data.sampling.temporal`, `data.reader`, `data.cropping` and
`inference.averaging`; the tests hold the two together.
"""

from collections.abc import Sequence

import tensorflow as tf

from keras_r3d import recipe
from keras_r3d.data.sampling import cropping, temporal
from keras_r3d.export.saved_model import scaling

_LEAST = 1e-12  # as in keras_r3d.inference.models.averaging


def frame_numbers(count: tf.Tensor, data: recipe.Data, windows: int) -> tf.Tensor:
    """Returns the frames of all windows of a video, as `keras_r3d.data.clips.windows` takes them.

    Args:
        count: frames of the video, int64.
        windows: as in the recipe's [eval].

    Returns:
        int64 `(n, frames)`.
    """
    if data.spans and not windows:
        return _spans(count, data)
    if data.sampling != "consecutive":
        return _spreads(count, data.frames, windows or 1)
    if not windows:
        span = data.frames * data.frame_stride
        starts = tf.range(0, count, span, dtype=tf.int64)
        return _looped(starts, tf.minimum(starts + span, count), data)
    free = tf.maximum(tf.constant(0, tf.int64), count - (data.frames - 1) * data.frame_stride - 1)
    if windows == 1:
        starts = [free // 2]
    else:
        # As numpy.linspace rounds it.
        step = tf.cast(free, tf.float64) / scaling.divisor(windows - 1)
        places = tf.cast(tf.range(windows - 1, dtype=tf.float64) * step, tf.int64)
        starts = tf.unique(tf.concat([places, [free]], axis=0)).y
    return _looped(starts, count, data)


def _looped(starts: tf.Tensor, ends: tf.Tensor, data: recipe.Data) -> tf.Tensor:
    """Returns consecutive frames from each start, those before the end repeated if too few."""
    stride = data.frame_stride
    there = tf.minimum(tf.constant(data.frames, tf.int64), (ends - starts + stride - 1) // stride)
    numbers = tf.range(data.frames, dtype=tf.int64) % tf.reshape(there, (-1, 1))
    return tf.reshape(starts, (-1, 1)) + stride * numbers


def _spans(count: tf.Tensor, data: recipe.Data) -> tf.Tensor:
    places = tf.constant(temporal.span_places(data.frames, data.spans), tf.float64)
    numbers = tf.cast(places * tf.cast(count, tf.float64), tf.int64)
    numbers = tf.minimum(numbers, count - 1)
    same = tf.reduce_all(numbers[:, tf.newaxis] == numbers, axis=-1)
    before = tf.linalg.band_part(tf.ones_like(same, tf.int32), -1, 0) - tf.eye(
        tf.shape(numbers)[0], dtype=tf.int32
    )
    repeats = tf.reduce_any(same & (before > 0), axis=1)
    return tf.boolean_mask(numbers, ~repeats)


def _spreads(count: tf.Tensor, frames: int, windows: int) -> tf.Tensor:
    places = tf.constant([[(n + 0.5) / windows] for n in range(windows)], tf.float64)
    exact = (tf.range(frames, dtype=tf.float64) + places) * tf.cast(count, tf.float64)
    spreads = tf.cast(exact / scaling.divisor(frames), tf.int64)
    new = tf.reduce_any(spreads[1:] != spreads[:-1], axis=1)
    return tf.boolean_mask(spreads, tf.concat([[True], new], axis=0))


def views(frames: tf.Tensor, data: recipe.Data, count: int) -> tf.Tensor:
    """Cuts the crops of an evaluation, all frames alike, and scales them.

    Args:
        frames: uint8 `(n, height, width, channels)`.
        count: 1, 2, 3 or 10, as in the recipe's [eval].

    Returns:
        uint8 `(count, n, size, size, channels)`.
    """
    if data.input == "rgb":  # flow is that of frames that were shrunk before
        frames = scaling.shrink(frames, data.short_side)
    if data.crop == "whole" and count <= 2:
        views = [scaling.fill(frames, data.size)]
        if count == 2:
            views.append(scaling.fill(_squares(frames, 1.0, ["centre"]), data.size))
        return tf.stack(views)
    scale, positions = cropping.VIEWS[count]
    scaled = scaling.fill(_squares(frames, scale, positions), data.size)
    if count == 2 * len(positions):
        scaled = tf.concat([scaled, _mirrored(scaled, data.input)], axis=0)
    return tf.reshape(scaled, (count, -1, data.size, data.size, data.channels))


def _squares(frames: tf.Tensor, scale: float, positions: Sequence[str]) -> tf.Tensor:
    """Cuts squares of a share of the short side out of frames, one place after the other."""
    height, width = tf.shape(frames)[1], tf.shape(frames)[2]
    short = tf.cast(tf.minimum(height, width), tf.float64)
    side = tf.maximum(1, tf.cast(tf.round(short * scale), tf.int32))
    squares = []
    for down, right in (cropping.POSITIONS[position] for position in positions):
        top = tf.cast(tf.cast(height - side, tf.float64) * down, tf.int32)
        left = tf.cast(tf.cast(width - side, tf.float64) * right, tf.int32)
        squares.append(frames[:, top : top + side, left : left + side])
    return tf.concat(squares, axis=0)


def _mirrored(frames: tf.Tensor, kind: str) -> tf.Tensor:
    mirrored = tf.reverse(frames, [2])
    if kind == "rgb":
        return mirrored
    # What moved right now moves left; of a byte, -x is 256 - x.
    x, y = tf.split(mirrored, 2, axis=-1)
    return tf.concat([tf.cast(-tf.cast(x, tf.int32) % 256, tf.uint8), y], axis=-1)


def average(scores: tf.Tensor, of: str) -> tf.Tensor:
    """Averages probabilities or their logarithms over the last axis but one; float32.

    Args:
        of: "probabilities" or "log_probabilities".
    """
    exact = tf.cast(scores, tf.float64)
    if of == "probabilities":
        means = tf.reduce_mean(exact, axis=-2)
    else:
        logs = tf.math.log(tf.maximum(exact, tf.constant(_LEAST, tf.float64)))
        means = tf.nn.softmax(tf.reduce_mean(logs, axis=-2))
    return tf.cast(means, tf.float32)
