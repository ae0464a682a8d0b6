"""On which devices a model runs, and whether XLA compiles it there."""

import dataclasses
import os

import tensorflow as tf

from keras_r3d.errors import R3DError


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a run.

    Attributes:
        strategy: mirrors the model over all visible GPUs; the default strategy without one.
        jit_compile: for `model.compile`. On CPU off, XLA's Conv3D being slow there
            (docs/performance.md); on GPU "auto", Keras's own choice.
    """

    strategy: tf.distribute.Strategy
    jit_compile: bool | str
    description: str

    def check_batch(self, key: str, batch_size: int) -> None:
        """Raises R3DError if a batch cannot be shared out evenly."""
        replicas = self.strategy.num_replicas_in_sync
        if batch_size % replicas:
            raise R3DError(
                f"Recipe key '{key}' must be divisible by the {replicas} replicas. "
                f"Received: {batch_size}"
            )


def visible() -> Devices:
    """Takes all GPUs that TensorFlow sees, or the CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return Devices(tf.distribute.get_strategy(), False, f"CPU, {os.cpu_count()} cores, XLA off")
    strategy = tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
    return Devices(strategy, "auto", f"{len(gpus)} GPUs, XLA where Keras supports it")
