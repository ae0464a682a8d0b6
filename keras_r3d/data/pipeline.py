"""tf.data pipelines: training clips, validation clips.

Clips are cut in `tf.numpy_function`, a batch a call, straight into the batch's memory, by a pool of
threads (OpenCV releases the GIL). They stay uint8; the model normalizes.
"""

import atexit
import collections
import functools
import itertools
import math
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d.data.annotations import Video
from keras_r3d.data.annotations.labels import rarest, targets
from keras_r3d.data.clips import middle_clip
from keras_r3d.data.clips import training_clips as cut_training_clips
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.sampling import order
from keras_r3d.recipe import Clips
from keras_r3d.system.errors import VideoError

_MOST_DRAWS = 1000  # of unreadable videos in a row, before a stream ends with an error
_BATCHES = 2  # under way at a time
_OURS = ("Video", "Store", "Storage", "Unreachable")  # kinds of errors
_TURN = 4  # clips that a thread cuts before it takes more
_ALIGNMENT = 64  # bytes; TensorFlow copies arrays that begin elsewhere
_KEPT_BATCHES = 8  # arrays of one shape that are kept for reuse
_QUIET_SECONDS = 0.1  # without a call: TensorFlow has seen the errors and makes no more
_MOST_SECONDS = 10.0  # for calls under way to end, as Python ends

# Takes the number of a video in the stream, and memory for its clips; returns their target, or -1.
# It is called by several threads.
Fill = Callable[[int, Sequence[np.ndarray]], Any]


def training_clips(
    reader: Reader,
    videos: Sequence[Video],
    classes: Sequence[str],
    clips: Clips,
    *,
    batch_size: int,
    seed: int,
    balanced: bool = False,  # draws as many clips of each class; an epoch is as long
    broken_share: float = 0.1,  # of the videos; more broken ones end the stream with an error
    clips_per_pass: int = 1,  # over a video file, where decoding up to the clip is the cost
    start: int = 0,  # batches to skip, to resume a stream
    shard: tuple[int, int] = (0, 1),  # number of this worker, and of all; each draws other videos
    epoch_steps: int | None = None,  # after which a pass ends, and the next one goes on there
) -> tf.data.Dataset:
    """Draws training clips without end: every video once, in random order, then again.

    Order and crops are a pure function of the seed and the position in the stream, whatever the
    number of threads. A broken video is replaced by a draw from the same videos; the reader notes
    it. Batches are of uint8 `(batch, frames, height, width, channels)` and int32 labels `(batch,)`;
    where videos have several labels, of rows of 0 and 1, float32 `(batch, classes)`.
    Several clips of each pass are shuffled, 256 at a time; `epoch_steps` needs one a pass.
    """
    labels = targets(videos, classes)
    names = {video.name for video in videos}
    labels_of_videos = rarest(videos)

    @functools.lru_cache(maxsize=2)
    def epoch_order(epoch: int) -> np.ndarray:
        return order.epoch_order(labels_of_videos, seed, epoch, balanced)

    def visit(number: int, out: Sequence[np.ndarray]) -> Any:
        """Fills `out` with clips of the video whose turn it is; returns their target."""
        epoch, place = divmod(number, len(videos))
        turn = epoch_order(epoch)[place]
        rng = np.random.default_rng([seed, epoch, place])
        for _ in range(_MOST_DRAWS):
            try:
                rngs = [rng] if len(out) == 1 else rng.spawn(len(out))
                cut_training_clips(reader, videos[turn], clips, rngs, out)
                return labels[turn]
            except VideoError as error:
                # The reader has noted it.
                broken = [p for p in reader.problems if p.status != "short" and p.name in names]
                if len(broken) > broken_share * len(videos):
                    raise VideoError(
                        f"{len(broken)} of {len(videos)} training videos are broken, more than "
                        f"videos.broken_share = {broken_share:g} allows; the last: "
                        f"{broken[-1].detail} `python -m keras_r3d.scan` (of a clip store, "
                        "`prepare --verify`) finds them all."
                    ) from error
                draw = rng.integers(len(videos))
                turn = epoch_order(epoch)[draw] if balanced else draw
        raise VideoError(
            f"{_MOST_DRAWS} training videos in a row cannot be read; the last: "
            f"{videos[turn].name}. Is the data folder still there?"
        )

    worker, workers = shard
    if clips_per_pass == 1:
        numbers = tf.data.Dataset.counter(start * workers + worker, workers)
        if epoch_steps is not None:
            numbers = _next_epoch(epoch_steps)
        stream = _filled(numbers, reader, clips, batch_size, 1, visit, labels).prefetch(_BATCHES)
        return stream if epoch_steps is None else _of_length(stream, epoch_steps)

    # The clips that are shuffled together are a block; the workers take blocks in turn.
    per_block = order.turns_in_block(clips_per_pass)
    block, skipped = divmod(start * batch_size, per_block * clips_per_pass)
    turns = tf.data.Dataset.counter(block * workers + worker, workers)
    sizes = per_block, clips_per_pass
    blocks = _filled(turns, reader, clips, *sizes, visit, labels, blocks=1, shuffle_seed=seed)
    stream = blocks.unbatch().skip(skipped).batch(batch_size, drop_remainder=True)
    return stream.prefetch(_BATCHES)


