"""Loading a SavedModel."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d.inference import manifest
from keras_r3d.inference.artefacts.loaded import Export, ModelError

EXTRA = "assets.extra"  # what lies beside a model for others than TensorFlow


def load(path: Path) -> Export:
    """Loads the folder of a SavedModel.

    Raises:
        ModelError: it is damaged, or does not take clips.
        ManifestError: what it says of itself cannot be read.
    """
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ModelError(f"{path}: TensorFlow cannot load it: {error}") from error
    signature = loaded.signatures.get("serving_default")
    given = signature.structured_input_signature[1] if signature is not None else {}
    if "clip" not in given or "probabilities" not in signature.structured_outputs:
        raise ModelError(
            f"{path} must have a signature 'serving_default' that takes 'clip' and gives "
            f"'probabilities', as `python -m keras_r3d.export` writes it. Received: {given}"
        )

    def step(clips: np.ndarray) -> np.ndarray:
        # `loaded` is named here to be kept: it owns the variables.
        assert loaded is not None
        return signature(clip=tf.constant(clips))["probabilities"].numpy()

    said = path / EXTRA / manifest.NAME
    return Export(
        step,
        least=2,
        most=None,
        shape=tuple(given["clip"].shape[1:]),
        manifest=manifest.from_json(said.read_text(encoding="utf-8"), str(path))
        if said.is_file()
        else None,
        signatures={name: _described(one) for name, one in sorted(loaded.signatures.items())},
    )


def _described(signature) -> dict[str, dict[str, Any]]:
    def specs(of) -> dict[str, Any]:
        return {
            name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
            for name, spec in sorted(of.items())
        }

    inputs = specs(signature.structured_input_signature[1])
    return {"inputs": inputs, "outputs": specs(signature.structured_outputs)}
