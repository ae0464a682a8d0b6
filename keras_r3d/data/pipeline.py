"""tf.data pipelines: training clips, validation clips.

Clips are cut in `tf.numpy_function`, a batch a call, straight into the batch's memory, by a pool of
threads (OpenCV releases the GIL). They stay uint8; the model normalises.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from keras_r3d.data import calls, clips
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import buffers
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.sampling import order
from keras_r3d.recipe import Data
from keras_r3d.system.errors import VideoError

# Draws after which a stream of unreadable videos is an error rather than bad luck.
_MOST_DRAWS = 1000
_BATCHES = 2  # under way at a time
_OURS = ("Video", "Store", "Storage", "Unreachable")  # kinds of errors
_TURN = 4  # clips that a thread cuts before it asks for more

Fill = Callable[[int, Sequence[np.ndarray]], int]


def training_clips(
    reader: Reader,
    videos: Sequence[Video],
    classes: Sequence[str],
    data: Data,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    shard: tuple[int, int] = (0, 1),
    numbers: tf.data.Dataset | None = None,
) -> tf.data.Dataset:
    """Draws training clips without end: every video once, in random order, then again.

    With `data.balanced` an epoch is as long, but each class has the same share of it.

    Order and crops are a pure function of the seed and the position in the stream, however many
    threads work on it. A broken video is replaced by a draw from the same videos; the reader keeps
    its name, and the stream ends with an error once more than `data.broken_share` are broken.

    With `data.clips_per_pass` above 1 each pass over a video gives so many clips, and 256 clips
    at a time are mixed: meant for video files, where decoding up to the clip is the cost.

    Args:
        start: batches to leave out, to go on where a stream was left.
        shard: number of this worker, and of how many; each draws other videos.
        numbers: of the batches to take; None is all from `start` on (with `data.clips_per_pass` 1).

    Returns:
        Dataset of uint8 `(batch, frames, size, size, channels)` and int32 labels `(batch,)`.
    """
    labels = {name: label for label, name in enumerate(classes)}
    names = {video.name for video in videos}
    labels_of_videos = [video.label for video in videos]
    most_broken = int(data.broken_share * len(videos))

    @functools.lru_cache(maxsize=2)
    def epoch_order(epoch: int) -> np.ndarray:
        return order.epoch_order(labels_of_videos, seed, epoch, data.balanced)

    def visit(number: int, out: Sequence[np.ndarray]) -> int:
        """Fills `out` with clips of the video whose turn it is; returns their label."""
        epoch, place = divmod(number, len(videos))
        source = videos[epoch_order(epoch)[place]]
        rng = np.random.default_rng([seed, epoch, place])
        for _ in range(_MOST_DRAWS):
            try:
                rngs = [rng] if len(out) == 1 else rng.spawn(len(out))
                clips.training_clips(reader, source, data, rngs, out)
                return labels[source.label]
            except VideoError as error:
                # The reader has noted it.
                broken = [p for p in reader.problems if p.status != "short" and p.name in names]
                if len(broken) > most_broken:
                    raise VideoError(
                        f"{len(broken)} of {len(videos)} training videos are broken, more than "
                        f"data.broken_share = {data.broken_share:g} allows; the last: "
                        f"{broken[-1].detail} `python -m keras_r3d.scan` (of a clip store, "
                        "`prepare --verify`) finds them all."
                    ) from error
                drawn = rng.integers(len(videos))
                source = videos[epoch_order(epoch)[drawn] if data.balanced else drawn]
        raise VideoError(
            f"{_MOST_DRAWS} training videos drawn one after the other cannot be read; the last: "
            f"{source.name}. Is the data folder still there?"
        )

    worker, workers = shard
    if data.clips_per_pass == 1:
        if numbers is None:
            numbers = tf.data.Dataset.counter(start * workers + worker, workers)
        return _filled(numbers, reader, data, batch_size, 1, visit).prefetch(_BATCHES)

    # As many clips as are mixed are a block; a worker has every so-manyth block.
    per_block = order.turns_in_block(data.clips_per_pass)
    block, skipped = divmod(start * batch_size, per_block * data.clips_per_pass)
    turns = tf.data.Dataset.counter(block * workers + worker, workers)
    blocks = _filled(
        turns, reader, data, per_block, data.clips_per_pass, visit, blocks=1, mixed=seed
    )
    stream = blocks.unbatch().skip(skipped).batch(batch_size, drop_remainder=True)
    return stream.prefetch(_BATCHES)


def validation_clips(
    reader: Reader,
    videos: Sequence[Video],
    classes: Sequence[str],
    data: Data,
    *,
    batch_size: int,
    keep_empty: bool = False,
) -> tf.data.Dataset:
    """Takes one clip of each video: its middle, centre crop. Broken videos are left out.

    Args:
        keep_empty: also give batches of which all videos are broken.

    Returns:
        Dataset of uint8 `(batch, frames, size, size, channels)` and int32 labels `(batch,)`.
    """
    labels = {name: label for label, name in enumerate(classes)}

    def take(number: int, out: Sequence[np.ndarray]) -> int:
        label = -1
        if number < len(videos):
            try:
                clips.middle_clip(reader, videos[number], data, out[0])
                label = labels[videos[number].label]
            except VideoError:  # the reader has noted it
                label = -1
        return label

    def readable(pixels: tf.Tensor, labels: tf.Tensor):
        there = labels >= 0
        return tf.boolean_mask(pixels, there), tf.boolean_mask(labels, there)

    numbers = tf.data.Dataset.range(-(-len(videos) // batch_size))
    stream = _filled(numbers, reader, data, batch_size, 1, take).map(readable)
    if not keep_empty:
        stream = stream.filter(lambda _, labels: tf.size(labels) > 0)
    return stream.prefetch(_BATCHES)


def reason(error: tf.errors.OpError) -> str | None:
    """Returns the sentence of the error of ours that ended a stream; None if it was another's."""
    for line in error.message.splitlines():
        kind, found, detail = line.partition("Error: ")
        if found and kind.endswith(_OURS):
            return detail
    return None


