"""One training, from annotations to the best model in its run folder."""

import collections
import dataclasses
import datetime
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_r3d
from keras_r3d import files, run_folder
from keras_r3d.data import annotations, order, pipeline, sheet, source
from keras_r3d.data.annotations import Annotations
from keras_r3d.data.source import Source
from keras_r3d.errors import R3DError
from keras_r3d.recipe import Recipe
from keras_r3d.training import finetune, networks, report, resuming, state
from keras_r3d.training.devices import Devices, choose
from keras_r3d.training.loop import InterruptedTraining, Plan, Progress, Training, TrainingError
from keras_r3d.training.networks import Networks
from keras_r3d.training.schedule import Schedule
from keras_r3d.training.step import Steps

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Options:
    """How and where a training runs; what it is, says the recipe.

    Attributes:
        devices: as `keras_r3d.training.devices.choose` takes them.
        fresh: start over; a run that is in the folder is moved aside.
        histograms: TensorBoard also gets histograms of the weights.
        xla: let XLA compile the gradient (on CPU much slower).
    """

    devices: str = "all"
    fresh: bool = False
    histograms: bool = False
    xla: bool = False


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A training that could begin: all is opened, built and checked, nothing is written."""

    recipe: Recipe
    opened: Source
    hardware: Devices
    networks: Networks
    steps: Steps

    @property
    def annotations(self) -> Annotations:
        """The labelled videos."""
        return self.opened.annotations

    @property
    def steps_per_epoch(self) -> int:
        """Steps that an epoch has."""
        train, videos = self.recipe.train, self.annotations.split("train")
        return max(1, round(len(videos) * train.clips_per_video / train.batch_size))

    def batches(self, first_step: int) -> Iterator[Any]:
        """Gives this worker's batches from a step on, without end, one part a replica."""
        here = self.hardware.replicas // self.hardware.workers
        train, found = self.recipe.train, self.annotations

        def clips(_: Any) -> tf.data.Dataset:
            return pipeline.training_clips(
                self.opened.reader,
                found.split("train"),
                found.classes,
                self.recipe.data,
                batch_size=train.batch_size // self.hardware.replicas,
                seed=train.seed,
                start=first_step * here,
                shard=(self.hardware.worker, self.hardware.workers),
            )

        if self.hardware.replicas == 1:
            return iter(clips(None))
        return iter(self.hardware.strategy.distribute_datasets_from_function(clips))

    def names_of_batch(self, step: int) -> list[str]:
        """Returns the names of the videos of this worker's part of a step."""
        here = self.hardware.replicas // self.hardware.workers
        videos = self.annotations.split("train")
        labels = [video.label for video in videos]
        numbers = [
            number
            for batch in range(step * here, (step + 1) * here)
            for number in order.batch_videos(
                batch,
                labels,
                self.recipe.data,
                batch_size=self.recipe.train.batch_size // self.hardware.replicas,
                seed=self.recipe.train.seed,
                shard=(self.hardware.worker, self.hardware.workers),
            )
        ]
        return sorted({videos[number].name for number in numbers})

    def validation(self) -> Iterator[Any]:
        """Gives the batches of this worker's share of the validation videos, once."""
        videos = self.annotations.split("validation")
        worker, workers = self.hardware.worker, self.hardware.workers
        stream = pipeline.validation_clips(
            self.opened.reader,
            videos[worker::workers],
            self.annotations.classes,
            self.recipe.data,
            batch_size=self.recipe.eval.batch_size // workers,
        )
        return map(self.steps.shared_out, stream)


def prepare(recipe: Recipe, data_dir: str | Path, options: Options, say: Say = print) -> Prepared:
    """Opens the data, takes the devices and builds the networks of a recipe.

    Raises:
        R3DError: anything in the recipe, the data or the devices that keeps it from being done.
    """
    hardware = choose(options.devices)
    resuming.check(recipe, hardware)
    recipe = dataclasses.replace(recipe, model=finetune.settle(recipe.model, say))
    opened = source.open_source(
        data_dir, recipe.data, cache_gib=recipe.data.cache_gib, seed=recipe.train.seed
    )
    found, train = opened.annotations, recipe.train
    found.split("train")
    found.split(recipe.eval.split)  # better missed now than after the training
    if found.splits.get("validation"):
        opened.reader.require_readable(found.split("validation"), "validation")
    keras.utils.set_random_seed(train.seed)
    if train.deterministic:
        tf.config.experimental.enable_op_determinism()
    built = networks.build(recipe, found.classes, hardware, say)
    counts = collections.Counter(video.label for video in found.split("train"))
    weights = [len(found.split("train")) / (len(counts) * counts[n]) for n in found.classes]
    steps = Steps(
        built.trained,
        train,
        hardware,
        classes=len(found.classes),
        head=finetune.head(built.trained),
        class_weights=weights if train.class_weights else None,
        compiled=options.xla,
    )
    return Prepared(recipe, opened, hardware, built, steps)


