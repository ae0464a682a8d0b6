"""Whether a training can begin or go on: its folder, recipe, videos and companions."""

import dataclasses
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_r3d import run_folder
from keras_r3d.data import annotations
from keras_r3d.data.annotations import Annotations
from keras_r3d.data.opening import Source
from keras_r3d.recipe import Recipe, dumps
from keras_r3d.run_folder import Run
from keras_r3d.system import files
from keras_r3d.system.devices import Devices
from keras_r3d.system.errors import DataError, DeviceError, R3DError, RunError, TrainingError
from keras_r3d.training import finetune

Say = Callable[[str], None]
# What comes out does not depend on these.
_MAY_CHANGE = {"data.cache_gib", "train.save_minutes", "train.save_steps"}
_ELSEWHERE = (
    "Else choose another --workdir, or start over with --fresh (the old run is moved aside)."
)


def device_problems(recipe: Recipe, hardware: Devices) -> list[str]:
    """Finds what a recipe asks of devices that they cannot do."""
    train, replicas, problems = recipe.train, hardware.replicas, []
    each = train.batch_size // replicas
    if train.batch_size % replicas:
        problems.append(
            f"Recipe key 'train.batch_size' must be divisible by the {replicas} replicas. "
            f"Received: {train.batch_size}"
        )
    else:
        if each % train.accumulate:
            problems.append(
                f"Recipe key 'train.accumulate' must divide the {each} clips of a replica. "
                f"Received: {train.accumulate}"
            )
        problems += [
            f"Recipe key 'train.{key}' blends clips of a replica, and each has only one: "
            f"'train.batch_size' must be above {replicas}. Received: {train.batch_size}"
            for key in ("mixup", "cutmix")
            if each == 1 and getattr(train, key)
        ]
    if recipe.eval.batch_size % hardware.workers:
        problems.append(
            f"Recipe key 'eval.batch_size' must be divisible by the {hardware.workers} workers. "
            f"Received: {recipe.eval.batch_size}"
        )
    if train.precision == "float16" and not hardware.on_gpu:
        problems.append(
            'Recipe key \'train.precision\' is "float16", which needs a GPU; on CPU use "bfloat16".'
        )
    return problems


def split_problems(found: Annotations, recipe: Recipe) -> list[str]:
    """Finds the splits that a recipe needs and the annotations do not have."""
    problems = []
    for split in ("train", recipe.eval.split):  # better missed now than after the training
        try:
            found.split(split)
        except DataError as error:
            problems.append(str(error))
    if found.splits.get("validation") == [] and recipe.eval.split != "validation":
        problems.append(
            "The validation split has no videos. Give it some, or leave it out: without one the "
            "last epoch is kept (--set data.validation_fraction=0 where it is held out)."
        )
    return problems


def find(workdir: Path, recipe: Recipe, say: Say) -> Run | None:
    """Opens the run that is in a folder, to go on with it; None if there is none.

    Raises:
        RunError: it is of another recipe, or damaged.
    """
    if not (workdir / run_folder.RECIPE).is_file():
        return None
    try:
        run = run_folder.open_run(workdir)
    except R3DError as error:
        raise RunError(
            f"{workdir} holds a run that cannot be gone on with: {error} {_ELSEWHERE}"
        ) from error
    # A run has what its weights decided.
    asked = dataclasses.replace(recipe, model=finetune.as_settled(recipe.model, run.recipe.model))
    earlier, later = _keys(run.recipe), _keys(asked)
    changed = [
        f"{key}: {earlier.get(key)!r} in the run, {later.get(key)!r} now"
        for key in dict.fromkeys([*earlier, *later])
        if key not in _MAY_CHANGE and earlier.get(key) != later.get(key)
    ]
    if changed:
        raise RunError(
            "\n  ".join([f"{workdir} holds a run of another recipe:", *changed])
            + f"\nTo go on, take that recipe. {_ELSEWHERE}"
        )
    if finished(run):
        say(f"{workdir} holds a finished run of this recipe; --fresh starts over.")
    return dataclasses.replace(run, recipe=asked)


def _keys(recipe: Recipe) -> dict[str, Any]:
    """Returns the values of a recipe by "section.key"."""
    return {
        f"{section}.{key}": value
        for section, table in dataclasses.asdict(recipe).items()
        if table is not None
        for key, value in table.items()
    }


