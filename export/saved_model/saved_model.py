"""Export to a SavedModel that TensorFlow Serving loads, and TensorFlow without Keras."""

import tempfile
from pathlib import Path

import keras
import tensorflow as tf
from keras import layers

from keras_r3d.applications.metadata import JSON_FILE
from keras_r3d.export.formats import Source
from keras_r3d.export.saved_model import serving
from keras_r3d.export.saved_model.signatures import Signatures
from keras_r3d.export.tflite.folding import fold
from keras_r3d.inference.models.runtimes.loaders import EXTRA
from keras_r3d.system import files

# What gives sums over the whole clip, or numbers that others read.
_EXACT = (layers.GlobalAveragePooling3D, layers.GlobalMaxPooling3D, layers.Softmax)
# TensorFlow has no kernel for float16 of these on CPU.
_POOLING = (layers.MaxPooling3D, layers.AveragePooling3D)
_WITH_KERNEL = (layers.Conv3D, layers.Dense)


def write(source: Source, path: Path, quantize: str) -> None:
    """Writes a SavedModel with the signatures of `Signatures`, batch norms folded.

    Beside it, in `assets.extra`, lie `model.json` and requests to warm up a server. `path` is
    NAME/VERSION; `quantize` the precision of weights and computation: "none" is float32,
    "bfloat16", "float16". What goes in and comes out is the same.
    """
    model, classes = source.network, source.classes
    clips = source.metadata.read_recipe(model.name).clips
    network = narrowed(fold(model), quantize)
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.txt"
        labels.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
        served = Signatures(network, classes, clips, labels)
        signatures = served.functions()
        try:
            tf.saved_model.save(served, str(path), signatures=signatures)
            (path / EXTRA).mkdir(exist_ok=True)
            files.write_text(path / EXTRA / JSON_FILE, source.metadata.to_json())
            serving.write_warm_up(path, path.parent.name, source.example, signatures)
        except tf.errors.OpError as error:
            raise files.WriteError(
                f"Could not write {path} ({error.message.splitlines()[0]}): if the disk is full, "
                "free some space there, then run again."
            ) from error


def narrowed(model: keras.Model, precision: str) -> keras.Model:
    """Returns the network with weights and computation in half the bytes; `precision` as `write`'s.

    Float32 stay: what comes before the first convolution (a mean has more digits than bfloat16),
    the average over the last feature map, and the classifier with its softmax.
    """
    if precision == "none":
        return model
    order = {layer.name: number for number, layer in enumerate(model.layers)}
    kernels = [n for n, layer in enumerate(model.layers) if isinstance(layer, _WITH_KERNEL)]
    exact_kinds = (*_EXACT, *_POOLING) if precision == "float16" else _EXACT
    ends_dense = isinstance(model.layers[kernels[-1]], layers.Dense)

    def clone(layer: layers.Layer) -> layers.Layer:
        number, config = order[layer.name], layer.get_config()
        exact = isinstance(layer, exact_kinds) or number < kernels[0]
        exact = exact or (ends_dense and number >= kernels[-1])
        config["dtype"] = "float32" if exact else precision
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy
