"""What trained models say of videos, beyond what `VideoClassifier` has methods for."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_r3d.inference.embeddings.extraction import extract_features as extract_features
    from keras_r3d.inference.evaluation.comparison import compare as compare
    from keras_r3d.inference.segments.finding import SegmentRule as SegmentRule

__all__ = ["SegmentRule", "compare", "extract_features"]
_PLACES = {
    "SegmentRule": "segments.finding",
    "compare": "evaluation.comparison",
    "extract_features": "embeddings.extraction",
}


def __getattr__(name: str):
    # Loaded on first use, as everything that is not for all.
    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
