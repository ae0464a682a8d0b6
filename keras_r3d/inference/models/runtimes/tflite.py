"""Loading a `.tflite` file."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d.applications.metadata import JSON_FILE
from keras_r3d.inference.models.runtimes import stderr, tflite_metadata
from keras_r3d.inference.models.runtimes.loaded import Export, checked
from keras_r3d.system.errors import ModelError

_TRIAL = """
import importlib, sys

interpreter = importlib.import_module(sys.argv[2]).Interpreter(sys.argv[1])
interpreter.allocate_tensors()
interpreter.invoke()
"""


def load(path: Path) -> Export:
    """Loads a file that takes one clip at a time.

    Raises:
        ModelError: the file is damaged, does not take clips, or what it says of itself cannot be
            read.
    """
    texts = tflite_metadata.read(path) or {}
    interpreter_class = find_interpreter()
    if tflite_metadata.HASH not in texts:
        _try_elsewhere(path, interpreter_class.__module__)
    try:
        with stderr.dropped():  # which delegate it takes
            interpreter = interpreter_class(str(path), num_threads=len(os.sched_getaffinity(0)))
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: TensorFlow Lite cannot load it: {error}") from error
    clip, scores = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def step(clips: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(clip["index"], clips)
        interpreter.invoke()
        return interpreter.get_tensor(scores["index"])

    signature = {
        "inputs": {clip["name"]: _described(clip)},
        "outputs": {scores["name"]: _described(scores)},
    }
    names = (clip["name"], scores["name"])
    text = texts.get(JSON_FILE)
    return checked(path, step, {"": signature}, text, names=names, one_at_a_time=True)


def find_interpreter() -> Any:
    """Returns the class that runs `.tflite` files: TensorFlow's, or its successor, LiteRT's.

    TensorFlow 2.20 and newer announce that theirs will be removed.
    """
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    if version >= (2, 20) and importlib.util.find_spec("ai_edge_litert") is not None:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter
    try:
        return tf.lite.Interpreter
    except AttributeError as error:
        raise ModelError(
            f"TensorFlow {tf.__version__} cannot read .tflite files: pip install ai-edge-litert."
        ) from error


def _described(tensor: dict[str, Any]) -> dict[str, Any]:
    shape = [int(size) for size in tensor["shape"]]
    return {"dtype": np.dtype(tensor["dtype"]).name, "shape": shape}


def _try_elsewhere(path: Path, module: str) -> None:
    """Runs a file that has no hash in a process of its own, which a damaged one may kill.

    Args:
        module: has the class `Interpreter`.

    Raises:
        ModelError: the file kills the process, or cannot be run.
    """
    with path.open("rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise ModelError(f"{path}: TensorFlow Lite cannot load it: it is no .tflite file.")
    command = [sys.executable, "-c", _TRIAL, str(path), module]
    trial = subprocess.run(command, capture_output=True, check=False)
    if trial.returncode:
        last = trial.stderr.decode(errors="replace").strip().splitlines()[-1:]
        reason = " ".join(last) if trial.returncode > 0 else f"signal {-trial.returncode}"
        raise ModelError(f"{path}: TensorFlow Lite cannot load it, or dies of it: {reason}")
