"""Reading files of a folder that lies on the disk or under a URL: whole ones, and ranges."""

import errno
import os
import stat
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from keras_r3d.data.store.storage.gfile import FileSystemStorage
from keras_r3d.data.store.storage.remote import (
    StorageError,
    UnreachableError,
    decoded,
    proper,
    too_short,
)
from keras_r3d.data.store.storage.web import WebStorage

__all__ = ["LocalStorage", "Storage", "StorageError", "UnreachableError", "is_url", "open_storage"]

OPEN_FILES = 64  # kept open at a time, by each storage

_WEB = ("http", "https")
_FILE_SYSTEMS = ("s3", "gs", "az", "hdfs")  # of TensorFlow and tensorflow-io


class Storage(Protocol):
    """A folder of files that are read, from any thread. Names are relative to it, with "/".

    Attributes:
        root: the folder or URL, without a slash at the end.
        remote: whether it lies behind a URL.
    """

    root: str
    remote: bool

    def exists(self, name: str) -> bool:
        """Returns whether a file is there; a server that does not say so is an error."""

    def size(self, name: str) -> int:
        """Returns the size of a file in bytes."""

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Reads exactly `size` bytes from `offset` on.

        Raises:
            StorageError: the file is not there, ends before, or cannot be read.
        """

    def text(self, name: str) -> str:
        """Reads a whole text file in UTF-8."""

    def local_copy(self, name: str, size: int, sha256: str) -> Path:
        """Returns the path of a file on this machine, to map it into memory.

        A file on the disk is itself that, and only its size is compared. Another is downloaded
        into the cache, unless it is there, and its hash is compared as well.

        Args:
            size: in bytes, that it must have.
            sha256: 64 hexadecimal digits, that it must have.

        Raises:
            StorageError: it is not there, is another file, or cannot be read.
            WriteError: the cache cannot be written.
        """


def is_url(path: str) -> bool:
    """Returns whether a path is a URL such as "s3://bucket/folder", of a known scheme or not."""
    return "://" in path


def open_storage(root: str | Path) -> Storage:
    """Opens a folder by its path or URL; nothing is read yet.

    Raises:
        StorageError: the scheme is unknown, or what reads it is not installed.
    """
    root = str(root)
    if not is_url(root):
        return LocalStorage(root)
    scheme = root.split("://")[0].lower()
    if scheme in _WEB:
        return WebStorage(root)
    if scheme in _FILE_SYSTEMS:
        return FileSystemStorage(root)
    known = ", ".join(f"{one}://" for one in (*_FILE_SYSTEMS, *_WEB))
    raise StorageError(f"{root}: {scheme}:// is unknown; a store lies in a folder or at {known}.")


class _Descriptor:
    """An open file. It is closed when the last thread that reads it lets it go."""

    def __init__(self, path: str):
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class LocalStorage:
    """A folder on the disk: see `Storage`. Files stay open; reads go on without Python's lock."""

    remote = False

    def __init__(self, root: str):
        self.root = root.rstrip("/") or "/"
        self._open: OrderedDict[str, _Descriptor] = OrderedDict()
        self._lock = threading.Lock()

    def place(self, name: str) -> str:
        return os.path.join(self.root, proper(name))

    def exists(self, name: str) -> bool:
        try:
            return stat.S_ISREG(os.stat(self.place(name)).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise _unreadable(self.place(name), error) from error

    def size(self, name: str) -> int:
        try:
            return os.stat(self.place(name)).st_size
        except OSError as error:
            raise _unreadable(self.place(name), error) from error

    def read(self, name: str, offset: int, size: int) -> bytes:
        try:
            file = self._descriptor(name)
            content = os.pread(file.number, size, offset)
            while len(content) < size:  # a read may give less than is there, of 2 GiB for one
                more = os.pread(file.number, size - len(content), offset + len(content))
                if not more:
                    raise too_short(self.place(name), self.size(name), offset, size)
                content += more
        except OSError as error:
            raise _unreadable(self.place(name), error) from error
        return content

    def text(self, name: str) -> str:
        return decoded(self.place(name), self.read(name, 0, self.size(name)))

    def local_copy(self, name: str, size: int, sha256: str) -> Path:
        if (found := self.size(name)) != size:
            raise StorageError(
                f"{self.place(name)} has {found:,} bytes, {size:,} were expected: is it of another "
                "store, or still being copied?"
            )
        return Path(self.place(name))

    def _descriptor(self, name: str) -> _Descriptor:
        with self._lock:
            file = self._open.get(name) or _Descriptor(self.place(name))
            self._open[name] = file
            self._open.move_to_end(name)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        return file


_REMEDIES = {
    errno.ENOENT: "check the path: is the store there, and complete?",
    errno.ENOTDIR: "check the path: is the store there, and complete?",
    errno.EISDIR: "a file was expected, this is a folder.",
    errno.EACCES: "see that you may read it.",
    errno.EMFILE: "raise the limit of open files (ulimit -n).",
}


def _unreadable(path: str, error: OSError) -> StorageError:
    remedy = _REMEDIES.get(error.errno or 0, "see that its disk is well.")
    return StorageError(f"Could not read {path} ({error.strerror or error}): {remedy}")