def finished(run: Run) -> bool:
    """Whether all epochs of a run were trained."""
    return run.summary.get("status") == "trained"


def check_finished(run: Run, data_dir: str | Path) -> None:
    """Raises RunError if a finished run has lost its model, or is of other data than given."""
    run.model_path()
    given, trained_on = annotations.absolute(data_dir), run.summary["data_dir"]
    if "://" not in given and given != trained_on:
        raise RunError(
            f"{run.path} holds a finished run on {trained_on}, not on {given}. To evaluate it on "
            f"other videos: python -m keras_r3d.evaluate --workdir {run.path} --data_dir {given}. "
            + _ELSEWHERE
        )


def check_workdir(workdir: Path, *, fresh: bool) -> None:
    """Raises RunError if no run can be made in a folder."""
    if fresh and (workdir / run_folder.RECIPE).is_file():
        return
    run_folder.check_free(workdir)


def move_aside(workdir: Path, say: Say) -> None:
    """Renames the folder of a run; one that holds none is left as it is.

    Raises:
        RunError: another process trains in it.
        WriteError: it cannot be renamed.
    """
    workdir = Path(os.path.abspath(workdir))  # "." has no name
    if not (workdir / run_folder.RECIPE).is_file():
        return
    aside = run_folder.next_free(workdir.parent, f"{workdir.name}-before")
    with run_folder.held(workdir):
        try:
            workdir.rename(aside)
        except OSError as error:
            raise files.WriteError(files.explain(aside, error)) from error
    say(f"The run that was in {workdir} is now in {aside}.")


def check_videos(run: Run, opened: Source) -> None:
    """Raises RunError if the videos are no longer those that a run began with."""
    path = run.path / run_folder.VIDEOS
    try:
        before = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise RunError(
            f"{run.path} holds a run that cannot be gone on with: {path} cannot be read ({error}). "
            + _ELSEWHERE
        ) from error
    now = annotations.to_csv(opened.annotations).splitlines()
    if before == now:
        return
    gone, new = sorted(set(before) - set(now)), sorted(set(now) - set(before))
    shown = "; ".join(
        f"{len(lines)} {what}, such as {lines[0]}"
        for what, lines in (("no longer there", gone), ("new", new))
        if lines
    )
    raise RunError(
        f"The videos in {opened.path} are not those that the run {run.path} began with "
        f"({shown or 'in another order'}): a run goes on with its own videos only. Put them back. "
        + _ELSEWHERE
    )


def wait_for_all(hardware: Devices) -> None:
    """Waits until all workers are here."""
    if hardware.workers > 1:
        _sum(hardware, 1)


def check_together(hardware: Devices, recipe: Recipe, opened: Source, step: int) -> None:
    """Raises TrainingError if the workers do not do the same, from the same step on."""
    if hardware.workers == 1:
        return
    same_everywhere = dataclasses.replace(
        recipe, model=dataclasses.replace(recipe.model, weights="")
    )
    lines = [dumps(same_everywhere)] + [
        f"{split} {os.path.relpath(video.path, opened.root)} {video.label}"
        for split, videos in opened.annotations.splits.items()
        for video in videos
    ]
    number = zlib.crc32("\n".join(lines).encode(errors="surrogateescape"))
    if _sum(hardware, number) != hardware.replicas * number:
        raise TrainingError(
            "The workers have not the same recipe, or not the same videos: start all of them with "
            "the same flags, on the same data."
        )
    if _sum(hardware, step) != hardware.replicas * step:
        raise TrainingError(
            f"Worker {hardware.worker} goes on from step {step}, others from another one: "
            "--workdir must be a folder that all workers share."
        )


def _sum(hardware: Devices, value: int) -> int:
    """Adds up a number over all replicas."""

    @tf.function
    def summed() -> tf.Tensor:
        numbers = hardware.strategy.run(lambda: tf.constant(value, tf.int64))
        return hardware.strategy.reduce("SUM", numbers, axis=None)

    try:
        return int(summed())
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        raise DeviceError(
            "Another worker has gone, or does not answer: start all of them again."
        ) from error
