"""The learning rate of each step: plain arithmetic, and counters that are saved with the run."""

import dataclasses
import math

from keras_r3d.recipe import Train
from keras_r3d.recipe.schema import CosineSchedule, MilestoneSchedule, PlateauSchedule


@dataclasses.dataclass
class PlateauCounters:
    """Counts the drops of a rate, one whenever a loss has stopped falling.

    As `torch.optim.lr_scheduler.ReduceLROnPlateau` counts with a relative threshold. Unlike Keras's
    callback of the name the counters are kept when a run is resumed, and the drops are limited.
    """

    best: float = math.inf  # lowest loss so far
    waited: int = 0  # epochs in a row that were not better
    cooling: int = 0  # epochs after a drop that do not count
    drops: int = 0

    def end_epoch(self, loss: float, schedule: PlateauSchedule) -> None:
        """Takes the validation loss (without validation, the training loss) of an epoch."""
        if loss < self.best * (1 - schedule.threshold):
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.cooling:
            self.cooling, self.waited = self.cooling - 1, 0
        if self.waited > schedule.patience and self.drops < schedule.drops:
            self.drops, self.cooling, self.waited = self.drops + 1, schedule.cooldown or 0, 0


def learning_rate(train: Train, steps_per_epoch: int, step: int, drops: int = 0) -> float:
    """Returns the rate of a step, counted from 0 over all epochs, after `drops` at plateaus."""
    schedule, start = train.schedule, train.optimizer.learning_rate
    warmup = (schedule.warmup_epochs or 0) * steps_per_epoch
    if step < warmup:
        return start * (step + 1) / (warmup + 1)
    if isinstance(schedule, CosineSchedule):
        share = (step - warmup) / max(1, train.epochs * steps_per_epoch - warmup)
        return start * (1 + math.cos(math.pi * min(1.0, share))) / 2
    if isinstance(schedule, MilestoneSchedule):
        drops = sum(milestone <= step // steps_per_epoch for milestone in schedule.milestones)
    return start * float(schedule.factor**drops)
