"""Export to a SavedModel that TensorFlow Serving loads, and TensorFlow without Keras."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from keras_r3d import recipe
from keras_r3d.export.saved_model.precision import PRECISIONS, lowered
from keras_r3d.export.saved_model.signatures import Signatures
from keras_r3d.export.tflite.folding import fold
from keras_r3d.system import files
from keras_r3d.system.errors import ExportError


def write(
    model: keras.Model,
    path: Path,
    *,
    classes: Sequence[str],
    data: recipe.Data,
    evaluation: recipe.Eval,
    precision: str = "float32",
) -> None:
    """Writes a SavedModel with the signatures of `Signatures`, batch norms folded.

    Args:
        model: functional, gives probabilities or logits.
        path: does not exist.
        classes: names, in the order of the scores.
        data: how clips are cut.
        evaluation: how windows and views of a video are placed and averaged.
        precision: of weights and computation, one of `PRECISIONS`; what goes in and comes out is
            the same.

    Raises:
        ExportError: an unknown precision, or a model that `classes` or `data` does not fit.
        WriteError: it cannot be written.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"The precision must be one of {PRECISIONS}. Received: {precision}")
    clip = (data.frames, data.size, data.size, data.channels)
    taken = tuple(model.input_shape[1:])
    if any(one not in (None, ours) for one, ours in zip(taken, clip, strict=True)):
        raise ExportError(
            f"The recipe cuts clips of {clip} (frames, height, width, channels), but the model "
            f"takes {taken}."
        )
    if model.output_shape[-1] != len(classes):
        raise ExportError(
            f"The model has {model.output_shape[-1]} classes, but {len(classes)} are named."
        )
    network = lowered(fold(model), precision)
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.txt"
        labels.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
        served = Signatures(network, classes, data, evaluation, labels)
        try:
            tf.saved_model.save(served, str(path), signatures=served.functions())
        except tf.errors.OpError as error:
            raise files.WriteError(
                f"Could not write {path} ({error.message.splitlines()[0]}): if the disk is full, "
                "free some space there, then run again."
            ) from error
