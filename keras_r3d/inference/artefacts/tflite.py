"""Loading a `.tflite` file."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d import stderr
from keras_r3d.inference import manifest
from keras_r3d.inference.artefacts import tflite_metadata
from keras_r3d.inference.artefacts.loaded import Export, ModelError


def load(path: Path) -> Export:
    """Loads a file that takes one clip at a time.

    Raises:
        ModelError: it is damaged, or does not take clips.
        ManifestError: what it says of itself cannot be read.
    """
    try:
        with stderr.dropped():  # which delegate it takes
            interpreter = tf.lite.Interpreter(str(path), num_threads=len(os.sched_getaffinity(0)))
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: TensorFlow Lite cannot load it: {error}") from error
    given, asked = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    shape = tuple(int(size) for size in given["shape"][1:])
    if given["dtype"] != np.uint8 or len(shape) != 4:
        raise ModelError(
            f"{path} must take uint8 clips (1, frames, height, width, channels), as `python -m "
            f"keras_r3d.export` writes it. Received: {given['dtype'].__name__} {(1, *shape)}"
        )

    def step(clips: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], clips)
        interpreter.invoke()
        return interpreter.get_tensor(asked["index"])

    signatures = {"": {"inputs": _described(given), "outputs": _described(asked)}}
    return Export(
        step, least=1, most=1, shape=shape, manifest=_manifest(path), signatures=signatures
    )


def _described(tensor: dict[str, Any]) -> dict[str, Any]:
    shape = [int(size) for size in tensor["shape"]]
    return {tensor["name"]: {"dtype": np.dtype(tensor["dtype"]).name, "shape": shape}}


def _manifest(path: Path) -> manifest.Manifest | None:
    """Reads it from the files at the end of the model; None if there is none."""
    text = (tflite_metadata.read(path) or {}).get(manifest.NAME)
    return None if text is None else manifest.from_json(text, str(path))
