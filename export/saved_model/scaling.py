"""Frames scaled by TensorFlow as `keras_r3d.data.decoding.decoder` has them scaled by OpenCV.

Bilinear scaling is OpenCV's integer arithmetic, and the same to the bit. Averages over areas are
TensorFlow's own, which a rounding in a thousand (2 in a hundred where halves are common) puts one
grey level beside OpenCV's.
"""

import itertools

import tensorflow as tf

_BITS = 11  # of OpenCV's weights
_NEARLY_ALL = 1.4  # as in keras_r3d.data.decoding.decoder


def divisor(number: int) -> tf.Tensor:
    """Returns a number, float64, that the graph optimiser does not know.

    It makes of a division by a constant a multiplication, and 98 * (1 / 98) is below 1.
    """
    return tf.compat.v1.placeholder_with_default(tf.constant(number, tf.float64), ())


def shrink(frames: tf.Tensor, short_side: int) -> tf.Tensor:
    """Shrinks frames, and never enlarges them, to a short side.

    Args:
        frames: uint8 `(n, height, width, channels)`.
        short_side: in pixels; 0 keeps them.
    """
    if not short_side:
        return frames
    height, width = tf.shape(frames)[1], tf.shape(frames)[2]
    scale = tf.cast(short_side, tf.float64) / tf.cast(tf.minimum(height, width), tf.float64)

    def shrunk() -> tf.Tensor:
        rows, columns = (
            tf.maximum(1, tf.cast(tf.round(tf.cast(side, tf.float64) * scale), tf.int32))
            for side in (height, width)
        )
        halved = tf.logical_and(tf.equal(2 * rows, height), tf.equal(2 * columns, width))
        return tf.cond(halved, lambda: _halved(frames), lambda: _averaged(frames, rows, columns))

    return tf.cond(scale < 1, shrunk, lambda: frames)


def fill(frames: tf.Tensor, size: int) -> tf.Tensor:
    """Scales frames as `data.decoding.decoder.fill` does; those of `size` stay as they are.

    Args:
        frames: uint8 `(n, height, width, channels)`.

    Returns:
        uint8 `(n, size, size, channels)`.
    """
    long, short = tf.reduce_max(tf.shape(frames)[1:3]), tf.reduce_min(tf.shape(frames)[1:3])
    bilinear_below = next(s for s in itertools.count(size) if s / size >= _NEARLY_ALL)
    twice = 2 * size
    bilinear = (long < bilinear_below) | ((long >= twice) & (short < size))
    halved = (long < twice) | ((long == twice) & (short == twice))
    kind = tf.where(bilinear, 1, tf.where(halved, 2, 3))
    scaled = tf.switch_case(
        tf.where((long == size) & (short == size), 0, kind),
        [
            lambda: frames,
            lambda: _bilinear(frames, size),
            lambda: _halved(_bilinear(frames, 2 * size)),
            lambda: _averaged(frames, size, size),
        ],
    )
    return tf.ensure_shape(scaled, (None, size, size, frames.shape[-1]))


def _averaged(frames: tf.Tensor, rows: int | tf.Tensor, columns: int | tf.Tensor) -> tf.Tensor:
    """OpenCV's INTER_AREA: the average of what a shrunk pixel covers, halves to even."""
    means = tf.image.resize(frames, tf.stack([rows, columns]), tf.image.ResizeMethod.AREA)
    height, width = tf.shape(frames)[1], tf.shape(frames)[2]
    # Of whole pixels it multiplies the sum: halves then fall as this product rounds.
    area = tf.cast((height // rows) * (width // columns), tf.float32)
    whole = tf.logical_and(tf.equal(height % rows, 0), tf.equal(width % columns, 0))
    means = tf.where(whole, tf.round(means * area) * (1 / area), means)
    return tf.cast(tf.round(means), tf.uint8)


def _halved(frames: tf.Tensor) -> tf.Tensor:
    """INTER_AREA to half the size: the average of 2x2 pixels, halves up; of flow, to even."""
    means = tf.nn.avg_pool2d(tf.cast(frames, tf.float32), 2, 2, "VALID")
    rounded = tf.round(means) if frames.shape[-1] == 2 else tf.floor(means + 0.5)
    return tf.cast(rounded, tf.uint8)


def _bilinear(frames: tf.Tensor, size: int) -> tf.Tensor:
    """OpenCV's INTER_LINEAR of bytes: across, then down, with the bits it drops on the way."""
    height, width = tf.shape(frames)[1], tf.shape(frames)[2]
    number, part = _places(width, size)
    outside = tf.logical_or(number < 0, number >= width - 1)
    left, right = _weights(tf.where(outside, 0.0, part))
    number = tf.clip_by_value(number, 0, width - 1)
    frames = tf.cast(frames, tf.int32)
    # (n, height, size, channels)
    across = (
        tf.gather(frames, number, axis=2) * left[:, tf.newaxis]
        + tf.gather(frames, tf.minimum(number + 1, width - 1), axis=2) * right[:, tf.newaxis]
    )
    across = tf.bitwise.right_shift(across, 4)
    number, part = _places(height, size)
    upper, lower = (weight[:, tf.newaxis, tf.newaxis] for weight in _weights(part))
    above, below = (tf.clip_by_value(number + step, 0, height - 1) for step in (0, 1))
    down = tf.bitwise.right_shift(tf.gather(across, above, axis=1) * upper, 16)
    down += tf.bitwise.right_shift(tf.gather(across, below, axis=1) * lower, 16)
    return tf.cast(tf.bitwise.right_shift(down + 2, 2), tf.uint8)


def _places(side: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the pixel before the centre of each of `size` new ones, and how far behind it is."""
    step = tf.cast(side, tf.float64) / divisor(size)
    centres = tf.cast((tf.range(size, dtype=tf.float64) + 0.5) * step - 0.5, tf.float32)
    before = tf.floor(centres)
    return tf.cast(before, tf.int32), centres - before


def _weights(part: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns OpenCV's weights, int32 `(size,)`, of the pixels before and behind."""
    first, second = (tf.round(share * 2.0**_BITS) for share in (1 - part, part))
    return tf.cast(first, tf.int32), tf.cast(second, tf.int32)
