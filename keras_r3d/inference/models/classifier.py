"""A model with all that it takes to score a video: class names, and how its clips are cut."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_r3d import recipe, run_folder
from keras_r3d.applications import read_metadata
from keras_r3d.data.annotations.video import some
from keras_r3d.inference.models import runtimes
from keras_r3d.inference.models.runtimes import Score
from keras_r3d.recipe import Recipe
from keras_r3d.run_folder import Run
from keras_r3d.system.devices import Devices, choose
from keras_r3d.system.errors import ModelError

AS_THE_PAPER = "consecutive frames, as in the paper"  # what is said then

_DEPTH = 4  # RUN/export/NAME/VERSION


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A model that scores clips.

    Attributes:
        name: path of the model.
        kind: as `runtimes.kind` names it.
        classes: names, in the order of the scores.
        data: how clips are cut.
        eval: how windows and views are placed and averaged.
        score: uint8 clips `(n, frames, size, size, channels)` -> probabilities, float32 `(n,
            classes)`.
        network: the Keras model; None of other kinds.
        described: what `data` was taken from, in words.
    """

    name: str
    kind: str
    classes: Sequence[str]
    data: recipe.Data
    eval: recipe.Eval
    score: Score
    network: keras.Model | None
    described: str


def of_run(
    run: Run,
    model: Path | None = None,
    *,
    overrides: Iterable[str] = (),
    hardware: Devices | None = None,
) -> Classifier:
    """Opens the best model of a run, or another one with the run's recipe.

    Args:
        model: of the same network, as `runtimes.kind` takes it; None is the best.
        overrides: changes of the recipe, "section.key=value".

    Raises:
        ModelError, RunError: there is no model, it is damaged, or does not fit the recipe.
        RecipeError: an override that cannot be.
    """
    given = _Given(run.recipe, f"recipe of the run {run.path}", overrides)
    return _open(model or run.model_path(), given, run.classes, hardware)


def of_file(
    path: str | Path,
    experiment: str | Recipe | None = None,
    *,
    overrides: Iterable[str] = (),
    hardware: Devices | None = None,
) -> Classifier:
    """Opens a model by its file.

    Args:
        path: as `runtimes.kind` takes it.
        experiment: recipe that says how clips are cut. None: of the run folder that the model lies
            in, if it does; else the one that the file carries; else consecutive frames, as the
            paper, as many and as large as the model takes.
        overrides: changes of the recipe, "section.key=value".

    Raises:
        ModelError: there is no model, it is damaged, or does not fit the recipe.
        RecipeError: the recipe cannot be found or read, or an override that cannot be.
    """
    path = Path(path)
    runtimes.kind(path)  # or it is an error, before anything is searched
    if isinstance(experiment, Recipe):
        given = _Given(experiment, "as it was asked for", overrides)
    elif experiment is not None:
        given = _Given(recipe.load(experiment), f"recipe {experiment}", overrides)
    elif (run := run_of(path)) is not None:
        return of_run(run, path, overrides=overrides, hardware=hardware)
    else:
        given = _Given(None, "", overrides)
    return _open(path, given, None, hardware)


def run_of(path: Path) -> Run | None:
    """Returns the run in whose folder a model lies, or one of its exports; None if it does not."""
    for folder in list(path.absolute().parents)[:_DEPTH]:
        if (folder / run_folder.RECIPE).is_file():
            return run_folder.open_run(folder)
    return None


def of_network(
    network: keras.Model,
    experiment: Recipe | None = None,
    *,
    overrides: Iterable[str] = (),
    hardware: Devices | None = None,
) -> Classifier:
    """Takes a model that is in memory.

    Args:
        network: gives probabilities or logits; its class names are kept in it, else numbers.
        experiment: recipe that says how clips are cut; None as in `of_file`.
        overrides: changes of the recipe, "section.key=value".

    Raises:
        ModelError: it does not fit the recipe.
        RecipeError: an override that cannot be.
    """
    given = _Given(experiment, "recipe", overrides)
    return _of_network(network, network.name, given, None, hardware or choose())


@dataclasses.dataclass(frozen=True)
class _Given:
    """The recipe that is asked for, None if none is, and changes of it or of the model's own."""

    experiment: Recipe | None
    said: str
    overrides: Iterable[str]

    def settled(self, own: Recipe | None) -> tuple[Recipe, str, bool]:
        """Returns the recipe of a model, what it is in words, and whether it is of the model.

        Args:
            own: the recipe that the model carries; None if it carries none.
        """
        changes = list(self.overrides)
        if self.experiment is not None:
            return recipe.override(self.experiment, changes), self.said, True
        if own is not None:
            return recipe.override(own, changes), "recipe in the model", True
        return recipe.load(recipe.PAPER, changes), AS_THE_PAPER, False