def train(
    recipe: Recipe,
    data_dir: str | Path,
    workdir: Path,
    options: Options = Options(),
    *,
    say: Say = print,
) -> run_folder.Run:
    """Trains a model as a recipe says and keeps the best one of all epochs.

    A run of the same recipe and data that is in the folder is gone on with, from its last saved
    state, and ends as if it had never stopped.

    Args:
        data_dir: folder of videos, a CSV file, or a clip store (`keras_r3d.data.source`).
        workdir: folder of the run.
        say: takes each line of the report.

    Returns:
        The run. Its folder holds the best model (lowest validation loss), the log, the curves, a
        sheet of training clips and the list of broken videos.

    Raises:
        InterruptedTraining: SIGTERM or SIGINT came; its state is saved.
        R3DError: anything in the recipe, the data or the folder that keeps it from being done.
    """
    run = None if options.fresh else resuming.find(workdir, recipe, say)
    if run is None:
        resuming.check_workdir(workdir, fresh=options.fresh)
    elif resuming.finished(run):
        return run
    prepared = prepare(recipe if run is None else run.recipe, data_dir, options, say)
    hardware, found = prepared.hardware, prepared.annotations
    if run is not None:
        resuming.check_videos(run, prepared.opened)
    clip_sheet = sheet.training_sheet(
        prepared.opened.reader, found.split("train"), recipe.data, recipe.train.seed
    )
    if not hardware.chief:
        say = _ignore
        run = run_folder.Run(workdir, prepared.recipe, found.classes, {})
    elif run is None:
        if options.fresh:
            resuming.move_aside(workdir, say)
        run = _create(prepared, workdir)
        with files.atomic(run.path / run_folder.CLIPS) as temporary:
            clip_sheet.savefig(temporary, dpi=100)
    for line in _headlines(prepared, run, options):
        say(line)
    resuming.wait_for_all(hardware)  # what the first worker writes is there for the others
    saved = state.load(run.path / run_folder.STATE)
    observer: Any = report.Silent()
    if hardware.chief:
        observer = report.Report(
            run.path,
            found.classes,
            epochs=prepared.recipe.train.epochs,
            steps_per_epoch=prepared.steps_per_epoch,
            batch_size=prepared.recipe.train.batch_size,
            say=say,
            steps=prepared.steps,
            clips=clip_sheet,
            histograms=options.histograms,
        )
    training = Training(
        prepared.steps,
        Schedule(prepared.recipe.train, prepared.steps_per_epoch),
        _plan(prepared, run),
        observer,
        writes=hardware.chief,
    )
    if saved is not None:
        training.resume(saved)
        at = training.progress
        say(f"Going on after epoch {at.epoch}, step {at.position} of {prepared.steps_per_epoch}.")
    resuming.check_together(hardware, training.step)
    return _fit(training, prepared, run, say)


def _fit(training: Training, prepared: Prepared, run: run_folder.Run, say: Say) -> run_folder.Run:
    chief = prepared.hardware.chief
    started = time.monotonic()
    if chief:
        run.update_summary(status="training")
    try:
        progress = _guarded(training, run)
    except BaseException as error:
        interrupted = isinstance(error, InterruptedTraining)
        if chief:
            run.update_summary(status="interrupted" if interrupted else "stopped")
            run.report_problems(prepared.opened.reader.problems, say)
        if not interrupted and (run.path / run_folder.BEST_MODEL).is_file():
            say(f"Stopped; the best model so far is {run.path / run_folder.BEST_MODEL}.")
        raise
    if not chief:
        return run
    seconds = time.monotonic() - started
    rows = progress.log
    run.update_summary(
        status="trained",
        best_epoch=progress.best_epoch,
        best_loss=progress.best,
        best_clip_top1=rows[progress.best_epoch - 1].get("val_clip_top1"),
        training_minutes=round(
            sum(row["seconds"] + row["validation_seconds"] for row in rows) / 60, 2
        ),
        clips_per_second=round(float(np.median([row["clips_per_second"] for row in rows])), 2),
        data_wait=round(float(np.mean([row["data_wait"] for row in rows])), 4),
        bookkeeping=round(training.overhead / seconds, 4),
    )
    say(
        f"Trained in {run.summary['training_minutes']:.1f} minutes; the best model is that of "
        f"epoch {progress.best_epoch}."
    )
    run.report_problems(prepared.opened.reader.problems, say)
    return run


