"""Weights from a file into a network: `.keras`, `.weights.h5`, or a PyTorch checkpoint.

Whatever the file, it becomes a `Source`: values by the names that our layers give them, and what
they say of the network they belong to.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from keras_r3d.applications import checkpoints, metadata, pretrained, pytorch
from keras_r3d.applications.conventions import labels as read_labels
from keras_r3d.applications.networks import FILTERS, NETWORKS
from keras_r3d.applications.pretrained import WeightsError

HEAD = "predictions"


@dataclasses.dataclass(frozen=True)
class Value:
    """An array in a file of weights.

    Attributes:
        name: in the file.
        shape: in the order of Keras's axes.
        read: reads it, in the order of Keras's axes.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Source:
    """An opened file of weights.

    Attributes:
        values: by `layer/variable`.
        unknown: names in the file that no layer of ours has.
        network: name of the network that the values belong to, None if it is none of the table's.
        options: the builder's arguments that can be read from the file.
        conventions: mean and std of the input, 0-255, if they are known.
        labels: class names, if they are known.
        names: PyTorch's names, if the file is a checkpoint.
        checkpoint: the checkpoint, if it is one.
    """

    path: Path
    values: Mapping[str, Value]
    unknown: tuple[str, ...] = ()
    network: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    conventions: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    labels: tuple[str, ...] | None = None
    names: pytorch.Names | None = None
    checkpoint: checkpoints.Checkpoint | None = None


def open_source(network: str, weights: str | os.PathLike[str] | Source) -> Source:
    """Opens what `weights=` names.

    Args:
        network: name of the network that will take them, such as "r3d34".
        weights: path of a file, a registered name, an official file name in the cache, or a
            source that is open already.

    Raises:
        WeightsError: there is no such file or name, or it could not be downloaded.
        CheckpointError: the file is damaged or no checkpoint.
    """
    if isinstance(weights, Source):
        return weights
    path = Path(weights)
    if path.exists():
        return open_file(path)
    row = pretrained.find(network, os.fspath(weights))
    if row is not None:
        return open_file(pretrained.fetch(row))
    if path.suffix or path.name != os.fspath(weights):
        raise WeightsError(f"`weights`: there is no file {path}.")
    raise WeightsError(
        "`weights` must be None, the path of a .keras, .weights.h5 or .pth file, or, for "
        f"{network}, one of {pretrained.names(network)}. Received: weights={weights}"
    )


def open_file(path: str | os.PathLike[str]) -> Source:
    """Opens a file of weights; what is not Keras's is taken for a PyTorch checkpoint.

    Raises:
        WeightsError: it is no file of weights, or of no residual network.
        CheckpointError: it is a damaged checkpoint, or none.
    """
    path = Path(path)
    if path.name.endswith(".keras"):
        return _open_keras(path)
    if path.name.endswith(".weights.h5"):
        return _open_h5(path)
    return _open_checkpoint(path)


def _open_checkpoint(path: Path) -> Source:
    checkpoint = checkpoints.read(path)
    names = pytorch.layout(list(checkpoint.tensors))
    if names is None:
        found = ", ".join(list(checkpoint.tensors)[:4])
        raise WeightsError(
            f"{path} is of another architecture than the residual networks here: its tensors are "
            f"{found}, …; expected were conv1.weight, layer1.0.conv1.weight, … (the authors' "
            "networks) or stem.0.weight, … (torchvision's)."
        )
    values, unknown = {}, []
    for name, tensor in checkpoint.tensors.items():
        variable = pytorch.variable(names, name)
        if variable is not None:
            shape = pytorch.shape_from_pytorch(tensor.shape)
            values[variable] = Value(name, shape, _reader(tensor))
        elif not name.endswith(pytorch.IGNORED):
            unknown.append(name)
    first = next(name for name in checkpoint.tensors if name in ("conv1.weight", "stem.0.weight"))
    if len(checkpoint.tensors[first].shape) != 5:
        raise WeightsError(
            f"{path} is of another architecture: {first} has the shape "
            f"{checkpoint.tensors[first].shape}, so it is a network for images; a network for "
            "video has five axes there."
        )
    torchvision = names is not pytorch.AUTHORS
    network, options = describe(values, "torchvision" if torchvision else "hara")
    if torchvision:
        options |= {"max_pool": False, "conv1_t_stride": 1}
    row = next(
        (
            row
            for row in pretrained.PRETRAINED
            if (row.file, row.network, row.classes) == (path.name, network, options.get("classes"))
        ),
        None,
    )
    return Source(
        path,
        values,
        tuple(unknown),
        network,
        options,
        row.conventions.to_bytes() if row else None,
        read_labels(row.labels) if row and row.labels else None,
        names,
        checkpoint,
    )


def _reader(tensor: checkpoints.Tensor) -> Callable[[], np.ndarray]:
    return lambda: pytorch.from_pytorch(tensor.numpy())


def _open_keras(path: Path) -> Source:
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, zipfile and h5py raise many kinds
        raise WeightsError(f"`weights`: Keras cannot load {path}: {error}") from error
    values = {
        f"{layer.name}/{variable.name}": Value(
            f"{layer.name}/{variable.name}", tuple(variable.shape), _converter(variable)
        )
        for layer in model.layers
        for variable in layer.weights
        if not isinstance(layer, keras.layers.Normalization)
    }
    network, options = describe(values, "hara")
    stem = next((one for one in model.layers if one.name in ("conv1", "conv1_temporal")), None)
    if network is not None and stem is not None:
        options["conv1_t_stride"] = stem.strides[0]
        options["max_pool"] = any(one.name == "pool1" for one in model.layers)
    about = metadata.read(model)
    return Source(
        path,
        values,
        network=network,
        options=options,
        conventions=(about.mean, about.std) if about else None,
        labels=about.labels if about else None,
    )