def _open(
    path: Path, given: _Given, classes: Sequence[str] | None, hardware: Devices | None
) -> Classifier:
    kind = runtimes.kind(path)
    hardware = hardware or choose()
    if kind == runtimes.KERAS:
        with hardware.strategy.scope():
            network = runtimes.load_network(path)
        return _of_network(network, str(path), given, classes, hardware)
    exported = runtimes.load_export(path)
    own = exported.manifest
    classes = _names(str(path), own.classes if own is not None else None, classes)
    if classes is None:
        raise ModelError(
            f"{path} comes without class names: pass --workdir, the run it was exported from."
        )
    if exported.classes not in (None, len(classes)):
        raise ModelError(f"{path} has {exported.classes} classes, but {len(classes)} are named.")
    experiment, said, known = given.settled(own.recipe if own is not None else None)
    data = _fitting(str(path), experiment.data, exported.shape, shape_decides=not known)
    score = exported.score(experiment.eval.batch_size)
    return Classifier(str(path), kind, list(classes), data, experiment.eval, score, None, said)


def _of_network(
    network: keras.Model,
    name: str,
    given: _Given,
    classes: Sequence[str] | None,
    hardware: Devices,
) -> Classifier:
    known = read_metadata(network)
    shape, outputs = network.input_shape, network.output_shape
    if len(shape) != 5 or len(outputs) != 2 or outputs[-1] is None:
        raise ModelError(
            f"{name} must take clips (batch, frames, height, width, channels) and give (batch, "
            f"classes). Received: {shape} -> {outputs}"
        )
    if known is not None and not known.normalises:
        raise ModelError(
            f"{name} does not normalise its input itself (include_preprocessing=False), so pixels "
            "of 0-255 are of no use to it. Build it with include_preprocessing=True."
        )
    classes = _names(name, known.labels if known is not None else None, classes)
    if classes is None:
        classes = [str(number) for number in range(outputs[-1])]
    if len(classes) != outputs[-1]:
        raise ModelError(f"{name} has {outputs[-1]} classes, but {len(classes)} are named.")
    own = None if known is None or known.recipe is None else _own_recipe(name, known.recipe)
    experiment, said, fixed = given.settled(own)
    score = runtimes.of_network(network, hardware, experiment.eval.batch_size)
    data = _fitting(name, experiment.data, shape[1:], shape_decides=not fixed)
    kind = runtimes.KERAS
    return Classifier(name, kind, list(classes), data, experiment.eval, score, network, said)


def _own_recipe(name: str, tables: Mapping[str, Any]) -> Recipe:
    """Returns the recipe that a model carries: a whole one, or of `Clips` its [data] and [eval]."""
    try:
        return recipe.of_clips(tables)
    except recipe.RecipeError as error:
        raise ModelError(
            f"{name} carries a recipe of another version of keras_r3d: pass --recipe. {error}"
        ) from error


def _names(
    model: str, own: Sequence[str] | None, of_run: Sequence[str] | None
) -> Sequence[str] | None:
    """Returns the class names of a model: its own, if it has some, else those of its run.

    Raises:
        ModelError: they are of other classes.
    """
    if own and of_run and (different := sorted(set(own) ^ set(of_run))):
        raise ModelError(
            f"{model} has other classes than the run. Only one of them has: {some(different)}"
        )
    return own or of_run


def _fitting(
    name: str, data: recipe.Data, shape: Sequence[int | None], shape_decides: bool
) -> recipe.Data:
    """Returns how clips are cut for a model of an input shape `(frames, height, width, channels)`.

    Raises:
        ModelError: the recipe's clips are of another shape.
    """
    frames, height, width, _ = shape
    if height != width:
        raise ModelError(f"{name} must take square clips. Received: {height}x{width} pixels")
    if shape_decides:
        data = dataclasses.replace(data, frames=frames or data.frames, size=height or data.size)
    given = (data.frames, data.size, data.size, data.channels)
    if any(one not in (None, ours) for one, ours in zip(shape, given, strict=True)):
        raise ModelError(
            f"{name} takes clips of {tuple(shape)} (frames, height, width, channels), but its "
            f"recipe cuts {given}: pass the recipe it was trained with."
        )
    return data
