"""Loading an OpenVINO model: `model.xml`, with `model.bin` beside it."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.inference.models.runtimes.loaded import OUTPUT, Export, checked
from keras_r3d.system.errors import ModelError

# Section of the model's runtime information, and names in it: class names as JSON, `model.json`.
SECTION, CLASSES, METADATA = "keras_r3d", "classes", "model_json"


def load(path: Path) -> Export:
    """Loads a model on CPU, to compute in float32.

    Raises:
        ModelError: OpenVINO is not installed, or the file is damaged, does not take clips, or what
            it says of itself cannot be read.
    """
    try:
        import openvino
    except ImportError as error:
        raise ModelError(
            f"{path}: reading it needs openvino: pip install 'keras_r3d[openvino]' ({error})."
        ) from error
    # Otherwise it computes in bfloat16 where the processor has it.
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": str(len(os.sched_getaffinity(0))),
    }
    core = openvino.Core()
    try:
        model = core.read_model(path)
        compiled = core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise ModelError(f"{path}: OpenVINO cannot load it: {error}") from error

    def step(clips: np.ndarray) -> np.ndarray:
        # A copy: the next call writes to the same memory.
        return np.array(compiled(clips)[OUTPUT])

    signature = {"inputs": _described(compiled.inputs), "outputs": _described(compiled.outputs)}
    text = None
    if model.has_rt_info([SECTION, METADATA]):
        text = model.get_rt_info([SECTION, METADATA]).astype(str)
    return checked(path, step, {"": signature}, text)


def _described(ports: Any) -> dict[str, dict[str, Any]]:
    described = {}
    for port in ports:
        sizes = [size.get_length() if size.is_static else None for size in port.get_partial_shape()]
        dtype = np.dtype(port.get_element_type().to_dtype()).name
        described[sorted(port.get_names())[0]] = {"dtype": dtype, "shape": sizes}
    return described
