"""Loading an `.onnx` file."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.applications.metadata import JSON_FILE
from keras_r3d.inference.models.runtimes.loaded import INPUT, OUTPUT, Export, checked
from keras_r3d.system.errors import ModelError

# Keys of the file's metadata: class names as JSON, and `model.json`.
CLASSES, METADATA = "classes", JSON_FILE

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def load(path: Path) -> Export:
    """Loads a file with ONNX Runtime, on CPU.

    Raises:
        ModelError: ONNX Runtime is not installed, or the file is damaged, does not take clips, or
            what it says of itself cannot be read.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"{path}: reading it needs onnxruntime: pip install 'keras_r3d[onnx]' ({error})."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds, which it does not make public
        raise ModelError(f"{path}: ONNX Runtime cannot load it: {error}") from error

    def step(clips: np.ndarray) -> np.ndarray:
        return session.run([OUTPUT], {INPUT: clips})[0]

    signature = {
        "inputs": {tensor.name: _described(tensor) for tensor in session.get_inputs()},
        "outputs": {tensor.name: _described(tensor) for tensor in session.get_outputs()},
    }
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    return checked(path, step, {"": signature}, text)


def _described(tensor: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else None for size in tensor.shape]
    return {"dtype": _DTYPES.get(tensor.type, tensor.type), "shape": shape}
