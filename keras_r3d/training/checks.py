"""Checks before a training starts or resumes: recipe, devices, data, folder, other workers."""

import dataclasses
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_r3d import recipe as recipes
from keras_r3d import run_folder
from keras_r3d.data import annotations, opening
from keras_r3d.data.annotations import Annotations
from keras_r3d.data.annotations.video import some
from keras_r3d.data.opening import Source
from keras_r3d.recipe import Recipe
from keras_r3d.recipe.tables import listed
from keras_r3d.run_folder import Run
from keras_r3d.system.devices import Devices
from keras_r3d.system.errors import (
    DataError,
    DeviceError,
    R3DError,
    RecipeError,
    RunError,
    TrainingError,
)
from keras_r3d.training import finetune
from keras_r3d.training.finetune import Say
from keras_r3d.training.moved_data import REMEDY

LEAST_TO_CHOOSE = 30  # validation videos: with fewer the best epoch is luck


def open_source(
    recipe: Recipe, data: str | Path, devices: Devices, say: Say, cache_gib: float = 0.0
) -> tuple[Source, list[recipes.Model]]:
    """Opens the weights and the videos of a recipe, without reading any video.

    Returns the videos, and for each of the weights the recipe's [model] with what they decide. All
    that is wrong with recipe, weights, devices and videos is one R3DError.
    """
    few = recipe.few is not None
    errors: list[R3DError] = [] if few else _device_errors(recipe, devices)
    # Of few videos there may be several weights to choose from.
    weights = recipe.model.weights
    names = [name.strip() for name in (weights or "").split(",")] if few else [weights]
    models = []
    for name in names:
        model = dataclasses.replace(recipe.model, weights=name)
        try:
            models.append(finetune.settle(model, say, in_channels=recipe.clips.channels))
        except R3DError as error:
            errors.append(error)
    try:
        source = opening.open_source(
            data,
            recipe.clips,
            recipe.videos,
            cache_gib=cache_gib,
            seed=recipe.train.seed,
            least_validation=0 if few or recipe.eval.split == "validation" else LEAST_TO_CHOOSE,
        )
        for note in source.annotations.notes:
            say(f"Note: {note}")
        if not few:
            errors += split_errors(source.annotations, recipe)
        classes = source.annotations.classes
        if odd := sorted(set(recipe.eval.silent or ()) - set(classes)):
            errors.append(
                RecipeError(
                    f"Recipe key 'eval.silent' must name classes of the videos, which are "
                    f"{some(classes, 20)}. Received: {some(odd)}"
                )
            )
    except R3DError as error:
        errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise RecipeError(listed("This training", [str(error) for error in errors]))
    return source, models


def _device_errors(recipe: Recipe, devices: Devices) -> list[R3DError]:
    """Finds what a recipe asks of devices that they cannot do."""
    train, replicas, problems = recipe.train, devices.replicas, []
    each, rest = divmod(train.batch_size, replicas)
    if rest:
        problems.append(
            f"'train.batch_size' must be divisible by the {replicas} replicas. "
            f"Received: {train.batch_size}"
        )
    elif each % (train.accumulate or 1):
        problems.append(
            f"'train.accumulate' must divide the {each} clips of a replica. "
            f"Received: {train.accumulate}"
        )
    problems += [
        f"'train.{key}' blends clips of a replica, and each has only one: 'train.batch_size' must "
        f"be above {replicas}. Received: {train.batch_size}"
        for key in ("mixup", "cutmix")
        if each == 1 and not rest and getattr(train, key)
    ]
    if recipe.eval.batch_size % devices.workers:
        problems.append(
            f"'eval.batch_size' must be divisible by the {devices.workers} workers. "
            f"Received: {recipe.eval.batch_size}"
        )
    if train.precision == "float16" and not devices.on_gpu:
        problems.append(
            '\'train.precision\' is "float16", which needs a GPU; on CPU use "bfloat16".'
        )
    return [RecipeError(f"Recipe key {problem}") for problem in problems]


