"""The clip store: prepared frames in few large files, read by the window (docs/clip_store.md)."""

from keras_r3d.data.store.opened import Store, is_store
from keras_r3d.data.store.reader import StoreReader
from keras_r3d.system.errors import StoreError

__all__ = ["Store", "StoreError", "StoreReader", "is_store"]
