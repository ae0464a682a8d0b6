"""One training, from annotations to the best model in its run folder."""

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from keras_r3d import run_folder
from keras_r3d.data import sheet
from keras_r3d.recipe import Recipe
from keras_r3d.system import files
from keras_r3d.system.devices import choose, unused_gpu
from keras_r3d.system.errors import DeviceError, InterruptedTraining
from keras_r3d.training import reporting, resuming, state, troubles
from keras_r3d.training.loop import Plan, Progress, Training
from keras_r3d.training.optimization.schedule import Schedule
from keras_r3d.training.preparing import (
    LEAST_TO_CHOOSE,
    Options,
    Prepared,
    create_run,
    described,
    prepare,
)

Say = Callable[[str], None]


def train(
    recipe: Recipe,
    data_dir: str | Path,
    workdir: Path,
    options: Options | None = None,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    say: Say = print,
) -> run_folder.Run:
    """Trains a model as a recipe says and keeps the best one of all epochs, and the last.

    A run of the same recipe and data that is in the folder is gone on with, from its last saved
    state, and ends as if it had never stopped.

    Args:
        data_dir: folder of videos, a CSV file, or a clip store (`keras_r3d.data.opening`).
        workdir: folder of the run.
        options: how and where it runs; None: on all devices, nothing special.
        callbacks: of Keras; `reporting.Callbacks` says what they are told.
        say: takes each line of the report.

    Returns:
        The run. Its folder holds the best model (of the lowest validation loss, or the last where
        there are too few validation videos to choose by), the last one, the log, the curves, a
        sheet of training clips and the list of broken videos.

    Raises:
        InterruptedTraining: SIGTERM or SIGINT came; its state is saved.
        R3DError: anything in the recipe, the data or the folder that keeps it from being done.
    """
    options = options or Options()
    if options.fresh:
        workdir = Path(os.path.abspath(workdir))  # what is here may be moved
    run = None if options.fresh else resuming.find(workdir, recipe, say)
    if run is None:
        resuming.check_workdir(workdir, fresh=options.fresh)
    elif resuming.finished(run):
        resuming.check_finished(run, data_dir)
        return run
    hardware = choose(options.devices)
    with contextlib.ExitStack() as held, troubles.as_sentences(workdir):
        if run is not None and hardware.chief:
            held.enter_context(run_folder.held(workdir))
        prepared = prepare(recipe if run is None else run.recipe, data_dir, options, say)
        if run is not None:
            resuming.check_videos(run, prepared.opened)
            before, replicas = run.summary.get("replicas"), hardware.replicas
            if before != replicas:
                say(
                    f"Note: the run began on {before} replicas and goes on with {replicas}: batch "
                    "statistics and dropout are others, so it is not as if uninterrupted."
                )
        clips = sheet.training_sheet(
            prepared.opened.reader,
            prepared.annotations.split("train"),
            prepared.recipe.data,
            prepared.recipe.train.seed,
        )
        if not hardware.chief:
            say = _ignore
            run = run_folder.Run(workdir, prepared.recipe, prepared.annotations.classes, {})
        elif run is None:
            if options.fresh:
                resuming.move_aside(workdir, say)
            held.enter_context(run_folder.held(workdir))
            run = create_run(prepared.recipe, prepared.opened, prepared.hardware, workdir)
        for line in _headlines(prepared, run, options):
            say(line)
        resuming.wait_for_all(hardware)  # what the first worker writes is there for the others
        return _train(prepared, run, options, clips, callbacks, say)


def _train(
    prepared: Prepared,
    run: run_folder.Run,
    options: Options,
    clips: Figure,
    callbacks: Sequence[keras.callbacks.Callback],
    say: Say,
) -> run_folder.Run:
    saved = state.load(run.path / run_folder.STATE)
    chief = prepared.hardware.chief
    observer: Any = reporting.Silent()
    if chief:
        with files.atomic(run.path / run_folder.CLIPS) as temporary:
            clips.savefig(temporary, dpi=100)
        observer = reporting.Report(
            run.path,
            prepared.annotations.classes,
            epochs=prepared.recipe.train.epochs,
            steps_per_epoch=prepared.steps_per_epoch,
            batch_size=prepared.recipe.train.batch_size,
            say=say,
            network=prepared.networks.trained,
            clips=clips,
            histograms=options.histograms,
        )
        if callbacks:
            observer = reporting.Callbacks(
                observer,
                callbacks,
                prepared.networks.trained,
                epochs=prepared.recipe.train.epochs,
                steps_per_epoch=prepared.steps_per_epoch,
                batch_size=prepared.recipe.train.batch_size,
            )
    training = Training(
        prepared.steps,
        Schedule(prepared.recipe.train, prepared.steps_per_epoch),
        _plan(prepared, run),
        observer,
        writes=chief,
    )
    if saved is not None:
        training.resume(saved)
        at = training.progress
        say(f"Going on after epoch {at.epoch}, step {at.position}/{prepared.steps_per_epoch}.")
    elif run.summary.get("status") in ("interrupted", "stopped"):
        say("Note: no state was saved before: it begins anew.")
    resuming.check_together(prepared.hardware, prepared.recipe, prepared.opened, training.step)
    if not chief:
        training.fit()
        resuming.wait_for_all(prepared.hardware)
        return run
    hardware = prepared.hardware
    run.summary.pop("evaluation", None)  # of an earlier model
    run.update_summary(status="training", devices=hardware.description, replicas=hardware.replicas)
    try:
        with contextlib.closing(observer):
            progress = training.fit()
    except BaseException as error:
        _note_end(run, prepared, "interrupted" if _asked_for(error) else "stopped", say)
        raise
    _note_results(run, progress)
    try:
        resuming.wait_for_all(prepared.hardware)  # none hangs for want of another's last answer
    except DeviceError:
        say("Note: another worker has gone, but the training was done.")
    say(
        f"Trained in {run.summary['training_minutes']:.1f} minutes; {run_folder.BEST_MODEL} is "
        f"of epoch {progress.best_epoch} of {progress.epoch}"
        + (", the lowest validation loss." if prepared.chooses else ", the last.")
    )
    run.report_problems(prepared.opened.reader.problems, say)
    return run


