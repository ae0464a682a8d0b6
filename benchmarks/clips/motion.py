"""How many clips of motion are rendered a second, by one thread and by the input pipeline."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.options import Options
from benchmarks.turns import Contender, Worker, in_turns, one_by_one, report
from keras_r3d import recipe
from keras_r3d.data import motion

_BATCH_SIZE = 32
_FIRST_BATCHES = 3  # not timed: until as many are made ahead as are taken


def _start_rendering(cut: recipe.Clips, *, size: int) -> Worker:
    """Renders clips one after the other."""
    names = motion.CLASSES

    def render(number: int) -> None:
        rng = np.random.default_rng(number)
        motion.render(names[number % len(names)], rng, cut.frames, size)

    return one_by_one(render)


def _start_pipeline(cut: recipe.Clips, *, size: int) -> Worker:
    """Takes clips as a training does."""
    from keras_r3d.data import pipeline

    cut = dataclasses.replace(cut, size=size)
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
    clips = -(-options.clips // _BATCH_SIZE) * _BATCH_SIZE
    cut = recipe.load("motion").clips
    contenders = []
    for size in sizes:
        shape, options_of = f"{cut.frames}x{size}x{size}", {"size": size}
        start, modules = _start_pipeline, ("tensorflow",)
        contenders += [
            Contender(f"{shape}, one thread", _start_rendering, (), options_of, cores=1),
            Contender(f"{shape}, tf.data", start, modules, options_of),
        ]
    turns = [range(clips)] * (options.rounds + 1)
    names = [contender.name for contender in contenders]
    results = in_turns(contenders, cut, lambda pace: turns, names)
    title = f"Rendered motion, {clips} clips of {len(motion.CLASSES)} classes in a turn"
    return {"contenders": report(title, results, "clips"), "clips": clips}
