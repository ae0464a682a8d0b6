"""The model, or the models, that a command names by its flags: one rule for all commands.

Importing this loads neither Keras nor TensorFlow, so that wrong names are refused at once.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_r3d import run_folder
from keras_r3d.run_folder import Run
from keras_r3d.system.errors import ArgumentError

if TYPE_CHECKING:
    from keras_r3d.inference.models.classifier import Classifier
    from keras_r3d.recipe import Recipe


_DEPTH = 4  # RUN/export/NAME/VERSION


@dataclasses.dataclass(frozen=True)
class Named:
    """What names a model, or several, in a command.

    Attributes:
        model: folder of a run, whose best model is taken, or a file: .keras, .tflite, .onnx, .xml
            of OpenVINO, the folder of a SavedModel, or weights.
        workdir: the run that a model file is of, where it does not lie in its folder; alone, as
            `model`.
        recipe: says how clips are cut, for a `model` that does not say so itself.
        fuse: runs whose scores are averaged, instead of one model.
        weights: of each of these; 1 each if none are given.
    """

    model: str | None = None
    workdir: str | None = None
    recipe: str | None = None
    fuse: Sequence[str] | None = None
    weights: Sequence[str] = ()

    def __post_init__(self) -> None:
        if bool(self.workdir or self.model) == bool(self.fuse):
            ways = ["`model` RUN", "`model` FILE"]
            ways += [] if self.fuse is None else ["`fuse` RUN_A RUN_B"]
            raise ArgumentError(f"Name a model: {', '.join(ways[:-1])} or {ways[-1]}.")
        if self.weights and not self.fuse:
            raise ArgumentError("`weights` is for `fuse`.")
        if self.recipe and (self.workdir or not self.model):
            raise ArgumentError("`recipe` is for a `model` without `workdir`: a run has its own.")


@dataclasses.dataclass(frozen=True)
class Opened:
    """A model, and where it comes from."""

    classifier: "Classifier"
    run: Run | None  # that the model is of, if it is of one
    best: bool = False  # it is that run's best


def open_model(
    model: str | None,
    workdir: str | None = None,
    recipe: "str | Recipe | None" = None,
    protocol: str | None = None,
    devices: str = "all",
) -> Opened:
    """Opens a model by its place; `model`, `workdir` and `recipe` as in `Named`.

    `protocol` is as `protocol.overrides` takes it, `devices` as `system.devices.choose`.
    """
    path = Path(model) if model else None
    if path is not None and (path / run_folder.RECIPE).is_file():
        return of_run(run_folder.open_run(path), None, protocol, devices)
    if workdir:
        return of_run(run_folder.open_run(workdir), path, protocol, devices)
    assert path is not None  # `Named` sees to it
    # The run in whose folder the model lies; with a recipe of its own it is of none.
    for folder in () if recipe else list(path.absolute().parents)[:_DEPTH]:
        if (folder / run_folder.RECIPE).is_file():
            return of_run(run_folder.open_run(folder), path, protocol, devices)
    return Opened(_open(path, recipe, protocol, devices), None)


def of_run(
    run: Run, model: Path | None = None, protocol: str | None = None, devices: str = "all"
) -> Opened:
    """Opens the best model of a run, or another one of it; arguments as of `open_model`."""
    opened = _open(model or run.model_path(), run, protocol, devices)
    return Opened(opened, run, best=model is None)


def _open(
    path: Path, experiment: "str | Recipe | Run | None", protocol: str | None, devices: str
) -> "Classifier":
    from keras_r3d.inference.models import classifier
    from keras_r3d.inference.models import protocol as protocols
    from keras_r3d.system.devices import choose

    changes = protocols.overrides(protocol)
    return classifier.of_file(path, experiment, overrides=changes, hardware=choose(devices))
