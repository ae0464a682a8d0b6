"""Export to a SavedModel that TensorFlow Serving loads, and TensorFlow without Keras.

Beside it lies what a server wants: requests to warm up, and its configuration.

The warm-up file holds `PredictionLog` messages. Their stubs are in `tensorflow-serving-api`, which
not everybody has; but all that is written of them are texts and messages in messages, so a few
lines write them, and a test holds them against the stubs:

    PredictionLog  { 6: PredictLog }
    PredictLog     { 1: PredictRequest }
    PredictRequest { 1: ModelSpec, 2: map of inputs { 1: name, 2: TensorProto } }
    ModelSpec      { 1: name of the model, 3: name of the signature }

Reference:
    Protocol Buffers, Encoding. https://protobuf.dev/programming-guides/encoding/
    TensorFlow Serving, SavedModel Warmup. https://www.tensorflow.org/tfx/serving/saved_model_warmup
"""

import json
import shlex
import string
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_r3d.applications.metadata import JSON_FILE
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.export.formats import Source
from keras_r3d.export.saved_model.signatures import Signatures
from keras_r3d.export.tflite.folding import fold
from keras_r3d.inference.models.runtimes.loaders import EXTRA
from keras_r3d.serving import messages
from keras_r3d.system import files
from keras_r3d.system.errors import ExportError

WARM_UP = "tf_serving_warmup_requests"  # in assets.extra; TensorFlow Serving gives the names
_QUALITY = 90  # of the JPEGs of the warm-up
# Written beside the versions; the templates lie beside this file.
BESIDE = ("models.config", "batching.config", "serving.md")

# What gives sums over the whole clip, or numbers that others read.
_EXACT = (layers.GlobalAveragePooling3D, layers.GlobalMaxPooling3D, layers.Softmax)
# TensorFlow has no kernel for float16 of these on CPU.
_POOLING = (
    *(layers.MaxPooling3D, layers.AveragePooling3D),
    *(layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalAveragePooling2D),
)
_WITH_KERNEL = (layers.Conv3D, layers.Conv2D, layers.Dense)


def write(source: Source, path: Path, quantize: str) -> None:
    """Writes a SavedModel with the signatures of `Signatures`, batch norms folded.

    Beside it, in `assets.extra`, lie `model.json` and requests to warm up a server. `path` is
    NAME/VERSION; `quantize` the precision of weights and computation: "none" is float32,
    "bfloat16", "float16". What goes in and comes out is the same.
    """
    model, classes = source.network, source.classes
    clips = source.metadata.read_recipe(model.name).clips
    network = narrowed(fold(model), quantize)
    with files.scratch_folder() as folder:
        labels = folder / "labels.txt"
        labels.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
        served = Signatures(network, classes, clips, labels)
        signatures = served.functions()
        try:
            tf.saved_model.save(served, str(path), signatures=signatures)
            write_warm_up(path, path.parent.name, source.example, signatures)
        except tf.errors.OpError as error:
            raise files.WriteError(
                f"Could not write {path} ({error.message.splitlines()[0]}): if the disk is full, "
                "free some space there, then run again."
            ) from error
    files.write_text(path / EXTRA / JSON_FILE, source.metadata.to_json())


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
        config = layer.get_config()
        if layer.name not in order:  # an operation without a type of its own
            return layer.__class__.from_config(config)
        number = order[layer.name]
        exact = isinstance(layer, exact_kinds) or number < kernels[0]
        exact = exact or (ends_dense and number >= kernels[-1])
        config["dtype"] = "float32" if exact else precision
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def write_warm_up(version: Path, name: str, clip: Frame, signatures: Iterable[str]) -> None:
    """Writes one request for each signature, which the server sends itself when it loads a model.

    `version` is the folder of a SavedModel, `name` that of the model on the server, `clip` a real
    one, uint8 `(frames, height, width, channels)`.
    """
    path = version / EXTRA / WARM_UP
    files.make_folder(path.parent)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in sorted(signatures):
            inputs: dict[str, Any] = {"clip": clip[np.newaxis]}
            if signature == "jpeg":
                inputs = {"jpegs": [messages.compressed(clip, _QUALITY)]}
            writer.write(prediction_log(name, signature, inputs))


def write_beside(folder: Path, name: str) -> list[str]:
    """Writes what all versions of a model share: configuration, and how to run the server.

    They lie beside the versions; the server looks there only for folders whose name is a number.
    Files that exist are kept: returns a sentence for each that differs from the new one.
    """
    check_name(name)
    place = f"/models/{name}"  # in the container
    sizes = [size for size in (1, 2, 4, 8, 16, 32) if size <= messages.MOST_CLIPS]
    values = {
        "name": name,
        "quoted_name": json.dumps(name, ensure_ascii=False),  # the escapes of text protos
        "quoted_path": json.dumps(place, ensure_ascii=False),
        "most": messages.MOST_CLIPS,
        "allowed": "\n".join(f"allowed_batch_sizes: {size}" for size in sizes),
        "mount": shlex.quote(f"{place}:ro"),
        "models": shlex.quote(f"{place}/models.config"),
        "batching": shlex.quote(f"{place}/batching.config"),
        "in_url": urllib.parse.quote(name),
        "flag": shlex.quote(name),
    }
    notes = []
    for file in BESIDE:
        template = Path(__file__).with_name(file).read_text(encoding="utf-8")
        text = string.Template(template).substitute(values)
        path = folder / file
        if not path.exists():
            files.write_text(path, text)
        elif path.read_text(encoding="utf-8", errors="replace") != text:
            notes.append(f"{path} exists and is kept; this export would write another one.")
    return notes


def check_name(name: str) -> None:
    """Raises ExportError if no address can have the name of a model."""
    if not name or set(name) & set("/:"):
        raise ExportError(
            f"The name of a served model stands in its address, so it has no '/' and no ':'. "
            f"Received: {name!r}"
        )


def prediction_log(model: str, signature: str, inputs: Mapping[str, Any]) -> bytes:
    """Returns a serialized `PredictionLog` of one request, the same bytes for the same values."""
    request = _field(1, _field(1, model.encode()) + _field(3, signature.encode()))
    for name in sorted(inputs):
        tensor = tf.make_tensor_proto(inputs[name]).SerializeToString(deterministic=True)
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))


def _field(number: int, content: bytes) -> bytes:
    """Returns a field of a message: its number, marked as of bytes (2), their count, the bytes."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Returns a number in groups of 7 bits, the lowest first; all but the last have the top bit."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*groups, number))
