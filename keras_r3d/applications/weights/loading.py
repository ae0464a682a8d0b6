"""Weights from an opened file into a network: fitted to other channels, checked, assigned."""

import dataclasses
from collections.abc import Collection

import keras
import numpy as np

from keras_r3d.applications.networks import HEAD
from keras_r3d.applications.weights import pytorch
from keras_r3d.applications.weights.compact import named_variables
from keras_r3d.applications.weights.weights_file import Value, WeightsFile
from keras_r3d.system.errors import WeightsError

TOP = ("fc6", "fc6_bn", "fc7", "fc7_bn", HEAD)  # what `include_top=False` leaves out; C3D has all


def adapt_channels(file: WeightsFile, channels: int | None) -> WeightsFile:
    """Makes weights of an RGB network fit input of other channels: "cross-modality pre-training".

    The first kernel becomes its mean over red, green and blue, for each of the new channels.

    Args:
        channels: of the input; None is as many as the weights have.

    Returns:
        The weights as they are where nothing can or need be changed.

    Reference:
        Wang et al., Temporal Segment Networks, ECCV 2016, section 3.2,
        https://arxiv.org/abs/1608.00859
    """
    if channels is None or channels == 3 or file.options.get("in_channels") != 3:
        return file
    name = "conv1/kernel" if "conv1/kernel" in file.values else "conv1_spatial/kernel"
    value = file.values[name]

    def read() -> np.ndarray:
        mean = value.read().astype(np.float32).mean(axis=3, keepdims=True)
        return np.repeat(mean, channels, axis=3)

    shape = (*value.shape[:3], channels, value.shape[4])
    return dataclasses.replace(
        file,
        values={**file.values, name: Value(value.name, shape, read)},
        options={**file.options, "in_channels": channels},
    )


def load_weights(model: keras.Model, file: WeightsFile, *, skip: Collection[str] = ()) -> None:
    """Puts the values of a file into a network that has exactly these.

    Args:
        skip: layers that stay as they are, whether the file has them or not.

    Raises:
        WeightsError: an array is missing, left over or of another shape; values are not finite
            or no variance.
    """
    variables = {
        name: variable
        for name, variable in named_variables(model).items()
        if name.partition("/")[0] not in skip
    }
    _check_fit(model, file, variables, skip)
    for name, variable in variables.items():
        value = file.values[name]
        values = value.read().astype(np.float32)
        if not np.isfinite(values).all():
            raise WeightsError(
                f"{file.path}: {value.name} has values that are not finite numbers: the file is "
                "damaged, or its training failed."
            )
        if name.endswith("moving_variance") and values.min() < 0:
            raise WeightsError(f"{file.path}: {value.name} is a variance, but has values below 0.")
        variable.assign(values)


def _check_fit(
    model: keras.Model,
    file: WeightsFile,
    variables: dict[str, keras.Variable],
    skip: Collection[str],
) -> None:
    names = pytorch.find_names(file.checkpoint.tensors) if file.checkpoint else None

    def theirs(shape: tuple[int, ...]) -> str:
        return str(shape if names is None else pytorch.shape_to_pytorch(shape))

    network = f"the network {model.name}"
    misfit = f"`weights`: {file.path} does not fit {network}"
    if file.network is not None:
        options = ", ".join(f"{key}={value!r}" for key, value in file.options.items())
        misfit += f" (it holds {file.network} with {options})"
    for name, variable in variables.items():
        value, shape = file.values.get(name), tuple(variable.shape)
        if value is None:
            tensor = name if names is None else pytorch.tensor(names, name)
            raise WeightsError(
                f"{misfit}: it has no {tensor}, which {network} has as {theirs(shape)}."
            )
        if value.shape != shape:
            raise WeightsError(
                f"{misfit}: {value.name} is {theirs(value.shape)}, in {network} {theirs(shape)}."
            )
    for name, value in file.values.items():
        if name not in variables and name.partition("/")[0] not in skip:
            raise WeightsError(
                f"{misfit}: it has {value.name}, {theirs(value.shape)}, which {network} has not."
            )
    if file.unknown:
        raise WeightsError(
            f"{misfit}: it has {file.unknown[0]} ({len(file.unknown)} such in all), which "
            f"{network} has not."
        )
