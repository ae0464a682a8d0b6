"""Export to TFLite, built-in operators only: one uint8 clip in, probabilities out."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_r3d.applications.metadata import JSON_FILE
from keras_r3d.export.formats import Source
from keras_r3d.export.tflite.folding import fold
from keras_r3d.export.tflite.lowering import lower
from keras_r3d.inference.models.runtimes import tflite_metadata
from keras_r3d.system import files, stderr
from keras_r3d.system.errors import ExportError

# int8: weights and activations. dynamic: weights only, int8; activations on the fly.
QUANTIZE = ("none", "float16", "dynamic", "int8")


def write(source: Source, path: Path, quantize: str) -> None:
    """Writes a `.tflite` file; the same arguments make the same bytes in another process.

    The input is one uint8 clip `(1, frames, height, width, channels)`, RGB or flow; the output
    float32 `(1, classes)`, whatever the numbers are inside. `model.json` and the class names, as
    `labels.txt`, are in the file.

    Args:
        quantize: one of `QUANTIZE`.

    Raises:
        ExportError: a layer that cannot be exported; no clips to calibrate on.
        WriteError: it cannot be written.
    """
    if quantize not in QUANTIZE:
        raise ExportError(f"--quantize must be one of {list(QUANTIZE)}. Received: {quantize}")
    model, calibration = source.network, None
    if quantize == "int8":
        calibration = _checked(source.calibration(), model.input_shape[1:])
    converter = _converter(model, skip_zeros=quantize in ("none", "float16"))
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        with stderr.dropped():  # how it goes on
            converted = (
                converter.convert() if calibration is None else _int8(converter, calibration)
            )
    except Exception as error:  # TensorFlow's own ConverterError is not public
        raise ExportError(f"TensorFlow Lite cannot convert {model.name}: {error}") from error
    texts = {
        tflite_metadata.LABELS: "".join(f"{name}\n" for name in source.classes),
        JSON_FILE: source.metadata.to_json(),
    }
    try:
        path.write_bytes(tflite_metadata.attach(converted, texts))
    except OSError as error:
        raise files.WriteError(files.explain(path, error)) from error


def _converter(model: keras.Model, skip_zeros: bool) -> tf.lite.TFLiteConverter:
    lowered = lower(fold(model), skip_zeros=skip_zeros)
    logits = getattr(model.layers[-1], "activation", None) is keras.activations.linear
    spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.uint8, name="clip")

    @tf.function(input_signature=[spec])
    def probabilities(clip):
        scores = lowered(tf.cast(clip, tf.float32), training=False)
        return tf.nn.softmax(scores) if logits else scores

    # Given the model, too, the converter would take a detour through a SavedModel, which crashes on
    # Keras 3 models; alone, the function is frozen first.
    function = probabilities.get_concrete_function()
    with stderr.dropped():  # that the model should be given, too
        return tf.lite.TFLiteConverter.from_concrete_functions([function])


def _int8(converter: tf.lite.TFLiteConverter, clips: Sequence[np.ndarray]) -> bytes:
    """Converts to int8, but for the softmax: 256 steps are few for the shares of 400 classes."""
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([clip[np.newaxis]] for clip in clips)
    # Its other purpose is of no interest here: the debugger is the way to keep operators in float.
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["SOFTMAX"]),
    )
    return debugger.get_nondebug_quantized_model()


def _checked(clips: Iterable[np.ndarray], shape: Sequence[int]) -> list[np.ndarray]:
    """Returns the clips, the first with a black and a white value: then each step of 0-255 is one.

    Raises:
        ExportError: there are none, or they are of another shape.
    """
    checked = list(clips)
    if not checked:
        raise ExportError("int8 needs clips to calibrate on, and there are none.")
    for clip in checked:
        if clip.shape != tuple(shape) or clip.dtype != np.uint8:
            raise ExportError(
                f"Clips to calibrate on must be uint8 {tuple(shape)} (frames, height, width, "
                f"channels). Received: {clip.dtype} {clip.shape}"
            )
    checked[0] = checked[0].copy()
    checked[0].flat[0], checked[0].flat[-1] = 0, 255
    return checked