def _filled(
    numbers: tf.data.Dataset,
    reader: Reader,
    data: Data,
    videos: int,
    clips_each: int,
    fill: Fill,
    *,
    blocks: int = _BATCHES,
    mixed: int | None = None,
) -> tf.data.Dataset:
    """Turns numbers of batches into batches.

    Args:
        videos: in a batch.
        clips_each: of each of them.
        fill: takes the number of a video in the stream, and memory for its clips; returns their
            labels. Called by several threads.
        blocks: batches under way at a time.
        mixed: seed by which the clips of a batch are mixed; None leaves them in order.
    """
    count = videos * clips_each
    shape = (count, data.frames, data.size, data.size, data.channels)
    buffers = _buffers(shape)
    turn = _TURN if clips_each == 1 else 1

    def batch(number: np.int64) -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = buffers.take(), np.empty(count, np.int32)
        places = np.arange(count)
        if mixed is not None:
            places = order.block_order(mixed, int(number), count)

        def some(first: int) -> None:
            for video in range(first, min(first + turn, videos)):
                own = places[video * clips_each : (video + 1) * clips_each]
                labels[own] = fill(int(number) * videos + video, [pixels[place] for place in own])

        turns = range(0, videos, turn)
        for _ in _pool(reader.threads).map(some, turns) if reader.threads > 1 else map(some, turns):
            pass
        return pixels, labels

    def shaped(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, labels = tf.numpy_function(calls.guarded(batch), [number], (tf.uint8, tf.int32))
        return (
            tf.ensure_shape(pixels, shape),
            tf.ensure_shape(labels, (count,)),
        )

    return numbers.map(shaped, num_parallel_calls=blocks, deterministic=True)


# TensorFlow keeps the functions of a stream for the rest of the process: what they hold is shared.
@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "clips")


@functools.cache
def _buffers(shape: tuple[int, ...]) -> buffers.Buffers:
    return buffers.Buffers(shape)
