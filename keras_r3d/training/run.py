"""One training: from labeled videos to the model in its run folder."""

import contextlib
import datetime
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_r3d import run_folder
from keras_r3d._version import __version__
from keras_r3d.data import annotations, pipeline
from keras_r3d.inference.evaluation import evaluating, metrics
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.models import opening
from keras_r3d.pictures import fonts
from keras_r3d.recipe import Recipe
from keras_r3d.run_folder import Run
from keras_r3d.system import files
from keras_r3d.system.devices import Devices, choose, unused_gpu
from keras_r3d.system.errors import DeviceError, InterruptedTraining, R3DError, TrainingError
from keras_r3d.system.work import Share, Spread
from keras_r3d.training import checks, log, moved_data, setup, state
from keras_r3d.training.few import fitting
from keras_r3d.training.few import setup as few_setup
from keras_r3d.training.few.setup import Few
from keras_r3d.training.finetune import Say
from keras_r3d.training.loop import Observer, Progress, Training
from keras_r3d.training.setup import Opened, Setup


def train_network(
    recipe: Recipe,
    data: str | Path,
    workdir: Path,
    *,
    devices: str = "all",
    fresh: bool = False,
    cache_gib: float = 2.0,
    save_minutes: float = 10.0,
    save_steps: int = 0,
    deterministic: bool = False,
    histograms: bool = False,
    xla: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    say: Say = print,
    progress: Callable[[int, int], None] | None = None,
    spread: Spread | None = None,
) -> Run:
    """Trains as `keras_r3d.training.train`, whose arguments these are, without the evaluation."""
    workdir = Path(os.path.abspath(workdir)) if fresh else workdir  # what is here may be moved
    run = checks.find_run(workdir, recipe, fresh, say)
    few = recipe.few is not None
    if run is not None and run.trained and not few:
        checks.check_finished(run, data)
        return run
    hardware = choose(devices)
    if few and hardware.workers > 1:
        raise R3DError("A recipe with [few] is trained on one machine: unset TF_CONFIG.")
    with contextlib.ExitStack() as stack, errors_as_sentences(workdir):
        if run is not None and not run.trained and hardware.chief:
            stack.enter_context(run_folder.held(workdir))
        recipe = recipe if run is None else run.recipe
        options = {"cache_gib": cache_gib, "xla": xla, "deterministic": deterministic}
        ready = prepare(recipe, data, hardware, say, **options)
        if run is not None:
            if moved_data.check_videos(run, ready.source) and hardware.chief:
                moved_data.follow(run, ready.source, say)
            if run.trained:  # on few videos, which may have been other ones
                checks.check_finished(run, data)
                return run
            before, replicas = run.summary.get("replicas"), hardware.replicas
            if before != replicas and not few:
                say(
                    f"Note: the run began on {before} replicas and resumes on {replicas}: batch "
                    "statistics and dropout differ, so it is not as if uninterrupted."
                )
        clips = None if isinstance(ready, Few) else ready.draw_clips()
        if not hardware.chief:
            say = _ignore
            run = Run(workdir, ready.recipe, list(ready.classes), {})
        elif run is None:
            run = start_run(ready, workdir, fresh, say, stack)
        notes = [] if isinstance(ready, Few) else _notes(ready, deterministic)
        for line in [ready.describe_data(), *ready.describe(), *notes]:
            say(line)
        say(f"Run folder: {run.path} (training clips as the network sees them: {run_folder.CLIPS})")
        if isinstance(ready, Few):
            spread = spread or Spread()
            if fresh and not spread.finish:
                ready.cache(run.path).forget()
            with _unfinished(run, ready, say):
                fitting.Fitting(ready, run, say).run_all(progress, spread)
            return run
        checks.wait_for_all(hardware)  # what the first worker writes is there for the others
        saved = state.load(run.path / run_folder.STATE)
        observers: list[Observer] = []
        if hardware.chief:
            assert clips is not None
            fonts.save(clips, run.path / run_folder.CLIPS)
            observers.append(log.Report(run.path, ready, clips, histograms, say))
            if callbacks:
                observers.insert(0, log.Callbacks(callbacks, ready))
        training = Training(ready, run, observers, save_minutes=save_minutes, save_steps=save_steps)
        if saved is not None:
            training.resume(saved)
            at = training.progress
            say(f"Resuming after epoch {at.epoch}, step {at.position}/{ready.steps_per_epoch}.")
        elif run.summary.get("status") in ("interrupted", "stopped"):
            say("Note: no state was saved before: it starts over.")
        checks.check_together(hardware, ready.recipe, ready.source, training.step)
        if hardware.chief:
            _fit(training, ready, run, observers, say)
        else:
            training.fit()
            checks.wait_for_all(hardware)
        return run