def validation_clips(
    reader: Reader,
    videos: Sequence[Video],
    classes: Sequence[str],
    clips: Clips,
    *,
    batch_size: int,
    complete: bool = False,
) -> tf.data.Dataset:
    """Takes one clip of each video: its middle, center crop. Broken videos are skipped.

    If it is `complete` the length of the data set is known, so a batch in which all videos are
    broken is an error; otherwise it is skipped, too. Batches are as those of `training_clips`.
    """
    labels = targets(videos, classes)

    def take(number: int, out: Sequence[np.ndarray]) -> Any:
        if number >= len(videos):
            return -1
        try:
            middle_clip(reader, videos[number], clips, out[0])
        except VideoError:  # the reader has noted it
            return -1
        return labels[number]

    def check(labels: np.ndarray) -> np.ndarray:
        labels = labels.reshape(len(labels), -1)[:, 0]
        if complete and (labels < 0).all():
            raise VideoError(
                "None of the videos of a batch can be read. `python -m keras_r3d.scan` finds the "
                "broken ones; `problems` of the Videos names those that were met."
            )
        return labels >= 0

    def readable(pixels: tf.Tensor, labels: tf.Tensor):
        checked = tf.numpy_function(guarded(check), [labels], tf.bool)
        mask = tf.ensure_shape(checked, labels.shape[:1])
        return tf.boolean_mask(pixels, mask), tf.boolean_mask(labels, mask)

    steps = math.ceil(len(videos) / batch_size)
    numbers = tf.data.Dataset.range(steps)
    stream = _filled(numbers, reader, clips, batch_size, 1, take, labels).map(readable)
    if complete:
        return _of_length(stream, steps).prefetch(_BATCHES)
    return stream.filter(lambda _, labels: tf.shape(labels)[0] > 0).prefetch(_BATCHES)


def _of_length(stream: tf.data.Dataset, steps: int) -> tf.data.Dataset:
    return stream.apply(tf.data.experimental.assert_cardinality(steps))


def _next_epoch(steps: int) -> tf.data.Dataset:
    """Numbers the batches of an epoch; each pass begins where the last one ended."""
    epochs = itertools.count()

    def first_batch() -> np.int64:
        return np.int64(next(epochs) * steps)

    first = tf.data.Dataset.from_tensors(0).map(
        lambda _: tf.ensure_shape(tf.numpy_function(guarded(first_batch), [], tf.int64), ())
    )
    return first.flat_map(lambda start: tf.data.Dataset.range(start, start + steps))


def reason(error: tf.errors.OpError) -> str | None:
    """Returns the message of the error of ours that ended a stream; None for other errors."""
    for line in error.message.splitlines():
        kind, _, detail = line.partition("Error: ")
        if detail and kind.endswith(_OURS):
            return detail
    return None


def _filled(
    numbers: tf.data.Dataset,
    reader: Reader,
    clips: Clips,
    videos: int,
    clips_each: int,
    fill: Fill,
    targets: np.ndarray,  # of the videos
    *,
    blocks: int = _BATCHES,  # batches under way at a time
    shuffle_seed: int | None = None,  # of the clips in a batch; None leaves them in order
) -> tf.data.Dataset:
    """Turns numbers of batches into batches of `videos`, and `clips_each` of each of them."""
    count = videos * clips_each
    shape = (count, *clips.shape)
    turn = _TURN if clips_each == 1 else 1

    def batch(number: np.int64) -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = _empty_batch(shape), np.empty((count, *targets.shape[1:]), targets.dtype)
        places = np.arange(count)
        if shuffle_seed is not None:
            places = order.block_order(shuffle_seed, int(number), count)

        def fill_turn(first: int) -> None:
            for video in range(first, min(first + turn, videos)):
                here = places[video * clips_each : (video + 1) * clips_each]
                labels[here] = fill(int(number) * videos + video, [pixels[place] for place in here])

        firsts = range(0, videos, turn)
        run = _pool(reader.threads).map if reader.threads > 1 else map
        collections.deque(run(fill_turn, firsts), maxlen=0)
        return pixels, labels

    def shaped(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, labels = tf.numpy_function(guarded(batch), [number], (tf.uint8, targets.dtype))
        shape_of_labels = (count, *targets.shape[1:])
        return tf.ensure_shape(pixels, shape), tf.ensure_shape(labels, shape_of_labels)

    return numbers.map(shaped, num_parallel_calls=blocks, deterministic=True)


# TensorFlow keeps the functions of a stream for the rest of the process: what they hold is shared.
@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "clips")


@functools.cache
def _free_memory(size: int) -> collections.deque[np.ndarray]:
    return collections.deque(maxlen=_KEPT_BATCHES)


def _empty_batch(shape: tuple[int, ...]) -> np.ndarray:
    """Returns an uninitialized uint8 array, in memory that no earlier batch uses any more.

    The kernel clears new memory page by page, which takes up to a fifth of cutting the clips.
    """
    size = math.prod(shape)
    free = _free_memory(size)
    try:
        memory = free.pop()
    except IndexError:
        memory = np.empty(size + _ALIGNMENT - 1, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    # All views of the batch hold `whole`; after the last of them its memory is free again.
    whole = np.frombuffer(memory.data, np.uint8, size, start)
    weakref.finalize(whole, free.append, memory).atexit = False
    return whole.reshape(shape)


class EndingError(RuntimeError):
    """Python is ending; nothing is computed any more."""


_lock = threading.Lock()
_active = 0
_last = 0.0
_ending = False


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function for TensorFlow's threads to call; it raises `EndingError` as Python ends.

    A thread that waits for Python's lock while the interpreter shuts down never returns, and
    TensorFlow waits for it. So no call begins once Python ends, and `_end` waits for the rest.
    """

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        global _active, _last
        with _lock:
            _last = time.monotonic()
            if _ending:
                raise EndingError
            _active += 1
        try:
            return function(*arguments)
        finally:
            with _lock:
                _active -= 1
                _last = time.monotonic()

    return call


@atexit.register
def _end() -> None:
    global _ending
    with _lock:
        _ending = True
    deadline = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < deadline:
        with _lock:
            if not _active and time.monotonic() - _last > _QUIET_SECONDS:
                return
        time.sleep(_QUIET_SECONDS / 10)
