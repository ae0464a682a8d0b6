"""How many clips of motion are rendered a second, by one thread and by the input pipeline."""

import collections
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.options import Options
from benchmarks.turns import Contender, Entry, Worker, in_turns, one_by_one
from keras_r3d import recipe
from keras_r3d.data import motion

_BATCH_SIZE = 32
_FIRST_BATCHES = 3  # not timed: until as many are made ahead as are taken


def _start_rendering(cut: recipe.Clips) -> Worker:
    """Renders clips one after the other."""
    names = motion.CLASSES

    def render(number: int) -> None:
        rng = np.random.default_rng(number)
        motion.render(names[number % len(names)], rng, cut.frames, cut.image_size[0])

    return one_by_one(render)


def _start_pipeline(cut: recipe.Clips) -> Worker:
    """Takes clips as a training does."""
    from keras_r3d.data import pipeline

    videos, reader = motion.annotations().split("train"), motion.MotionReader(cut.frames)
    streams: list[Iterator[Any]] = []

    def ready(numbers: Sequence[int]) -> None:
        stream = pipeline.training_clips(
            reader, videos, motion.CLASSES, cut, batch_size=_BATCH_SIZE, seed=0
        )
        batches = iter(stream.take(_FIRST_BATCHES + len(numbers) // _BATCH_SIZE))
        for _ in range(_FIRST_BATCHES):
            next(batches)
        streams.append(batches)

    return Worker(lambda numbers: collections.deque(streams.pop(), maxlen=0), ready)


def run(options: Options, sizes: Sequence[int] = (64, 112)) -> dict[str, Any]:
    """Measures and prints, for each of some sizes in pixels."""
    clips, rounds = options.clips, options.rounds
    cores, batches = sorted(os.sched_getaffinity(0)), -(-clips // _BATCH_SIZE)
    one_thread = Contender("one thread", _start_rendering)
    all_cores = Contender("tf.data", _start_pipeline, ("tensorflow",))
    entries = [
        Entry(one_thread, cores[:1], [range(clips)] * (rounds + 1)),
        Entry(all_cores, cores, [range(batches * _BATCH_SIZE)] * (rounds + 1)),
    ]
    rates = {}
    for size in sizes:
        cut = dataclasses.replace(recipe.load("motion").clips, size=size)
        for name, result in in_turns(entries, cut, ["one thread", "tf.data"]).items():
            rates[f"{cut.frames}x{size}x{size}, {name}"] = {
                "median": result.rate,
                "lowest": 1 / max(result.seconds),
                "highest": 1 / min(result.seconds),
                "per_cpu_second": result.cpu_rate,
            }
    classes = len(motion.CLASSES)
    print(
        f"Rendered motion, {clips} clips of {classes} classes in a turn, median (lowest-highest) "
        f"of {rounds} turns"
    )
    for name, rate in rates.items():
        print(
            f"  {name:24}{rate['median']:9.1f} clips/s ({rate['lowest']:.1f}-"
            f"{rate['highest']:.1f}), {rate['per_cpu_second']:.1f} a CPU second"
        )
    return {"classes": classes, "clips": clips, "rounds": rounds, "clips_per_second": rates}
