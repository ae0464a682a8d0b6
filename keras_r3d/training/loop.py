"""The loop over epochs and steps: what is saved when, and when it stops."""

import dataclasses
import math
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d import run_folder
from keras_r3d.recipe.schema import PlateauSchedule
from keras_r3d.run_folder import Run
from keras_r3d.system import files
from keras_r3d.system.errors import InterruptedTraining, RunError, TrainingError
from keras_r3d.training import state
from keras_r3d.training.optimization.schedule import PlateauCounters, learning_rate
from keras_r3d.training.optimization.step import SUMS
from keras_r3d.training.setup import Setup
from keras_r3d.training.state import State

_MOST_SAVING_SHARE = 0.01  # of the time, at the ends of epochs


@dataclasses.dataclass
class Progress:
    """Where a training is; with the variables, all that is saved."""

    epoch: int = 0  # epochs that have ended
    position: int = 0  # steps of the epoch that have ended
    sums: list[float] = dataclasses.field(default_factory=lambda: [0.0] * len(SUMS))  # of them
    seconds: float = 0.0  # that these steps took
    waited: float = 0.0  # of them, for input
    bookkeeping: float = 0.0  # seconds of the whole training for observers and saved states
    best: float = math.inf  # loss of the epoch that is kept: the lowest so far, or the last
    best_epoch: int = 0  # its number, counted from 1; 0: none
    schedule: PlateauCounters = dataclasses.field(default_factory=PlateauCounters)
    log: list[dict[str, float]] = dataclasses.field(default_factory=list)  # figures of each epoch


class Observer:
    """Follows a training; this one does nothing."""

    def step(self, progress: Progress, step: int, sums: np.ndarray, rate: float) -> None:
        """Takes the sums of a step that has ended, and its learning rate."""

    def validating(self, progress: Progress, clips: int) -> None:
        """Takes the number of clips that were validated so far."""

    def epoch(self, progress: Progress, confusion: np.ndarray | None) -> None:
        """Takes the progress at the end of an epoch, and the validation's confusion matrix."""

    def close(self) -> None:
        """Takes the end of the training, however it came."""


