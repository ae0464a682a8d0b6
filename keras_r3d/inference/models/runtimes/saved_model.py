"""Loading a SavedModel."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d.applications.metadata import JSON_FILE
from keras_r3d.inference.models.runtimes.loaded import INPUT, OUTPUT, Export, checked
from keras_r3d.system.errors import ModelError

EXTRA = "assets.extra"  # what lies beside a model for others than TensorFlow
_SIGNATURE = "serving_default"


def load(path: Path) -> Export:
    """Loads the folder of a SavedModel.

    Raises:
        ModelError: it is damaged, does not take clips, or what it says of itself cannot be read.
    """
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many kinds
        raise ModelError(f"{path}: TensorFlow cannot load it: {error}") from error
    signature = loaded.signatures.get(_SIGNATURE)
    if signature is None:
        raise ModelError(
            f"{path} must have a signature '{_SIGNATURE}', as `python -m keras_r3d.export` "
            f"writes it. Received: {sorted(loaded.signatures)}"
        )

    def step(clips: np.ndarray) -> np.ndarray:
        # `loaded` is named here to be kept: it owns the variables.
        assert loaded is not None
        return signature(**{INPUT: tf.constant(clips)})[OUTPUT].numpy()

    signatures = {
        name: {
            "inputs": _described(function.structured_input_signature[1]),
            "outputs": _described(function.structured_outputs),
        }
        for name, function in sorted(loaded.signatures.items())
    }
    file = path / EXTRA / JSON_FILE
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
    return checked(path, step, signatures, text, signature=_SIGNATURE)


def _described(tensors: Any) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "dtype": tensor.dtype.name,
            "shape": None if tensor.shape.rank is None else tensor.shape.as_list(),
        }
        for name, tensor in sorted(tensors.items())
    }
