"""What a training would be, and a few steps of it; nothing is written."""

import collections
import math
import resource
import time

import tensorflow as tf

from keras_r3d.data.annotations import Annotations
from keras_r3d.recipe import Recipe, dumps
from keras_r3d.system.devices import choose
from keras_r3d.system.errors import TrainingError
from keras_r3d.system.progress import duration
from keras_r3d.training import run
from keras_r3d.training.few import embeddings
from keras_r3d.training.few.setup import Few
from keras_r3d.training.optimization.schedule import learning_rate
from keras_r3d.training.setup import Setup

_STEPS = 3  # timed; the first one, which compiles, is not
_VIDEOS = 4  # embedded, of few


def try_out(
    recipe: Recipe, data: str, devices: str, xla: bool, cache_gib: float, say: run.Say
) -> None:
    """Says what a training would do: recipe, videos by class and split, memory and time."""
    with run.errors_as_sentences(None):
        ready = run.prepare(recipe, data, choose(devices), say, cache_gib=cache_gib, xla=xla)
        for line in [dumps(ready.recipe), *_counts(ready.annotations), *ready.describe()]:
            say(line)
        say(_embed_few(ready) if isinstance(ready, Few) else _take_steps(ready, cache_gib))
        say("No run folder was made.")


def _take_steps(ready: Setup, cache_gib: float) -> str:
    train, waits, steps = ready.recipe.train, [], []
    batches = ready.batches(0)
    for step in range(1 + _STEPS):
        started = time.monotonic()
        batch = next(batches)
        waited = time.monotonic()
        ready.steps.optimizer.learning_rate = learning_rate(train, ready.steps_per_epoch, step)
        sums = ready.steps.train(batch, tf.constant(step), tf.constant(0.0)).numpy()
        waits.append(waited - started)
        steps.append(time.monotonic() - started)
    seconds, waiting = sum(steps[1:]) / _STEPS, sum(waits[1:]) / sum(steps[1:])
    loss = sums[0] / train.batch_size
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss of step {_STEPS + 1} is {loss}: lower `train.optimizer.learning_rate`, or "
            "add `train.schedule.warmup_epochs` or `train.clip_norm`."
        )
    epoch = seconds * ready.steps_per_epoch
    later = epoch * (1 - waiting) if cache_gib else epoch
    cached = f", later ones {duration(later)} if their frames are in the cache" if cache_gib else ""
    return (
        f"Steps: {_STEPS} tried after the first, {seconds:.3g} s each, {waiting:.0%} of it waiting "
        f"for data; the loss is {loss:.4f}.\n"
        f"Memory: {_memory()} at most.\n"
        f"An epoch has {ready.steps_per_epoch} steps and takes about {duration(epoch)}{cached}, "
        f"without validation; {train.epochs} epochs about "
        f"{duration(epoch + later * (train.epochs - 1))}."
    )


def _embed_few(few: Few) -> str:
    model, reader = few.embedder(), few.source.reader
    train, test = few.annotations.split("train"), few.annotations.splits.get(few.test_split or "")
    tried = train[:: max(1, len(train) // _VIDEOS)][:_VIDEOS]
    list(embeddings.compute(model, reader, tried[:1]))  # compiles
    started = time.monotonic()
    list(embeddings.compute(model, reader, tried))
    seconds = (time.monotonic() - started) / len(tried)
    count = len(train) + len(test or ())
    return (
        f"Embedded: {len(tried)} videos, {seconds:.3g} s each; all {count} take about "
        f"{duration(count * seconds)}. Memory: {_memory()} at most."
    )


def _counts(videos: Annotations) -> list[str]:
    """Returns a table of how many videos there are by class and split."""
    counts = [
        collections.Counter(label for video in split for label in video.labels)
        for split in videos.splits.values()
    ]
    width = max(len(name) for name in (*videos.classes, "all"))
    rows = [(name, [str(count[name]) for count in counts]) for name in videos.classes]
    rows.insert(0, ("videos", list(videos.splits)))
    rows.append(("all", [str(len(split)) for split in videos.splits.values()]))
    return [f"{name:{width}}" + "".join(f"{cell:>12}" for cell in cells) for name, cells in rows]


def _memory() -> str:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    text = f"{used:.0f} MB"
    for number, _ in enumerate(tf.config.list_logical_devices("GPU")):
        info = tf.config.experimental.get_memory_info(f"GPU:{number}")
        text += f", {info['peak'] / 1e6:.0f} MB of GPU {number}"
    return text
