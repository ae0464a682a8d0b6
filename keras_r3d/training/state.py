"""The saved state of a training: all that is needed to resume it as if it had never stopped."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.system import files
from keras_r3d.system.errors import RunError

_KEPT = 2
_NAME = re.compile(r"step_(\d{10})\.npz")
_ABOUT = "about.json"


@dataclasses.dataclass(frozen=True)
class State:
    """A training at the end of a step: its variables by name, and its progress in JSON's types."""

    arrays: Mapping[str, np.ndarray]
    progress: dict[str, Any]


def save(folder: Path, step: int, state: State) -> Path:
    """Writes a state, which has its name only when it is complete and on the disk; keeps two."""
    path = folder / f"step_{step:010}.npz"
    files.make_folder(folder)
    about = {"names": list(state.arrays), "progress": state.progress}
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{_ABOUT: text}, **state.arrays)
    for old in _list(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def load(folder: Path) -> State | None:
    """Reads the newest state of a run, None if there is none; raises RunError if it is damaged."""
    if not (states := _list(folder)):
        return None
    path = states[-1]
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop(_ABOUT).tobytes())
        if about["names"] != list(arrays):
            raise ValueError("an array is missing")
    except Exception as error:  # zipfile and NumPy raise many kinds
        remedy = f"resume from {states[-2].name}" if len(states) > 1 else "start over"
        raise RunError(
            f"The saved state {path} is damaged ({error}): remove it to {remedy}."
        ) from error
    return State(arrays, about["progress"])


def latest(folder: Path) -> Path | None:
    """Returns the path of the newest state of a run."""
    return max(_list(folder), default=None)


def _list(folder: Path) -> list[Path]:
    """Returns the complete states of a run, the newest last."""
    return sorted(path for path in folder.glob("step_*.npz") if _NAME.fullmatch(path.name))


def restore(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Assigns saved arrays to variables; raises RunError if these are others."""
    if differing := sorted(set(variables) ^ set(arrays)):
        raise RunError(
            "The saved state is of another network or optimizer: only one of them has "
            f"'{differing[0]}'. Was it written by another version? `fresh` starts over."
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise RunError(
                f"The saved state is of another network: '{name}' has shape "
                f"{arrays[name].shape}, {tuple(variable.shape)} was expected."
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])
