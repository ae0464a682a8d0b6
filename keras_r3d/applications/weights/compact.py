"""Compact files of weights, `.npz`: kernels in float16, all else in float32, and what they are of.

Half the size of a `.keras` file, and NumPy alone reads them. Those that come with keras_r3d lie
beside this file.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_r3d.applications.metadata import read_metadata
from keras_r3d.system import files
from keras_r3d.system.errors import WeightsError

_ABOUT = "about"
_KEYS = {"labels", "mean", "std", "conv1_t_stride", "max_pool", "frames", "size"}


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns the variables of a network by `layer/variable`, but not those that normalize."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        if not isinstance(layer, keras.layers.Normalization)
        for variable in layer.weights
    }


def shapeless_options(model: keras.Model) -> dict[str, Any]:
    """Reads from a residual network the options that no tensor's shape shows."""
    names = [layer.name for layer in model.layers]
    stem = model.get_layer("conv1_temporal" if "conv1_temporal" in names else "conv1")
    return {"conv1_t_stride": stem.strides[0], "max_pool": "pool1" in names}


def write_compact(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes the weights of a network into an .npz file; ValueError if it is none of keras_r3d."""
    about = read_metadata(model)
    if about is None:
        raise ValueError(f"The model {model.name} was not built by keras_r3d.")
    values = {key: getattr(about, key) for key in ("labels", "mean", "std")}
    frames, size = model.input_shape[1:3]
    text = json.dumps({**values, **shapeless_options(model), "frames": frames, "size": size})
    arrays = {_ABOUT: np.frombuffer(text.encode(), np.uint8)}
    for name, variable in named_variables(model).items():
        array = keras.ops.convert_to_numpy(variable)
        halved = array.ndim > 1 and np.abs(array).max() < np.finfo(np.float16).max
        arrays[name] = array.astype(np.float16 if halved else np.float32)
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_compact(path: Path) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
    """Returns values by `layer/variable`, float16 or float32, and what they are of.

    Raises:
        WeightsError: it is damaged, or no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop(_ABOUT).tobytes())
        if set(about) != _KEYS:
            raise ValueError(f"it says {sorted(about)} of itself, not {sorted(_KEYS)}")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"`weights`: {path} is damaged, or is no compact file of weights: {error}"
        ) from error
    return arrays, about
