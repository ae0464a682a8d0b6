"""Export to a SavedModel that TensorFlow Serving loads: uint8 clips in, probabilities out."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_r3d import files

from .parity import Scorer


def write(model: keras.Model, classes: list[str], path: Path) -> Path:
    """Writes `path/VERSION/`, VERSION being the next free number; a server never sees half of it.

    The signature `serving_default` takes `clip`: uint8 `(batch, frames, height, width, 3)`, RGB,
    and gives `probabilities`: float32 `(batch, classes)`. `assets.extra/classes.txt` holds the
    class names.

    Raises:
        WriteError: the folder cannot be written.
    """
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="clip")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default", lambda clip: {"probabilities": model(clip)}, input_signature=[spec]
    )
    try:
        path.mkdir(parents=True, exist_ok=True)
        taken = [int(p.name) for p in path.iterdir() if p.name.isdecimal()]
    except OSError as error:
        raise files.WriteError(files.explain(path, error)) from error
    version = path / str(max(taken, default=0) + 1)
    with files.atomic(version) as temporary:
        archive.write_out(str(temporary), verbose=False)
        extra = temporary / "assets.extra"
        extra.mkdir()
        (extra / "classes.txt").write_text("".join(f"{n}\n" for n in classes), encoding="utf-8")
    return version


def load(path: Path) -> Scorer:
    """Loads `serving_default` of a SavedModel."""
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]

    def score(clips: np.ndarray) -> np.ndarray:
        # `loaded` is named here to be kept: it owns the variables.
        assert loaded is not None
        return signature(clip=tf.constant(clips))["probabilities"].numpy()

    return score
