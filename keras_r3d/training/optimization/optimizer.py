"""The optimizer of a recipe; stochastic gradient descent as PyTorch and Torch7 compute it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_r3d.recipe import Train
from keras_r3d.recipe.schema import SgdOptimizer


@keras.saving.register_keras_serializable(package="keras_r3d")
class SGD(keras.optimizers.Optimizer):
    """SGD with coupled weight decay and the rate outside the velocity.

    ```
    g = gradient + weight_decay * w
    v = momentum * v + (1 - dampening) * g        (v = g in the first step)
    w = w - learning_rate * (g + momentum * v if nesterov else v)
    ```

    `keras.optimizers.SGD` decouples the decay from the momentum and keeps the rate inside the
    velocity; the two part when the rate drops.

    Args:
        learning_rate: float, or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: 0 for none.
        weight_decay: L2 factor, of every variable.
        dampening: share of the gradient kept out of the velocity.
        nesterov: look ahead; needs momentum and no dampening.

    Raises:
        ValueError: Nesterov without momentum or with dampening, or a negative argument.

    Reference:
        torch.optim.SGD, https://pytorch.org/docs/stable/generated/torch.optim.SGD.html
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 1e-3,
        dampening: float = 0.0,
        nesterov: bool = False,
        name: str = "sgd",
        **kwargs: Any,
    ):
        for key, value in (("momentum", momentum), ("weight_decay", weight_decay)):
            if value < 0:
                raise ValueError(f"`{key}` must be 0 or more. Received: {key}={value}")
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(
                "`nesterov` needs momentum above 0 and no dampening. "
                f"Received: momentum={momentum}, dampening={dampening}"
            )
        # Not given to the base class, which would decouple it.
        super().__init__(learning_rate=learning_rate, weight_decay=None, name=name, **kwargs)
        self.momentum, self.l2 = momentum, weight_decay
        self.dampening, self.nesterov = dampening, nesterov

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(gradient, variable.dtype)
        if self.l2:
            step = ops.add(step, ops.multiply(variable, self.l2))
        if self.momentum:
            velocity = self.velocities[self._get_variable_index(variable)]
            addend = step
            if self.dampening:
                share = ops.where(ops.equal(self.iterations, 0), 1.0, 1 - self.dampening)
                addend = ops.multiply(step, ops.cast(share, variable.dtype))
            updated = ops.add(ops.multiply(velocity, self.momentum), addend)
            self.assign(velocity, updated)
            step = ops.add(step, ops.multiply(updated, self.momentum)) if self.nesterov else updated
        self.assign_sub(variable, ops.multiply(step, rate))

    def get_config(self) -> dict[str, Any]:
        names = ("momentum", "dampening", "nesterov")
        settings = {name: getattr(self, name) for name in names}
        return super().get_config() | settings | {"weight_decay": self.l2}


def build_optimizer(train: Train, head: Sequence[Any] = ()) -> keras.optimizers.Optimizer:
    """Builds the optimizer of a recipe; `head` are variables that `train.head_rate` is of."""
    kind: type[keras.optimizers.Optimizer] = keras.optimizers.AdamW
    settings: dict[str, Any] = dataclasses.asdict(train.optimizer)
    if isinstance(train.optimizer, SgdOptimizer):
        kind = SGD
        settings["dampening"] = train.optimizer.dampening or 0.0
    if head and train.head_rate is not None:
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
            factor = self._factors[self._get_variable_index(variable)]
            super().update_step(gradient, variable, ops.multiply(learning_rate, factor))

    return WithHeadRate
