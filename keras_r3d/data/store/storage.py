"""Files of a folder on the disk or under a URL, read whole or by ranges."""

import contextlib
import errno
import functools
import io
import os
import stat
import threading
from pathlib import Path
from typing import Any

from keras_r3d.system import files
from keras_r3d.system.errors import StoreError
from keras_r3d.system.objects import remote
from keras_r3d.system.objects.calls import is_url
from keras_r3d.system.objects.remote import Span

OPEN_FILES = 64  # of a folder on the disk
_REMEDIES = {
    errno.EACCES: "see that you may read it.",
    errno.EMFILE: "raise the limit of open files (ulimit -n).",
}


class _MissingError(StoreError):
    """There is no such file."""


class Storage:
    """A folder of files that are read, from any thread. Names are relative to it, with "/".

    Its methods raise StoreError for a file that is missing, cut short or otherwise not what it
    should be, and UnreachableError for a server that does not answer, or refuses.

    Args:
        root: path or URL of the folder; nothing is read yet.
    """

    def __init__(self, root: str | Path):
        self.remote = is_url(str(root))
        self._files = remote.open_url(str(root)) if self.remote else _Disk(str(root))
        self.root = self._files.root
        self._sizes: dict[str, int] = {}  # files at a URL must not change
        self._copying = threading.Lock()

    def exists(self, name: str) -> bool:
        """Returns whether there is a file; a server that does not tell is an error."""
        with contextlib.suppress(_MissingError):
            self.size(name)
            return True
        return False

    def size(self, name: str) -> int:
        """Returns the size of a file in bytes."""
        if not (self.remote and name in self._sizes):
            self._sizes[name] = self._ask(name, None)
        return self._sizes[name]

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Reads exactly `size` bytes from `offset` on."""
        if offset + size > (length := self.size(name)):
            raise StoreError(
                f"{self.place(name)} ends at byte {length:,}; bytes {offset:,} to "
                f"{offset + size:,} were asked for: is the file cut short?"
            )
        return bytes(self._ask(name, (offset, size))) if size else b""

    def text(self, name: str) -> str:
        """Reads a whole text file in UTF-8."""
        content = self.read(name, 0, self.size(name))
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise StoreError(
                f"{self.place(name)} is not UTF-8 text (byte {error.start:,} is "
                f"{content[error.start]:#04x}): is the file damaged?"
            ) from None

    def local_copy(self, name: str, size: int, sha256: str) -> Path:
        """Returns the path of a file on this machine, to map it into memory.

        A file on the disk is itself that, and only its size is compared. Another is downloaded
        into the cache once, and its SHA-256 is compared, too.
        """
        path = Path(self.place(name))
        if self.remote:
            folder = files.sha256_of([self.root.encode()])[:16]
            path = files.cache() / "stores" / folder / f"{sha256[:16]}-{name.replace('/', '-')}"
        with self._copying:
            if self.remote and path.is_file() and path.stat().st_size == size:
                return path
            if (length := self.size(name)) != size:
                raise StoreError(
                    f"{self.place(name)} has {length:,} bytes, {size:,} were expected: is it of "
                    "another store, or still being copied?"
                )
            if self.remote:
                self._download(name, size, sha256, path)
        return path

    def place(self, name: str) -> str:
        """Returns the path or URL of a file, as messages show it; none outside of the folder."""
        if {"", ".", ".."} & set(name.split("/")):
            raise StoreError(f"{name!r} is not the name of a file inside a store, as 'a/b.txt' is.")
        return f"{self.root.rstrip('/')}/{name}"

    def _download(self, name: str, size: int, sha256: str, path: Path) -> None:
        files.make_folder(path.parent)
        with files.atomic(path) as temporary:
            with temporary.open("wb") as file:
                for offset in range(0, size, remote.PIECE_BYTES):
                    file.write(self.read(name, offset, min(remote.PIECE_BYTES, size - offset)))
            if (digest := files.sha256(temporary)) != sha256:
                raise StoreError(
                    f"{self.place(name)} is not the file that was expected: its SHA-256 begins "
                    f"with {digest[:8]}, not {sha256[:8]}. Copy the store there again."
                )

    def _ask(self, name: str, span: Span) -> Any:
        place = self.place(name)
        try:
            return remote.ask(self._files, place, span)
        except FileNotFoundError as error:
            raise _MissingError(
                f"{place}: there is no such file; check the path: is the store there, and complete?"
            ) from error


class _Disk:
    """A folder on the disk. Files stay open, and are read without Python's lock."""

    def __init__(self, root: str):
        self.root = root.rstrip("/") or "/"
        # A file is closed when the last thread that reads it lets it go.
        self._open = functools.lru_cache(OPEN_FILES)(functools.partial(io.FileIO, mode="r"))

    def ask(self, place: str, span: Span, seconds: float) -> Any:
        try:
            if span is None:
                status = os.stat(place)
                if not stat.S_ISREG(status.st_mode):
                    raise FileNotFoundError
                return status.st_size
            offset, size, content = *span, b""
            file = self._open(place)
            while more := os.pread(file.fileno(), size - len(content), offset + len(content)):
                content = content + more if content else more  # a read ends at 2 GiB
            return content
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError from None
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "see that its disk is well.")
            raise StoreError(
                f"Could not read {place} ({error.strerror or error}): {remedy}"
            ) from error
