"""Loading a SavedModel."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d.inference.models import manifest
from keras_r3d.inference.models.runtimes.loaded import Export, check
from keras_r3d.system.errors import ModelError

EXTRA = "assets.extra"  # what lies beside a model for others than TensorFlow


def load(path: Path) -> Export:
    """Loads the folder of a SavedModel.

    Raises:
        ModelError: it is damaged, or does not take clips.
        ModelError: what it says of itself cannot be read.
    """
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many kinds
        raise ModelError(f"{path}: TensorFlow cannot load it: {error}") from error
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        raise ModelError(
            f"{path} must have a signature 'serving_default', as `python -m keras_r3d.export` "
            f"writes it. Received: {sorted(loaded.signatures)}"
        )
    signatures = {name: _described(one) for name, one in sorted(loaded.signatures.items())}
    described = signatures["serving_default"]
    check(path, described["inputs"].get("clip"), described["outputs"].get("probabilities"))

    def step(clips: np.ndarray) -> np.ndarray:
        # `loaded` is named here to be kept: it owns the variables.
        assert loaded is not None
        return signature(clip=tf.constant(clips))["probabilities"].numpy()

    return Export(
        step,
        least=2,
        most=None,
        shape=tuple(described["inputs"]["clip"]["shape"][1:]),
        classes=described["outputs"]["probabilities"]["shape"][-1],
        manifest=_manifest(path),
        signatures=signatures,
    )


def _manifest(path: Path) -> manifest.Manifest | None:
    """Reads it from what lies beside the model; None if there is none."""
    said = path / EXTRA / manifest.NAME
    if not said.is_file():
        return None
    return manifest.from_json(said.read_text(encoding="utf-8", errors="replace"), str(path))


def _described(signature) -> dict[str, dict[str, Any]]:
    def specs(of) -> dict[str, Any]:
        return {
            name: {
                "dtype": spec.dtype.name,
                "shape": None if spec.shape.rank is None else spec.shape.as_list(),
            }
            for name, spec in sorted(of.items())
        }

    inputs = specs(signature.structured_input_signature[1])
    return {"inputs": inputs, "outputs": specs(signature.structured_outputs)}
