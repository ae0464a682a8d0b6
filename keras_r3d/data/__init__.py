"""Labeled videos, and batches of clips of them.

videos = keras_r3d.data.open_videos("MY_VIDEOS", validation_fraction=0.2)
clips = keras_r3d.data.Clips(frames=16, size=112, crop=keras_r3d.data.Whole(), flip=False)
model.fit(videos.dataset("train", clips, batch_size=16), ...)
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_r3d.data.annotations import Video
    from keras_r3d.data.opening import Videos, open_videos
    from keras_r3d.data.scanning.report import scan
    from keras_r3d.data.sheet import contact_sheet, view_clips
    from keras_r3d.data.stores import prepare_store, store_flow, verify_store
    from keras_r3d.recipe.clips import (
        Augment,
        Clips,
        Consecutive,
        MultiScale,
        RandAugment,
        RandomResized,
        Segments,
        Uniform,
        Whole,
    )

__all__ = [
    "Augment",
    "Clips",
    "Consecutive",
    "MultiScale",
    "RandAugment",
    "RandomResized",
    "Segments",
    "Uniform",
    "Video",
    "Videos",
    "Whole",
    "contact_sheet",
    "open_videos",
    "prepare_store",
    "scan",
    "store_flow",
    "verify_store",
    "view_clips",
]
_MODULES = {
    "Video": "data.annotations",
    "scan": "data.scanning.report",
    **dict.fromkeys(("Videos", "open_videos"), "data.opening"),
    **dict.fromkeys(("contact_sheet", "view_clips"), "data.sheet"),
    **dict.fromkeys(("prepare_store", "store_flow", "verify_store"), "data.stores"),
}


def __getattr__(name: str):
    # Loaded on first use: TensorFlow takes seconds.
    if name in __all__:
        module = importlib.import_module(f"keras_r3d.{_MODULES.get(name, 'recipe.clips')}")
        return getattr(module, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
