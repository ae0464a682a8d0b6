"""What a served model takes and gives, as the server describes it."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from keras_r3d.system.errors import ServingError

INPUTS = {"serving_default": "clip", "jpeg": "jpegs"}  # of the signatures that score clips
PROBABILITIES = "probabilities"

Shape = tuple[int | None, ...]  # None is any size


@dataclasses.dataclass(frozen=True)
class Signature:
    """One way of asking a model: shapes of its inputs and outputs, by name."""

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]


@dataclasses.dataclass(frozen=True)
class Description:
    """What a server tells of a model: the version that answers, and its signatures by name."""

    version: int
    signatures: Mapping[str, Signature]


def read_signatures(protos: Mapping[str, Any]) -> dict[str, Signature]:
    """Reads `SignatureDef` protos; TensorFlow's own, for starting a model, are left out."""

    def shapes(tensors: Mapping[str, Any]) -> dict[str, Shape]:
        return {
            name: tuple(d.size if d.size >= 0 else None for d in tensors[name].tensor_shape.dim)
            for name in sorted(tensors)
        }

    return {
        name: Signature(shapes(protos[name].inputs), shapes(protos[name].outputs))
        for name in sorted(protos)
        if not name.startswith("__")
    }


def check(
    description: Description, name: str, shape: tuple[int, int, int, int], classes: int, model: str
) -> None:
    """Raises ServingError if a signature does not take clips of a shape, or has other classes.

    Args:
        name: a key of `INPUTS`.
        shape: `(frames, height, width, channels)`.
        model: its name, for messages.
    """
    signature = description.signatures.get(name)
    if signature is None:
        raise ServingError(
            f"{model} has no signature '{name}'. Its signatures: {_listed(description.signatures)}."
        )
    clip, outputs = INPUTS[name], signature.outputs
    if set(signature.inputs) != {clip} or PROBABILITIES not in outputs:
        raise ServingError(
            f"{model}: the signature '{name}' must take '{clip}' and give '{PROBABILITIES}', as "
            f"`python -m keras_r3d.export` writes it. Received: {_listed(signature.inputs)} -> "
            f"{_listed(outputs)}."
        )
    expected, sent = signature.inputs[clip], (None, *shape)[: 5 if name == "serving_default" else 2]
    if len(expected) != len(sent) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(expected, sent, strict=True)
    ):
        raise ServingError(
            f"{model} takes '{clip}' of {_sizes(expected)} (batch, frames, …), and its recipe here "
            f"cuts {_sizes(sent)}: name the run it was exported from."
        )
    if outputs[PROBABILITIES][-1:] not in ((), (None,), (classes,)):
        raise ServingError(
            f"{model} gives {outputs[PROBABILITIES][-1]} scores, and {classes} classes are named: "
            "name the run it was exported from."
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _sizes(shape: Shape) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"
