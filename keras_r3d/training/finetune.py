"""The network of a recipe: from random values or from weights, whole or with stages frozen.

Keras and our networks only, no TensorFlow.
"""

import dataclasses
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_r3d import applications, recipe
from keras_r3d.applications.builders import building, frame_net
from keras_r3d.applications.networks import (
    C3D_NETWORKS,
    CONVENTIONS,
    FRAME_NET,
    HEAD,
    NETWORKS,
    identify_network,
)
from keras_r3d.applications.weights import hub, loading, pretrained, weights_file
from keras_r3d.applications.weights.weights_file import WeightsFile
from keras_r3d.system.errors import RecipeError, WeightsError

Say = Callable[[str], None]


def settle(
    model: recipe.Model,
    say: Say = print,
    *,
    in_channels: int = 3,
    source: WeightsFile | None = None,
) -> recipe.Model:
    """Fills in what a recipe leaves to its weights, and makes their path absolute.

    Raises RecipeError if recipe and weights disagree or `freeze` names no stages, WeightsError if
    the weights cannot be had or are of no network here. `source` is what `open_source` gives.
    """
    if model.backbone not in (None, *frame_net.BACKBONES):
        raise RecipeError(
            f"Recipe key 'model.backbone' must be one of {list(frame_net.BACKBONES)}. Received: "
            f"{model.backbone!r}"
        )
    if (source := source or open_source(model)) is not None:
        model = _settle(model, source, in_channels, say)
    assert model.name is not None  # the recipe says it, or its weights do
    _select(stages(model.name), model.freeze or "", model.name)
    return model


def as_settled(model: recipe.Model, settled: recipe.Model) -> recipe.Model:
    """Returns `model` with what `settle` made of it, if `settled` may come of it.

    Opens no weights, which may be gone by now. A recipe with other weights is returned as it is.
    """
    weights = os.path.expanduser(model.weights or "")
    if not weights or settled.weights not in (weights, os.path.abspath(weights)):
        return model
    decided = {
        key: getattr(settled, key)
        for key in ("name", "shortcut", "backbone", "stack", "width", "mean", "std")
        if not (asked := getattr(model, key))
        or _agree(settled.name, key, asked, getattr(settled, key))
    }
    return dataclasses.replace(model, weights=settled.weights, **decided)


def build_model(
    model: recipe.Model,
    input_shape: Sequence[int],
    classes: Sequence[str],
    say: Say = print,
    source: WeightsFile | None = None,
    *,
    several: bool = False,
) -> keras.Model:
    """Builds the network of a recipe and loads its weights; `freeze` is a separate step.

    The classifier of the weights is kept if its class names are known to be `classes`, in this
    order, and of `several` labels alike; else it is new. `source` is what `open_source` gives.
    """
    source = source or open_source(model)
    in_channels = input_shape[-1]
    model = settle(model, say, in_channels=in_channels, source=source)
    if source is not None:
        kept = source.labels == tuple(classes) and (source.thresholds is not None) == several
        fate = "kept: the classes are the same" if kept else f"new, for {len(classes)} classes"
        say(f"Weights: {source.path}, of {model.name}; the classifier is {fate}")
        conv1_channels = in_channels * (model.stack or 1)
        if source.options["in_channels"] != conv1_channels:
            say(
                "These weights are of an RGB network: conv1 has the mean over red, green and blue "
                f"for each of {conv1_channels} channels."
            )
            source = loading.adapt_channels(source, conv1_channels)
        source = source if kept else _without_classifier(source)
    assert model.name is not None
    keys = ["width", "mean", "std"]
    keys += ["backbone", "stack"] if model.name == FRAME_NET else []
    options = {key: getattr(model, key) for key in keys}
    options |= {"shortcut": model.shortcut} if model.shortcut else {}  # some networks take none
    options["dropout"] = model.dropout or 0.0
    options["classifier_activation"] = "sigmoid" if several else "softmax"
    with warnings.catch_warnings():
        # Of the new classifier, which a line above reports.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return applications.get_model(
                model.name, weights=source, input_shape=input_shape, labels=classes, **options
            )
        except WeightsError:
            raise
        except ValueError as error:  # clips too small for the network
            raise RecipeError(f"The recipe's [clips] do not suit {model.name}: {error}") from error


