"""Opening a file of weights: `.keras`, `.h5`, `.npz`, or a checkpoint.

Whatever the file, it becomes a `WeightsFile`: values by the names that our layers give them, and
what they say of the network they belong to.
"""

import dataclasses
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from keras_r3d.applications.builders.blocks import split_groups
from keras_r3d.applications.labels import read_labels
from keras_r3d.applications.metadata import read_metadata
from keras_r3d.applications.networks import (
    C3D_NETWORKS,
    HEAD,
    INCEPTION,
    INCEPTION_FLOW,
    NETWORKS,
    identify_network,
)
from keras_r3d.applications.weights import (
    c3d_files,
    checkpoints,
    hub,
    i3d,
    pretrained,
    pytorch,
)
from keras_r3d.applications.weights.containers import tensor_bundle
from keras_r3d.applications.weights.containers.tensors import printable
from keras_r3d.system.errors import WeightsError


@dataclasses.dataclass(frozen=True)
class Value:
    """An array in a file of weights; shape and values are in the order of Keras's axes."""

    name: str  # in the file
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """An opened file of weights; what is not known is None."""

    path: Path
    values: Mapping[str, Value]  # by `layer/variable`
    network: str | None = None  # None also if it is none of ours
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # the builder's arguments
    conventions: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # mean and std, 0-255
    labels: tuple[str, ...] | None = None
    thresholds: tuple[float, ...] | None = None  # as of `Metadata`
    clip: tuple[int, int, int] | None = None  # frames, height, width that it was trained on
    checkpoint: checkpoints.Checkpoint | None = None  # if it is one
    unknown: tuple[str, ...] = ()  # names in the file that no layer of ours has
    recipe: str | None = None  # that cuts and scores the clips it was published with


def open_weights(network: str, weights: str | os.PathLike[str] | WeightsFile) -> WeightsFile:
    """Opens what `weights` of a network such as "r3d34" names, or returns what is open already.

    It is the path of a file (`FILE#KEY`, see `open_file`), a registered name, an official file name
    in the cache, or `hf://OWNER/NAME/FILE`. Raises WeightsError, of which CheckpointError is one.
    """
    if isinstance(weights, WeightsFile):
        return weights
    text = hub.fetch(os.fspath(weights)) if isinstance(weights, (str, os.PathLike)) else ""
    row = pretrained.find(network, text)
    if row is None and split_key(text)[0].is_file():
        return open_file(text)
    if row is None and (row := pretrained.find_file(network, text)) is None:
        if text and Path(text).is_dir():
            raise WeightsError(f"`weights`: {text} is a folder; name a file in it.")
        if Path(text).suffix or os.sep in text:
            raise WeightsError(f"`weights`: there is no file {text}.")
        raise WeightsError(
            "`weights` must be None, the path of a .keras, .h5, .npz, .pth or .safetensors file, "
            f"hf://OWNER/NAME/FILE, or, for {network}, one of {pretrained.list_names(network)}. "
            f"Received: weights={weights!r}"
        )
    file = open_file(pretrained.fetch(row))
    classes = file.options.get("classes")
    if (file.network, classes) != (row.network, row.classes):
        raise WeightsError(
            f"{file.path} is not the published {row.file}: it holds {file.network} for {classes} "
            f"classes, not {row.network} for {row.classes}. Get it from {row.source} ."
        )
    return file


def open_file(path: str | os.PathLike[str]) -> WeightsFile:
    """Opens a file of weights; what is not Keras's is taken for a PyTorch checkpoint.

    `FILE#KEY` is one of several networks in a checkpoint; where none is named, a warning says which
    was taken. Raises WeightsError, of which CheckpointError is one.
    """
    path, key = split_key(path)
    for suffix, open_format in _FORMATS.items():
        if path.name.endswith(suffix):
            if key is not None:
                raise WeightsError(f"`weights`: {path} holds one network: omit #{key}.")
            return open_format(path)
    return _open_checkpoint(path, key)


