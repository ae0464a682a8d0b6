"""What trained models say of videos, beyond what `VideoClassifier` has methods for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_r3d.inference.embeddings.extraction import extract_features as extract_features

__all__ = ["extract_features"]


def __getattr__(name: str):
    # Loaded on first use, as everything that is not for all.
    if name in __all__:
        from keras_r3d.inference.embeddings import extraction

        return getattr(extraction, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