def embed_share(
    recipe: Recipe,
    data: str | Path,
    workdir: Path,
    *,
    devices: str,
    say: Say,
    progress: Callable[[int, int], None] | None,
    spread: Spread,
) -> Share:
    """Embeds one process's share of few videos, for a training that will be in `workdir`."""
    hardware = choose(devices)
    with errors_as_sentences(workdir):
        few = few_setup.prepare(recipe, data, hardware, say)
        share = few.cache(workdir).embed(few.embedder(), few.videos, progress, spread)
    assert isinstance(share, Share)
    return share


def prepare(
    recipe: Recipe, data: str | Path, devices: Devices, say: Say, **options: Any
) -> Setup | Few:
    """Opens, builds and checks all that a recipe needs; `options` are those of `setup.prepare`."""
    if recipe.few is not None:
        return few_setup.prepare(recipe, data, devices, say)
    return setup.prepare(recipe, data, devices, say, **options)


def start_run(
    opened: Opened, workdir: Path, fresh: bool, say: Say, stack: contextlib.ExitStack
) -> Run:
    """Makes the folder of a new run, whose lock `stack` holds; a run there is moved aside."""
    if fresh:
        run_folder.move_aside(workdir, say)
    stack.enter_context(run_folder.held(workdir))
    videos, devices = opened.annotations, opened.devices
    summary = {
        "status": "training",
        "data_dir": opened.source.path,
        "video_root": opened.source.root,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "devices": devices.description,
        "replicas": devices.replicas,
        "keras_r3d": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "videos": {name: len(split) for name, split in videos.splits.items()},
        **({"several_labels": True} if videos.several else {}),
    }
    moved_data.record_files(workdir, opened.source)
    text = annotations.to_csv(videos)
    return run_folder.create(workdir, opened.recipe, opened.classes, text, summary)


def _fit(
    training: Training, ready: Setup, run: Run, observers: Sequence[Observer], say: Say
) -> None:
    """Trains to the end, as the only worker that writes, and notes how it ended."""
    devices = ready.devices
    run.summary.pop("evaluation", None)  # of an earlier model
    run.update_summary(status="training", devices=devices.description, replicas=devices.replicas)
    with _unfinished(run, ready, say), contextlib.ExitStack() as stack:
        for observer in reversed(observers):
            stack.callback(observer.close)
        progress = training.fit()
    _note_results(run, progress)
    try:
        checks.wait_for_all(devices)  # none hangs for want of another's last answer
    except DeviceError:
        say("Note: another worker has gone, but the training was done.")
    say(
        f"Trained in {run.summary['training_minutes']:.1f} minutes; {run_folder.BEST_MODEL} is "
        f"of epoch {progress.best_epoch} of {progress.epoch}"
        + (", the lowest validation loss." if ready.chooses else ", the last.")
    )
    run.report_problems(ready.source.reader.problems, say)


def choose_thresholds(run: Run, devices: str, say: Say) -> None:
    """Chooses thresholds of several labels on the validation split, and keeps them in the model.

    They are those with the highest F1 of each class; 0.5 where nothing was held out. A model that
    names one label, and one whose thresholds are chosen, stays as it is.
    """
    if not run.summary.get("several_labels") or run.thresholds is not None:
        return
    opened = opening.of_run(run, devices=devices)
    model, network = opened.classifier, opened.classifier.network
    assert network is not None
    thresholds = np.full(len(model.classes), 0.5)
    if run.summary["videos"].get("validation"):
        judged = evaluating.evaluate([opened], split="validation")
        assert isinstance(judged, Evaluation)
        thresholds = metrics.best_thresholds(judged.labels, judged.video_scores)
        say(f"Thresholds of {len(thresholds)} classes are those of the highest F1 in validation.")
    else:
        say("Note: no validation split to choose thresholds by: a class is named from 0.5 on.")
    setup.complete(network, run.recipe, model.classes, choose(devices), thresholds.tolist())
    with files.atomic(run.path / run_folder.BEST_MODEL) as temporary:
        network.save(temporary)
    run.update_summary(thresholds=thresholds.tolist())