def split_key(weights: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Divides `FILE#KEY`, unless there is a file of that name; without a key it is None."""
    text = os.fspath(weights)
    path, sign, key = text.rpartition("#")
    if sign and not Path(text).is_file():
        return Path(path), key
    return tensor_bundle.index_of(Path(text)), None


def _open_checkpoint(path: Path, key: str | None) -> WeightsFile:
    checkpoint = checkpoints.read_checkpoint(path, key)
    if checkpoint.others:
        warnings.warn(
            f"{path} has several networks; taken is #{printable(checkpoint.key)}. For another name "
            f"one of {', '.join(f'{path}#{printable(other)}' for other in checkpoint.others)}.",
            stacklevel=4,
        )
    tensors = checkpoint.tensors
    if i3d_names := i3d.find_names(tensors):
        return _open_i3d(checkpoint, *i3d_names)
    names = pytorch.find_names(tensors)
    if names is None:
        first_names = ", ".join(printable(name) for name in list(tensors)[:4])
        raise WeightsError(
            f"{path} is of another architecture than the networks here: its tensors are "
            f"{first_names}, …; expected were conv1.weight, layer1.0.conv1.weight, … (the authors' "
            "networks; R(2+1)D conv1_s.weight, …, DenseNet features.conv0.weight, …), "
            "stem.0.weight, … (torchvision's), or those of C3D."
        )
    values: dict[str, Value] = {}
    unknown = []
    for name, tensor in tensors.items():
        if 0 in tensor.shape:
            raise WeightsError(f"{path} has an empty tensor, {printable(name)}.")
        if variable := pytorch.variable(names, name):
            axes = pytorch.axes_from_pytorch(len(tensor.shape))
            shape = tuple(tensor.shape[axis] for axis in axes)
            values[variable] = Value(name, shape, partial(_read_tensor, tensor, axes))
        elif not name.endswith(pytorch.IGNORED):
            unknown.append(name)
    torchvision = names in (pytorch.TORCHVISION, pytorch.TORCHVISION_2PLUS1D)
    first = pytorch.first_tensor(names)
    if len(tensors[first].shape) != 5:
        raise WeightsError(
            f"{path} is of another architecture: {first} has the shape {tensors[first].shape}, so "
            "it is a network for images; a network for video has five axes there."
        )
    network, options = identify_network(values, "torchvision" if torchvision else "hara")
    if network is None:
        raise WeightsError(
            f"{path} is of another architecture than {[*NETWORKS, *C3D_NETWORKS]}, though its "
            "tensors are called alike: the numbers of its blocks, or of their channels, are not "
            "theirs."
        )
    if torchvision:
        options |= {"max_pool": False, "conv1_t_stride": 1}
    row = _find_row(network, path, options)
    file = WeightsFile(
        path,
        values,
        network,
        options,
        row.conventions.to_bytes() if row else None,
        read_labels(row.labels) if row and row.labels else None,
        _thresholds(row),
        checkpoint=checkpoint,
        unknown=tuple(unknown),
    )
    return c3d_files.settle(file, names, True) if network in C3D_NETWORKS else file


def _find_row(network: str, path: Path, options: Mapping[str, Any]) -> pretrained.Pretrained | None:
    """Returns what a file is by its name; None also if it is somebody's own, under that name."""
    row = pretrained.find_file(network, path.name)
    return row if row is not None and row.classes == options.get("classes") else None


def _thresholds(row: pretrained.Pretrained | None) -> tuple[float, ...] | None:
    return (0.5,) * row.classes if row and row.several_labels else None


def _read_tensor(
    tensor: checkpoints.Tensor, axes: tuple[int, ...], shape: tuple[int, ...] | None = None
) -> np.ndarray:
    values = tensor.numpy().transpose(axes)
    return values if shape is None else values.reshape(shape)


def _open_i3d(
    checkpoint: checkpoints.Checkpoint, names: Mapping[str, str], axes: tuple[int, ...]
) -> WeightsFile:
    """Opens a published file of I3D; its conventions are DeepMind's, whoever converted it."""
    path, values, unknown = checkpoint.path, {}, []
    for name, tensor in checkpoint.tensors.items():
        variable, shape = names.get(name, ""), tensor.shape
        layer, _, kind = variable.partition("/")
        if kind == "gamma":
            if not (tensor.numpy() == 1).all():
                raise WeightsError(
                    f"{path}: {printable(name)} must be 1 throughout, as I3D's batch norm has no "
                    "scale: multiply it into the next layer, or train that network anew."
                )
        elif variable:
            order = axes if len(shape) == 5 else tuple(range(len(shape)))
            shape = tuple(shape[axis] for axis in order)
            # Vectors and the classifier's kernel have axes of 1 in front.
            least = 1 if kind != "kernel" else 2 if layer == HEAD else 5
            while len(shape) > least and shape[0] == 1:
                shape = shape[1:]
            values[variable] = Value(name, shape, partial(_read_tensor, tensor, order, shape))
        elif not name.endswith((pytorch.IGNORED, "/Momentum")):
            unknown.append(name)
    needed = {variable: name for name, variable in names.items() if "gamma" not in variable}
    missing = [name for variable, name in needed.items() if variable not in values]
    if any(names[name].partition("/")[0] != HEAD for name in missing):
        raise WeightsError(
            f"{path} has no {missing[0]}: of an I3D's {len(needed)} tensors {len(missing)} are "
            "missing. Download or copy it again."
        )
    network, options = identify_network(values, "hara")
    if network is None:
        raise WeightsError(
            f"{path} is of another architecture than i3d, though its tensors are called alike: the "
            "numbers of their channels are not its."
        )
    rgb = options["in_channels"] == 3
    kinetics = options.get("classes") == 400
    return WeightsFile(
        path,
        values,
        network,
        options,
        (INCEPTION if rgb else INCEPTION_FLOW).to_bytes(),
        read_labels("kinetics400") if kinetics else None,
        _thresholds(_find_row(network, path, options)),
        checkpoint=checkpoint,
        unknown=tuple(unknown),
        recipe="i3d" if rgb else None,
    )


def load_network(path: Path) -> keras.Model:
    """Loads a `.keras` file; raises WeightsError if it is damaged, or not there."""
    try:
        return split_groups(keras.models.load_model(path, compile=False))
    except Exception as error:  # Keras, zipfile and h5py raise many kinds
        raise WeightsError(f"`weights`: Keras cannot load {path}: {error}") from error


def _open_keras(path: Path) -> WeightsFile:
    model = load_network(path)
    values = {
        name: Value(name, tuple(variable.shape), partial(keras.ops.convert_to_numpy, variable))
        for name, variable in named_variables(model).items()
    }
    network, options = identify_network(values, "hara")
    if network is not None:
        options |= shapeless_options(model)
    about = read_metadata(model)
    if about and about.options:
        options |= about.options
    clip = model.input_shape[1:-1]
    return WeightsFile(
        path,
        values,
        network,
        options,
        (about.mean, about.std) if about else None,
        # A classifier of several stages fits no network of the table.
        about.labels if about and "classes" in options else None,
        about.thresholds if about and "classes" in options else None,
        clip if len(clip) == 3 and None not in clip else None,
    )


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns the variables of a network by `layer/variable`, but not those that normalize."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        if not isinstance(layer, keras.layers.Normalization)
        for variable in layer.weights
    }


