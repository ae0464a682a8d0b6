"""What a training would be, and one step of it; nothing is written."""

import collections
import resource
import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from keras_r3d import _command
from keras_r3d.recipe import Recipe, dumps
from keras_r3d.training import run as training
from keras_r3d.training.run import Options

_STEPS = 3  # timed; the first one, which compiles, is not


def rehearse(
    recipe: Recipe, data_dir: str | Path, options: Options, say: Callable[[str], None] = print
) -> None:
    """Says what a training would do: recipe, videos by class and split, memory and time.

    Raises:
        R3DError: anything in the recipe, the data or the devices that keeps it from being done.
    """
    prepared = training.prepare(recipe, data_dir, options, say)
    found, train = prepared.annotations, prepared.recipe.train
    say(dumps(prepared.recipe))
    splits = list(found.splits)
    counts = {s: collections.Counter(v.label for v in found.splits[s]) for s in splits}
    width = max(len(name) for name in (*found.classes, "all"))
    say(f"{'videos':{width}}" + "".join(f"{split:>12}" for split in splits))
    for name in found.classes:
        say(f"{name:{width}}" + "".join(f"{counts[split][name]:12}" for split in splits))
    say(f"{'all':{width}}" + "".join(f"{len(found.splits[split]):12}" for split in splits))
    for note in found.notes:
        say(f"Note: {note}")
    for line in training.described(prepared, options):
        say(line)

    batches = prepared.batches(0)
    seconds = []
    for step in range(1 + _STEPS):
        started = time.monotonic()
        sums = prepared.steps.train(
            next(batches), tf.constant(step, tf.int32), tf.constant(0.0)
        ).numpy()
        seconds.append(time.monotonic() - started)
    step_seconds = min(seconds[1:])
    loss = sums[0] / train.batch_size
    epoch = step_seconds * prepared.steps_per_epoch
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    memory = f"{megabytes:.0f} MB of memory"
    for number, _ in enumerate(tf.config.list_logical_devices("GPU")):
        info = tf.config.experimental.get_memory_info(f"GPU:{number}")
        memory += f", {info['peak'] / 1e6:.0f} MB of GPU {number}"
    say(
        f"Steps: {_STEPS} tried, {step_seconds:.3g} s each, the loss is {loss:.4f}; {memory}.\n"
        f"An epoch has {prepared.steps_per_epoch} steps and takes about "
        f"{_command.duration(epoch)}, without validation; {train.epochs} epochs at most "
        f"{_command.duration(epoch * train.epochs)}. Nothing was written."
    )