def _asked_for(error: BaseException) -> bool:
    return isinstance(error, InterruptedTraining | KeyboardInterrupt | SystemExit)


def _note_end(run: run_folder.Run, prepared: Prepared, status: str, say: Say) -> None:
    """Writes down that a training broke off; why, its error says."""
    with contextlib.suppress(files.WriteError):  # the disk may be full
        run.update_summary(status=status)
        run.report_problems(prepared.opened.reader.problems, say)
    if status == "stopped" and (run.path / run_folder.BEST_MODEL).is_file():
        say(f"Stopped; the best model so far is {run.path / run_folder.BEST_MODEL}.")


def _note_results(run: run_folder.Run, progress: Progress) -> None:
    rows = progress.log
    of_steps = sum(row["seconds"] for row in rows)
    waited = sum(row["data_wait"] * row["seconds"] for row in rows)
    validated = sum(row.get("validation_seconds", 0.0) for row in rows)
    seconds = of_steps + validated + progress.bookkeeping
    run.update_summary(
        status="trained",
        best_epoch=progress.best_epoch,
        best_loss=progress.best,
        best_clip_top1=rows[progress.best_epoch - 1].get("val_clip_top1"),
        training_minutes=round(seconds / 60, 2),
        clips_per_second=round(float(np.median([row["clips_per_second"] for row in rows])), 2),
        data_wait=round(waited / max(of_steps, 1e-9), 4),
        bookkeeping=round(progress.bookkeeping / max(seconds, 1e-9), 4),
    )


def _plan(prepared: Prepared, run: run_folder.Run) -> Plan:
    train = prepared.recipe.train

    def keep(name: str, weights: list[np.ndarray]) -> None:
        prepared.networks.kept.set_weights(weights)
        with files.atomic(run.path / name) as temporary:
            prepared.networks.kept.save(temporary)

    return Plan(
        epochs=train.epochs,
        steps_per_epoch=prepared.steps_per_epoch,
        batch_size=train.batch_size,
        batches=prepared.batches,
        validation=(prepared.validation if prepared.annotations.splits.get("validation") else None),
        keep_best=functools.partial(keep, run_folder.BEST_MODEL),
        keep_last=functools.partial(keep, run_folder.LAST_MODEL),
        chooses=prepared.chooses,
        patience=train.patience,
        names_of_batch=prepared.names_of_batch,
        note_problems=lambda: run.report_problems(prepared.opened.reader.problems, _ignore),
        folder=run.path / run_folder.STATE,
        save_seconds=60 * train.save_minutes,
        save_steps=train.save_steps,
        workers=prepared.hardware.workers,
    )


def _headlines(prepared: Prepared, run: run_folder.Run, options: Options) -> list[str]:
    found, train = prepared.annotations, prepared.recipe.train
    counts = ", ".join(f"{name} {len(split)}" for name, split in found.splits.items())
    lines = [
        *(f"Note: {note}" for note in found.notes),
        f"Data: {prepared.opened.path}: {len(found.classes)} classes; videos: {counts}",
        *described(prepared, options),
    ]
    if note := unused_gpu():
        lines.append(f"Note: {note}")
    clips = len(found.split("train")) * train.clips_per_video
    if clips < train.batch_size:
        lines.append(
            f"Note: an epoch is one batch of {train.batch_size} clips, as 'data' and "
            f"'train.clips_per_video' give only {clips}."
        )
    if not prepared.chooses:
        there = len(found.splits.get("validation", ()))
        why = f"{there} validation videos are too few to choose by" if there else "no validation"
        weights = "running average of the weights is" if train.ema else "weights are"
        lines.append(f"Note: {why}: the last {weights} kept ({LEAST_TO_CHOOSE} videos would do).")
        if train.patience:
            lines.append("Note: train.patience is not used, as nothing chooses by validation.")
    if train.deterministic:
        lines.append("Deterministic: the same result to the bit on the same machine.")
    lines.append(
        f"Run folder: {run.path} (training clips as the network sees them: {run_folder.CLIPS})"
    )
    return lines


def _ignore(_: str) -> None:
    """Says nothing: the first worker does."""


def figures(run: run_folder.Run) -> Sequence[tuple[str, str]]:
    """Returns what a finished run came to, as lines of a table."""
    summary = run.summary
    rows = [
        ("best epoch", f"{summary['best_epoch']} of {run.recipe.train.epochs}"),
        ("training", f"{summary['training_minutes']:.1f} minutes"),
        ("clips a second", f"{summary['clips_per_second']:.1f}"),
        ("waiting for data", f"{summary['data_wait']:.1%} of the steps' time"),
        ("logs and states", f"{summary['bookkeeping']:.1%} of the time"),
        ("broken videos", str(summary.get("broken_videos", 0))),
    ]
    if summary.get("best_clip_top1") is not None:
        rows.insert(1, ("validation clips", f"top-1 {summary['best_clip_top1']:.1%}"))
    scores = summary.get("evaluation")
    if scores:
        rows += [
            (f"{scores['split']} clips", f"top-1 {scores['clip_top1']:.1%}"),
            (f"{scores['split']} videos", f"top-1 {scores['video_top1']:.1%}"),
        ]
    return rows
