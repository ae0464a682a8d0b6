"""What happens beside the steps: keeping the best model, drawing the curves, stopping on NaN."""

import csv
import math
import time
from pathlib import Path
from typing import Any

import keras
from matplotlib.figure import Figure

from keras_r3d import files, run_folder
from keras_r3d.errors import R3DError


class TrainingError(R3DError):
    """A training that cannot go on."""


class LogLearningRate(keras.callbacks.Callback):
    """Adds the learning rate to the logs that later callbacks see."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            rate = self.model.optimizer.learning_rate
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(rate))


class KeepBest(keras.callbacks.Callback):
    """Saves `network` whenever `monitor` has its lowest value so far.

    `network` shares the weights of the trained model but carries no optimiser of ours, so the file
    loads with plain Keras.
    """

    def __init__(self, path: Path, network: keras.Model, monitor: str):
        super().__init__()
        self.best = math.inf
        self.best_epoch = 0
        self._path, self._network, self._monitor = path, network, monitor

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        value = (logs or {})[self._monitor]
        if value < self.best:
            self.best, self.best_epoch = value, epoch + 1
            with files.atomic(self._path) as temporary:
                self._network.save(temporary)


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops with an error when the loss is no longer a number."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} in epoch {self._epoch + 1}, step {batch + 1}: lower "
                "`train.learning_rate`, or add `train.warmup_epochs`."
            )


class DrawCurves(keras.callbacks.Callback):
    """Redraws the learning curves from `log.csv` after an epoch, at most every `every_seconds`."""

    def __init__(self, folder: Path, every_seconds: float = 10.0):
        super().__init__()
        self._folder = folder
        self._every_seconds = every_seconds
        self._drawn = -math.inf

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if time.monotonic() - self._drawn > self._every_seconds:
            self._draw()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._draw()

    def _draw(self) -> None:
        draw_curves(self._folder / run_folder.LOG, self._folder / run_folder.CURVES)
        self._drawn = time.monotonic()


def draw_curves(log: Path, picture: Path) -> None:
    """Draws loss, clip accuracy and learning rate over the epochs of a `log.csv` as PNG."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["epoch"]) + 1 for row in rows]
    figure = Figure(figsize=(12, 4), layout="constrained")
    loss_axes, accuracy_axes, rate_axes = figure.subplots(1, 3)
    for axes, name, title in (
        (loss_axes, "loss", "loss"),
        (accuracy_axes, "clip_top1", "clip top-1 accuracy"),
    ):
        for column, label in ((name, "training"), (f"val_{name}", "validation")):
            # Keras writes NA where there is no validation.
            if rows[0].get(column, "NA") != "NA":
                axes.plot(epochs, [float(row[column]) for row in rows], ".-", label=label)
        axes.set_title(title)
        axes.legend()
    accuracy_axes.set_ylim(0, 1.02)
    rates = [float(row["learning_rate"]) or math.nan for row in rows]  # a cosine ends at 0
    rate_axes.plot(epochs, rates, ".-")
    rate_axes.set_title("learning rate")
    rate_axes.set_yscale("log")
    for axes in (loss_axes, accuracy_axes, rate_axes):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    with files.atomic(picture) as temporary:
        figure.savefig(temporary, dpi=100)
