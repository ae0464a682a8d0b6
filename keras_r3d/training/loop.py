"""The loop over epochs and steps: what is saved when, and when it stops."""

import dataclasses
import math
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d import run_folder
from keras_r3d.run_folder import Run
from keras_r3d.system import files
from keras_r3d.system.errors import InterruptedTraining, RunError, TrainingError
from keras_r3d.training import state
from keras_r3d.training.optimization.schedule import Schedule
from keras_r3d.training.optimization.step import SUMS
from keras_r3d.training.setup import Setup
from keras_r3d.training.state import State

_MOST_SAVING_SHARE = 0.01  # of the time, at the ends of epochs


@dataclasses.dataclass
class Progress:
    """Where a training is; with the variables, all that is saved.

    Attributes:
        epoch: epochs that have ended.
        position: steps of the epoch that have ended.
        sums: of the clips of these steps (`step.SUMS`).
        seconds: of these steps.
        waited: of them, the seconds that input was waited for.
        bookkeeping: seconds of the whole training that observers and saved states took.
        best: loss of the epoch that is kept: the lowest so far, or the last.
        best_epoch: its number, counted from 1; 0: none.
        log: figures of each epoch.
    """

    epoch: int = 0
    position: int = 0
    sums: list[float] = dataclasses.field(default_factory=lambda: [0.0] * len(SUMS))
    seconds: float = 0.0
    waited: float = 0.0
    bookkeeping: float = 0.0
    best: float = math.inf
    best_epoch: int = 0
    log: list[dict[str, float]] = dataclasses.field(default_factory=list)


class Observer:
    """Follows a training; this one does nothing."""

    def step(self, progress: Progress, step: int, sums: np.ndarray, rate: float) -> None:
        """Takes the sums of a step that has ended, and its learning rate."""

    def validating(self, progress: Progress, clips: int) -> None:
        """Takes the number of clips that were validated so far."""

    def epoch(self, progress: Progress, confusion: np.ndarray | None) -> None:
        """Takes the progress at the end of an epoch, and the validation's confusion matrix."""


