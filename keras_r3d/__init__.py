"""Names what videos show: 3D residual networks for action recognition, in Keras 3 and TensorFlow.

    import keras_r3d

    classifier = keras_r3d.VideoClassifier("motion_wide").fit("MY_VIDEOS")
    classifier.predict("some.mp4").top(3)

`VideoClassifier` is the front door; `data`, `applications`, `training` and `export` are the parts
under it, for `model.fit` and other ways of one's own. docs/api.md lists all that is public.
"""

import importlib
from typing import TYPE_CHECKING

from keras_r3d import _checkout
from keras_r3d._version import __version__

if TYPE_CHECKING:  # `export` stands beside the package, where a type checker does not look
    from keras_r3d import applications, data, inference, recipe, training
    from keras_r3d.system import errors as errors
    from keras_r3d.system.errors import R3DError as R3DError
    from keras_r3d.video_classifier import VideoClassifier as VideoClassifier

__all__ = [
    "R3DError",
    "VideoClassifier",
    "__version__",
    "applications",
    "data",
    "errors",
    "export",
    "inference",
    "recipe",
    "training",
]
_ON_KERAS = {"VideoClassifier", "export", "inference"}
_PLACES = {"R3DError": "system.errors", "VideoClassifier": "video_classifier"}

_checkout.install()


def __getattr__(name: str):
    # Loaded on first use: TensorFlow takes seconds, and `--help` should not.
    if name in _ON_KERAS:  # first what says so if Keras runs on another backend
        importlib.import_module("keras_r3d.applications")
    if name in _PLACES:
        return getattr(importlib.import_module(f"keras_r3d.{_PLACES[name]}"), name)
    if name == "errors":
        return importlib.import_module("keras_r3d.system.errors")
    if name in __all__:
        return importlib.import_module(f"keras_r3d.{name}")
    raise AttributeError(f"module 'keras_r3d' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
