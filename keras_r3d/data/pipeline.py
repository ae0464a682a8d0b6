"""tf.data pipelines: training clips, validation clips, evaluation windows.

Decoding runs in `tf.numpy_function`, several videos at a time (OpenCV releases the GIL). Clips stay
uint8; the model normalises.
"""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_r3d.data import clips
from keras_r3d.data.annotations import Video
from keras_r3d.data.reader import VideoReader
from keras_r3d.data.video import VideoError
from keras_r3d.recipe import Data

# Draws after which a stream of unreadable videos is an error rather than bad luck.
_MOST_DRAWS = 1000


def training_clips(
    reader: VideoReader,
    videos: Sequence[Video],
    classes: Sequence[str],
    data: Data,
    *,
    batch_size: int,
    seed: int,
) -> tf.data.Dataset:
    """Draws training clips without end: every video once, in random order, then again.

    Order and crops are a pure function of the seed and the position in the stream. A broken video
    is replaced by a draw from the same videos; the reader keeps its name.

    Returns:
        Dataset of uint8 `(batch, frames, size, size, 3)`, RGB, and int32 labels `(batch,)`.
    """
    labels = {name: label for label, name in enumerate(classes)}

    @functools.lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(len(videos))

    def draw(position: np.int64) -> tuple[np.ndarray, np.int32]:
        epoch, place = divmod(int(position), len(videos))
        rng = np.random.default_rng([seed, epoch, place])
        source = videos[order(epoch)[place]]
        for _ in range(_MOST_DRAWS):
            try:
                clip = clips.training_clip(reader, source, data, rng)
            except VideoError:  # the reader has noted it
                source = videos[rng.integers(len(videos))]
            else:
                return clip.pixels, np.int32(labels[source.label])
        raise VideoError(
            f"{_MOST_DRAWS} training videos drawn one after the other cannot be read; the last: "
            f"{source.name}. Is the data folder still there?"
        )

    stream = tf.data.Dataset.counter()
    stream = stream.map(
        lambda position: _clip_and(tf.numpy_function(draw, [position], (tf.uint8, tf.int32)), data),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return stream.batch(batch_size, drop_remainder=True).prefetch(2)


def validation_clips(
    reader: VideoReader,
    videos: Sequence[Video],
    classes: Sequence[str],
    data: Data,
    *,
    batch_size: int,
) -> tf.data.Dataset:
    """Takes one clip of each video: its middle, centre crop. Broken videos are left out.

    Returns:
        Dataset of uint8 `(batch, frames, size, size, 3)`, RGB, and int32 labels `(batch,)`.
    """
    labels = {name: label for label, name in enumerate(classes)}

    def take(place: np.int64) -> tuple[np.ndarray, np.int32]:
        source = videos[int(place)]
        try:
            return clips.middle_clip(reader, source, data).pixels, np.int32(labels[source.label])
        except VideoError:  # the reader has noted it
            return np.zeros((data.frames, data.size, data.size, 3), np.uint8), np.int32(-1)

    stream = tf.data.Dataset.range(len(videos)).map(
        lambda place: _clip_and(tf.numpy_function(take, [place], (tf.uint8, tf.int32)), data),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return stream.filter(lambda _, label: label >= 0).batch(batch_size).prefetch(2)


def evaluation_windows(
    reader: VideoReader, videos: Sequence[Video], data: Data, *, batch_size: int
) -> tf.data.Dataset:
    """Takes every window of every video; windows of different videos share batches.

    A video that gives no frames has no window here; the reader keeps its name.

    Returns:
        Dataset of `{"clip": uint8 (batch, frames, size, size, 3), RGB, "video": int32 (batch,),
        "window": int32 (batch,)}`; "video" counts from 0 in `videos`, "window" in the video.
    """

    def of_video(place: np.int64):
        try:
            for number, clip in enumerate(clips.windows(reader, videos[int(place)], data)):
                yield {"clip": clip, "video": np.int32(place), "window": np.int32(number)}
        except VideoError:  # the reader has noted it
            return

    signature = {
        "clip": tf.TensorSpec((data.frames, data.size, data.size, 3), tf.uint8),
        "video": tf.TensorSpec((), tf.int32),
        "window": tf.TensorSpec((), tf.int32),
    }
    stream = tf.data.Dataset.range(len(videos)).interleave(
        lambda place: tf.data.Dataset.from_generator(
            of_video, args=[place], output_signature=signature
        ),
        cycle_length=4,
        num_parallel_calls=4,
        deterministic=True,
    )
    return stream.batch(batch_size).prefetch(2)


def _clip_and(clip_and_label: Sequence[tf.Tensor], data: Data) -> tuple[tf.Tensor, tf.Tensor]:
    clip, label = clip_and_label
    return (
        tf.ensure_shape(clip, (data.frames, data.size, data.size, 3)),
        tf.ensure_shape(label, ()),
    )
