"""What a person sees of a training: lines, `log.csv`, curves, TensorBoard; Keras callbacks."""

import io
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from keras_r3d import run_folder
from keras_r3d.pictures import confusion as confusions
from keras_r3d.pictures import curves, fonts
from keras_r3d.system import files
from keras_r3d.system.progress import duration, show
from keras_r3d.training.finetune import Say
from keras_r3d.training.loop import Observer, Progress
from keras_r3d.training.optimization.step import SUMS
from keras_r3d.training.setup import Setup

COLUMNS = ("epoch", *SUMS, *(f"val_{name}" for name in SUMS), "learning_rate")
COLUMNS += ("clips_per_second", "data_wait", "seconds", "validation_seconds")
_MOST_DRAWING_SHARE = 0.005  # of the time; the last epoch is always drawn
_SAY_SECONDS = 60.0  # between two lines of an epoch, where there is no terminal
_BAR_SECONDS = 0.2
_BAR = 10  # characters
_SUMMARY_STEPS = 20  # between two points of TensorBoard's curves


class Callbacks(Observer):
    """Calls Keras callbacks, such as MLflow's or those of Weights & Biases.

    They are called at the begin and end of training and epochs, and at the end of steps, with
    `self.model` the network; logs hold the columns of `log.csv`, and of a step its loss and the
    learning rate. What they change has no effect, neither `stop_training` nor the optimizer's rate:
    the recipe decides both, and a training must come out the same when it is resumed.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], setup: Setup):
        self._steps, self._batch_size = setup.steps_per_epoch, setup.recipe.train.batch_size
        parameters = {"epochs": setup.recipe.train.epochs, "steps": self._steps, "verbose": 0}
        self._callbacks = keras.callbacks.CallbackList(
            list(callbacks), model=setup.steps.network, **parameters
        )
        self._epoch: int | None = None
        self._callbacks.on_train_begin()

    def step(self, progress: Progress, step: int, sums: np.ndarray, rate: float) -> None:
        epoch, number = divmod(step, self._steps)
        if epoch != self._epoch:
            self._epoch = epoch
            self._callbacks.on_epoch_begin(epoch)
        logs = {"loss": float(sums[0] / self._batch_size), "learning_rate": rate}
        self._callbacks.on_train_batch_begin(number)
        self._callbacks.on_train_batch_end(number, logs)

    def epoch(self, progress: Progress, confusion: np.ndarray | None) -> None:
        self._callbacks.on_epoch_end(progress.epoch - 1, dict(progress.log[-1]))

    def close(self) -> None:
        self._callbacks.on_train_end()


class Report(Observer):
    """Says lines, and writes into the run folder.

    TensorBoard gets the picture of training `clips`, and at the end of each epoch `histograms` of
    all trainable weights, if asked for.
    """

    def __init__(self, folder: Path, setup: Setup, clips: Figure, histograms: bool, say: Say):
        self._folder, self._say = folder, say
        self._network, self._classes = setup.steps.network, setup.annotations.classes
        self._several = setup.annotations.several
        self._epochs, self._batch_size = setup.recipe.train.epochs, setup.recipe.train.batch_size
        self._steps_per_epoch, self._histograms = setup.steps_per_epoch, histograms
        self._terminal = sys.stdout.isatty()
        self._drawn, self._drawing_took = -math.inf, 0.0
        self._undrawn: Progress | None = None
        self._shown = time.monotonic()
        self._rate_since: tuple[float, int] | None = None
        root = folder / run_folder.TENSORBOARD
        self._train = tf.summary.create_file_writer(str(root / "train"))
        self._validation = tf.summary.create_file_writer(str(root / "validation"))
        with self._train.as_default(step=0):
            tf.summary.image("training clips", _pixels(clips))
        show("The first step takes longer: TensorFlow compiles it …")

    def step(self, progress: Progress, step: int, sums: np.ndarray, rate: float) -> None:
        if step % _SUMMARY_STEPS == 0:
            with self._train.as_default(step=step):
                tf.summary.scalar("loss of a step", sums[0] / self._batch_size)
                tf.summary.scalar("learning rate", rate)
        now = time.monotonic()
        if self._rate_since is None:
            self._rate_since = now, step
        if now - self._shown < (_BAR_SECONDS if self._terminal else _SAY_SECONDS):
            return
        self._shown = now
        (show if self._terminal else self._say)(self._line(progress, step, now))

    def validating(self, progress: Progress, clips: int) -> None:
        now = time.monotonic()
        if not clips or now - self._shown >= _BAR_SECONDS:
            self._shown = now
            show(f"Epoch {progress.epoch + 1}/{self._epochs}, validation: {clips} clips")

    def close(self) -> None:
        show("")
        self._draw()
        self._train.close()
        self._validation.close()

    def epoch(self, progress: Progress, confusion: np.ndarray | None) -> None:
        row, validation, best = progress.log[-1], "", ""
        if "val_loss" in row:
            validation = f"; validation {row['val_loss']:.4f}, {row['val_clip_top1']:.1%}"
            best = "; best so far" if progress.best_epoch == row["epoch"] else ""
        show("")
        self._say(
            f"Epoch {int(row['epoch'])}/{self._epochs}: loss {row['loss']:.4f}, top-1 "
            f"{row['clip_top1']:.1%}{validation}; rate {row['learning_rate']:.3g}, "
            f"{row['clips_per_second']:.1f} clips/s, {row['data_wait']:.0%} waiting for data, "
            f"{duration(row['seconds'])}{best}"
        )
        rows = [
            [f"{row[name]:.6g}" if name in row else "" for name in COLUMNS] for row in progress.log
        ]
        files.write_text(self._folder / run_folder.LOG, files.csv_text(COLUMNS, rows))
        started = time.monotonic()
        allowed = (started - self._drawn) * _MOST_DRAWING_SHARE
        draw = allowed >= self._drawing_took or progress.epoch == self._epochs
        self._summarize(row, confusion if draw else None)
        self._undrawn = progress
        if draw:
            self._draw()
            self._drawing_took = self._drawn - started

    def _draw(self) -> None:
        if self._undrawn is not None:
            picture = curves.figure(self._undrawn.log, self._undrawn.best_epoch)
            fonts.save(picture, self._folder / run_folder.CURVES)
        self._undrawn, self._drawn = None, time.monotonic()

    def _line(self, progress: Progress, step: int, now: float) -> str:
        done = step % self._steps_per_epoch + 1
        clips = done * self._batch_size
        loss, right = progress.sums[0] / clips, progress.sums[1] / clips
        assert self._rate_since is not None
        since, first_step = self._rate_since
        rate = (step - first_step) / max(now - since, 1e-9)
        left = (self._epochs * self._steps_per_epoch - step - 1) / rate if rate else math.inf
        filled = round(_BAR * done / self._steps_per_epoch)
        return (
            f"Epoch {progress.epoch + 1}/{self._epochs} [{'=' * filled:{_BAR}}] "
            f"{done}/{self._steps_per_epoch}, "
            + (f"{duration(left)} left, " if math.isfinite(left) else "")
            + f"loss {loss:.4f}, top-1 {right:.1%}, {rate * self._batch_size:.3g} clips/s, "
            f"data wait {progress.waited / max(progress.seconds, 1e-9):.0%}"
        )

    def _summarize(self, row: dict[str, float], confusion: np.ndarray | None) -> None:
        epoch = int(row["epoch"])
        with self._train.as_default(step=epoch):
            for name in (*SUMS, "learning_rate", "clips_per_second", "data_wait"):
                tf.summary.scalar(f"epoch/{name}", row[name])
            if self._histograms:
                for variable in self._network.trainable_variables:
                    tf.summary.histogram(variable.path, np.asarray(variable))
        with self._validation.as_default(step=epoch):
            for name in SUMS if "val_loss" in row else ():
                tf.summary.scalar(f"epoch/{name}", row[f"val_{name}"])
            if confusion is not None and not self._several:
                picture = confusions.figure(confusion, self._classes, "validation clips")
                tf.summary.image("confusion", _pixels(picture))
        self._train.flush()
        self._validation.flush()


def _pixels(figure: Figure) -> np.ndarray:
    """Renders a figure, uint8 `(1, height, width, 3)`."""
    file = io.BytesIO()
    with fonts.look():
        figure.savefig(file, dpi=80, format="png")
    return tf.io.decode_png(file.getvalue(), channels=3).numpy()[np.newaxis]
