"""Export to a SavedModel that TensorFlow Serving loads: uint8 clips in, probabilities out."""

from pathlib import Path

import keras
import tensorflow as tf

from keras_r3d import files


def destination(path: Path) -> Path:
    """Returns `path/VERSION`, VERSION being the next free number."""
    taken = [int(p.name) for p in path.iterdir() if p.name.isdecimal()] if path.is_dir() else []
    return path / str(max(taken, default=0) + 1)


def names_file(path: Path) -> Path:
    """Returns where the class names of the export at `path` stand."""
    return path / "assets.extra" / "classes.txt"


def write(model: keras.Model, path: Path) -> None:
    """Writes a SavedModel.

    The signature `serving_default` takes `clip`: uint8 `(batch, frames, height, width, 3)`, RGB,
    and gives `probabilities`: float32 `(batch, classes)`.

    Raises:
        WriteError: it cannot be written.
    """
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="clip")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default", lambda clip: {"probabilities": model(clip)}, input_signature=[spec]
    )
    try:
        archive.write_out(str(path), verbose=False)
    except tf.errors.OpError as error:
        raise files.WriteError(
            f"Could not write {path} ({error.message.splitlines()[0]}): if the disk is full, free "
            "some space there, then run again."
        ) from error
