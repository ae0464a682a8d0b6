"""What all builders do alike: settle arguments, make the entrance, load weights."""

import numbers
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np
from keras import layers

from keras_r3d.applications import metadata
from keras_r3d.applications.metadata import Metadata
from keras_r3d.applications.weights import loading as weight_files
from keras_r3d.applications.weights.conventions import Conventions
from keras_r3d.applications.weights.conventions import labels as read_labels
from keras_r3d.applications.weights.identify import HEAD
from keras_r3d.applications.weights.weights_file import Source
from keras_r3d.system.errors import WeightsError


class Clips(Protocol):
    """How clips are cut: `keras_r3d.data.Clips`."""

    def tables(self) -> dict[str, Any]:
        """Returns what a model keeps of it."""


CLASSES = 400  # Kinetics
SHAPELESS = ("max_pool", "conv1_t_stride")  # options that no tensor's shape shows


def settle(
    asked: Mapping[str, Any], source: Source | None, defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Takes each option from what was asked, else from the file of weights, else its default.

    Raises:
        WeightsError: the file says otherwise of an option that no tensor's shape shows.
    """
    found = source.options if source else {}
    settled = {}
    for name, default in defaults.items():
        candidates = (asked[name], found.get(name), default)
        settled[name] = next(value for value in candidates if value is not None)
        if source and name in SHAPELESS and settled[name] != found.get(name, settled[name]):
            raise WeightsError(
                f"`weights`: {source.path} is of a network with {name}={found[name]}. "
                f"Received: {name}={asked[name]}"
            )
    return settled


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {list(choices)}. Received: {name}={value}")


def check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"`{name}` must be an int of at least 1. Received: {name}={value}")


def widths(filters: Sequence[int], width: float) -> list[int]:
    """Multiplies numbers of filters, as the authors' code rounds them."""
    if isinstance(width, bool) or not isinstance(width, numbers.Real) or not 0 < width < 1000:
        raise ValueError(f"`width` must be a number above 0. Received: width={width}")
    return [max(1, int(count * width)) for count in filters]


def channels_of(input_tensor, input_shape, in_channels: int | None) -> int | None:
    """Returns the number of channels that the input's shape says, or that was asked for."""
    shape = input_tensor.shape if keras.utils.is_keras_tensor(input_tensor) else input_shape
    said = shape[-1] if np.ndim(np.array(shape, object)) and len(shape) else None
    if in_channels is not None:
        check_count("in_channels", in_channels)
        if said is not None and said != in_channels:
            raise ValueError(
                f"`in_channels` is {in_channels}, but the input has {said}: input_shape={shape}"
            )
    channels = in_channels if said is None else said
    return int(channels) if isinstance(channels, numbers.Integral) else channels


def entrance(input_tensor, input_shape, channels: int, smallest: tuple[int, int, int]):
    """Makes the input of clips, `(batch, frames, height, width, channels)`.

    Args:
        smallest: frames, height and width that the strides need.
    """
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, the output of `keras.Input` or a layer. "
                f"Received: {type(input_tensor).__name__}"
            )
        shape = tuple(input_tensor.shape[1:])
    else:
        shape = (None, None, None, channels) if input_shape is None else input_shape
        shape = tuple(np.atleast_1d(np.array(shape, object)).tolist())
    fits = len(shape) == 4 and shape[3] == channels
    for size, least in zip(shape, smallest, strict=False):
        fits = fits and (
            size is None or (isinstance(size, numbers.Integral) and int(size) >= least)
        )
    if not fits:
        needed = ", ".join(
            f"{axis} of at least {least}"
            for axis, least in zip(("frames", "height", "width"), smallest, strict=True)
        )
        raise ValueError(
            f"`input_shape` must be (frames, height, width, {channels}): {needed} (None leaves one "
            f"open). Received: input_shape={shape}"
        )
    return keras.Input(shape, name="clip") if input_tensor is None else input_tensor


