"""Loading an `.onnx` file."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.inference.models import manifest
from keras_r3d.inference.models.runtimes.loaded import Export, check
from keras_r3d.system.errors import ModelError

INPUT, OUTPUT = "clip", "probabilities"
# Keys of the file's metadata: class names as JSON, the manifest.
CLASSES, MANIFEST = "classes", manifest.NAME

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def load(path: Path) -> Export:
    """Loads a file with ONNX Runtime, on CPU.

    Raises:
        ModelError: ONNX Runtime is not installed, or the file is damaged or does not take clips.
        ModelError: what it says of itself cannot be read.
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
    inputs = {one.name: _described(one) for one in session.get_inputs()}
    outputs = {one.name: _described(one) for one in session.get_outputs()}
    check(path, inputs.get(INPUT), outputs.get(OUTPUT))

    def step(clips: np.ndarray) -> np.ndarray:
        return session.run([OUTPUT], {INPUT: clips})[0]

    said = session.get_modelmeta().custom_metadata_map.get(MANIFEST)
    return Export(
        step,
        least=2,
        most=None,
        shape=tuple(inputs[INPUT]["shape"][1:]),
        classes=outputs[OUTPUT]["shape"][-1],
        manifest=manifest.from_json(said, str(path)) if said else None,
        signatures={"": {"inputs": inputs, "outputs": outputs}},
    )


def _described(tensor: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else None for size in tensor.shape]
    return {"dtype": _DTYPES.get(tensor.type, tensor.type), "shape": shape}