def split_errors(videos: Annotations, recipe: Recipe) -> list[R3DError]:
    """Finds the splits that a recipe needs and the annotations do not have."""
    errors: list[R3DError] = []
    for split in ("train", recipe.eval.split):  # better missed now than after the training
        try:
            videos.split(split)
        except DataError as error:
            errors.append(error)
    if videos.splits.get("validation") == [] and recipe.eval.split != "validation":
        errors.append(
            DataError(
                "The validation split has no videos. Add some, or remove the split: without one "
                "the last epoch is kept (`overrides` 'videos.hold_out.validation=0' where it is "
                "held out)."
            )
        )
    return errors


def find_run(workdir: Path, recipe: Recipe, fresh: bool, say: Say) -> Run | None:
    """Opens the run that is in a folder, to resume it; None if a new one is to be made there.

    Raises RunError if it is of another recipe, or damaged, or the folder holds something else.
    """
    if not (workdir / run_folder.RECIPE).is_file():
        run_folder.check_free(workdir)
        return None
    if fresh:
        return None
    try:
        run = run_folder.open_run(workdir)
    except R3DError as error:
        raise RunError(f"{workdir} holds a run that cannot be resumed: {error} {REMEDY}") from error
    # A run has what its weights decided.
    settled = dataclasses.replace(recipe, model=finetune.as_settled(recipe.model, run.recipe.model))
    before, now = (_values(recipes.to_dict(values)) for values in (run.recipe, settled))
    changed = [
        f"{key}: {before.get(key, 'absent')} in the run, {now.get(key, 'absent')} now"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise RunError(
            "\n  ".join([f"{workdir} holds a run of another recipe:", *changed])
            + f"\nTo resume it, use that recipe. {REMEDY}"
        )
    if run.trained:
        say(f"{workdir} holds a finished run of this recipe; pass `fresh` to start over.")
    return dataclasses.replace(run, recipe=settled)


def _values(table: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """Returns the values of nested tables, as text, by "section.key"."""
    values: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            values |= _values(value, f"{path}{key}.")
        else:
            values[f"{path}{key}"] = repr(value)
    return values


def check_finished(run: Run, data: str | Path) -> None:
    """Raises RunError if a finished run has lost its model, or was trained on other data."""
    run.model_path()
    now, before = annotations.absolute(data), run.summary["data_dir"]
    if now.partition("?")[0] != before:
        raise RunError(
            f"{run.path} holds a finished run on {before}, not on {now}. To evaluate it on other "
            f"videos: python -m keras_r3d.evaluate --workdir {run.path} --data_dir {now}. {REMEDY}"
        )


def wait_for_all(devices: Devices) -> None:
    """Waits until all workers are here."""
    if devices.workers > 1:
        _sum(devices, 1)


def check_together(devices: Devices, recipe: Recipe, source: Source, step: int) -> None:
    """Raises TrainingError if the workers do not do the same, from the same step on."""
    if devices.workers == 1:
        return
    model = recipe.model  # whose weights may lie elsewhere
    same_everywhere = dataclasses.replace(
        recipe, model=dataclasses.replace(model, weights=model.weights and "weights")
    )
    lines = [recipes.dumps(same_everywhere)] + [
        f"{split} {annotations.relative(video.path, source.root)} {video.label}"
        for split, videos in source.annotations.splits.items()
        for video in videos
    ]
    number = zlib.crc32("\n".join(lines).encode(errors="surrogateescape"))
    if _sum(devices, number) != devices.replicas * number:
        raise TrainingError(
            "The workers do not have the same recipe, or not the same videos: start all of them "
            "with the same flags, on the same data."
        )
    if _sum(devices, step) != devices.replicas * step:
        raise TrainingError(
            f"Worker {devices.worker} starts at step {step}, others at another one: `workdir` must "
            "be a folder that all workers share."
        )


def _sum(devices: Devices, value: int) -> int:
    """Adds up a number over all replicas."""

    @tf.function
    def summed() -> tf.Tensor:
        numbers = devices.strategy.run(lambda: tf.constant(value, tf.int64))
        return devices.strategy.reduce("SUM", numbers, axis=None)

    try:
        return int(summed())
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        raise DeviceError(
            "Another worker has gone, or does not answer: start all of them again."
        ) from error