@contextlib.contextmanager
def _unfinished(run: Run, ready: Opened, say: Say) -> Iterator[None]:
    """Notes how a training ends before it is done, and names the broken videos so far."""
    try:
        yield
    except BaseException as error:
        asked = isinstance(error, InterruptedTraining | KeyboardInterrupt | SystemExit)
        with contextlib.suppress(files.WriteError):  # the disk may be full
            run.update_summary(status="interrupted" if asked else "stopped")
            run.report_problems(ready.source.reader.problems, say)
        if not asked and (run.path / run_folder.BEST_MODEL).is_file():
            say(f"Stopped; the best model so far is {run.path / run_folder.BEST_MODEL}.")
        raise


def _note_results(run: Run, progress: Progress) -> None:
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


def _notes(ready: Setup, deterministic: bool) -> list[str]:
    videos, train = ready.annotations, ready.recipe.train
    lines = [f"Note: {note}"] if (note := unused_gpu()) else []
    clips = len(videos.split("train")) * train.clips_per_video
    if clips < train.batch_size:
        lines.append(
            f"Note: an epoch is one batch of {train.batch_size} clips, as 'data' and "
            f"'train.clips_per_video' give only {clips}."
        )
    if not ready.chooses:
        count = len(videos.splits.get("validation", ()))
        why = f"{count} validation videos are too few to choose by" if count else "no validation"
        weights = "running average of the weights is" if train.ema else "weights are"
        least = checks.LEAST_TO_CHOOSE
        lines.append(f"Note: {why}: the last {weights} kept ({least} videos would do).")
        if train.patience:
            lines.append("Note: train.patience is not used, as nothing chooses by validation.")
    if deterministic:
        lines.append("Deterministic: the same result to the bit on the same machine.")
    return lines


def _ignore(_: str) -> None:
    """Says nothing: the first worker does."""


@contextlib.contextmanager
def errors_as_sentences(folder: Path | None) -> Iterator[None]:
    """Turns errors of TensorFlow and of the system into sentences that say what to do.

    They name the last state of the run in `folder`, if there is one.
    """
    try:
        yield
    except (R3DError, BrokenPipeError):  # the second: whoever read the output has enough
        raise
    except (tf.errors.OpError, MemoryError, OSError) as error:
        if (sentence := _explain(error, folder)) is None:
            raise
        raise sentence from error


def _explain(error: Exception, folder: Path | None) -> R3DError | None:
    place, last_state = folder or "files for TensorBoard", ""
    if folder is not None:
        saved = state.latest(folder / run_folder.STATE)
        last_state = f" The last good state is {saved}." if saved else " No state was saved yet."
    if isinstance(error, OSError):
        outside = folder is None or (
            error.filename
            and not os.path.abspath(str(error.filename)).startswith(os.path.abspath(folder))
        )
        return None if outside else files.WriteError(files.explain(place, error))
    if isinstance(error, tf.errors.OpError):
        if detail := pipeline.reason(error):
            return TrainingError(f"The training stopped: {detail}")
        for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
            if os.strerror(code) in error.message:  # of the files for TensorBoard
                cause = OSError(code, os.strerror(code))
                return files.WriteError(files.explain(place, cause))
        if isinstance(error, tf.errors.UnavailableError | tf.errors.AbortedError):
            return TrainingError(
                "Another worker has gone. Start all of them again with the same commands: the "
                f"training resumes from its last state.{last_state}"
            )
        if not isinstance(error, tf.errors.ResourceExhaustedError):
            line = next((line for line in error.message.splitlines() if line.strip()), str(error))
            return TrainingError(f"TensorFlow stopped the training: {line}{last_state}")
    return TrainingError(
        "The memory is used up: lower `train.batch_size`, or raise `train.accumulate`, and start "
        f"over with `fresh` or in another `workdir`.{last_state}"
    )