def stages(name: str) -> list[str]:
    """Lists the stages of a network that `freeze` takes, in order."""
    fully_connected = ["fc6", "fc7"] if name in C3D_NETWORKS else []
    return [f"conv{number}" for number in range(1, 6)] + fully_connected


def freeze(model: keras.Model, text: str) -> list[str]:
    """Freezes stages of a network that is not compiled yet; returns their names.

    `text` is a stage, "conv1"; the first and the last of several, "conv1..conv4"; "" for none. A
    frozen batch norm normalizes by its moving statistics, also in training, and does not update
    them. (The authors' code gives frozen layers a rate of 0, but updates their statistics.)
    """
    names = sorted({stage for layer in model.layers if (stage := _stage(layer.name))})
    frozen = _select(names, text, model.name)
    for layer in model.layers:
        if _stage(layer.name) in frozen:
            layer.trainable = False
    return frozen


def head(model: keras.Model) -> list[keras.Variable]:
    """Returns the trainable variables of the classifier."""
    return model.get_layer(HEAD).trainable_variables


def _stage(layer: str) -> str | None:
    """Returns the stage of a layer: conv2 of conv2_1_bn1, conv3 of C3D's conv3a."""
    match = re.match(r"(conv|fc)\d", layer)
    return match[0] if match else None


def _select(names: list[str], text: str, network: str) -> list[str]:
    if not text:
        return []
    first, _, last = text.partition("..")
    last = last or first
    if {first, last} <= set(names) and names.index(first) <= names.index(last):
        return names[names.index(first) : names.index(last) + 1]
    raise RecipeError(
        f"Recipe key 'model.freeze' must be a stage of {network}, {names}, the first and the last "
        f"of several ('conv1..conv4'). Received: {text!r}"
    )


def open_source(model: recipe.Model) -> WeightsFile | None:
    """Opens the weights of a recipe; None without. Raises as `settle`."""
    if not model.weights:
        return None
    weights = hub.fetch(os.path.expanduser(model.weights))
    network: str = model.name or ""
    if network == FRAME_NET:
        return frame_net.open_source(model.backbone, model.width, weights)
    if not network and not weights_file.split_key(weights)[0].exists():
        networks = [name for name in CONVENTIONS if pretrained.find(name, weights)]
        if not networks:
            raise WeightsError(
                "Recipe key 'model.weights' must be a file, as 'model.name' is absent. There is no "
                f"file {weights}."
            )
        if len(networks) > 1:
            raise RecipeError(
                f"Recipe key 'model.weights' is {weights!r}, a name that does not say the network: "
                f"set 'model.name' to one of {networks}."
            )
        (network,) = networks
    return weights_file.open_weights(network, weights)


