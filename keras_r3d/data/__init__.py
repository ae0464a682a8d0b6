"""Labeled videos, and batches of clips of them.

videos = keras_r3d.data.open_videos("MY_VIDEOS", validation_fraction=0.2)
clips = keras_r3d.data.Clips(frames=16, size=112, crop=keras_r3d.data.Whole(), flip=False)
model.fit(videos.dataset("train", clips, batch_size=16), ...)
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_r3d.data.annotations import Video as Video
    from keras_r3d.data.jobs import contact_sheet as contact_sheet
    from keras_r3d.data.jobs import scan as scan
    from keras_r3d.data.jobs import store_flow as store_flow
    from keras_r3d.data.jobs import view_clips as view_clips
    from keras_r3d.data.labeled_videos import Videos as Videos
    from keras_r3d.data.labeled_videos import open_videos as open_videos
    from keras_r3d.data.stores import prepare_store as prepare_store
    from keras_r3d.data.stores import verify_store as verify_store
    from keras_r3d.recipe.clips import Augment as Augment
    from keras_r3d.recipe.clips import Clips as Clips
    from keras_r3d.recipe.clips import Consecutive as Consecutive
    from keras_r3d.recipe.clips import MultiScale as MultiScale
    from keras_r3d.recipe.clips import RandAugment as RandAugment
    from keras_r3d.recipe.clips import RandomResized as RandomResized
    from keras_r3d.recipe.clips import Segments as Segments
    from keras_r3d.recipe.clips import Uniform as Uniform
    from keras_r3d.recipe.clips import Whole as Whole

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
_CLIPS = "keras_r3d.recipe.clips"
_ELSEWHERE = {
    "Video": "annotations",
    **dict.fromkeys(("Videos", "open_videos"), "labeled_videos"),
    **dict.fromkeys(("contact_sheet", "scan", "store_flow", "view_clips"), "jobs"),
    **dict.fromkeys(("prepare_store", "verify_store"), "stores"),
}


def __getattr__(name: str):
    # Loaded on first use: TensorFlow takes seconds.
    if name in __all__:
        module = f"{__name__}.{_ELSEWHERE[name]}" if name in _ELSEWHERE else _CLIPS
        return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