def _guarded(training: Training, run: run_folder.Run) -> Progress:
    try:
        progress = training.fit()
    except tf.errors.OpError as error:
        if detail := pipeline.reason(error):
            raise TrainingError(f"The training stopped: {detail}") from error
        saved = state.latest(run.path / run_folder.STATE)
        there = f"The last good state is {saved}." if saved else "No state was saved yet."
        if isinstance(error, tf.errors.ResourceExhaustedError):
            raise TrainingError(
                "The memory is used up: lower `train.batch_size`, or raise `train.accumulate`. "
                + there
            ) from error
        if isinstance(error, tf.errors.UnavailableError | tf.errors.AbortedError):
            raise TrainingError(
                "Another worker has gone. Start all of them again, with the same commands: the "
                f"training goes on from its last state. {there}"
            ) from error
        line = next((line for line in error.message.splitlines() if line.strip()), str(error))
        raise TrainingError(f"TensorFlow stopped the training: {line} {there}") from error
    except R3DError:
        raise
    except OSError as error:
        raise files.WriteError(files.explain(run.path, error)) from error
    if not math.isfinite(progress.best):
        raise TrainingError(
            "No epoch had a finite loss: lower `train.learning_rate`. Log: "
            f"{run.path / run_folder.LOG}"
        )
    return progress


def _create(prepared: Prepared, workdir: Path) -> run_folder.Run:
    found, opened = prepared.annotations, prepared.opened
    return run_folder.create(
        workdir,
        prepared.recipe,
        found.classes,
        annotations.to_csv(found),
        {
            "status": "training",
            "data_dir": opened.path,
            "video_root": opened.root,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "devices": prepared.hardware.description,
            "replicas": prepared.hardware.replicas,
            "keras_r3d": keras_r3d.__version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "videos": {name: len(split) for name, split in found.splits.items()},
        },
    )


def _plan(prepared: Prepared, run: run_folder.Run) -> Plan:
    train = prepared.recipe.train

    def keep_best() -> None:
        prepared.networks.update()
        with files.atomic(run.path / run_folder.BEST_MODEL) as temporary:
            prepared.networks.kept.save(temporary)

    return Plan(
        epochs=train.epochs,
        steps_per_epoch=prepared.steps_per_epoch,
        batch_size=train.batch_size,
        batches=prepared.batches,
        validation=(prepared.validation if prepared.annotations.splits.get("validation") else None),
        keep_best=keep_best,
        names_of_batch=prepared.names_of_batch,
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
    if not found.splits.get("validation"):
        lines.append(
            "Note: there is no validation split; the model of the lowest training loss is kept."
        )
    if train.deterministic:
        lines.append("Deterministic: the same result to the bit on the same machine.")
    lines.append(
        f"Run folder: {run.path} (training clips as the network sees them: {run_folder.CLIPS})"
    )
    return lines


def described(prepared: Prepared, options: Options) -> list[str]:
    """Returns lines on devices and network."""
    hardware, train = prepared.hardware, prepared.recipe.train
    replicas, network = hardware.replicas, prepared.networks.trained
    trained = sum(math.prod(v.shape) for v in network.trainable_variables)
    weights = sum(math.prod(v.shape) for v in network.weights if "moving_" not in v.path)
    shares = f"{train.batch_size // replicas} each" if replicas > 1 else "all of it"
    parts = f" in {train.accumulate} parts" if train.accumulate > 1 else ""
    lines = [
        f"Devices: {hardware.description}; {replicas} replica{'s' * (replicas > 1)}; batch "
        f"{train.batch_size} clips, {shares}{parts}; {train.precision}; XLA "
        f"{'on' if options.xla else 'off'}; {prepared.opened.reader.threads} threads read clips",
        f"Model: {prepared.recipe.model.name}, {weights:,} parameters"
        + (f", {weights - trained:,} of them frozen" if weights > trained else ""),
    ]
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
