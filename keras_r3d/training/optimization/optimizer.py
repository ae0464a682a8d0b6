"""The optimiser of a recipe, with a rate of its own for the classifier."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_r3d.recipe import Train
from keras_r3d.training.optimization.sgd import SGD


def build_optimizer(train: Train, head: Sequence[Any] = ()) -> keras.optimizers.Optimizer:
    """Builds the optimiser of a recipe; its rate is set step by step.

    Args:
        head: variables whose rate is multiplied by `train.head_rate`.
    """
    settings: dict[str, Any] = {
        "learning_rate": train.learning_rate,
        "weight_decay": train.weight_decay,
    }
    kind: type[keras.optimizers.Optimizer] = keras.optimizers.AdamW
    if train.optimizer == "sgd":
        kind = SGD
        settings |= {
            "momentum": train.momentum,
            "dampening": train.dampening,
            "nesterov": train.nesterov,
        }
    if head and train.head_rate != 1:
        kind = _with_head_rate(kind, {v.path for v in head}, train.head_rate)
    optimizer = kind(**settings)
    if train.precision == "float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _with_head_rate(
    kind: type[keras.optimizers.Optimizer], head: set[str], factor: float
) -> type[keras.optimizers.Optimizer]:
    class WithHeadRate(kind):
        """Steps that go further, by a factor, for some variables. Decoupled decay does not."""

        def build(self, variables: Any) -> None:
            if not self.built:
                self._factors = [factor if v.path in head else 1.0 for v in variables]
            super().build(variables)

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            own = self._factors[self._get_variable_index(variable)]
            super().update_step(gradient, variable, ops.multiply(learning_rate, own))

    return WithHeadRate
