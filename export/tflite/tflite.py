"""Export to TFLite, built-in operators only: one uint8 clip in, probabilities out."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_r3d.applications.embedding import NONE
from keras_r3d.applications.metadata import JSON_FILE
from keras_r3d.export.formats import Source
from keras_r3d.export.tflite.folding import fold
from keras_r3d.export.tflite.lowering import lower
from keras_r3d.inference.models.runtimes import stderr
from keras_r3d.inference.models.runtimes.loaders import INPUT, OUTPUT, probabilities_of
from keras_r3d.inference.models.runtimes.tflite import LABELS, attach_texts
from keras_r3d.system.errors import ExportError


def write(source: Source, path: Path, quantize: str) -> None:
    """Writes a `.tflite` file; the same arguments make the same bytes in another process.

    Its signature `serving_default` takes `clip`, one uint8 clip `(1, frames, height, width,
    channels)`, RGB or flow, and gives `probabilities`, float32 `(1, classes)`, whatever the numbers
    are inside. `model.json` and the class names, as `labels.txt`, are in the file.

    `quantize` is "none"; "float16"; "dynamic", int8 weights alone, activations on the fly; or
    "int8", weights and activations.
    """
    model = source.network
    clips = list(source.calibration()) if quantize == "int8" else []
    # Held here until it is converted: the converter knows its variables by weak references.
    lowered = lower(fold(model), skip_zeros=quantize in ("none", "float16"))
    converter = _converter(lowered, probabilities_of(model))
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        with stderr.dropped():  # how it goes on
            dense = sum(isinstance(layer, keras.layers.Dense) for layer in lowered.layers)
            in_float = ["SOFTMAX", "LOGISTIC", *(["FULLY_CONNECTED"] if dense == 1 else [])]
            vectors = []
            if clips and NONE in source.classes:  # distances have no largest value to calibrate
                vectors = _vectors(_converter(lowered, probabilities_of(model)))
            converted = _int8(converter, clips, in_float, vectors) if clips else converter.convert()
    except Exception as error:  # TensorFlow's own ConverterError is not public
        raise ExportError(f"TensorFlow Lite cannot convert {model.name}: {error}") from error
    texts = {
        LABELS: "".join(f"{name}\n" for name in source.classes),
        JSON_FILE: source.metadata.to_json(),
    }
    path.write_bytes(attach_texts(converted, texts))


def _converter(
    lowered: keras.Model, to_probabilities: Callable[[tf.Tensor], tf.Tensor]
) -> tf.lite.TFLiteConverter:
    spec = tf.TensorSpec(lowered.input_shape, tf.uint8, name=INPUT)

    @tf.function(input_signature=[spec], autograph=False)
    def probabilities(clip):
        return {OUTPUT: to_probabilities(lowered(tf.cast(clip, tf.float32), training=False))}

    # The converter names inputs and outputs of what it can save as a SavedModel: Keras 3 models
    # crash it, the variables alone do not.
    module = tf.Module()
    module.weights = [variable.value for variable in lowered.weights]
    function = probabilities.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([function], module)


def _vectors(converter: tf.lite.TFLiteConverter) -> list[str]:
    """Returns the names of all tensors in float32 that are no images."""
    tensors = tf.lite.Interpreter(model_content=converter.convert()).get_tensor_details()
    return [tensor["name"] for tensor in tensors if len(tensor["shape"]) < 4]


def _int8(
    converter: tf.lite.TFLiteConverter,
    clips: Sequence[np.ndarray],
    in_float: list[str],
    nodes_in_float: list[str],
) -> bytes:
    """Converts to int8, but for some operators: 256 steps are few for the shares of 400 classes.

    And logits would be cut to the largest of the calibration, where no clip may be as clear.

    The first clip gets a black and a white value: then each step of 0-255 is one of int8.
    """
    first, *others = clips
    first = first.copy()
    first.flat[0], first.flat[-1] = 0, 255
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([clip[np.newaxis]] for clip in (first, *others))
    # Its other purpose is of no interest here: the debugger is the way to keep operators in float.
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=in_float, denylisted_nodes=nodes_in_float
        ),
    )
    return debugger.get_nondebug_quantized_model()
