"""Loading and scoring with Keras."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_r3d.inference.models.runtimes.exported import Score, in_steps
from keras_r3d.system.devices import Devices
from keras_r3d.system.errors import ModelError


def load_network(path: Path) -> keras.Model:
    """Loads a `.keras` file; nothing in it is executed. Raises ModelError if it is damaged."""
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras, zipfile and h5py raise many kinds
        raise ModelError(
            f"{path} is damaged, or holds code, which is never executed: Keras cannot load it: "
            f"{error}"
        ) from error


def of_network(network: keras.Model, hardware: Devices, batch_size: int) -> Score:
    """Returns what scores clips with a Keras model that gives probabilities, or logits.

    The model was loaded under the strategy of `hardware`; `batch_size` is over all replicas.
    """
    logits = getattr(network.layers[-1], "activation", None) is keras.activations.linear

    @tf.function(reduce_retracing=True, jit_compile=hardware.jit_compile is not False)
    def forward(clips: tf.Tensor) -> tf.Tensor:
        scores = network(tf.cast(clips, tf.float32), training=False)
        return tf.nn.softmax(scores) if logits else scores

    replicas, strategy = hardware.replicas, hardware.strategy

    def step(clips: np.ndarray) -> np.ndarray:
        if replicas == 1:
            return forward(tf.constant(clips)).numpy()
        parts = np.split(clips, replicas)
        distributed = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )
        scores = strategy.experimental_local_results(strategy.run(forward, (distributed,)))
        return np.concatenate([part.numpy() for part in scores])

    return in_steps(step, batch_size, least=2 * replicas)