class Training:
    """A training under way, whose `progress` its `observers` are told of, in their order.

    Args:
        run: whose folder the models and states are saved in; None: none are.
        save_minutes, save_steps: as of `keras_r3d.training.train`.
    """

    def __init__(
        self,
        setup: Setup,
        run: Run | None = None,
        observers: Sequence[Observer] = (),
        *,
        save_minutes: float = 10.0,
        save_steps: int = 0,
    ):
        self.progress, self.observers = Progress(), observers
        self._save_minutes, self._save_steps = save_minutes, save_steps
        self._setup, self._steps, self._train = setup, setup.steps, setup.recipe.train
        self._run, self._writes = run, setup.devices.chief
        self._pending: tuple[int, tf.Tensor, float] | None = None
        self._signal: str | None = None  # name of the one that asked to stop
        self._stopping = False
        self._best: list[np.ndarray] | None = None  # weights that are still to be kept
        self._saved, self._save_took, self._steps_unsaved = time.monotonic(), 0.0, 0

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self.progress.epoch * self._setup.steps_per_epoch + self.progress.position

    def resume(self, saved: State) -> None:
        """Takes a saved state; raises RunError if it is not of this training."""
        progress, fields = saved.progress, dataclasses.asdict(Progress())
        counters = progress.get("schedule", {})
        if progress.keys() != fields.keys() or counters.keys() != fields["schedule"].keys():
            raise RunError(
                "The saved state was written by another version of keras_r3d: resume with that "
                "one, or start over with `fresh`."
            )
        state.restore(self._variables(), saved.arrays)
        self.progress = Progress(**{**progress, "schedule": PlateauCounters(**counters)})

    def fit(self) -> Progress:
        """Trains to the end; `setup.kept` then has the weights of the best epoch, or the last.

        Raises InterruptedTraining on SIGTERM or SIGINT, when the state is saved, and TrainingError
        if the loss is not finite.
        """
        with self._signals():
            try:
                if not self._ended:
                    batches = self._setup.batches(self.step)
                    while not self._ended:
                        self._epoch(batches)
            finally:
                self._keep_best()  # also of epochs since the last state
            if self._signal:
                raise self._interrupted()
        if self._writes and self._run is not None:
            with self._averaged():
                self._keep(run_folder.LAST_MODEL, self._steps.network.get_weights())
        return self.progress

    @property
    def _ended(self) -> bool:
        """Whether all epochs were trained, or `train.patience` ends the training."""
        progress, patience = self.progress, self._train.patience
        waited = progress.epoch - progress.best_epoch
        gives_up = self._setup.chooses and patience and progress.best_epoch and waited >= patience
        return bool(gives_up) or progress.epoch >= self._train.epochs

    def _rate(self, step: int) -> float:
        drops = self.progress.schedule.drops
        return learning_rate(self._train, self._setup.steps_per_epoch, step, drops)

    def _keep_best(self) -> None:
        if self._best is not None:
            self._keep(run_folder.BEST_MODEL, self._best)
            self._best = None

    def _keep(self, name: str, weights: list[np.ndarray]) -> None:
        self._setup.kept.set_weights(weights)
        if self._run is not None:
            with files.atomic(self._run.path / name) as temporary:
                self._setup.kept.save(temporary)

    def _epoch(self, batches: Iterator[Any]) -> None:
        progress = self.progress
        while progress.position < self._setup.steps_per_epoch:
            with self._timed():
                started = time.monotonic()
                batch = next(batches)
                waited = time.monotonic() - started
                rate = self._rate(self.step)
                self._steps.optimizer.learning_rate = rate
                sums = self._steps.train(
                    batch, tf.constant(self.step, tf.int32), tf.constant(float(bool(self._signal)))
                )
                # The device computes this step while the last one is looked at.
                last, self._pending = self._pending, (self.step, sums, rate)
                progress.position += 1
                self._steps_unsaved += 1
                self._look_at(last)
            progress.waited += waited
            if self._stopping:
                self._stop()
            if self._due():
                self._save()
        self._flush()
        if self._stopping:
            self._stop()
        self._end_epoch()

    def _end_epoch(self) -> None:
        progress = self.progress
        clips = self._setup.steps_per_epoch * self._train.batch_size
        row: dict[str, float] = {"epoch": progress.epoch + 1}
        row |= {name: total / clips for name, total in zip(SUMS, progress.sums, strict=True)}
        confusion = None
        started = time.monotonic()
        if (batches := self._setup.validation()) is not None:
            sums, confusion = self._validate(batches)
            row |= {f"val_{name}": sums[n] / sums[-1] for n, name in enumerate(SUMS)}
            row["validation_seconds"] = time.monotonic() - started
        loss = row.get("val_loss", row["loss"])
        if not math.isfinite(loss):
            raise self._not_finite(f"The validation loss became {loss}")
        row["learning_rate"] = self._rate(self.step - 1)
        row["clips_per_second"] = clips / max(progress.seconds, 1e-9)
        row["data_wait"] = progress.waited / max(progress.seconds, 1e-9)
        row["seconds"] = progress.seconds
        if isinstance(self._train.schedule, PlateauSchedule):
            progress.schedule.end_epoch(loss, self._train.schedule)
        started = time.monotonic()
        if loss < progress.best or not self._setup.chooses:
            progress.best, progress.best_epoch = loss, progress.epoch + 1
            if self._writes:
                with self._averaged():
                    self._best = self._steps.network.get_weights()
        progress.log.append(row)
        progress.epoch, progress.position = progress.epoch + 1, 0
        progress.sums, progress.seconds, progress.waited = [0.0] * len(SUMS), 0.0, 0.0
        for observer in self.observers:
            observer.epoch(progress, confusion)
        progress.bookkeeping += time.monotonic() - started
        # The next epoch can be had again, this one should not be lost; but what it took counts.
        since = time.monotonic() - self._saved
        if self._ended or since * _MOST_SAVING_SHARE >= self._save_took:
            self._save()

    def _validate(self, batches: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        classes = self._steps.classes
        totals = [np.zeros(len(SUMS) + 1), np.zeros((classes, classes))]
        alone = self._setup.devices.workers == 1
        self._tell_validating(0)
        with self._averaged():
            for batch in batches:
                if self._signal and alone:
                    break
                results = map(self._steps.local_results, self._steps.validate(batch))
                added = [sum(np.asarray(part, np.float64) for part in parts) for parts in results]
                totals = [a + b for a, b in zip(totals, added, strict=True)]
                self._tell_validating(int(totals[0][-1]))
        if self._signal and alone:
            self._stop()
        sums, confusion = (
            np.asarray(self._steps.total(tf.constant(total, tf.float64))) for total in totals
        )
        if not sums[-1]:
            raise TrainingError("No video of the validation split can be read any more.")
        return sums, confusion.astype(np.int64)

    def _tell_validating(self, clips: int) -> None:
        for observer in self.observers:
            observer.validating(self.progress, clips)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Puts the running averages, if there are any, in the place of the weights."""
        variables = self._steps.network.trainable_variables if self._steps.averages else []
        weights = [np.asarray(variable) for variable in variables]
        for variable, average in zip(variables, self._steps.averages, strict=True):
            variable.assign(np.asarray(average))
        try:
            yield
        finally:
            for variable, weight in zip(variables, weights, strict=True):
                variable.assign(weight)

    def _flush(self) -> None:
        """Waits for the step under way, and looks at it."""
        last, self._pending = self._pending, None
        with self._timed():
            self._look_at(last)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Adds the time that a part of the steps takes, without the bookkeeping in it."""
        started, bookkeeping = time.monotonic(), self.progress.bookkeeping
        yield
        took = self.progress.bookkeeping - bookkeeping
        self.progress.seconds += time.monotonic() - started - took

    def _look_at(self, last: tuple[int, tf.Tensor, float] | None) -> None:
        if last is None:
            return
        step, results, rate = last
        *sums, stops = np.asarray(results, np.float64)
        if not math.isfinite(sums[0]):
            names = self._setup.names_of_batch(step)
            more = f", … ({len(names)} in all)" if len(names) > 8 else ""
            where = f" The videos of its batch: {', '.join(names[:8])}{more}."
            raise self._not_finite(f"The loss became {sums[0]}", step, where)
        self._stopping = self._stopping or stops > 0
        self.progress.sums = [a + b for a, b in zip(self.progress.sums, sums, strict=True)]
        started = time.monotonic()
        for observer in self.observers:
            observer.step(self.progress, step, np.array(sums), rate)
        self.progress.bookkeeping += time.monotonic() - started

    def _not_finite(self, problem: str, step: int | None = None, where: str = "") -> TrainingError:
        step = self.step - 1 if step is None else step
        epoch, position = divmod(step, self._setup.steps_per_epoch)
        saved = state.latest(self._run.path / run_folder.STATE) if self._run else None
        return TrainingError(
            f"{problem} in epoch {epoch + 1}, step {position + 1}: lower "
            "`train.optimizer.learning_rate`, or add `train.schedule.warmup_epochs` or "
            f"`train.clip_norm`, and start over with `fresh` or in another `workdir`.{where} "
            + (f"The last good state is {saved}." if saved else "No state was saved yet.")
        )

    def _due(self) -> bool:
        minutes = (time.monotonic() - self._saved) / 60
        by_steps = bool(self._save_steps) and self._steps_unsaved >= self._save_steps
        by_time = bool(self._save_minutes) and minutes > self._save_minutes
        return self._run is not None and (by_steps or by_time)

    def _save(self) -> None:
        self._flush()
        if self._writes:
            started = time.monotonic()
            arrays = {name: np.asarray(variable) for name, variable in self._variables().items()}
            for name, array in arrays.items():
                if not np.isfinite(array).all():
                    raise self._not_finite(f"The variable {name} is no longer finite")
            self._keep_best()  # before the state that says so
            if self._run is not None:
                self._run.report_problems(self._setup.source.reader.problems)
                saved = State(arrays, dataclasses.asdict(self.progress))
                state.save(self._run.path / run_folder.STATE, self.step, saved)
            self._save_took = time.monotonic() - started
            self.progress.bookkeeping += self._save_took
        self._saved, self._steps_unsaved = time.monotonic(), 0

    def _stop(self) -> None:
        self._save()
        raise self._interrupted()

    def _interrupted(self) -> InterruptedTraining:
        return InterruptedTraining(
            f"Stopped by {self._signal or 'another worker'} after epoch {self.progress.epoch}, "
            f"step {self.progress.position}; the state is saved. Run the same command to resume."
        )

    def _variables(self) -> dict[str, Any]:
        """Returns all that is saved, by name."""
        parts = {"network": self._steps.network, "optimizer": self._steps.optimizer}
        named = {
            # Without Keras's numbers, which count what else a process has built.
            f"{part}/{number:04}/{re.sub(r'_[0-9]+(?=/|$)', '', variable.path)}": variable
            for part, owner in parts.items()
            for number, variable in enumerate(owner.variables)
        }
        return named | {f"average/{n:04}": v for n, v in enumerate(self._steps.averages)}

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Lets the first SIGTERM or SIGINT ask for a stop; a second one acts as it did before."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with ExitStack() as handlers:

            def ask(number: int, _: Any) -> None:
                self._signal = signal.Signals(number).name
                handlers.close()

            for number in (signal.SIGTERM, signal.SIGINT):
                handlers.callback(signal.signal, number, signal.signal(number, ask))
            yield
