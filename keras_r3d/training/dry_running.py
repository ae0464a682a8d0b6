"""What a training would be, and one step of it; nothing is written."""

import collections
import math
import resource
import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from keras_r3d.data.annotations import Annotations
from keras_r3d.recipe import Recipe, dumps
from keras_r3d.system import command
from keras_r3d.system.devices import choose
from keras_r3d.system.errors import TrainingError
from keras_r3d.training import preparing, troubles
from keras_r3d.training.few import embeddings, setup
from keras_r3d.training.optimization.schedule import Schedule
from keras_r3d.training.preparing import Options, Prepared

_STEPS = 3  # timed; the first one, which compiles, is not
_VIDEOS = 4  # embedded, of few


def rehearse(
    recipe: Recipe, data_dir: str | Path, options: Options, say: Callable[[str], None] = print
) -> None:
    """Says what a training would do: recipe, videos by class and split, memory and time.

    Raises:
        R3DError: anything in the recipe, the data or the devices that keeps it from being done.
    """
    with troubles.as_sentences(None):
        if recipe.few is None:
            _rehearse(preparing.prepare(recipe, data_dir, options, say), options, say)
        else:
            hardware = choose(options.devices)
            _rehearse_few(setup.prepare(recipe, data_dir, hardware, say), say)


def _rehearse(prepared: Prepared, options: Options, say: Callable[[str], None]) -> None:
    found, train = prepared.annotations, prepared.recipe.train
    say(dumps(prepared.recipe))
    _say_counts(found, say)
    for line in preparing.described(prepared, options):
        say(line)

    waits, steps = [], []
    schedule = Schedule(train, prepared.steps_per_epoch)
    batches = prepared.batches(0)
    for step in range(1 + _STEPS):
        started = time.monotonic()
        batch = next(batches)
        waited = time.monotonic()
        prepared.steps.optimizer.learning_rate = schedule.rate(step)
        sums = prepared.steps.train(batch, tf.constant(step), tf.constant(0.0)).numpy()
        waits.append(waited - started)
        steps.append(time.monotonic() - started)
    seconds = sum(steps[1:]) / _STEPS
    loss = sums[0] / train.batch_size
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss of step {_STEPS + 1} is {loss}: lower `train.learning_rate`, or add "
            "`train.warmup_epochs` or `train.clip_norm`."
        )
    epoch = seconds * prepared.steps_per_epoch
    later = epoch
    cached = ""
    if prepared.recipe.data.cache_gib:
        later = epoch * (1 - sum(waits[1:]) / sum(steps[1:]))
        cached = f", later ones {command.duration(later)} if their frames are in the cache"
    say(
        f"Steps: {_STEPS} tried after the first, {seconds:.3g} s each, "
        f"{sum(waits[1:]) / sum(steps[1:]):.0%} of it waiting for data; the loss is {loss:.4f}.\n"
        f"Memory: {_memory()} at most.\n"
        f"An epoch has {prepared.steps_per_epoch} steps and takes about "
        f"{command.duration(epoch)}{cached}, without validation; {train.epochs} epochs about "
        f"{command.duration(epoch + later * (train.epochs - 1))}.\n"
        "No run folder was made."
    )


def _rehearse_few(prepared: setup.Prepared, say: Callable[[str], None]) -> None:
    found = prepared.annotations
    say(dumps(prepared.recipe))
    _say_counts(found, say)
    for line in setup.described(prepared):
        say(line)
    model, reader = setup.embedder(prepared), prepared.opened.reader
    train = found.split("train")
    tried = train[:: max(1, len(train) // _VIDEOS)][:_VIDEOS]
    list(embeddings.embedded(model, reader, tried[:1]))  # compiles
    started = time.monotonic()
    list(embeddings.embedded(model, reader, tried))
    seconds = (time.monotonic() - started) / len(tried)
    count = len(train) + (len(found.split(prepared.test_split)) if prepared.test_split else 0)
    say(
        f"Embedded: {len(tried)} videos, {seconds:.3g} s each; all {count} take about "
        f"{command.duration(count * seconds)}. Memory: {_memory()} at most.\n"
        "No run folder was made."
    )


def _say_counts(found: Annotations, say: Callable[[str], None]) -> None:
    """Says how many videos there are by class and split."""
    splits = list(found.splits)
    counts = {s: collections.Counter(v.label for v in found.splits[s]) for s in splits}
    width = max(len(name) for name in (*found.classes, "all"))
    say(f"{'videos':{width}}" + "".join(f"{split:>12}" for split in splits))
    for name in found.classes:
        say(f"{name:{width}}" + "".join(f"{counts[split][name]:12}" for split in splits))
    say(f"{'all':{width}}" + "".join(f"{len(found.splits[split]):12}" for split in splits))
    for note in found.notes:
        say(f"Note: {note}")


def _memory() -> str:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    text = f"{used:.0f} MB"
    for number, _ in enumerate(tf.config.list_logical_devices("GPU")):
        info = tf.config.experimental.get_memory_info(f"GPU:{number}")
        text += f", {info['peak'] / 1e6:.0f} MB of GPU {number}"
    return text
