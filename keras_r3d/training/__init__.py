"""Training as a recipe says: `train`, `dry_run`; and the paper's optimizer, `SGD`."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_r3d.run_folder import Run as Run
    from keras_r3d.training.experiment import dry_run as dry_run
    from keras_r3d.training.experiment import train as train
    from keras_r3d.training.optimization.optimizer import SGD as SGD

__all__ = ["SGD", "Run", "dry_run", "train"]
_PLACES = {
    "Run": "keras_r3d.run_folder",
    "SGD": "keras_r3d.training.optimization.optimizer",
    "dry_run": "keras_r3d.training.experiment",
    "train": "keras_r3d.training.experiment",
}


def __getattr__(name: str):
    # Loaded on first use: TensorFlow takes seconds.
    if name == "SGD":  # first what says so if Keras runs on another backend
        importlib.import_module("keras_r3d.applications")
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