def _settle(model: recipe.Model, source: WeightsFile, in_channels: int, say: Say) -> recipe.Model:
    decided = _decided(model, source, in_channels)
    name = decided["name"]
    asked = {key: value for key in decided if (value := getattr(model, key))}
    if wrong := [key for key, value in asked.items() if not _agree(name, key, value, decided[key])]:
        both = "; ".join(
            f"{key} is {_toml(asked[key])}, of the weights {_toml(decided[key]) or 'none'}"
            for key in wrong
        )
        changes = " ".join(f"`overrides` 'model.{key}={_toml(decided[key])}'" for key in wrong)
        raise RecipeError(
            f"The recipe's [model] and its weights {source.path} disagree: {both}. To take those "
            f"of the weights: {changes}"
        )
    if source.conventions is None and not (model.mean and model.std):
        # A checkpoint of a relative, as R3D18's in r3d_18, is normalized as that is.
        name = (source.checkpoint and source.network) or decided["name"]
        conventions = CONVENTIONS.get(name) or frame_net.BACKBONES[decided["backbone"]]
        pairs = zip(("mean", "std"), conventions.to_bytes(), strict=True)
        assumed = {key: value for key, value in pairs if not getattr(model, key)}
        say(
            f"Note: {source.path} does not say how its input was normalized. Assumed for pixels of "
            f"0-255: {', '.join(f'{key} {_toml(value)}' for key, value in assumed.items())}. If "
            "that is wrong, set 'model.mean' and 'model.std'."
        )
        decided |= assumed
    weights = os.path.expanduser(model.weights or "")
    if (
        pretrained.find(decided["name"], weights) is None
        and weights_file.split_key(weights)[0].is_file()
    ):
        decided["weights"] = os.path.abspath(weights)
    return dataclasses.replace(model, **decided)


def _decided(model: recipe.Model, source: WeightsFile, in_channels: int) -> dict[str, Any]:
    """Returns the values of a recipe's keys that a file of weights decides."""
    name = source.network
    if model.name in NETWORKS:
        # Of two networks with the same blocks, the one that the recipe means.
        name, _ = identify_network(source.values, NETWORKS[model.name].family)
    if name is None:
        raise WeightsError(
            f"Recipe key 'model.weights': {source.path} is of another architecture than "
            f"{[*CONVENTIONS, FRAME_NET]}."
        )
    values: dict[str, Any] = {"name": name, "shortcut": source.options.get("shortcut")}
    stack = 1
    if name == FRAME_NET:
        stack = model.stack or source.options.get("stack", 1)
        if (backbone := source.options.get("backbone", model.backbone)) is None:
            raise RecipeError(
                f"Recipe key 'model.backbone' is absent, and {source.path} does not say it: set it "
                "to the network of keras.applications that these weights are of."
            )
        values |= {"backbone": backbone, "stack": stack if stack > 1 else None}
    # A file of weights alone does not say a FrameNet's.
    values["width"] = source.options.get("width", model.width or 1.0)
    depth = source.options["in_channels"]
    if depth not in (3, in_channels * stack):
        raise WeightsError(
            f"Recipe key 'model.weights': {source.path} is of a network for {depth} channels; "
            f"clips have {in_channels * stack} (clips.input)."
        )
    if depth != in_channels * stack:
        if not (model.mean and model.std):
            raise RecipeError(
                f"Recipe keys 'model.mean' and 'model.std' must hold {in_channels} numbers: the "
                f"weights {source.path} are of an RGB network and say nothing of flow. To begin "
                "with: `overrides` 'model.mean=[128.0, 128.0]' `overrides` 'model.std=[3.0, 3.0]'"
            )
    elif source.conventions is not None:
        values |= dict(zip(("mean", "std"), source.conventions, strict=True))
    return values


def _agree(network: str | None, key: str, asked: Any, decided: Any) -> bool:
    if key == "width":
        row = NETWORKS.get(network or "", NETWORKS["r3d18"])  # C3D has as many filters
        return building.scale_network(row, asked) == building.scale_network(row, decided)
    if key in ("mean", "std"):
        # As rounded as people write them.
        return all(math.isclose(*pair, rel_tol=1e-3) for pair in zip(asked, decided, strict=True))
    return asked == decided


def _toml(value: Any) -> str:
    if value is None:
        return ""  # an extra that is left out
    return json.dumps([round(v, 4) for v in value] if isinstance(value, tuple) else value)


def _without_classifier(source: WeightsFile) -> WeightsFile:
    values = {k: v for k, v in source.values.items() if k.partition("/")[0] != HEAD}
    options = {k: v for k, v in source.options.items() if k != "classes"}
    return dataclasses.replace(source, values=values, options=options, labels=None, thresholds=None)
