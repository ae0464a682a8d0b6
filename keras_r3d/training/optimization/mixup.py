"""Mixup and CutMix for clips: pairs of clips and of their labels, blended."""

import tensorflow as tf


def mix(
    clips: tf.Tensor, targets: tf.Tensor, *, mixup: float, cutmix: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Blends each clip of a batch with another one, by mixup or CutMix; if both are on, by either.

    Shares are drawn from Beta(alpha, alpha), `mixup` and `cutmix` being alpha, once for the batch;
    CutMix's box is the same in all frames. The result is a pure function of `seed`, int32 `(2,)`.

    Reference:
        Zhang et al., mixup, 2018, https://arxiv.org/abs/1710.09412; Yun et al., CutMix, 2019,
        https://arxiv.org/abs/1905.04899.
    """
    clips = tf.cast(clips, tf.float32)
    pairs = (tf.roll(clips, 1, 0), tf.roll(targets, 1, 0))
    if not cutmix:
        return _mixup(clips, targets, *pairs, mixup, seed)
    if not mixup:
        return _cutmix(clips, targets, *pairs, cutmix, seed)
    return tf.cond(
        tf.random.stateless_uniform((), _seed(seed, 4)) < 0.5,
        lambda: _mixup(clips, targets, *pairs, mixup, seed),
        lambda: _cutmix(clips, targets, *pairs, cutmix, seed),
    )


def _mixup(clips, targets, other_clips, other_targets, alpha, seed):
    share = _beta(alpha, seed)
    return (
        share * clips + (1 - share) * other_clips,
        share * targets + (1 - share) * other_targets,
    )


def _cutmix(clips, targets, other_clips, other_targets, alpha, seed):
    height, width = clips.shape[2:4]
    side = tf.sqrt(1 - _beta(alpha, seed))  # of the box, as a share of the frame's
    rows, columns = (tf.cast(tf.round(side * size), tf.int32) for size in (height, width))
    # The box's center is anywhere, so at the border it loses a part.
    row = tf.random.stateless_uniform((), _seed(seed, 2), 0, height, tf.int32)
    column = tf.random.stateless_uniform((), _seed(seed, 3), 0, width, tf.int32)
    top, left = row - rows // 2, column - columns // 2
    down, right = tf.range(height), tf.range(width)
    inside_rows = (down >= top) & (down < top + rows)
    inside_columns = (right >= left) & (right < left + columns)
    box = inside_rows[:, tf.newaxis] & inside_columns[tf.newaxis]
    share = 1 - tf.reduce_mean(tf.cast(box, tf.float32))
    mixed = tf.where(box[tf.newaxis, tf.newaxis, :, :, tf.newaxis], other_clips, clips)
    return mixed, share * targets + (1 - share) * other_targets


def _beta(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Draws a number from Beta(alpha, alpha), float32 `()`."""
    draws = tf.random.stateless_gamma((2,), seed, alpha)
    return tf.math.divide_no_nan(draws[0], draws[0] + draws[1])


def _seed(seed: tf.Tensor, draw: int) -> tf.Tensor:
    """Returns the seed of another draw, int32 `(2,)`."""
    return tf.stack([seed[0], seed[1] + draw])
