"""Class names: where they are read from, and naming the classes that a network finds."""

import importlib.resources
import json
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

import keras
import numpy as np

from keras_r3d.applications.metadata import read_metadata

# Lists of names in the order of a network's outputs. Kinetics-400's is alphabetical. The order
# behind the Kinetics-700 weights of 2020 is not, and could not be verified, so it is not here.
LISTS = ("kinetics400",)


def read_labels(source: str | os.PathLike[str] | Sequence[str]) -> tuple[str, ...]:
    """Reads class names, in the order of a network's outputs; ValueError if there are none.

    They are names; or "kinetics400"; or a file: text with a name a line, or JSON: a list, a
    dictionary of names and numbers, or the authors' annotations with "labels" in them.
    """
    if isinstance(source, str) and source in LISTS:
        folder = importlib.resources.files("keras_r3d.applications.weights")
        return tuple((folder / f"{source}.txt").read_text("utf-8").splitlines())
    if isinstance(source, (str, os.PathLike)):
        source = _read_file(Path(source))
    ordered = isinstance(source, Iterable) and not isinstance(source, (Mapping, Set))
    names = list(source) if ordered else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(
            "`labels` must be a list of class names in the order of the outputs, one of "
            f"{list(LISTS)}, or a file of names. Received: labels={str(source)[:200]}"
        )
    return tuple(str(name) for name in names)


def _read_file(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix != ".json":
            return [line.strip() for line in text.splitlines() if line.strip()]
        names = json.loads(text)
    except FileNotFoundError:
        raise ValueError(
            f"`labels`: there is no file {path}, and it is none of {list(LISTS)}."
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"`labels`: {path} cannot be read: {error}") from error
    if isinstance(names, dict):
        names = names.get("labels", names)
    if isinstance(names, dict):
        by_number = {number: name for name, number in names.items() if isinstance(number, int)}
        if sorted(by_number) != list(range(len(names))):
            raise ValueError(f"`labels`: the numbers in {path} are not 0 to {len(names) - 1}.")
        names = [by_number[number] for number in range(len(names))]
    return names if isinstance(names, list) else []


def decode_predictions(
    predictions,
    top: int = 5,
    *,
    model: keras.Model | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
) -> list[list[tuple[int, str, float]]]:
    """Names the most likely classes of each clip.

    Args:
        predictions: `(batch, classes)`, scores or logits.
        top: how many classes; all, if there are fewer.
        model: the network, which knows its class names.
        labels: class names instead: a list, a file of them, or "kinetics400".

    Returns:
        For each clip `(number of the class, name, score)`, the best first.

    Raises:
        ValueError: the names are not known, or are not as many as there are classes.
    """
    scores = np.asarray(keras.ops.convert_to_numpy(predictions)).astype(np.float64)
    if scores.ndim != 2:
        raise ValueError(
            f"`predictions` must be (batch, classes). Received: shape {tuple(scores.shape)}"
        )
    if isinstance(top, bool) or not isinstance(top, numbers.Integral) or top < 1:
        raise ValueError(f"`top` must be an int of at least 1. Received: top={top}")
    about = read_metadata(model) if model is not None else None
    if labels is not None:
        names = read_labels(labels)
    elif about is not None and about.labels is not None:
        names = about.labels
    else:
        subject = (
            f"The model {model.name} does not say" if model else "Neither model nor labels say"
        )
        raise ValueError(
            f"{subject} what the classes are called, and in which order is not guessed: pass "
            "`labels` (a list, a file of names, or 'kinetics400')."
        )
    if len(names) != scores.shape[1]:
        raise ValueError(f"There are {len(names)} class names, but {scores.shape[1]} classes.")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [(int(i), names[i], float(row[i])) for i in order]
        for row, order in zip(scores, best, strict=True)
    ]
