"""Loading what a model was saved as: Keras file, SavedModel, TFLite file.

All of them score the same: uint8 clips `(n, frames, size, size, channels)` in, probabilities
`(n, classes)` out, float32. On CPU the scores of a clip are the same to the bit whatever other
clips are scored with it.
"""

import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_r3d.devices import Devices
from keras_r3d.errors import R3DError

Score = Callable[[np.ndarray], np.ndarray]

KERAS, SAVED_MODEL, TFLITE = "Keras", "SavedModel", "TFLite"
_CLASSES = "classes.txt"


class ModelError(R3DError):
    """A model that cannot be loaded, or is of no use here."""


def kind(path: Path) -> str:
    """Returns which kind of model a path is, one of `KERAS`, `SAVED_MODEL`, `TFLITE`.

    Raises:
        ModelError: none of them, or not there.
    """
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return SAVED_MODEL
        raise ModelError(
            f"{path} is a folder without saved_model.pb. Expected: a .keras file, a .tflite file, "
            "or the folder of a SavedModel with its version, such as NAME/1."
        )
    if not path.is_file():
        raise ModelError(f"{path}: there is no such model.")
    if path.suffix in (".keras", ".tflite"):
        return KERAS if path.suffix == ".keras" else TFLITE
    raise ModelError(
        f"{path} must be a .keras file, a .tflite file or the folder of a SavedModel. PyTorch "
        "checkpoints: `python -m keras_r3d.convert` makes a .keras file of them."
    )


def load_network(path: Path) -> keras.Model:
    """Loads a `.keras` file; nothing in it is executed.

    Raises:
        ModelError: it is damaged.
    """
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, zipfile and h5py raise many kinds
        raise ModelError(f"{path} is damaged, Keras cannot load it: {error}") from error


def of_network(network: keras.Model, hardware: Devices, batch_size: int) -> Score:
    """Returns the scores of a Keras model that gives probabilities, or logits.

    Args:
        hardware: its strategy is that under which the model was loaded.
        batch_size: clips in a step, over all replicas.
    """
    jit_compile = hardware.jit_compile is not False
    logits = _gives_logits(network)

    @tf.function(reduce_retracing=True, jit_compile=jit_compile)
    def forward(clips: tf.Tensor) -> tf.Tensor:
        scores = network(tf.cast(clips, tf.float32), training=False)
        return tf.nn.softmax(scores) if logits else scores

    replicas, strategy = hardware.replicas, hardware.strategy

    def step(clips: np.ndarray) -> np.ndarray:
        if replicas == 1:
            return forward(tf.constant(clips)).numpy()
        parts = np.split(clips, replicas)
        given = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )
        of_replicas = strategy.experimental_local_results(strategy.run(forward, (given,)))
        return np.concatenate([scores.numpy() for scores in of_replicas])

    return in_steps(step, batch_size, least=2 * replicas)


def load_export(path: Path, batch_size: int) -> tuple[Score, tuple[int | None, ...]]:
    """Loads a SavedModel or a `.tflite` file.

    Args:
        batch_size: clips in a step, of a SavedModel.

    Returns:
        Its scores, and the shape of its clips: `(frames, height, width, channels)`.

    Raises:
        ModelError: it is damaged, or does not take clips.
    """
    return _saved_model(path, batch_size) if kind(path) == SAVED_MODEL else _tflite(path)


def _saved_model(path: Path, batch_size: int) -> tuple[Score, tuple[int | None, ...]]:
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ModelError(f"{path}: TensorFlow cannot load it: {error}") from error
    signature = loaded.signatures.get("serving_default")
    given = signature.structured_input_signature[1] if signature is not None else {}
    if "clip" not in given or "probabilities" not in signature.structured_outputs:
        raise ModelError(
            f"{path} must have a signature 'serving_default' that takes 'clip' and gives "
            f"'probabilities', as `python -m keras_r3d.export` writes it. Received: {given}"
        )

    def step(clips: np.ndarray) -> np.ndarray:
        # `loaded` is named here to be kept: it owns the variables.
        assert loaded is not None
        return signature(clip=tf.constant(clips))["probabilities"].numpy()

    return in_steps(step, batch_size, least=2), tuple(given["clip"].shape[1:])


def _tflite(path: Path) -> tuple[Score, tuple[int, ...]]:
    try:
        interpreter = tf.lite.Interpreter(str(path), num_threads=len(os.sched_getaffinity(0)))
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: TensorFlow Lite cannot load it: {error}") from error
    given, asked = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    shape = tuple(int(size) for size in given["shape"][1:])
    if given["dtype"] != np.uint8 or len(shape) != 4:
        raise ModelError(
            f"{path} must take uint8 clips (1, frames, height, width, channels), as `python -m "
            f"keras_r3d.export` writes it. Received: {given['dtype'].__name__} {(1, *shape)}"
        )

    def step(clips: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], clips)
        interpreter.invoke()
        return interpreter.get_tensor(asked["index"])

    return in_steps(step, 1, least=1), shape  # the file is made for one clip at a time


def class_names(path: Path) -> list[str] | None:
    """Returns the class names that lie with an exported model; None if there are none."""
    for names in (path / "assets.extra" / _CLASSES, path.with_suffix(f".{_CLASSES}")):
        if names.is_file():
            return names.read_text(encoding="utf-8").splitlines()
    return None


def in_steps(step: Score, batch_size: int, least: int) -> Score:
    """Scores any number of clips in steps of few different sizes, so that few are compiled.

    The last step is filled up with its last clip, to the next power of two times `least`. (Of one
    clip alone a matrix product is another one, with other rounding: so `least` is 2 or more.)
    """
    batch_size = least * max(1, batch_size // least)

    def score(clips: np.ndarray) -> np.ndarray:
        scores = []
        for start in range(0, len(clips), batch_size):
            part = clips[start : start + batch_size]
            count = least
            while count < len(part):
                count *= 2
            filled = np.minimum(np.arange(min(count, batch_size)), len(part) - 1)
            scores.append(step(part if len(filled) == len(part) else part[filled])[: len(part)])
        return np.concatenate(scores)

    return score


def _gives_logits(network: keras.Model) -> bool:
    """Whether the last layer of a network is linear."""
    layer = network.layers[-1]
    return getattr(layer, "activation", None) is keras.activations.linear