class Training:
    """A training under way.

    Args:
        run: whose folder the models and states are saved in; None: none are.
        save_minutes: time between two saved states; 0 saves them at the ends of epochs only.
        save_steps: steps between two saved states; 0 saves them by time only.

    Attributes:
        progress: where it is.
        observers: are told of the progress, in this order.
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
        self._schedule = Schedule(setup.recipe.train, setup.steps_per_epoch)
        self._pending: tuple[int, tf.Tensor, float] | None = None
        self._signal: str | None = None  # name of the one that asked to stop
        self._stopping = False
        self._best: list[np.ndarray] | None = None  # weights that are still to be kept
        self._saved = time.monotonic()
        self._save_took = 0.0
        self._steps_unsaved = 0

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self.progress.epoch * self._setup.steps_per_epoch + self.progress.position

    def resume(self, saved: State) -> None:
        """Takes a saved state.

        Raises:
            RunError: it is not of this training.
        """
        progress = dict(saved.progress)
        counters = progress.pop("schedule", None)
        names = {field.name for field in dataclasses.fields(Progress)}
        if set(progress) != names or set(counters or ()) != set(self._schedule.state):
            raise RunError(
                "The saved state was written by another version of keras_r3d: resume with that "
                "one, or start over with --fresh."
            )
        state.restore(self._variables(), saved.arrays)
        self._schedule.restore(counters)
        self.progress = Progress(**progress)

    def fit(self) -> Progress:
        """Trains to the end; `setup.kept` then has the weights of the best epoch, or the last.

        Raises:
            InterruptedTraining: SIGTERM or SIGINT came; the state was saved.
            TrainingError: the loss is not finite.
            WriteError: a file cannot be written; the last state is intact.
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
        given_up = self._setup.chooses and patience and progress.best_epoch and waited >= patience
        return bool(given_up) or progress.epoch >= self._train.epochs

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
                rate = self._schedule.rate(self.step)
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
        row: dict[str, float] = {
            "epoch": progress.epoch + 1,
            **{name: total / clips for name, total in zip(SUMS, progress.sums, strict=True)},
        }
        confusion = None
        started = time.monotonic()
        batches = self._setup.validation()
        if batches is not None:
            sums, confusion = self._validate(batches)
            row |= {f"val_{name}": sums[n] / sums[-1] for n, name in enumerate(SUMS)}
            row["validation_seconds"] = time.monotonic() - started
        loss = row.get("val_loss", row["loss"])
        if not math.isfinite(loss):
            raise TrainingError(self._not_finite(f"The validation loss became {loss}"))
        row |= {
            "learning_rate": self._schedule.rate(self.step - 1),
            "clips_per_second": clips / max(progress.seconds, 1e-9),
            "data_wait": progress.waited / max(progress.seconds, 1e-9),
            "seconds": progress.seconds,
        }
        self._schedule.end_epoch(loss)
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
                results = [self._steps.local_results(one) for one in self._steps.validate(batch)]
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
        if not self._steps.averages:
            yield
            return
        variables = self._steps.network.trainable_variables
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
            raise TrainingError(self._not_finite(f"The loss became {sums[0]}", step, where))
        self._stopping = self._stopping or stops > 0
        self.progress.sums = [a + b for a, b in zip(self.progress.sums, sums, strict=True)]
        started = time.monotonic()
        for observer in self.observers:
            observer.step(self.progress, step, np.array(sums), rate)
        self.progress.bookkeeping += time.monotonic() - started

    def _not_finite(self, what: str, step: int | None = None, where: str = "") -> str:
        step = self.step - 1 if step is None else step
        epoch, position = divmod(step, self._setup.steps_per_epoch)
        saved = state.latest(self._run.path / run_folder.STATE) if self._run else None
        return (
            f"{what} in epoch {epoch + 1}, step {position + 1}: lower "
            "`train.optimizer.learning_rate`, or add `train.schedule.warmup_epochs` or "
            f"`train.clip_norm`, and start over with --fresh or in another --workdir.{where} "
            + (f"The last good state is {saved}." if saved else "No state was saved yet.")
        )

    def _due(self) -> bool:
        if self._run is None:
            return False
        if self._save_steps and self._steps_unsaved >= self._save_steps:
            return True
        since = time.monotonic() - self._saved
        return bool(self._save_minutes) and since > 60 * self._save_minutes

    def _save(self) -> None:
        self._flush()
        if self._writes:
            started = time.monotonic()
            arrays = self._finite_arrays()
            self._keep_best()  # before the state that says so
            if self._run is not None:
                self._run.report_problems(self._setup.source.reader.problems)
                saved = {**dataclasses.asdict(self.progress), "schedule": self._schedule.state}
                state.save(self._run.path / run_folder.STATE, self.step, State(arrays, saved))
            self._save_took = time.monotonic() - started
            self.progress.bookkeeping += self._save_took
        self._saved, self._steps_unsaved = time.monotonic(), 0

    def _finite_arrays(self) -> dict[str, np.ndarray]:
        arrays = {name: np.asarray(variable) for name, variable in self._variables().items()}
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise TrainingError(self._not_finite(f"The variable {name} is no longer finite"))
        return arrays

    def _stop(self) -> None:
        self._save()
        raise self._interrupted()

    def _interrupted(self) -> InterruptedTraining:
        return InterruptedTraining(
            f"Stopped by {self._signal or 'another worker'} after epoch {self.progress.epoch}, "
            f"step {self.progress.position}; the state is saved. Run the same command to resume."
        )

    def _variables(self) -> dict[str, Any]:
        network = self._steps.network.variables
        optimizer = self._steps.optimizer.variables
        names = [
            *(f"network/{number:04}/{_lasting(v.path)}" for number, v in enumerate(network)),
            *(f"optimizer/{number:04}/{_lasting(v.path)}" for number, v in enumerate(optimizer)),
            *(f"average/{number:04}" for number, _ in enumerate(self._steps.averages)),
        ]
        return dict(zip(names, [*network, *optimizer, *self._steps.averages], strict=True))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Lets the first SIGTERM or SIGINT ask for a stop; a second one acts as it did before."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def ask(number: int, _: Any) -> None:
            self._signal = signal.Signals(number).name
            restore()

        try:
            for number in before:
                signal.signal(number, ask)
            yield
        finally:
            restore()


def _lasting(path: str) -> str:
    """Returns a name without Keras's numbers, which count what else a process has built."""
    return re.sub(r"_\d+(?=/|$)", "", path)
