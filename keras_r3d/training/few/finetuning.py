"""Fine-tuning a network on few videos, from a classifier that was fitted to its embeddings."""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_r3d.data.annotations import Annotations, Video
from keras_r3d.data.opening import Source
from keras_r3d.recipe import Recipe
from keras_r3d.system.devices import Devices
from keras_r3d.training import networks, preparing
from keras_r3d.training.loop import Plan, Progress, Training
from keras_r3d.training.optimization.schedule import Schedule


def train(
    model: keras.Model,
    recipe: Recipe,
    opened: Source,
    hardware: Devices,
    videos: Sequence[Video],
    held_out: Sequence[Video],
    epochs: int,
    say: Callable[[str], None],
) -> tuple[keras.Model, int]:
    """Trains a model as the recipe's [train] says.

    Args:
        model: gets the weights of the epoch with the lowest loss of the held-out videos, or of the
            last one.
        held_out: may be empty.
        say: takes a line an epoch.

    Returns:
        The model, and the number of epochs its weights had.

    Raises:
        InterruptedTraining: SIGTERM or SIGINT came; nothing of it is kept.
        TrainingError: the loss is not finite.
    """
    train = dataclasses.replace(recipe.train, epochs=epochs)
    recipe = dataclasses.replace(recipe, train=train)
    splits = {"train": list(videos), **({"validation": list(held_out)} if held_out else {})}
    found = Annotations(splits, opened.annotations.classes, [])
    keras.utils.set_random_seed(train.seed)
    prepared = preparing.assembled(
        recipe,
        dataclasses.replace(opened, annotations=found),
        hardware,
        networks.pair(model, recipe, hardware),
    )
    best: list[np.ndarray] = []

    def keep(weights: list[np.ndarray]) -> None:
        best[:] = weights

    training = Training(
        prepared.steps,
        Schedule(train, prepared.steps_per_epoch),
        Plan(
            epochs=epochs,
            steps_per_epoch=prepared.steps_per_epoch,
            batch_size=train.batch_size,
            batches=prepared.batches,
            validation=prepared.validation if held_out else None,
            keep_best=keep,
            keep_last=_keep_nothing,
            chooses=bool(held_out),
            patience=0,
            names_of_batch=prepared.names_of_batch,
            note_problems=_note_nothing,
            folder=None,
            save_seconds=0,
            save_steps=0,
        ),
        _Lines(epochs, say),
        writes=True,
    )
    progress = training.fit()
    model.set_weights(best)
    return model, progress.best_epoch


def _keep_nothing(_: list[np.ndarray]) -> None:
    """Leaves the last weights to those of the best epoch."""


def _note_nothing() -> None:
    """Leaves broken videos to the end."""


class _Lines:
    """Says a line an epoch."""

    def __init__(self, epochs: int, say: Callable[[str], None]):
        self._epochs, self._say = epochs, say

    def step(self, progress: Progress, step: int, sums: np.ndarray, rate: float) -> None:
        """Says nothing."""

    def validating(self, progress: Progress, clips: int) -> None:
        """Says nothing."""

    def epoch(self, progress: Progress, confusion: np.ndarray | None) -> None:
        """Says the losses of an epoch."""
        row = progress.log[-1]
        held_out = f"; held out {row['val_loss']:.4f}" if "val_loss" in row else ""
        self._say(f"Epoch {progress.epoch}/{self._epochs}: loss {row['loss']:.4f}{held_out}")
