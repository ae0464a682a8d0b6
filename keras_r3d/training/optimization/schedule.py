"""The learning rate of each step: plain arithmetic, and counters that are saved with the run."""

import dataclasses
import math

from keras_r3d.recipe import Train
from keras_r3d.recipe.schema import CosineSchedule, MilestoneSchedule, PlateauSchedule


@dataclasses.dataclass
class ReduceLROnPlateau:
    """Counts the drops of a rate, one whenever a loss has stopped falling.

    As `torch.optim.lr_scheduler.ReduceLROnPlateau` counts with a relative threshold: an epoch is
    better if its loss is below `best * (1 - threshold)`; the rate drops after `patience + 1` epochs
    in a row that are not. Unlike Keras's callback of the name it keeps its counters when a run is
    resumed, and its rate is dropped `most` times at most.

    Attributes:
        best: lowest loss so far.
        waited: epochs in a row that were not better.
        cooling: epochs after a drop that do not count.
        drops: so far.
    """

    patience: int
    threshold: float
    cooldown: int
    most: int
    best: float = math.inf
    waited: int = 0
    cooling: int = 0
    drops: int = 0

    def end_epoch(self, loss: float) -> None:
        """Takes the loss of an epoch."""
        if loss < self.best * (1 - self.threshold):
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.cooling:
            self.cooling, self.waited = self.cooling - 1, 0
        if self.waited > self.patience and self.drops < self.most:
            self.drops, self.cooling, self.waited = self.drops + 1, self.cooldown, 0


class Schedule:
    """The learning rate of a recipe.

    Args:
        steps_per_epoch: steps that an epoch has.
    """

    def __init__(self, train: Train, steps_per_epoch: int):
        self._train = train
        self._steps = steps_per_epoch
        plateau = train.schedule
        if not isinstance(plateau, PlateauSchedule):  # then its counters are of no use
            plateau = PlateauSchedule(drops=0)
        self._plateau = ReduceLROnPlateau(
            plateau.patience, plateau.threshold, plateau.cooldown or 0, plateau.drops
        )

    def rate(self, step: int) -> float:
        """Returns the rate of a step, counted from 0 over all epochs."""
        schedule, start = self._train.schedule, self._train.optimizer.learning_rate
        warmup = (schedule.warmup_epochs or 0) * self._steps
        if step < warmup:
            return start * (step + 1) / (warmup + 1)
        if isinstance(schedule, CosineSchedule):
            share = (step - warmup) / max(1, self._train.epochs * self._steps - warmup)
            return start * (1 + math.cos(math.pi * min(1.0, share))) / 2
        drops = self._plateau.drops
        if isinstance(schedule, MilestoneSchedule):
            drops = sum(milestone <= step // self._steps for milestone in schedule.milestones)
        return start * float(schedule.factor**drops)

    def end_epoch(self, loss: float) -> None:
        """Takes the validation loss (without validation, the training loss) of an epoch."""
        self._plateau.end_epoch(loss)

    @property
    def state(self) -> dict[str, float]:
        """The counters, for `restore`."""
        plateau = self._plateau
        names = ("best", "waited", "cooling", "drops")
        return {name: getattr(plateau, name) for name in names}

    def restore(self, state: dict[str, float]) -> None:
        """Goes on from the counters of an earlier schedule."""
        for name, value in state.items():
            setattr(self._plateau, name, value)
