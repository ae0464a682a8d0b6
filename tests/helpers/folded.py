"""Networks whose batch norms were moved, and their outputs."""

import keras
import numpy as np
from keras import layers


def moved(model: keras.Model) -> keras.Model:
    """Moves all weights away from their start, where mistakes with batch norms would not show."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        elif getattr(layer, "use_bias", False):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.uniform(-0.5, 0.5, bias.shape)])
    return model


def output(model: keras.Model, clips: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(clips, training=False))
