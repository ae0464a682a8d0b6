"""A model with all that it takes to score a video: class names, and how its clips are cut."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras

from keras_r3d import recipe, run_folder
from keras_r3d.applications import Metadata, read_metadata
from keras_r3d.data.annotations.video import some
from keras_r3d.inference.models import runtimes
from keras_r3d.inference.models.runtimes import Score
from keras_r3d.recipe import Recipe
from keras_r3d.run_folder import Run
from keras_r3d.system.devices import Devices, choose
from keras_r3d.system.errors import ModelError

AS_THE_PAPER = "consecutive frames, as in the paper"  # `described`, where nothing says otherwise

_DEPTH = 4  # RUN/export/NAME/VERSION


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A model that scores clips.

    Attributes:
        name: path of the model.
        kind: as `runtimes.kind` names it.
        classes: names, in the order of the scores.
        clips: how clips are cut.
        eval: how windows and views are placed and averaged.
        score: uint8 clips `(n, frames, size, size, channels)` -> probabilities, float32 `(n,
            classes)`.
        network: the Keras model; None of other kinds.
        described: what `clips` was taken from, in words.
    """

    name: str
    kind: str
    classes: Sequence[str]
    clips: recipe.Clips
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
    outside = _Outside(run.recipe, f"recipe of the run {run.path}", overrides, run.classes)
    return _open(model or run.model_path(), outside, hardware)


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
    if experiment is None and (run := run_of(path)) is not None:
        return of_run(run, path, overrides=overrides, hardware=hardware)
    words = "as it was asked for"
    if isinstance(experiment, str):
        words, experiment = f"recipe {experiment}", recipe.load(experiment)
    return _open(path, _Outside(experiment, words, overrides), hardware)


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
    outside = _Outside(experiment, "recipe", overrides)
    return _of_network(network, network.name, outside, hardware or choose())


@dataclasses.dataclass(frozen=True)
class _Outside:
    """What is known of a model beside what it says itself.

    Attributes:
        recipe: comes before the model's own; None if there is none.
        words: what `recipe` is.
        overrides: changes of the one that counts.
        classes: of the model's run; None where it is of none.
    """

    recipe: Recipe | None
    words: str
    overrides: Iterable[str]
    classes: Sequence[str] | None = None


def _open(path: Path, outside: _Outside, hardware: Devices | None) -> Classifier:
    kind = runtimes.kind(path)
    hardware = hardware or choose()
    if kind == runtimes.KERAS:
        with hardware.strategy.scope():
            network = runtimes.load_network(path)
        return _of_network(network, str(path), outside, hardware)
    export = runtimes.load_export(path)
    if export.metadata is None and outside.classes is None:
        raise ModelError(
            f"{path} comes without class names: pass --workdir, the run it was exported from."
        )
    classes, clips, evaluation, described = _settle(
        str(path), export.metadata, outside, export.shape, export.classes
    )
    score = export.score(evaluation.batch_size)
    return Classifier(str(path), kind, classes, clips, evaluation, score, None, described)


def _of_network(
    network: keras.Model, name: str, outside: _Outside, hardware: Devices
) -> Classifier:
    metadata = read_metadata(network)
    shape, outputs = network.input_shape, network.output_shape
    if len(shape) != 5 or len(outputs) != 2 or outputs[-1] is None:
        raise ModelError(
            f"{name} must take clips (batch, frames, height, width, channels) and give (batch, "
            f"classes). Received: {shape} -> {outputs}"
        )
    if metadata is not None and not metadata.normalises:
        raise ModelError(
            f"{name} does not normalize its input itself (include_preprocessing=False), so pixels "
            "of 0-255 are of no use to it. Build it with include_preprocessing=True."
        )
    classes, clips, evaluation, described = _settle(name, metadata, outside, shape[1:], outputs[-1])
    score = runtimes.of_network(network, hardware, evaluation.batch_size)
    kind = runtimes.KERAS
    return Classifier(name, kind, classes, clips, evaluation, score, network, described)


def _settle(
    name: str,
    metadata: Metadata | None,
    outside: _Outside,
    shape: Sequence[int | None],
    count: int | None,
) -> tuple[list[str], recipe.Clips, recipe.Eval, str]:
    """Settles what counts of a model: what it says itself, or what is known from outside.

    Args:
        metadata: what the model says of itself.
        shape: of its clips, `(frames, height, width, channels)`.
        count: number of its classes; None if that is not known.

    Returns:
        Class names, how clips are cut, how windows are placed, and what that was taken from.

    Raises:
        ModelError: the model has other classes or takes other clips than it should.
    """
    metadata = metadata or Metadata()
    labels, known = metadata.labels, outside.classes
    if labels and known and (others := sorted(set(labels) ^ set(known))):
        raise ModelError(
            f"{name} has other classes than the run. Only one of them has: {some(others)}"
        )
    classes = list(labels or known or map(str, range(count or 0)))
    if count not in (None, len(classes)):
        raise ModelError(f"{name} has {count} classes, but {len(classes)} are named.")
    frames, height, width, _ = shape
    if height != width:
        raise ModelError(f"{name} must take square clips. Received: {height}x{width} pixels")
    if outside.recipe is not None:
        experiment, described = outside.recipe, outside.words
    elif metadata.recipe is not None:
        experiment, described = metadata.read_recipe(name), "recipe in the model"
    else:
        experiment, described = recipe.load(recipe.PAPER), AS_THE_PAPER
    experiment = recipe.override(experiment, list(outside.overrides))
    clips = experiment.clips
    if described == AS_THE_PAPER:
        frames, size = frames or clips.frames, height or clips.size
        clips = dataclasses.replace(clips, frames=frames, size=size)
    if any(size not in (None, ours) for size, ours in zip(shape, clips.shape, strict=True)):
        raise ModelError(
            f"{name} takes clips of {tuple(shape)} (frames, height, width, channels), but its "
            f"recipe cuts {clips.shape}: pass the recipe it was trained with."
        )
    return classes, clips, experiment.eval, described
