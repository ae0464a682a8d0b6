"""Export to TFLite, float32, built-in operators only: uint8 clip in, probabilities out.

TFLite has a 3D convolution but no 3D pooling. So each pooling layer is replaced by operators it
has: the largest of a pooling window is the largest over time of the largest over space, and a
pooling window of one value is a strided slice.
"""

from pathlib import Path

import keras
import tensorflow as tf
from keras import layers, ops

from .source import ExportError


class _SplitMaxPooling(layers.Layer):
    """Max-pooling over space (on frames), then over time (on strided slices)."""

    def __init__(self, pool_size: tuple[int, ...], strides: tuple[int, ...], name: str):
        super().__init__(name=name)
        self.pool_size, self.strides = pool_size, strides

    def call(self, x):
        frames, height, width, channels = x.shape[1:]
        x = ops.reshape(x, (-1, height, width, channels))
        x = ops.max_pool(x, self.pool_size[1:], self.strides[1:])
        x = ops.reshape(x, (-1, frames, *x.shape[1:]))
        size, stride = self.pool_size[0], self.strides[0]
        count = (frames - size) // stride + 1
        taps = [x[:, tap : tap + (count - 1) * stride + 1 : stride] for tap in range(size)]
        largest = taps[0]
        for tap in taps[1:]:
            largest = ops.maximum(largest, tap)
        return largest


class _Subsampling(layers.Layer):
    """Every `strides`-th value: pooling with a window of one."""

    def __init__(self, strides: tuple[int, ...], name: str):
        super().__init__(name=name)
        self.strides = strides

    def call(self, x):
        t, h, w = self.strides
        return x[:, ::t, ::h, ::w]


def without_pooling(model: keras.Model) -> keras.Model:
    """Returns the same network with its 3D pooling layers replaced.

    Raises:
        ExportError: a pooling layer this does not know.
    """

    def replace(layer: layers.Layer) -> layers.Layer:
        if isinstance(layer, layers.MaxPooling3D) and layer.padding == "valid":
            return _SplitMaxPooling(layer.pool_size, layer.strides, layer.name)
        if isinstance(layer, layers.AveragePooling3D) and set(layer.pool_size) == {1}:
            return _Subsampling(layer.strides, layer.name)
        if isinstance(layer, layers.MaxPooling3D | layers.AveragePooling3D):
            raise ExportError(
                f"TFLite export cannot replace the layer {layer.name} ({type(layer).__name__}, "
                f"pool_size={layer.pool_size}, padding='{layer.padding}'), and TFLite has no 3D "
                "pooling. `--format saved_model` exports this model."
            )
        return layer.__class__.from_config(layer.get_config())

    lowered = keras.models.clone_model(model, clone_function=replace)
    lowered.set_weights(model.get_weights())
    return lowered


def destination(path: Path) -> Path:
    """Returns `path`.

    Raises:
        ExportError: it is no `.tflite`, or it or the file of its class names exists.
    """
    if path.suffix != ".tflite":
        raise ExportError(f"--output must end in .tflite. Received: {path}")
    for taken in (path, names_file(path)):
        if taken.exists():
            raise ExportError(f"{taken} exists and is left as it is: pass another --output.")
    return path


def names_file(path: Path) -> Path:
    """Returns where the class names of the export at `path` stand: `NAME.classes.txt` beside it."""
    return path.with_suffix(".classes.txt")


def write(model: keras.Model, path: Path) -> None:
    """Writes a `.tflite` file.

    The input is one uint8 clip `(1, frames, height, width, 3)`, RGB; the output float32
    `(1, classes)`.
    """
    lowered = without_pooling(model)
    spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.uint8, name="clip")
    function = tf.function(
        lambda clip: lowered(tf.cast(clip, tf.float32), training=False), input_signature=[spec]
    )
    # Given the model, too, the converter would take a detour through a SavedModel, which crashes on
    # Keras 3 models; alone, the function is frozen first.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    path.write_bytes(converter.convert())
