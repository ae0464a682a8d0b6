"""A small SavedModel with the signatures of an export, and a session that runs it as a server does.

TensorFlow Serving feeds the tensors of a signature in a session of TensorFlow 1 and fetches those
of its outputs; so does `ServedModel`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

CLASSES = ["blue", "dark", "green", "gray", "red", "ü – white"]
FRAMES, SIZE = 4, 16
_WEIGHTS = np.random.default_rng(1).normal(0, 0.05, (3, len(CLASSES))).astype(np.float32)


def probabilities(clips: np.ndarray) -> np.ndarray:
    """Scores clips `(n, frames, height, width, 3)`, float32 `(n, classes)`, as the model does."""
    logits = clips.astype(np.float32).mean(axis=(1, 2, 3)) @ _WEIGHTS
    return tf.nn.softmax(logits).numpy()


class _Toy(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, FRAMES, None, None, 3), tf.uint8, "clip")])
    def clip(self, clip):
        return self._named(tf.reduce_mean(tf.cast(clip, tf.float32), (1, 2, 3)))

    @tf.function(input_signature=[tf.TensorSpec((None, FRAMES), tf.string, "jpegs")])
    def jpeg(self, jpegs):
        def decoded(jpeg):
            return tf.reduce_mean(tf.cast(tf.io.decode_jpeg(jpeg, 3), tf.float32), (0, 1))

        means = tf.map_fn(decoded, tf.reshape(jpegs, (-1,)), fn_output_signature=tf.float32)
        return self._named(tf.reduce_mean(tf.reshape(means, (-1, FRAMES, 3)), 1))

    @tf.function(input_signature=[tf.TensorSpec((None, FRAMES, None, None, 3), tf.uint8, "clip")])
    def features(self, clip):
        return {"features": tf.reduce_mean(tf.cast(clip, tf.float32), (1, 2, 3))}

    def _named(self, means):
        scores = tf.nn.softmax(means @ _WEIGHTS)
        best, numbers = tf.math.top_k(scores, 5)
        labels = tf.gather(tf.constant(CLASSES), numbers)
        return {"probabilities": scores, "labels": labels, "scores": best}


def write_model(path: Path, names: Sequence[str] = ("clip", "jpeg", "features")) -> Path:
    """Writes the SavedModel, with some of its signatures."""
    toy = _Toy()
    called = {"serving_default" if name == "clip" else name: getattr(toy, name) for name in names}
    tf.saved_model.save(toy, str(path), signatures=called)
    return path


class ServedModel:
    """A SavedModel in a session.

    Attributes:
        signatures: `SignatureDef` protos by name.
    """

    def __init__(self, path: Path):
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], str(path))
        self.signatures = loaded.signature_def

    def run(
        self, name: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            outputs: names of some; none are all.

        Raises:
            tf.errors.OpError: as the server answers it.
        """
        if name not in self.signatures:
            raise tf.errors.InvalidArgumentError(
                None, None, f'Serving signature name: "{name}" not found in signature def'
            )
        signature = self.signatures[name]
        if set(inputs) != set(signature.inputs):
            message = f"input size does not match signature: {sorted(inputs)}"
            raise tf.errors.InvalidArgumentError(None, None, message)
        fed = {signature.inputs[key].name: value for key, value in inputs.items()}
        fetched = {key: signature.outputs[key].name for key in outputs or signature.outputs}
        try:
            return self._session.run(fetched, fed)
        except (ValueError, TypeError) as error:  # Python checks what C++ leaves to the graph
            raise tf.errors.InvalidArgumentError(None, None, str(error)) from error
