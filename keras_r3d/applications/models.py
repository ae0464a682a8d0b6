"""Finding a network by its name, and reading what it says."""

import functools
import numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_r3d.applications import metadata
from keras_r3d.applications.c3d import C3D
from keras_r3d.applications.r3d import (
    R3D10,
    R3D18,
    R3D34,
    R3D50,
    R3D101,
    R3D152,
    R3D200,
    mc3_18,
    r2plus1d_18,
    r3d_18,
)
from keras_r3d.applications.weights import conventions, pretrained

_BUILDERS = {
    builder.__name__.lower(): builder
    for builder in (
        *(R3D10, R3D18, R3D34, R3D50, R3D101, R3D152, R3D200),
        *(C3D, r3d_18, mc3_18, r2plus1d_18),
    )
}
_BUILDERS["c3d_bn"] = functools.partial(C3D, with_batch_norm=True, name="c3d_bn")


def list_models() -> list[str]:
    """Lists the names that `get_model` takes."""
    return list(_BUILDERS)


def list_weights(name: str) -> list[str]:
    """Lists the names of public weights that a network's `weights` takes.

    Raises:
        ValueError: there is no such network.
    """
    return pretrained.names(_known(name))


def get_model(name: str, /, **arguments: Any) -> keras.Model:
    """Builds a network by its name; capitals do not matter.

    Args:
        name: one of `list_models()`. "r3d18" is the paper's, "r3d_18" torchvision's.
        **arguments: of its builder.

    Raises:
        ValueError: there is no such network, or an argument is wrong.
    """
    return _BUILDERS[_known(name)](**arguments)


def _known(name: str) -> str:
    if str(name).lower() not in _BUILDERS:
        raise ValueError(f"`name` must be one of {list_models()}. Received: name={name}")
    return str(name).lower()


def preprocess_input(clips, model: keras.Model | None = None):
    """Normalises clips for a model that does not do so itself.

    Args:
        clips: `(…, channels)`, RGB, 0-255, uint8 or float.
        model: the network, as it was built or loaded. None stands for one that normalises inside,
            as all do unless they were built with `include_preprocessing=False`.

    Returns:
        The clips as they came if the model normalises inside; else (clips - mean) / std, float32.

    Raises:
        ValueError: the model does not say how its input is normalised.
    """
    if model is None:
        return clips
    about = metadata.read(model)
    if about is None:
        raise ValueError(
            f"The model {model.name} does not say how its input is normalised: keras_r3d did not "
            "build it."
        )
    if about.normalises:
        return clips
    clips = keras.ops.cast(clips, "float32")
    return (clips - np.array(about.mean, np.float32)) / np.array(about.std, np.float32)


def decode_predictions(
    predictions,
    top: int = 5,
    *,
    model: keras.Model | None = None,
    labels: str | Path | Sequence[str] | None = None,
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
    names = class_names(model, labels)
    if len(names) != scores.shape[1]:
        raise ValueError(f"There are {len(names)} class names, but {scores.shape[1]} classes.")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [(int(i), names[i], float(row[i])) for i in order]
        for row, order in zip(scores, best, strict=True)
    ]


def class_names(
    model: keras.Model | None, labels: str | Path | Sequence[str] | None = None
) -> tuple[str, ...]:
    """Returns the class names of a model, or those given.

    Raises:
        ValueError: neither says any.
    """
    if labels is not None:
        return conventions.labels(labels)
    about = metadata.read(model) if model is not None else None
    if about is not None and about.labels is not None:
        return about.labels
    whose = (
        f"The model {model.name}" if model is not None else "No model or labels were given, so it"
    )
    raise ValueError(
        f"{whose} does not say what its classes are called, and in which order is not guessed: "
        "give `labels` (a list, a file of names, or 'kinetics400')."
    )
