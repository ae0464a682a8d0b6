"""What a model knows of itself: class names, and how its input is to be normalized.

Keras keeps nothing in a `.keras` file but layers and their arguments. So this goes in as an
argument of a layer that does nothing: a Dropout of rate 0, which keeps its `seed` as it came and
never uses it. Any Keras loads it, keeps it and saves it again.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

LAYER = "metadata"


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a model file says beside its weights.

    Attributes:
        labels: class names in the order of the outputs; None where they are not known.
        mean: per channel (RGB), 0-255.
        std: per channel (RGB), 0-255.
        normalises: the model itself subtracts `mean` and divides by `std`, its input is 0-255;
            otherwise `preprocess_input` does.
        weights: where the weights were loaded from, None for a network trained from scratch.
        recipe: the tables of the recipe it was trained by, which say how its clips are cut; None
            where there was none.
    """

    labels: tuple[str, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalises: bool
    weights: str | None
    recipe: Mapping[str, Any] | None = None


def attach(x, metadata: Metadata):
    """Passes `x` through a layer that carries the metadata and changes nothing."""
    values = dataclasses.asdict(metadata)
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    return layers.Dropout(0.0, seed=values, name=LAYER)(x)


def record(model: keras.Model, **values: Any) -> None:
    """Writes into a model of keras_r3d what it is to know of itself.

    Args:
        values: of `Metadata`, such as `recipe`: the tables of the recipe it is trained by.
    """
    layer = model.get_layer(LAYER)
    layer.seed = {**layer.seed, **values}


def read_metadata(model: keras.Model) -> Metadata | None:
    """Returns what a model of keras_r3d knows of itself, also after Keras has loaded it.

    Returns:
        None for a model that keras_r3d did not build.
    """
    layer = next((layer for layer in model.layers if layer.name == LAYER), None)
    values: Any = getattr(layer, "seed", None)
    if not isinstance(values, dict) or "normalises" not in values:
        return None
    return Metadata(
        None if values["labels"] is None else tuple(values["labels"]),
        tuple(values["mean"]),
        tuple(values["std"]),
        values["normalises"],
        values["weights"],
        values.get("recipe"),
    )
