"""Loading a `.tflite` file."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d.inference.models import manifest
from keras_r3d.inference.models.runtimes import tflite_metadata
from keras_r3d.inference.models.runtimes.loaded import Export, check
from keras_r3d.system import stderr
from keras_r3d.system.errors import ModelError

_TRIAL = """
import sys
import tensorflow as tf

interpreter = tf.lite.Interpreter(sys.argv[1])
interpreter.allocate_tensors()
interpreter.invoke()
"""


def load(path: Path) -> Export:
    """Loads a file that takes one clip at a time.

    Raises:
        ModelError: it is damaged, or does not take clips.
        ModelError: what it says of itself cannot be read.
    """
    texts = tflite_metadata.read(path) or {}
    if tflite_metadata.HASH not in texts:
        _try_elsewhere(path)
    try:
        with stderr.dropped():  # which delegate it takes
            interpreter = tf.lite.Interpreter(str(path), num_threads=len(os.sched_getaffinity(0)))
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: TensorFlow Lite cannot load it: {error}") from error
    given, asked = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    inputs, outputs = _described(given), _described(asked)
    check(path, inputs, outputs)
    said = texts.get(manifest.NAME)

    def step(clips: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], clips)
        interpreter.invoke()
        return interpreter.get_tensor(asked["index"])

    return Export(
        step,
        least=1,
        most=1,
        shape=tuple(inputs["shape"][1:]),
        classes=outputs["shape"][-1],
        manifest=manifest.from_json(said, str(path)) if said is not None else None,
        signatures={"": {"inputs": {given["name"]: inputs}, "outputs": {asked["name"]: outputs}}},
    )


def _described(tensor: dict[str, Any]) -> dict[str, Any]:
    shape = [int(size) for size in tensor["shape"]]
    return {"dtype": np.dtype(tensor["dtype"]).name, "shape": shape}


def _try_elsewhere(path: Path) -> None:
    """Runs a file that has no hash in a process of its own, which a damaged one may kill.

    Raises:
        ModelError: it does, or cannot be run.
    """
    with path.open("rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise ModelError(f"{path}: TensorFlow Lite cannot load it: it is no .tflite file.")
    trial = subprocess.run(
        [sys.executable, "-c", _TRIAL, str(path)], capture_output=True, check=False
    )
    if trial.returncode:
        said = trial.stderr.decode(errors="replace").strip().splitlines()[-1:]
        reason = " ".join(said) if trial.returncode > 0 else f"signal {-trial.returncode}"
        raise ModelError(f"{path}: TensorFlow Lite cannot load it, or dies of it: {reason}")
