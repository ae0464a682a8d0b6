"""Networks in half the bytes: weights and computation in bfloat16 or float16."""

import keras
from keras import layers

PRECISIONS = ("float32", "bfloat16", "float16")

# What gives sums over the whole clip, or numbers that others read.
_EXACT = (layers.GlobalAveragePooling3D, layers.GlobalMaxPooling3D, layers.Softmax)
# TensorFlow has no kernel for float16 of these on CPU.
_POOLING = (layers.MaxPooling3D, layers.AveragePooling3D)
_WITH_KERNEL = (layers.Conv3D, layers.Dense)


def lowered(model: keras.Model, precision: str) -> keras.Model:
    """Returns the network with weights and computation in another precision.

    Float32 stay: what comes before the first convolution (a mean has more digits than bfloat16),
    the average over the last feature map, and the classifier with its softmax.

    Args:
        model: functional, float32; is left as it is.
        precision: one of `PRECISIONS`.
    """
    if precision == "float32":
        return model
    order = {layer.name: number for number, layer in enumerate(model.layers)}
    kernels = [n for n, layer in enumerate(model.layers) if isinstance(layer, _WITH_KERNEL)]

    def exact(layer: layers.Layer) -> bool:
        if isinstance(layer, _EXACT) or (precision == "float16" and isinstance(layer, _POOLING)):
            return True
        number = order[layer.name]
        classifier = isinstance(model.layers[kernels[-1]], layers.Dense)
        return number < kernels[0] or (classifier and number >= kernels[-1])

    def clone(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        config["dtype"] = "float32" if exact(layer) else precision
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy
