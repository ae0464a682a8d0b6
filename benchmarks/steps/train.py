"""One training step of a network: ours beside PyTorch's, and what a saved state costs."""

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process import in_turns
from benchmarks.steps.training_steps import (
    Ours,
    OursBfloat16,
    OursXla,
    PyTorch,
    PyTorchBfloat16,
    StepTask,
)
from keras_r3d import applications
from keras_r3d.system import files
from keras_r3d.system.errors import R3DError
from keras_r3d.training import state

_SAVE_MINUTES = 10.0  # between two states, as the recipes have it


def run(
    name: str,
    *,
    batch_size: int,
    frames: int,
    size: int,
    rounds: int,
    xla: bool,
    json: str | None,
) -> None:
    """Measures and prints.

    Args:
        xla: also our step compiled by XLA.
        json: file that the figures are also written to.

    Raises:
        R3DError: there is no such network, or our step fails.
    """
    if name not in applications.list_models():
        raise R3DError(f"--model must be one of {applications.list_models()}. Received: {name}")
    cores = sorted(os.sched_getaffinity(0))
    task = StepTask(name, batch_size, frames, size)
    contenders: list[type[Any]] = [Ours, OursBfloat16, *([OursXla] if xla else [])]
    contenders += [PyTorch, PyTorchBfloat16]
    turns, problems, versions = in_turns(contenders, task, cores, range(batch_size), rounds)
    results = {
        name: batch_size / statistics.median(turn.seconds for turn in of)
        for name, of in turns.items()
    }
    if Ours.name in problems:
        raise R3DError(f"'{Ours.name}' {problems[Ours.name]}")
    figures: dict[str, Any] = {
        "benchmark": "train",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{len(cores)} cores ({platform.machine()})",
        "model": name,
        "clip": [frames, size, size, 3],
        "batch_size": batch_size,
        "rounds": rounds,
        "versions": versions,
        "clips_per_second": results,
        "dropped_out": problems,
        "state": _state(name, frames, size),
    }
    print(
        f"Training step, {name}, {batch_size} clips of {frames}x{size}x{size}, "
        f"{figures['machine']}, {figures['date']}, median of {rounds} turns"
    )
    for one in contenders:
        if one.name in problems:
            print(f"  {one.name:26}  {problems[one.name]}")
            continue
        rate = results[one.name]
        line = f"  {one.name:26}{rate:8.2f} clips/s{rate / results[Ours.name]:8.2f} of ours"
        peer = f"PyTorch, {one.precision}"
        if issubclass(one, Ours) and peer in results:
            figures.setdefault("against_pytorch", {})[one.name] = rate / results[peer]
            line += f"{rate / results[peer]:8.2f} of PyTorch's"
        print(f"{line}  ({versions[one.name]})")
    saved = figures["state"]
    print(
        f"A saved state: {saved['megabytes']:.0f} MB in {saved['seconds']:.2f} s; one every "
        f"{_SAVE_MINUTES:g} minutes is {saved['share']:.2%} of the time."
    )
    if json:
        files.write_json(json, figures)


def _state(name: str, frames: int, size: int) -> dict[str, float]:
    """Saves the weights of a network and as many velocities."""
    network = applications.get_model(name, input_shape=(frames, size, size, 3))
    arrays = {
        f"{part}/{v.path}": np.array(v)
        for part in ("weights", "velocities")
        for v in network.weights
    }
    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as folder:
        started = time.monotonic()
        path = state.save(Path(folder), 1, state.State(arrays, {}))
        seconds = time.monotonic() - started
        megabytes = path.stat().st_size / 1e6
    return {
        "megabytes": megabytes,
        "seconds": seconds,
        "share": seconds / (60 * _SAVE_MINUTES + seconds),
    }
