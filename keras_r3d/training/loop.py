"""The loop over epochs and steps: what is saved when, when it stops, and what it says."""

import dataclasses
import math
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from keras_r3d.system.errors import (
    InterruptedTraining,
    RunError,
    TrainingError,
)
from keras_r3d.training import state
from keras_r3d.training.optimization.schedule import Schedule
from keras_r3d.training.optimization.step import SUMS, Steps
from keras_r3d.training.state import State

_MOST_SAVING_SHARE = 0.01  # of the time, at the ends of epochs


@dataclasses.dataclass
class Progress:
    """Where a training is; with the variables, all that is saved.

    Attributes:
        epoch: epochs that have ended.
        position: steps of the epoch that have ended.
        sums: of the clips of these steps: loss and right ones (`step.SUMS`).
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


class Observer(Protocol):
    """What is told of the progress of a training."""

    def step(self, progress: Progress, step: int, sums: np.ndarray, rate: float) -> None:
        """Takes the sums of a step that has ended."""

    def validating(self, progress: Progress, clips: int) -> None:
        """Takes the number of clips that were validated so far."""

    def epoch(self, progress: Progress, confusion: np.ndarray | None) -> None:
        """Takes the progress at the end of an epoch, and the validation's confusion matrix."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training does.

    Attributes:
        batches: takes the number of the first step; gives batches for the replicas, without end.
        validation: gives batches for the replicas, once; None: the training loss decides.
        keep_best: takes the weights of the best model so far, and saves it.
        keep_last: takes the weights after the last epoch, and saves them.
        chooses: whether the validation loss says which epoch is the best; else it is the last.
        patience: epochs in a row that may be no better before the training ends; 0: all.
        names_of_batch: takes the number of a step, gives the names of its videos.
        note_problems: writes down which videos were found broken so far.
        folder: of saved states; None: none are.
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int
    batches: Callable[[int], Iterator[Any]]
    validation: Callable[[], Iterable[Any]] | None
    keep_best: Callable[[list[np.ndarray]], None]
    keep_last: Callable[[list[np.ndarray]], None]
    chooses: bool
    patience: int
    names_of_batch: Callable[[int], list[str]]
    note_problems: Callable[[], None]
    folder: Path | None
    save_seconds: float
    save_steps: int
    workers: int = 1


