"""Trains as a recipe says, and evaluates what comes out; TensorFlow is imported last."""

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from keras_r3d import recipe as recipes
from keras_r3d import run_folder
from keras_r3d.data import annotations
from keras_r3d.recipe import Recipe
from keras_r3d.run_folder import Run
from keras_r3d.system import cluster
from keras_r3d.system.errors import ArgumentError, RecipeError, check_range
from keras_r3d.system.objects import outputs
from keras_r3d.system.text import shown
from keras_r3d.system.work import Share, Spread, Spreading

if TYPE_CHECKING:
    import keras

Say = Callable[[str], None]


@cluster.spread
def train(
    recipe: "str | PathLike[str] | Recipe",
    data: str | PathLike[str] | None = None,
    *,
    workdir: str | PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    weights: str | None = None,
    folds: int | None = None,
    open_set: float | None = None,
    devices: str = "all",
    fresh: bool = False,
    cache_gib: float = 2.0,
    save_minutes: float = 10.0,
    save_steps: int = 0,
    deterministic: bool = False,
    histograms: bool = False,
    xla: bool = False,
    callbacks: "Sequence[keras.callbacks.Callback]" = (),
    say: Say = print,
    progress: Callable[[int, int], None] | None = None,
    **spread: Unpack[Spreading],
) -> Run | Share:
    """Trains as a recipe says, and evaluates what comes out.

    Resumes a run of the same recipe and data found in `workdir`, from its last saved state.

    Args:
        recipe: name of a recipe that comes with keras_r3d, path of a TOML file, or a `Recipe`.
        data: folder of videos, CSV file or clip store; None renders those of recipes that need
            none.
        workdir: folder of the run, or s3://BUCKET/NAME, gs://BUCKET/NAME; a run of the same recipe
            found there is resumed. None is runs/RECIPE, or runs/RECIPE-2, … where that has ended.
        overrides: changes of recipe keys, such as "train.epochs=5".
        weights: weights to start from: a name, a file, or the folder of a run (`model.weights`).
            Several to choose from, with recipe few: "motion,FILE".
        folds: parts of the cross-validation of few videos, 2 or more (`few.folds`).
        open_set: share of held-out videos of known classes that may be called "none of these", a
            class that the model then has, too (`few.open_set`).
        devices: "all", "cpu", "cpu:N" (N virtual ones, to try things out) or "gpu:0,2,…".
        fresh: start over; a run that is in `workdir` is moved aside.
        cache_gib: memory for decoded frames, in GiB; a video that fits is decoded only once.
        save_minutes: time between two saved states; 0 saves them at the ends of epochs only.
        save_steps: steps between two saved states; 0 saves them by time only.
        deterministic: the same result to the bit on the same machine, also on GPU (slower there).
        histograms: TensorBoard also gets histograms of the weights.
        xla: let XLA compile the gradient; much slower on CPU.
        callbacks: Keras callbacks, as `docs/training.md` says (not of a recipe with [few]).
        say: takes each line of the report.
        progress: takes the number of videos embedded so far, and of all, of a recipe with [few].
        spread: as of `keras_r3d.data.prepare_store`, for the embeddings of a recipe with [few].

    Returns:
        The run: `path`, `summary` (figures), `classes`, `recipe`; `VideoClassifier(run)` is its
        model.

    Raises:
        RecipeError: the recipe cannot be found, read or accepted, or needs videos.
        InterruptedTraining: SIGTERM or SIGINT came; its state is saved.
        R3DError: anything in the data or the folder that keeps it from being done.
    """
    check_range(0, cache_gib=cache_gib, save_minutes=save_minutes, save_steps=save_steps)
    experiment, name = _resolve(
        recipe, data, overrides, weights, {"folds": folds, "open_set": open_set}
    )
    if callbacks and experiment.few is not None:
        raise RecipeError("A recipe with [few] has no epochs, and takes no `callbacks`.")
    spreading = Spread(**spread)
    if spreading != Spread() and experiment.few is None:
        raise RecipeError(
            f"`shard_index`, `shard_count` and `finish` share the embeddings of a recipe with "
            f"[few], and '{name}' has none: on several machines see docs/training.md."
        )
    spreading.check(workdir, "workdir")
    if workdir is None:
        path = run_folder.default_path(Path("runs"), name)
    else:
        path = outputs.local(workdir, "workdir")
        if outputs.is_url(fspath(workdir)) and (fresh or os.environ.get("TF_CONFIG")):
            raise ArgumentError(
                f"`workdir` {workdir} is a URL: a training there takes no `fresh` (start over in "
                "another one), and one machine (no TF_CONFIG)."
            )
    say = functools.partial(_say_shown, say)
    with outputs.mirrored(path):
        if not (path / run_folder.RECIPE).is_file():
            run_folder.check_free(path)

        from keras_r3d import applications  # noqa: F401 (first: says so if Keras runs on another backend)
        from keras_r3d.inference.evaluation import evaluating
        from keras_r3d.system.devices import choose
        from keras_r3d.training import run

        place = _place_of(experiment, data, say)
        if spreading.is_share:
            return run.embed_share(
                *(experiment, place, path),
                devices=devices,
                say=say,
                progress=progress,
                spread=spreading,
            )
        done = run.train_network(
            experiment,
            place,
            path,
            devices=devices,
            fresh=fresh,
            cache_gib=cache_gib,
            save_minutes=save_minutes,
            save_steps=save_steps,
            deterministic=deterministic,
            histograms=histograms,
            xla=xla,
            callbacks=callbacks,
            say=say,
            progress=progress,
            spread=spreading,
        )
        alone = choose(devices).workers == 1
        if experiment.few is None and alone:
            run.choose_thresholds(done, devices, say)
        if experiment.few is None and alone and "evaluation" not in done.summary:
            say(f"\nEvaluation on split '{experiment.eval.split}':")
            evaluating.evaluate_run(done, devices=devices, say=say)
        return done


