"""One training step of a network, plain TensorFlow against XLA."""

import platform
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_r3d import applications, files
from keras_r3d.benchmark.timing import interleaved
from keras_r3d.errors import R3DError
from keras_r3d.training import SGD, devices


def run(
    name: str, *, batch_size: int, frames: int, size: int, rounds: int, json: str | None
) -> None:
    """Measures and prints.

    Args:
        json: file that the figures are also written to.

    Raises:
        R3DError: there is no such network.
    """
    if name not in applications.list_models():
        raise R3DError(f"--model must be one of {applications.list_models()}. Received: {name}")
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

    rates = interleaved({"plain TensorFlow": step(False), "XLA": step(True)}, batch_size, rounds)
    figures = {
        "benchmark": "train",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{devices.choose().description.split(', XLA')[0]} ({platform.machine()})",
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "model": name,
        "clip": list(shape),
        "batch_size": batch_size,
        "rounds": rounds,
        "clips_per_second": rates,
        "xla_against_plain": rates["XLA"] / rates["plain TensorFlow"],
    }
    print(f"Training step, {name}, {batch_size} clips of {shape}, {figures['machine']}")
    for kind, rate in rates.items():
        print(f"  {kind:18}{rate:8.2f} clips/s{rate / rates['plain TensorFlow']:8.2f}x")
    if json:
        files.write_json(json, figures)
