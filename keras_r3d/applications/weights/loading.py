"""Weights from an opened file into a network that has exactly these."""

from collections.abc import Collection, Mapping

import keras
import numpy as np

from keras_r3d.applications.weights import pytorch
from keras_r3d.applications.weights.identify import HEAD
from keras_r3d.applications.weights.weights_file import Source
from keras_r3d.system.errors import WeightsError

TOP = ("fc6", "fc6_bn", "fc7", "fc7_bn", HEAD)  # what `include_top=False` leaves out; C3D has all


def load(model: keras.Model, source: Source, *, skip: Collection[str] = ()) -> None:
    """Puts the values of a file into a network that has exactly these.

    Args:
        skip: layers that stay as they are, whether the file has them or not.

    Raises:
        WeightsError: an array is missing, left over or of another shape; values are not finite
            or no variance.
    """
    wanted = {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        if not isinstance(layer, keras.layers.Normalization) and layer.name not in skip
        for variable in layer.weights
    }
    _check(model, source, {name: tuple(variable.shape) for name, variable in wanted.items()}, skip)
    for name, variable in wanted.items():
        value = source.values[name]
        values = value.read().astype(np.float32)
        if not np.isfinite(values).all():
            raise WeightsError(
                f"{source.path}: {value.name} has values that are not finite numbers: the file is "
                "damaged, or its training failed."
            )
        if name.endswith("moving_variance") and values.min() < 0:
            raise WeightsError(
                f"{source.path}: {value.name} is a variance, but has values below 0."
            )
        variable.assign(values)


def _check(
    model: keras.Model,
    source: Source,
    wanted: Mapping[str, tuple[int, ...]],
    skip: Collection[str],
) -> None:
    def theirs(shape: tuple[int, ...]) -> str:
        return str(shape if source.names is None else pytorch.shape_to_pytorch(shape))

    what = f"the network {model.name}"
    wrong = f"`weights`: {source.path} does not fit {what}"
    if source.network is not None:
        options = ", ".join(f"{key}={value!r}" for key, value in source.options.items())
        wrong += f" (it holds {source.network} with {options})"
    for name, shape in wanted.items():
        value = source.values.get(name)
        if value is None:
            called = name if source.names is None else pytorch.tensor(source.names, name)
            raise WeightsError(f"{wrong}: it has no {called}, which {what} has as {theirs(shape)}.")
        if value.shape != shape:
            raise WeightsError(
                f"{wrong}: {value.name} is {theirs(value.shape)}, in {what} {theirs(shape)}."
            )
    for name, value in source.values.items():
        if name not in wanted and name.partition("/")[0] not in skip:
            raise WeightsError(
                f"{wrong}: it has {value.name}, {theirs(value.shape)}, which {what} has not."
            )
    if source.unknown:
        raise WeightsError(
            f"{wrong}: it has {source.unknown[0]} ({len(source.unknown)} such in all), which "
            f"{what} has not."
        )