def _say_shown(say: Say, line: str) -> None:
    """Says a line with the URL of a run in place of its folder here."""
    say(shown(line))


def dry_run(
    recipe: "str | PathLike[str] | Recipe",
    data: str | PathLike[str] | None = None,
    *,
    overrides: Sequence[str] = (),
    weights: str | None = None,
    folds: int | None = None,
    open_set: float | None = None,
    devices: str = "all",
    cache_gib: float = 2.0,
    xla: bool = False,
    say: Say = print,
) -> None:
    """Says what a training would do and takes a few steps of it; writes nothing.

    Args:
        recipe, data, overrides, weights, folds, open_set: as of `train`.
        devices, cache_gib, xla, say: as of `train`.

    Raises:
        R3DError: whatever would keep the training from being done.
    """
    experiment, _ = _resolve(
        recipe, data, overrides, weights, {"folds": folds, "open_set": open_set}
    )

    from keras_r3d import applications  # noqa: F401 (first, as in `train`)
    from keras_r3d.training import dry_running

    dry_running.try_out(experiment, _place_of(experiment, data, say), devices, xla, cache_gib, say)


def _resolve(
    recipe: "str | PathLike[str] | Recipe",
    data: str | PathLike[str] | None,
    overrides: Sequence[str],
    weights: str | None,
    few: Mapping[str, float | None],
) -> tuple[Recipe, str]:
    """Returns the recipe with all changes, and its name."""
    if weights is not None:
        overrides = [*overrides, f"model.weights={json.dumps(weights)}"]
    if isinstance(recipe, Recipe):
        experiment, name = recipes.override(recipe, overrides), "run"
    else:
        experiment, name = recipes.load(str(recipe), overrides), Path(recipe).stem
    for key in [key for key, value in few.items() if value is not None]:
        if experiment.few is None:
            raise RecipeError(f"`{key}` is for recipes with [few], such as few; '{name}' has none.")
        experiment = recipes.override(experiment, [f"few.{key}={few[key]}"])
    if data is None and not experiment.videos.rendered:
        raise RecipeError(_no_data(experiment, name))
    if experiment.model.weights is not None:
        # The folder of a run stands for its best model.
        places = [
            str(run_folder.open_run(place).model_path())
            if place and (Path(place) / run_folder.RECIPE).is_file()
            else place
            for place in experiment.model.weights.split(",")
        ]
        model = dataclasses.replace(experiment.model, weights=",".join(places))
        experiment = dataclasses.replace(experiment, model=model)
    return experiment, name


def _place_of(experiment: Recipe, data: str | PathLike[str] | None, say: Say) -> str:
    """Returns where the videos are; where none are named, renders those of the recipe."""
    from keras_r3d.data import demo, motion

    if data is not None:
        return fspath(data)
    if experiment.videos.annotations == "motion":
        return motion.URL
    folder = demo.render()
    say(f"No data: the demo videos are rendered into {folder}.")
    return str(folder)


def _no_data(experiment: Recipe, name: str) -> str:
    if experiment.videos.annotations in ("folders", annotations.AUTO):
        expected = annotations.LAYOUT
    else:
        expected = (
            f"  DATA_DIR/{experiment.videos.annotations}: a CSV file with the columns "
            "path,label[,split][,start_seconds,end_seconds], paths relative to DATA_DIR; or the "
            "lists of Kinetics, ActivityNet, UCF101 or HMDB51"
        )
    return (
        f"Recipe '{name}' needs videos: pass --data_dir DATA_DIR, where it expects\n{expected}\n"
        f"Then: python -m keras_r3d.train --recipe {name} --data_dir DATA_DIR\n"
        "Without videos at hand: python -m keras_r3d.train --recipe demo"
    )
