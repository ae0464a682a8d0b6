"""3D residual networks for action recognition in video, in Keras 3 and TensorFlow."""

import importlib
from typing import TYPE_CHECKING

from keras_r3d import _checkout

if TYPE_CHECKING:  # `export` stands beside the package, where a type checker does not look
    from keras_r3d import applications, data, inference, recipe, training
    from keras_r3d.inference.prediction.prediction import predict

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "applications",
    "data",
    "export",
    "inference",
    "predict",
    "recipe",
    "training",
]

_checkout.install()


def __getattr__(name: str):
    # Loaded on first use: TensorFlow takes seconds, and `--help` should not.
    if name in __all__:
        return importlib.import_module(f"keras_r3d.{name}")
    raise AttributeError(f"module 'keras_r3d' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
