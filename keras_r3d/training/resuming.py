"""Whether a training can begin or go on: its folder, recipe, videos and companions."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_r3d import run_folder
from keras_r3d.data import annotations
from keras_r3d.data.source import Source
from keras_r3d.recipe import Recipe, RecipeError
from keras_r3d.run_folder import Run, RunError
from keras_r3d.training.devices import DeviceError, Devices
from keras_r3d.training.loop import TrainingError

Say = Callable[[str], None]


def check(recipe: Recipe, hardware: Devices) -> None:
    """Finds what a recipe asks of devices that they cannot do, all at once.

    Raises:
        RecipeError: every such thing, one a line.
    """
    train, replicas, problems = recipe.train, hardware.replicas, []
    if train.batch_size % replicas:
        problems.append(
            f"'train.batch_size' must be divisible by the {replicas} replicas. Received: "
            f"{train.batch_size}"
        )
    elif (train.batch_size // replicas) % train.accumulate:
        problems.append(
            f"'train.accumulate' must divide the {train.batch_size // replicas} clips of a "
            f"replica. Received: {train.accumulate}"
        )
    if recipe.eval.batch_size % hardware.workers:
        problems.append(
            f"'eval.batch_size' must be divisible by the {hardware.workers} workers. Received: "
            f"{recipe.eval.batch_size}"
        )
    if train.precision == "float16" and not hardware.on_gpu:
        problems.append('\'train.precision\' "float16" needs a GPU; on CPU use "bfloat16".')
    if problems:
        raise RecipeError("\n  ".join(["The recipe does not fit the devices:", *problems]))


def find(workdir: Path, recipe: Recipe, say: Say) -> Run | None:
    """Opens the run that is in a folder, to go on with it; None if there is none.

    Raises:
        RunError: it is of another recipe.
    """
    if not (workdir / run_folder.RECIPE).is_file():
        return None
    run = run_folder.open_run(workdir)
    changed = [
        f"{section.name}.{key}: {before!r} in the run, {now!r} now"
        for section in dataclasses.fields(Recipe)
        for key, now in dataclasses.asdict(getattr(recipe, section.name)).items()
        if not _same(section.name, now, before := getattr(getattr(run.recipe, section.name), key))
    ]
    if changed:
        raise RunError(
            "\n  ".join([f"{workdir} holds a run of another recipe:", *changed])
            + "\nGo on with that recipe, choose another --workdir, or start over with --fresh (the "
            "old run is moved aside)."
        )
    if finished(run):
        say(f"{workdir} holds a finished run of this recipe.")
    return run


def _same(section: str, now: Any, before: Any) -> bool:
    # A run has what its weights decided, and where they lie.
    decided = section == "model" and now in ("", (), 0.0)
    if section == "model" and isinstance(now, str) and isinstance(before, str):
        decided = decided or os.path.abspath(os.path.expanduser(now)) == before
    return decided or now == before


def finished(run: Run) -> bool:
    """Whether all epochs of a run were trained."""
    return run.summary.get("status") == "trained"


def check_workdir(workdir: Path, *, fresh: bool) -> None:
    """Raises RunError if no run can be made in a folder."""
    if fresh and (workdir / run_folder.RECIPE).is_file():
        return
    run_folder.check_free(workdir)


def move_aside(workdir: Path, say: Say) -> None:
    """Renames the folder of a run."""
    if workdir.exists():
        aside = run_folder.next_free(workdir.parent, f"{workdir.name}-before")
        workdir.rename(aside)
        say(f"The run that was in {workdir} is now in {aside}.")


def check_videos(run: Run, opened: Source) -> None:
    """Raises RunError if the videos are no longer those that a run began with."""
    before = (run.path / run_folder.VIDEOS).read_text(encoding="utf-8").splitlines()
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
        f"({shown or 'in another order'}): a run goes on with its own videos only. Put them back, "
        "or start over with --fresh or in another --workdir."
    )


def wait_for_all(hardware: Devices) -> None:
    """Waits until all workers are here."""
    if hardware.workers > 1:
        _sum(hardware, 1)


def check_together(hardware: Devices, step: int) -> None:
    """Raises TrainingError if the workers do not go on from the same step."""
    if hardware.workers > 1 and _sum(hardware, step) != hardware.replicas * step:
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
