"""How many clips of motion are rendered a second, by one thread and by the input pipeline."""

import dataclasses
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from keras_r3d import recipe
from keras_r3d.data import motion, pipeline
from keras_r3d.system import files
from keras_r3d.system.opencv import cv2

_BATCH_SIZE = 32
_FIRST_BATCHES = 3  # not timed: until as many are made ahead as are taken


def run(
    *, clips: int, rounds: int, json: str | None, sizes: Sequence[int] = (64, 112)
) -> dict[str, Any]:
    """Measures and prints.

    Args:
        clips: of a turn, of all motions one after the other.
        json: file that the figures are also written to.
        sizes: of the clips, in pixels.

    Returns:
        The figures.
    """
    experiment, cores = recipe.load("motion"), len(os.sched_getaffinity(0))
    frames = experiment.clips.frames
    rates: dict[str, dict[str, float]] = {}
    for size in sizes:
        cut = dataclasses.replace(experiment.clips, size=size)
        single, all_cores = partial(_rendered, cut, clips), partial(_streamed, cut, clips)
        name = f"{frames}x{size}x{size}"
        rates[f"{name}, one thread"] = _rates(single, rounds)
        rates[f"{name}, tf.data"] = _rates(all_cores, rounds)
    figures = {
        "benchmark": "motion",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{cores} cores ({platform.machine()})",
        "classes": len(motion.CLASSES),
        "clips": clips,
        "rounds": rounds,
        "clips_per_second": rates,
    }
    print(
        f"Rendered motion, {clips} clips of {len(motion.CLASSES)} classes in a turn, "
        f"{figures['machine']}, {figures['date']}, median (lowest-highest) of {rounds} turns"
    )
    for name, found in rates.items():
        print(
            f"  {name:24}{found['median']:9.1f} clips/s ({found['lowest']:.1f}-"
            f"{found['highest']:.1f}), {found['per_cpu_second']:.1f} a CPU second"
        )
    if json:
        files.write_json(json, figures)
    return figures


def _rates(turn: Callable[[], tuple[float, float]], rounds: int) -> dict[str, float]:
    """Takes turns, one more to warm up.

    Args:
        turn: gives clips per second and per CPU second.
    """
    turn()
    seconds, cpu_seconds = zip(*(turn() for _ in range(rounds)), strict=True)
    return {
        "median": statistics.median(seconds),
        "lowest": min(seconds),
        "highest": max(seconds),
        "per_cpu_second": statistics.median(cpu_seconds),
    }


def _rendered(cut: recipe.Clips, clips: int) -> tuple[float, float]:
    """Renders clips in this thread; returns how many a second, and a CPU second."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    started, cpu_started = time.perf_counter(), time.thread_time()
    for number in range(clips):
        name = motion.CLASSES[number % len(motion.CLASSES)]
        motion.render(name, np.random.default_rng(number), cut.frames, cut.size)
    seconds, cpu_seconds = time.perf_counter() - started, time.thread_time() - cpu_started
    cv2.setNumThreads(threads)
    return clips / seconds, clips / cpu_seconds


def _streamed(cut: recipe.Clips, clips: int) -> tuple[float, float]:
    """Takes clips as a training does, with all cores; returns the same."""
    videos = motion.annotations().split("train")
    reader = motion.MotionReader(cut.frames)
    batches = -(-clips // _BATCH_SIZE)
    stream = pipeline.training_clips(
        reader, videos, motion.CLASSES, cut, batch_size=_BATCH_SIZE, seed=0
    )
    taken = iter(stream.take(_FIRST_BATCHES + batches))
    for _ in range(_FIRST_BATCHES):
        next(taken)
    started, cpu_started = time.perf_counter(), time.process_time()
    for _ in taken:
        pass
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return batches * _BATCH_SIZE / seconds, batches * _BATCH_SIZE / cpu_seconds