def _converter(variable: Any) -> Callable[[], np.ndarray]:
    return lambda: keras.ops.convert_to_numpy(variable)


_VARIABLES = {4: ("gamma", "beta", "moving_mean", "moving_variance"), 2: ("kernel", "bias")}


def _open_h5(path: Path) -> Source:
    values: dict[str, Value] = {}

    def visit(group: str, node: Any) -> None:
        name = node.attrs.get("name") if re.fullmatch(r"layers/[^/]+/vars", group) else None
        if isinstance(node, h5py.Group) and name is not None and name != "normalization":
            kinds = _VARIABLES[4 if len(node) == 4 else 2]
            for index, kind in zip(node, kinds, strict=False):
                data = node[index]
                values[f"{name}/{kind}"] = Value(f"{name}/{kind}", data.shape, _dataset(path, data))

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise WeightsError(f"`weights`: {path} is not a .weights.h5 of Keras 3: {error}") from error
    if not values:
        raise WeightsError(
            f"`weights`: {path} does not name its layers, as Keras 3 does: build the network, "
            "`load_weights` it and save it as .keras."
        )
    network, options = describe(values, "hara")
    return Source(path, values, network=network, options=options)


def _dataset(path: Path, data: Any) -> Callable[[], np.ndarray]:
    place = data.name

    def read() -> np.ndarray:
        with h5py.File(path) as file:
            return file[place][()]

    return read


def describe(values: Mapping[str, Value], family: str) -> tuple[str | None, dict[str, Any]]:
    """Reads from the shapes which network they belong to.

    Args:
        family: of two networks with the same blocks, the one that is preferred.

    Returns:
        Name in the table (None if it is none), and the builder's arguments.
    """
    shapes = {name: value.shape for name, value in values.items()}
    options: dict[str, Any] = {}
    if f"{HEAD}/bias" in shapes:
        options["classes"] = shapes[f"{HEAD}/bias"][0]
    places = [re.fullmatch(r"conv(\d)_(\d+)_.*", name) for name in shapes]
    blocks = tuple(
        max((int(p[2]) for p in places if p and p[1] == str(stage)), default=0)
        for stage in (2, 3, 4, 5)
    )
    factorised = "conv1_temporal/kernel" in shapes
    first = shapes.get("conv1_spatial/kernel" if factorised else "conv1/kernel", ())
    last = shapes.get("conv5_1_conv1_temporal/kernel") or shapes.get("conv5_1_conv1/kernel", ())
    if len(first) != 5 or len(last) != 5 or not all(blocks):
        return None, options
    kernel = shapes.get("conv1_temporal/kernel") if factorised else first
    options |= {
        "shortcut": "B" if any("_shortcut_" in name for name in shapes) else "A",
        # Of the widest stage: all others are then rounded as they were.
        "width": last[4] / FILTERS[-1],
        "in_channels": first[3],
        "conv1_t_size": kernel[0] if kernel else None,
    }

    def convolution(stage: int) -> str:
        if f"conv{stage}_1_conv2_temporal/kernel" in shapes:
            return "2+1d"
        return "2d" if shapes.get(f"conv{stage}_1_conv2/kernel", (3,))[0] == 1 else "3d"

    structure = (
        blocks,
        "conv2_1_conv3/kernel" in shapes,
        tuple(convolution(stage) for stage in (2, 3, 4, 5)),
        "2+1d" if factorised else "3d",
    )
    alike = [
        name
        for name, row in NETWORKS.items()
        if (row.blocks, row.bottleneck, row.convolutions, row.stem) == structure
    ]
    alike.sort(key=lambda name: NETWORKS[name].family != family)
    return (alike[0] if alike else None), options


def load(model: keras.Model, source: Source, *, head: bool = True) -> None:
    """Puts the values of a file into a network that has exactly these.

    Args:
        head: the classifier too; otherwise it stays as it is.

    Raises:
        WeightsError: an array is missing, left over or of another shape; values are not finite.
    """
    wanted = {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        if not isinstance(layer, keras.layers.Normalization) and (head or layer.name != HEAD)
        for variable in layer.weights
    }
    _check(model, source, {name: tuple(variable.shape) for name, variable in wanted.items()}, head)
    for name, variable in wanted.items():
        value = source.values[name]
        values = value.read().astype(np.float32)
        if not np.isfinite(values).all():
            raise WeightsError(
                f"{source.path}: {value.name} has values that are not finite numbers: the file is "
                "damaged, or its training failed."
            )
        variable.assign(values)


def _check(
    model: keras.Model, source: Source, wanted: Mapping[str, tuple[int, ...]], head: bool
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
    heads = () if head else (f"{HEAD}/kernel", f"{HEAD}/bias")
    for name, value in source.values.items():
        if name not in wanted and name not in heads:
            raise WeightsError(
                f"{wrong}: it has {value.name}, {theirs(value.shape)}, which {what} has not."
            )
    if source.unknown:
        raise WeightsError(
            f"{wrong}: it has {source.unknown[0]} ({len(source.unknown)} such in all), which "
            f"{what} has not."
        )
