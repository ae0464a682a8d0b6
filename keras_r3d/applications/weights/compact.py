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

from keras_r3d.applications import metadata
from keras_r3d.system import files
from keras_r3d.system.errors import WeightsError

_ABOUT = "about"


def write(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes the weights of a network of keras_r3d.

    Args:
        path: ends in .npz; what is there is replaced.

    Raises:
        ValueError: it is no network of keras_r3d.
        WriteError: it cannot be written.
    """
    about = metadata.read(model)
    if about is None:
        raise ValueError(f"The model {model.name} was not built by keras_r3d.")
    frames, height, _, _ = model.input_shape[1:]
    described = {
        "labels": about.labels,
        "mean": about.mean,
        "std": about.std,
        "conv1_t_stride": model.get_layer("conv1").strides[0],
        "max_pool": any(layer.name == "pool1" for layer in model.layers),
        "frames": frames,
        "size": height,
    }
    arrays = {_ABOUT: np.frombuffer(json.dumps(described).encode(), np.uint8)}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            continue
        for variable in layer.weights:
            values = keras.ops.convert_to_numpy(variable)
            halved = values.ndim > 1 and np.abs(values).max() < np.finfo(np.float16).max
            kind = np.float16 if halved else np.float32
            arrays[f"{layer.name}/{variable.name}"] = values.astype(kind)
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read(path: Path) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
    """Returns values by `layer/variable`, float16 or float32, and what they are of.

    Raises:
        WeightsError: it is damaged, or no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop(_ABOUT).tobytes())
        known = {"labels", "mean", "std", "conv1_t_stride", "max_pool", "frames", "size"}
        if set(about) != known:
            raise ValueError(f"it says {sorted(about)} of itself, not {sorted(known)}")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"`weights`: {path} is damaged, or is no compact file of weights: {error}"
        ) from error
    return arrays, about
