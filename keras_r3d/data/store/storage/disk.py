"""Folders on the disk."""

import errno
import functools
import io
import os
import stat

from keras_r3d.data.store.storage.storage import Storage
from keras_r3d.system.errors import StoreError

OPEN_FILES = 64  # kept open by each storage
_REMEDIES = {
    errno.EACCES: "see that you may read it.",
    errno.EMFILE: "raise the limit of open files (ulimit -n).",
}


class Disk(Storage):
    """A folder on the disk. Files stay open, and are read without Python's lock."""

    remote = False

    def __init__(self, root: str):
        super().__init__(root)
        # A file is closed when the last thread that reads it lets it go.
        self._open = functools.lru_cache(OPEN_FILES)(functools.partial(io.FileIO, mode="r"))

    def ask_size(self, name: str, seconds: float) -> int:
        try:
            status = os.stat(self.place(name))
        except OSError as error:
            raise self._explained(name, error) from error
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError
        return status.st_size

    def ask(self, name: str, offset: int, size: int, seconds: float) -> bytes:
        content = b""
        try:
            file = self._open(self.place(name))
            while more := os.pread(file.fileno(), size - len(content), offset + len(content)):
                content = content + more if content else more  # a read ends at 2 GiB
        except OSError as error:
            raise self._explained(name, error) from error
        return content

    def _explained(self, name: str, error: OSError) -> Exception:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return FileNotFoundError()
        remedy = _REMEDIES.get(error.errno or 0, "see that its disk is well.")
        return StoreError(
            f"Could not read {self.place(name)} ({error.strerror or error}): {remedy}"
        )
