"""Weights from an opened file into a network: fitted to other channels, checked, assigned."""

import dataclasses
import warnings
from collections.abc import Mapping

import keras
import numpy as np

from keras_r3d.applications.networks import HEAD
from keras_r3d.applications.weights import pytorch
from keras_r3d.applications.weights.weights_file import Value, WeightsFile, named_variables
from keras_r3d.system.errors import WeightsError

_TOP = ("fc6", "fc6_bn", "fc7", "fc7_bn", HEAD)  # C3D has all


def adapt_channels(file: WeightsFile, channels: int | None) -> WeightsFile:
    """Makes weights of an RGB network fit input of other channels: "cross-modality pre-training".

    The first kernel becomes its mean over red, green and blue, for each of the new channels. Where
    nothing can or need be changed, the weights stay as they are.

    Reference:
        Wang et al., Temporal Segment Networks, ECCV 2016, section 3.2,
        https://arxiv.org/abs/1608.00859
    """
    if channels in (None, 3) or file.options.get("in_channels") != 3:
        return file
    name = "conv1/kernel" if "conv1/kernel" in file.values else "conv1_spatial/kernel"
    value = file.values[name]

    def read() -> np.ndarray:
        mean = value.read().astype(np.float32).mean(axis=-2, keepdims=True)
        return np.repeat(mean, channels, axis=-2)

    value_read = Value(value.name, (*value.shape[:-2], channels, value.shape[-1]), read)
    return dataclasses.replace(
        file,
        values={**file.values, name: value_read},
        options={**file.options, "in_channels": channels},
    )


def reverse_channels(file: WeightsFile) -> WeightsFile:
    """Makes weights of a network that takes blue first fit RGB: turns the first kernel around."""
    value = file.values["conv1/kernel"]
    turned = dataclasses.replace(value, read=lambda: value.read()[:, :, :, ::-1])
    return dataclasses.replace(file, values={**file.values, "conv1/kernel": turned})


def load_weights(model: keras.Model, file: WeightsFile, include_top: bool) -> None:
    """Puts the values of a file into a network; a classifier of another size stays in the file."""
    classes, needed = file.options.get("classes"), model.output.shape[-1]
    fits = include_top and classes == needed
    skipped = () if fits else (HEAD,) if include_top else _TOP
    variables = {
        name: variable
        for name, variable in named_variables(model).items()
        if name.partition("/")[0] not in skipped
    }
    values = {k: v for k, v in file.values.items() if k.partition("/")[0] not in skipped}
    _check_fit(f"the network {model.name}", file, values, variables)
    for name, variable in variables.items():
        array = values[name].read().astype(np.float32)
        problem = ""
        if not np.isfinite(array).all():
            problem = (
                "has values that are not finite numbers: the file is damaged, or its training "
                "failed"
            )
        elif name.endswith("moving_variance") and array.min() < 0:
            problem = "is a variance, but has values below 0"
        if problem:
            raise WeightsError(f"{file.path}: {values[name].name} {problem}.")
        variable.assign(array)
    if include_top and not fits:
        warnings.warn(
            f"The classifier of {file.path} has {classes or 'no'} classes, this network {needed}: "
            "all but the classifier was loaded, which starts from random values.",
            stacklevel=4,
        )


def _check_fit(
    network: str,
    file: WeightsFile,
    values: Mapping[str, Value],
    variables: Mapping[str, keras.Variable],
) -> None:
    names = pytorch.find_names(file.checkpoint.tensors) if file.checkpoint else None

    def show(shape: tuple[int, ...]) -> str:
        return str(shape if names is None else pytorch.shape_to_pytorch(shape))

    misfit = f"`weights`: {file.path} does not fit {network}"
    if file.network is not None:
        options = ", ".join(f"{key}={value!r}" for key, value in file.options.items())
        misfit += f" (it holds {file.network} with {options})"
    for name, variable in variables.items():
        value, shape = values.get(name), tuple(variable.shape)
        if value is None:
            tensor = name if names is None else pytorch.tensor(names, name)
            raise WeightsError(
                f"{misfit}: it has no {tensor}, which {network} has as {show(shape)}."
            )
        if value.shape != shape:
            raise WeightsError(
                f"{misfit}: {value.name} is {show(value.shape)}, in {network} {show(shape)}."
            )
    extra = [f"{v.name}, {show(v.shape)}" for name, v in values.items() if name not in variables]
    if not extra and file.unknown:
        extra = [f"{file.unknown[0]} ({len(file.unknown)} such in all)"]
    if extra:
        raise WeightsError(f"{misfit}: it has {extra[0]}, which {network} has not.")
