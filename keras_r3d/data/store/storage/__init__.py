"""Reading files of a folder that lies on the disk or under a URL: whole ones, and ranges."""

from pathlib import Path

from keras_r3d.data.store.storage import file_systems
from keras_r3d.data.store.storage.disk import Disk
from keras_r3d.data.store.storage.storage import Storage
from keras_r3d.data.store.storage.web import Web

__all__ = ["Storage", "is_url", "open_storage"]


def is_url(path: str) -> bool:
    """Returns whether a path is a URL such as "s3://bucket/folder", of a known scheme or not."""
    return "://" in path


def open_storage(root: str | Path) -> Storage:
    """Opens a folder by its path or URL; nothing is read yet.

    Raises:
        StoreError: the scheme is unknown, or what reads it is not installed.
    """
    if not is_url(str(root)):
        return Disk(str(root))
    scheme, _, rest = str(root).partition("://")
    if scheme.lower() in ("http", "https"):
        return Web(str(root))
    return file_systems.open_file_system(scheme.lower(), rest)
