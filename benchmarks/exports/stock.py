"""TensorFlow Lite's own conversion of a network, which ours must beat."""

from pathlib import Path

import keras
import tensorflow as tf


def write(network: keras.Model, path: Path, *, quantized: bool) -> None:
    """Writes a `.tflite` file that takes one uint8 clip.

    Operators that TensorFlow Lite lacks are those of TensorFlow ("Flex").

    Args:
        quantized: by "dynamic range quantization".
    """
    spec = tf.TensorSpec((1, *network.input_shape[1:]), tf.uint8, name="clip")
    function = tf.function(
        lambda clip: network(tf.cast(clip, tf.float32), training=False), input_signature=[spec]
    )
    # Not given the network, too: TensorFlow 2.16 fails on those of Keras 3.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path.write_bytes(converter.convert())
