"""An exported model, ready to score any number of clips."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.applications import Metadata
from keras_r3d.system.errors import ModelError

INPUT, OUTPUT = "clip", "probabilities"

# uint8 clips `(n, frames, size, size, channels)` -> probabilities, float32 `(n, classes)`.
Score = Callable[[np.ndarray], np.ndarray]
# Name of a tensor -> its "dtype" and "shape", in which None is any size.
Tensors = Mapping[str, Mapping[str, Any]]


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


@dataclasses.dataclass(frozen=True)
class Export:
    """A model that was exported from Keras.

    Attributes:
        step: scores uint8 clips `(n, frames, size, size, channels)`; not every `n` alike.
        shape: of a clip, `(frames, height, width, channels)`; None where any will do.
        classes: how many scores a clip gets; None where the model does not say.
        metadata: what the model says of itself; None if nothing.
        signatures: name -> its "inputs" and "outputs", `Tensors`.
        one_at_a_time: whether `step` takes a single clip, rather than any number.
    """

    step: Score
    shape: tuple[int | None, ...]
    classes: int | None
    metadata: Metadata | None
    signatures: Mapping[str, Mapping[str, Tensors]]
    one_at_a_time: bool = False

    def score(self, batch_size: int) -> Score:
        """Returns what scores any number of clips, in steps of at most `batch_size`."""
        return in_steps(self.step, *((1, 1) if self.one_at_a_time else (batch_size, 2)))


def checked(
    path: Path,
    step: Score,
    signatures: Mapping[str, Mapping[str, Tensors]],
    metadata_text: str | None,
    *,
    signature: str = "",
    names: tuple[str, str] = (INPUT, OUTPUT),
    one_at_a_time: bool = False,
) -> Export:
    """Returns a loaded model, if it is one that scores clips.

    Args:
        metadata_text: `model.json`; None if the model has none.
        signature: the one that `step` computes.
        names: of its input and its output.

    Raises:
        ModelError: it takes something else than uint8 clips, or gives something else than float32
            probabilities; or what it says of itself cannot be read.
    """
    clip = signatures[signature]["inputs"].get(names[0], {})
    scores = signatures[signature]["outputs"].get(names[1], {})
    received = [
        f"{tensor['dtype']} {tensor['shape']}" if tensor else "nothing so named"
        for tensor in (clip, scores)
    ]
    axes = [len(tensor.get("shape") or ()) for tensor in (clip, scores)]
    if axes != [5, 2] or (clip["dtype"], scores["dtype"]) != ("uint8", "float32"):
        raise ModelError(
            f"{path} must take uint8 clips (batch, frames, height, width, channels) and give "
            "float32 probabilities (batch, classes), as `python -m keras_r3d.export` writes "
            f"it. Received: {' -> '.join(received)}"
        )
    shape, classes, metadata = tuple(clip["shape"][1:]), scores["shape"][-1], None
    if metadata_text is not None:
        metadata = Metadata.from_json(metadata_text, str(path))
    return Export(step, shape, classes, metadata, signatures, one_at_a_time)
