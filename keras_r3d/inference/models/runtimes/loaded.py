"""An exported model, ready to score."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_r3d.inference.models.manifest import Manifest
from keras_r3d.inference.models.runtimes.steps import Score, in_steps
from keras_r3d.system.errors import ModelError


@dataclasses.dataclass(frozen=True)
class Export:
    """A model that was exported from Keras.

    Attributes:
        step: scores uint8 clips `(n, frames, size, size, channels)`; not all numbers of them alike.
        least: fewest clips whose scores do not depend on how many there are.
        most: most clips it takes at once; None is any number.
        shape: of a clip, `(frames, height, width, channels)`; None where any will do.
        classes: how many scores a clip gets; None where it is not said.
        manifest: what it says of itself; None of a model that says nothing.
        signatures: by name, its "inputs" and "outputs": name -> "dtype" and "shape" (None: any).
    """

    step: Score
    least: int
    most: int | None
    shape: tuple[int | None, ...]
    classes: int | None
    manifest: Manifest | None
    signatures: Mapping[str, Any]

    def score(self, batch_size: int) -> Score:
        """Returns what scores any number of clips, in steps of at most so many."""
        return in_steps(self.step, min(batch_size, self.most or batch_size), self.least)


def check(path: Path, given: Mapping[str, Any] | None, asked: Mapping[str, Any] | None) -> None:
    """Checks what a model takes and gives.

    Args:
        given: "dtype" and "shape" (None: of any rank) of its input; None if it is not there.
        asked: of its output, likewise.

    Raises:
        ModelError: it is something else than uint8 clips and float32 probabilities.
    """
    for one, dtype, axes in ((given, "uint8", 5), (asked, "float32", 2)):
        if one is None or one["dtype"] != dtype or len(one["shape"] or ()) != axes:
            raise ModelError(
                f"{path} must take uint8 clips (batch, frames, height, width, channels) and give "
                "float32 probabilities (batch, classes), as `python -m keras_r3d.export` writes "
                f"it. Received: {_said(given)} -> {_said(asked)}"
            )


def _said(one: Mapping[str, Any] | None) -> str:
    return "nothing so named" if one is None else f"{one['dtype']} {one['shape']}"
