"""What a served model takes and gives, as the server describes it."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from keras_r3d.system.errors import ServingError

INPUTS = {"serving_default": "clip", "jpeg": "jpegs"}  # of the signatures that score clips
PROBABILITIES = "probabilities"

Shape = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Signature:
    """One way of asking a model.

    Attributes:
        inputs, outputs: shapes by name; None in a shape is any size.
    """

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]


@dataclasses.dataclass(frozen=True)
class Described:
    """What a server says of a model.

    Attributes:
        version: that answers.
        signatures: by name.
    """

    version: int
    signatures: Mapping[str, Signature]


def of_protos(protos: Mapping[str, Any]) -> dict[str, Signature]:
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
    described: Described, name: str, shape: tuple[int, int, int, int], classes: int, model: str
) -> None:
    """Raises ServingError if a signature does not take clips of this shape, or has other classes.

    Args:
        name: a key of `INPUTS`.
        shape: `(frames, height, width, channels)`.
        classes: number of them.
        model: its name, for messages.
    """
    found = described.signatures.get(name)
    if found is None:
        raise ServingError(
            f"{model} has no signature '{name}'. Its signatures: {_listed(described.signatures)}."
        )
    given, outputs = INPUTS[name], found.outputs
    if set(found.inputs) != {given} or PROBABILITIES not in outputs:
        raise ServingError(
            f"{model}: the signature '{name}' must take '{given}' and give '{PROBABILITIES}', as "
            f"`python -m keras_r3d.export` writes it. Received: {_listed(found.inputs)} -> "
            f"{_listed(outputs)}."
        )
    taken, sent = found.inputs[given], (None, *shape)[: 5 if name == "serving_default" else 2]
    fits = len(taken) == len(sent) and all(
        None in pair or pair[0] == pair[1] for pair in zip(taken, sent, strict=True)
    )
    if not fits:
        raise ServingError(
            f"{model} takes '{given}' of {_sizes(taken)} (batch, frames, …), and its recipe here "
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