class Training:
    """A training under way.

    Args:
        writes: whether this process is the one that writes files.

    Attributes:
        progress: where it is.
    """

    def __init__(
        self, steps: Steps, schedule: Schedule, plan: Plan, observer: Observer, *, writes: bool
    ):
        self.progress = Progress()
        self._steps, self._schedule, self._plan = steps, schedule, plan
        self._observer, self._writes = observer, writes
        self._pending: tuple[int, tf.Tensor, float] | None = None
        self._asked: str | None = None  # name of the signal that asked to stop
        self._stopping = False
        self._best: list[np.ndarray] | None = None  # weights that are still to be kept
        self._saved = time.monotonic()
        self._save_took = 0.0
        self._steps_unsaved = 0

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self.progress.epoch * self._plan.steps_per_epoch + self.progress.position

    def resume(self, saved: State) -> None:
        """Goes on from a saved state.

        Raises:
            RunError: it is not of this training.
        """
        progress = dict(saved.progress)
        counters = progress.pop("schedule", None)
        names = {field.name for field in dataclasses.fields(Progress)}
        if set(progress) != names or set(counters or ()) != set(self._schedule.state):
            raise RunError(
                "The saved state was written by another version of keras_r3d: go on with that one, "
                "or start over with --fresh."
            )
        state.restore(self._variables(), saved.arrays)
        self._schedule.restore(counters)
        self.progress = Progress(**progress)

    def fit(self) -> Progress:
        """Trains to the end.

        Raises:
            InterruptedTraining: SIGTERM or SIGINT came; the state was saved.
            TrainingError: the loss is not finite.
            WriteError: a file cannot be written; the last state is intact.
        """
        with self._signals():
            try:
                if not self._ended:
                    batches = self._plan.batches(self.step)
                    while not self._ended:
                        self._epoch(batches)
            finally:
                self._keep_best()  # also of epochs since the last state
            if self._asked:
                raise self._interrupted()
        if self._writes:
            with self._averaged():
                self._plan.keep_last(self._steps.network.get_weights())
        return self.progress

    @property
    def _ended(self) -> bool:
        """Whether all epochs were trained, or so many were no better that the rest is given up."""
        progress, plan = self.progress, self._plan
        waited = progress.epoch - progress.best_epoch
        given_up = (
            plan.chooses and plan.patience and progress.best_epoch and waited >= plan.patience
        )
        return bool(given_up) or progress.epoch >= plan.epochs

    def _keep_best(self) -> None:
        if self._best is not None:
            self._plan.keep_best(self._best)
            self._best = None

    def _epoch(self, batches: Iterator[Any]) -> None:
        progress, plan = self.progress, self._plan
        while progress.position < plan.steps_per_epoch:
            with self._timed():
                started = time.monotonic()
                batch = next(batches)
                waited = time.monotonic() - started
                rate = self._schedule.rate(self.step)
                self._steps.optimizer.learning_rate = rate
                sums = self._steps.train(
                    batch, tf.constant(self.step, tf.int32), tf.constant(float(bool(self._asked)))
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
        progress, plan = self.progress, self._plan
        clips = plan.steps_per_epoch * plan.batch_size
        row: dict[str, float] = {
            "epoch": progress.epoch + 1,
            **{name: total / clips for name, total in zip(SUMS, progress.sums, strict=True)},
        }
        confusion = None
        started = time.monotonic()
        if plan.validation is not None:
            sums, confusion = self._validate(plan.validation())
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
        if loss < progress.best or not plan.chooses:
            progress.best, progress.best_epoch = loss, progress.epoch + 1
            if self._writes:
                with self._averaged():
                    self._best = self._steps.network.get_weights()
        progress.log.append(row)
        progress.epoch, progress.position = progress.epoch + 1, 0
        progress.sums, progress.seconds, progress.waited = [0.0] * len(SUMS), 0.0, 0.0
        self._observer.epoch(progress, confusion)
        progress.bookkeeping += time.monotonic() - started
        # The next epoch can be had again, this one should not be lost; but what it took counts.
        since = time.monotonic() - self._saved
        if self._ended or since * _MOST_SAVING_SHARE >= self._save_took:
            self._save()

    def _validate(self, batches: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        classes = self._steps.classes
        totals = [np.zeros(len(SUMS) + 1), np.zeros((classes, classes))]
        self._observer.validating(self.progress, 0)
        with self._averaged():
            for batch in batches:
                if self._asked and self._plan.workers == 1:
                    break
                parts = [self._steps.local_results(one) for one in self._steps.validate(batch)]
                found = [sum(np.asarray(part, np.float64) for part in one) for one in parts]
                totals = [a + b for a, b in zip(totals, found, strict=True)]
                self._observer.validating(self.progress, int(totals[0][-1]))
        if self._asked and self._plan.workers == 1:
            self._stop()
        sums, confusion = (
            np.asarray(self._steps.total(tf.constant(total, tf.float64))) for total in totals
        )
        if not sums[-1]:
            raise TrainingError("No video of the validation split can be read any more.")
        return sums, confusion.astype(np.int64)

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
        step, sums, rate = last
        *found, stops = np.asarray(sums, np.float64)
        if not math.isfinite(found[0]):
            names = self._plan.names_of_batch(step)
            more = f", … ({len(names)} in all)" if len(names) > 8 else ""
            raise TrainingError(
                self._not_finite(
                    f"The loss became {found[0]}",
                    step,
                    f" The videos of its batch: {', '.join(names[:8])}{more}.",
                )
            )
        self._stopping = self._stopping or stops > 0
        self.progress.sums = [a + b for a, b in zip(self.progress.sums, found, strict=True)]
        started = time.monotonic()
        self._observer.step(self.progress, step, np.array(found), rate)
        self.progress.bookkeeping += time.monotonic() - started

    def _not_finite(self, what: str, step: int | None = None, where: str = "") -> str:
        step = self.step - 1 if step is None else step
        saved = state.latest(self._plan.folder) if self._plan.folder else None
        return (
            f"{what} in epoch {step // self._plan.steps_per_epoch + 1}, step "
            f"{step % self._plan.steps_per_epoch + 1}: lower `train.learning_rate`, or add "
            "`train.warmup_epochs` or `train.clip_norm`, and start over with --fresh or in another "
            f"--workdir.{where} "
            + (f"The last good state is {saved}." if saved else "No state was saved yet.")
        )

    def _due(self) -> bool:
        plan = self._plan
        if plan.folder is None:
            return False
        if plan.save_steps and self._steps_unsaved >= plan.save_steps:
            return True
        return bool(plan.save_seconds) and time.monotonic() - self._saved > plan.save_seconds

    def _save(self) -> None:
        self._flush()
        if self._writes:
            started, folder = time.monotonic(), self._plan.folder
            arrays = self._finite_arrays()
            self._keep_best()  # before the state that says so
            self._plan.note_problems()
            if folder is not None:
                saved = {**dataclasses.asdict(self.progress), "schedule": self._schedule.state}
                state.save(folder, self.step, State(arrays, saved))
            self._save_took = time.monotonic() - started
            self.progress.bookkeeping += self._save_took
        self._saved, self._steps_unsaved = time.monotonic(), 0

    def _finite_arrays(self) -> dict[str, np.ndarray]:
        arrays = state.collect(self._variables())
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise TrainingError(self._not_finite(f"The variable {name} is no longer finite"))
        return arrays

    def _stop(self) -> None:
        self._save()
        raise self._interrupted()

    def _interrupted(self) -> InterruptedTraining:
        return InterruptedTraining(
            f"Stopped by {self._asked or 'another worker'} after epoch {self.progress.epoch}, step "
            f"{self.progress.position}; the state is saved. The same command goes on from there."
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

        def ask(number: int, _: Any) -> None:
            self._asked = signal.Signals(number).name
            for one, handler in before.items():
                signal.signal(one, handler)

        try:
            for number in before:
                signal.signal(number, ask)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _lasting(path: str) -> str:
    """Returns a name without Keras's numbers, which count what else a process has built."""
    return re.sub(r"_\d+(?=/|$)", "", path)
