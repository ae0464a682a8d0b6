"""Runs a whole experiment: a training as its recipe says, then its evaluation."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from os import PathLike, fspath
from pathlib import Path

import keras

from keras_r3d import recipe as recipes
from keras_r3d import run_folder
from keras_r3d.data import demo, motion
from keras_r3d.inference.evaluation import evaluating
from keras_r3d.recipe import Recipe
from keras_r3d.run_folder import Run
from keras_r3d.system import devices as all_devices
from keras_r3d.system.errors import RecipeError
from keras_r3d.training import dry_running, run
from keras_r3d.training.few import fitting
from keras_r3d.training.preparing import Options

Say = Callable[[str], None]


def train(
    recipe: "str | PathLike[str] | Recipe",
    data: str | PathLike[str] | None = None,
    *,
    workdir: str | PathLike[str] | None = None,
    overrides: Iterable[str] = (),
    devices: str = "all",
    fresh: bool = False,
    histograms: bool = False,
    xla: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    say: Say = print,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Trains as a recipe says, and evaluates what comes out.

    A run of the same recipe and data that is in `workdir` is resumed from its last saved state.

    Args:
        recipe: name of a recipe that comes with keras_r3d, path of a TOML file, or a `Recipe`.
        data: folder of videos, CSV file or clip store; None renders those of recipes that need
            none.
        workdir: folder of the run; None is runs/RECIPE, or runs/RECIPE-2, … where that has ended.
        overrides: changes of the recipe, "section.key=value".
        devices: "all", "cpu", "cpu:N" or "gpu:0,2,…".
        fresh: start over; a run that is in `workdir` is moved aside.
        histograms: TensorBoard also gets histograms of the weights.
        xla: let XLA compile the gradient (on CPU much slower).
        callbacks: Keras callbacks, as `docs/training.md` says (not of a recipe with [few]).
        say: takes each line of the report.
        progress: takes the number of videos embedded so far, and of all, of a recipe with [few].

    Returns:
        The run: `path`, `summary` (figures), `classes`, `recipe`; `VideoClassifier(run)` is its
        model.

    Raises:
        RecipeError: the recipe cannot be found, read or accepted, or needs videos.
        InterruptedTraining: SIGTERM or SIGINT came; its state is saved.
        R3DError: anything in the data or the folder that keeps it from being done.
    """
    experiment, name = _loaded(recipe, overrides)
    path = Path(workdir) if workdir else default_workdir(Path("runs"), name)
    if not (path / run_folder.RECIPE).is_file():
        run_folder.check_free(path)
    found = data_of(experiment, data, name, say)
    options = Options(devices=devices, fresh=fresh, histograms=histograms, xla=xla)
    if experiment.few is not None:
        if callbacks:
            raise RecipeError("A recipe with [few] has no epochs, and takes no `callbacks`.")
        return fitting.train(experiment, found, path, options, say=say, progress=progress)
    done = run.train(experiment, found, path, options, callbacks=callbacks, say=say)
    if all_devices.choose(devices).workers == 1 and "evaluation" not in done.summary:
        say(f"\nEvaluation on split '{experiment.eval.split}':")
        evaluating.evaluate_run(done, devices=devices, say=say)
    return done


def dry_run(
    recipe: "str | PathLike[str] | Recipe",
    data: str | PathLike[str] | None = None,
    *,
    overrides: Iterable[str] = (),
    devices: str = "all",
    say: Say = print,
) -> None:
    """Says what a training would do and takes a few steps of it; writes nothing.

    Args:
        recipe, data, overrides, devices, say: as of `train`.

    Raises:
        R3DError: whatever would keep the training from being done.
    """
    experiment, name = _loaded(recipe, overrides)
    found = data_of(experiment, data, name, say)
    dry_running.rehearse(experiment, found, Options(devices=devices), say=say)


def figures(done: Run) -> Sequence[tuple[str, str]]:
    """Returns what a finished run came to, as lines of a table."""
    return (fitting if done.recipe.few is not None else run).figures(done)


def _loaded(recipe: "str | PathLike[str] | Recipe", overrides: Iterable[str]) -> tuple[Recipe, str]:
    if isinstance(recipe, Recipe):
        experiment, name = recipes.override(recipe, overrides), "run"
    else:
        experiment, name = recipes.load(str(recipe), overrides), Path(recipe).stem
    weights = ",".join(map(_best_of_run, experiment.model.weights.split(",")))
    model = dataclasses.replace(experiment.model, weights=weights)
    return dataclasses.replace(experiment, model=model), name


def _best_of_run(weights: str) -> str:
    """Returns the best model of a run, where the folder of one stands for weights."""
    if weights and (Path(weights) / run_folder.RECIPE).is_file():
        return str(run_folder.open_run(weights).model_path())
    return weights


def data_of(experiment: Recipe, data: str | PathLike[str] | None, name: str, say: Say) -> str:
    """Returns the data of a training; where none is named, what the recipe renders.

    Raises:
        RecipeError: the recipe needs videos.
    """
    if data is not None:
        return fspath(data)
    if not experiment.data.rendered:
        raise RecipeError(f"Recipe '{name}' needs videos: pass `data`.")
    if experiment.data.annotations == "motion":
        return motion.URL
    folder = demo.render()
    say(f"No data: the demo videos are rendered into {folder}.")
    return str(folder)


def default_workdir(root: Path, name: str) -> Path:
    """Returns the last of `runs/NAME`, `runs/NAME-2`, … if it has not ended, else a new one."""
    following = run_folder.next_free(root, name)
    number = following.name.removeprefix(name).removeprefix("-")
    last = int(number) - 1 if number else 0
    before = root / (f"{name}-{last}" if last > 1 else name)
    if last and not run_folder.ended(before):
        return before
    return following
