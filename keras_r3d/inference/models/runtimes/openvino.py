"""Loading an OpenVINO model: `model.xml`, with `model.bin` beside it."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.inference.models import manifest
from keras_r3d.inference.models.runtimes.loaded import Export, check
from keras_r3d.system.errors import ModelError

INPUT, OUTPUT = "clip", "probabilities"
# Section of the model's runtime information, and names in it.
SECTION, CLASSES, MANIFEST = "keras_r3d", "classes", "model_json"


def load(path: Path) -> Export:
    """Loads a model on CPU, to compute in float32.

    Raises:
        ModelError: OpenVINO is not installed, or the file is damaged or does not take clips.
        ModelError: what it says of itself cannot be read.
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
    inputs, outputs = _described(compiled.inputs), _described(compiled.outputs)
    check(path, inputs.get(INPUT), outputs.get(OUTPUT))

    def step(clips: np.ndarray) -> np.ndarray:
        # A copy: the next call writes to the same memory.
        return np.array(compiled(clips)[OUTPUT])

    said = None
    if model.has_rt_info([SECTION, MANIFEST]):
        said = model.get_rt_info([SECTION, MANIFEST]).astype(str)
    return Export(
        step,
        least=2,
        most=None,
        shape=tuple(inputs[INPUT]["shape"][1:]),
        classes=outputs[OUTPUT]["shape"][-1],
        manifest=manifest.from_json(said, str(path)) if said else None,
        signatures={"": {"inputs": inputs, "outputs": outputs}},
    )


def _described(tensors: Any) -> dict[str, dict[str, Any]]:
    """Describes inputs or outputs by name."""
    described = {}
    for one in tensors:
        shape = [size.get_length() if size.is_static else None for size in one.get_partial_shape()]
        dtype = np.dtype(one.get_element_type().to_dtype()).name
        described[sorted(one.get_names())[0]] = {"dtype": dtype, "shape": shape}
    return described