def shapeless_options(model: keras.Model) -> dict[str, Any]:
    """Reads from a network of ours the options that no tensor's shape shows; some have none."""
    names = [layer.name for layer in model.layers]
    if "conv5c_branch0" in names:  # of I3D
        return {}
    if "pool5" in names:
        return {"pool5_padding": "both" if "pool5_pad" in names else "behind"}
    stem = model.get_layer("conv1_temporal" if "conv1_temporal" in names else "conv1")
    return {"conv1_t_stride": stem.strides[0], "max_pool": "pool1" in names}


# A compact file has kernels in float16 and all else in float32, by `layer/variable`, and what they
# are of as JSON in bytes. Half the size of a `.keras` file, and NumPy alone reads it.
COMPACT_ABOUT = "about"
_COMPACT_KEYS = {"labels", "mean", "std", "frames", "size"}
# Of R3D, C3D and I3D.
_COMPACT_OPTIONS: list[set[str]] = [{"conv1_t_stride", "max_pool"}, {"pool5_padding"}, set()]


def _open_compact(path: Path) -> WeightsFile:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop(COMPACT_ABOUT).tobytes())
        keys = set(about) - _COMPACT_KEYS
        if len(about) != len(keys) + len(_COMPACT_KEYS) or keys not in _COMPACT_OPTIONS:
            expected = sorted(_COMPACT_KEYS | _COMPACT_OPTIONS[0])
            raise ValueError(f"it says {sorted(about)} of itself, not {expected}")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"`weights`: {path} is damaged, or is no compact file of weights: {error}"
        ) from error
    values = {name: Value(name, a.shape, partial(np.asarray, a)) for name, a in arrays.items()}
    network, options = identify_network(values, "hara")
    options |= {name: about[name] for name in keys}
    conventions = tuple(about["mean"]), tuple(about["std"])
    labels, size = tuple(about["labels"] or ()) or None, about["size"]
    height, width = size if isinstance(size, list) else (size, size)
    clip = about["frames"], height, width
    return WeightsFile(path, values, network, options, conventions, labels, clip=clip)


