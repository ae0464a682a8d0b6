"""Measures speed and memory, as ratios within one interleaved run.

`python -m keras_r3d.benchmark train` or `… checkpoint --file FILE.pth`.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from absl import flags

from keras_r3d import _command
from keras_r3d.errors import R3DError


def _define_flags() -> None:
    flags.DEFINE_string("model", "r3d34", "Network, such as r3d18.")
    flags.DEFINE_integer("batch_size", 8, "Clips in a step.", lower_bound=1)
    flags.DEFINE_integer("frames", 16, "Frames of a clip.", lower_bound=1)
    flags.DEFINE_integer("size", 112, "Side of a clip in pixels.", lower_bound=16)
    flags.DEFINE_integer("rounds", 5, "Steps of each kind, taken in turns.", lower_bound=1)
    flags.DEFINE_string("file", None, "PyTorch checkpoint to read.")
    flags.DEFINE_string("json", None, "Also writes the figures to this file.")


def _train() -> None:
    """One training step of a network, plain TensorFlow against XLA."""
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_r3d import applications, files
    from keras_r3d.training import SGD, devices

    name, batch_size = _command.value("model"), _command.value("batch_size")
    if name not in applications.list_models():
        raise R3DError(f"--model must be one of {applications.list_models()}. Received: {name}")
    frames, size = _command.value("frames"), _command.value("size")
    shape = (frames, size, size, 3)
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (batch_size, *shape), dtype=np.uint8)
    labels = rng.integers(0, 400, batch_size)

    def step(jit_compile: bool) -> Callable[[], object]:
        model = applications.get_model(name, input_shape=shape)
        model.compile(
            optimizer=SGD(0.01),
            loss=keras.losses.SparseCategoricalCrossentropy(),
            jit_compile=jit_compile,
        )
        return lambda: model.train_on_batch(clips, labels)

    rates = interleaved(
        {"plain TensorFlow": step(False), "XLA": step(True)}, batch_size, _command.value("rounds")
    )
    figures = {
        "benchmark": "train",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{devices.visible().description.split(', XLA')[0]} ({platform.machine()})",
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "model": name,
        "clip": list(shape),
        "batch_size": batch_size,
        "rounds": _command.value("rounds"),
        "clips_per_second": rates,
        "xla_against_plain": rates["XLA"] / rates["plain TensorFlow"],
    }
    print(f"Training step, {name}, {batch_size} clips of {shape}, {figures['machine']}")
    for kind, rate in rates.items():
        print(f"  {kind:18}{rate:8.2f} clips/s{rate / rates['plain TensorFlow']:8.2f}x")
    if _command.value("json"):
        files.write_json(_command.value("json"), figures)


def _checkpoint() -> None:
    """Reading a PyTorch checkpoint against reading the same bytes, and the memory it takes."""
    import tracemalloc

    import numpy as np

    from keras_r3d import files
    from keras_r3d.applications import checkpoints

    if _command.value("file") is None:
        raise R3DError("--file is missing: a PyTorch checkpoint.")
    path = Path(_command.value("file"))

    def read() -> list[np.ndarray]:
        return [tensor.numpy() for tensor in checkpoints.read(path).tensors.values()]

    def floor() -> np.ndarray:
        return np.fromfile(path, np.uint8)

    megabytes = sum(array.nbytes for array in read()) / 1e6
    tracemalloc.start()
    kept = read()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    del kept
    size = path.stat().st_size / 1e6
    rates = interleaved({"plain bytes": floor, "tensors": read}, size, _command.value("rounds"))
    figures = {
        "benchmark": "checkpoint",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores ({platform.machine()})",
        "megabytes": size,
        "megabytes_of_tensors": megabytes,
        "megabytes_per_second": rates,
        "tensors_against_bytes": rates["tensors"] / rates["plain bytes"],
        "peak_memory_against_file": peak / size,
    }
    print(f"Reading {path}, {size:.1f} MB, {figures['machine']}")
    for kind, rate in rates.items():
        print(f"  {kind:18}{rate:8.0f} MB/s{rate / rates['plain bytes']:8.2f}x")
    print(f"  peak memory       {peak:8.1f} MB  {peak / size:8.2f}x the file")
    if _command.value("json"):
        files.write_json(_command.value("json"), figures)


def interleaved(
    steps: dict[str, Callable[[], object]], units: float, rounds: int
) -> dict[str, float]:
    """Runs each step once to warm up, then all in turns.

    Returns:
        Units (of which a step takes `units`) per second of each, the median over the rounds.
    """
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {kind: [] for kind in steps}
    for _ in range(rounds):
        for kind, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[kind].append(time.perf_counter() - started)
    return {kind: units / statistics.median(times) for kind, times in seconds.items()}


def main() -> None:
    """Entry point of the command."""
    _command.run(_define_flags, {"train": _train, "checkpoint": _checkpoint})


if __name__ == "__main__":
    main()