def settle_labels(
    labels: str | os.PathLike[str] | Sequence[str] | None,
    source: Source | None,
    classes: int | None,
) -> tuple[tuple[str, ...] | None, int | None]:
    """Returns class names and the number of classes that was asked for, if either is."""
    if classes is not None:
        check_count("classes", classes)
        classes = int(classes)
    if labels is None:
        return None, classes
    names = read_labels(labels)
    expected = classes or (source.options.get("classes") if source else None)
    if expected is not None and len(names) != expected:
        raise ValueError(
            f"`labels` has {len(names)} names, but the classifier {expected} classes"
            + ("." if classes or source is None else f" in {source.path}: give `classes` too.")
        )
    return names, len(names)


def known_labels(source: Source | None, classes: int) -> tuple[str, ...] | None:
    """Returns the class names of a file of weights, if its classifier has as many classes."""
    fits = source is not None and classes == source.options.get("classes")
    return source.labels if source is not None and fits else None


def pool(x, pooling: str | None):
    """Averages the last feature map, takes its largest values, or leaves it."""
    if pooling == "avg":
        return layers.GlobalAveragePooling3D(name="avg_pool")(x)
    return layers.GlobalMaxPooling3D(name="max_pool")(x) if pooling == "max" else x


def normalise(
    x,
    *,
    include_preprocessing: bool,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    labels: tuple[str, ...] | None,
    clips: Clips | None,
    source: Source | None,
    default: Conventions,
):
    """Passes the clip through the layers that carry the metadata and normalise it."""
    channels = x.shape[-1]
    said = source.conventions if source else None
    known = said or default.to_bytes()
    if len(known[0]) != channels:
        # Optical flow and the like are stored as bytes around 128.
        known = (128.0,) * channels, (1.0,) * channels
    if said is None and source is not None and include_preprocessing and mean is None:
        warnings.warn(
            f"{source.path} does not say how its input was normalised. Assumed for pixels "
            f"of 0-255: mean {_rounded(known[0])}, std {_rounded(known[1])}. If that is wrong, "
            "give `mean` and `std`, or normalise yourself with include_preprocessing=False.",
            stacklevel=3,
        )
    mean = _per_channel("mean", known[0] if mean is None else mean, channels)
    std = _per_channel("std", known[1] if std is None else std, channels)
    if not all(value > 0 for value in std):
        raise ValueError(f"`std` must be above 0. Received: std={list(std)}")
    origin = source.path.name if source else None
    recipe = None if clips is None else clips.tables()
    x = metadata.attach(x, Metadata(labels, mean, std, include_preprocessing, origin, recipe))
    if include_preprocessing:
        variance = [value**2 for value in std]
        x = layers.Normalization(mean=list(mean), variance=variance, name="normalization")(x)
    return x


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 2) for value in values]


def _per_channel(name: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    if np.shape(values) != (channels,):
        raise ValueError(
            f"`{name}` must have a number for each of {channels} channels. "
            f"Received: {name}={values}"
        )
    return tuple(float(value) for value in values)


def finish(
    inputs, input_tensor, x, name: str, source: Source | None, include_top: bool
) -> keras.Model:
    """Makes the model and loads its weights; a classifier of another size stays in the file."""
    if source is not None:
        network = keras.Model(inputs, x, name=name)
        classes = source.options.get("classes")
        if not include_top:
            weight_files.load(network, source, skip=weight_files.TOP)
        elif classes == x.shape[-1]:
            weight_files.load(network, source)
        else:
            weight_files.load(network, source, skip=(HEAD,))
            warnings.warn(
                f"The classifier of {source.path} has {classes or 'no'} classes, this network "
                f"{x.shape[-1]}: all but the classifier was loaded, which starts from random "
                "values.",
                stacklevel=3,
            )
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
        inputs = inputs[0] if len(inputs) == 1 else inputs
    return keras.Model(inputs, x, name=name)