_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_KINDS = {4: _BATCH_NORM, 3: _BATCH_NORM[1:]}  # by the number of variables; I3D has no gamma


def _open_h5(path: Path) -> WeightsFile:
    values: dict[str, Value] = {}
    layers = set()

    def add(variable: str, group: Any, index: str) -> None:
        if not _is_plain(group, index):
            place = f"{group.name}/{index}".lstrip("/")
            raise ValueError(f"{place} is not an array of numbers inside the file")
        if variable in values:
            raise ValueError(f"it has two of {variable}")
        data = group[index]
        values[variable] = Value(variable, data.shape, partial(_read_h5, path, data.name))

    def visit(group: str, node: Any) -> None:
        name = node.attrs.get("name") if re.fullmatch(r"layers/[^/]+/vars", group) else None
        if not isinstance(node, h5py.Group) or not isinstance(name, str):
            return
        layers.add(name)
        if name != "normalization":
            for index, kind in zip(node, _KINDS.get(len(node), ("kernel", "bias")), strict=False):
                add(f"{name}/{kind}", node, index)

    def visit_keras_2(place: str, node: Any) -> None:
        match = re.fullmatch(r"(?:model_weights/)?(\w+)/(?:.+/)?([^/]+)", place)
        if match and match[1] != "optimizer_weights" and isinstance(node, h5py.Dataset):
            add(f"{match[1]}/{'kernel' if node.ndim > 1 else 'bias'}", node.parent, match[2])

    try:
        with h5py.File(path) as file:
            # `save_weights`, or `save` of a whole model.
            keras_2 = "layer_names" in file.attrs or "model_weights" in file
            backend = file.attrs.get("backend")
            file.visititems(visit_keras_2 if keras_2 else visit)
    except (OSError, KeyError, RuntimeError, ValueError, AttributeError) as error:
        raise WeightsError(f"`weights`: {path} is no file of Keras's weights: {error}") from error
    if keras_2:
        backend = backend.decode() if isinstance(backend, bytes) else backend
        values, channels_first = c3d_files.from_keras_2(path, values, backend)
    if not values:
        raise WeightsError(
            f"`weights`: {path} does not name its layers, as Keras 3 does: build the network, "
            "`load_weights` it and save it as .keras."
        )
    network, options = identify_network(values, "hara")
    if network in NETWORKS:
        options["max_pool"] = "pool1" in layers
    elif network and not keras_2:
        options["pool5_padding"] = "both" if "pool5_pad" in layers else "behind"
    file = WeightsFile(path, values, network, options)
    return c3d_files.settle(file, pytorch.C3D, channels_first) if network and keras_2 else file


def _is_plain(group: h5py.Group, name: str) -> bool:
    """Whether it is neither a link nor an array in another file, which would then be read."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return False
    data = group[name]
    return (
        isinstance(data, h5py.Dataset)
        and data.external is None
        and not data.is_virtual
        and data.dtype.kind == "f"
        and 0 < data.nbytes <= 1000 * max(1, data.id.get_storage_size())
    )


def _read_h5(path: Path, place: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[place][()]


_FORMATS = {".keras": _open_keras, ".h5": _open_h5, ".npz": _open_compact}
