"""What reading a folder shares, wherever it lies: retries, checks, and copies on this machine."""

import hashlib
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from keras_r3d.system import files
from keras_r3d.system.errors import StoreError, UnreachableError
from keras_r3d.system.retrying import PassingError, retry

RETRIES = 4
SILENCE_SECONDS = 8.0  # how long a server may say nothing
SLOWEST_BYTES_PER_SECOND = 200_000  # slower than that counts as not answering
PIECE_BYTES = 8 * 2**20  # of a file that is downloaded whole

Answer = TypeVar("Answer")


class _MissingError(StoreError):
    """There is no such file."""


class Storage(ABC):
    """A folder of files that are read, from any thread. Names are relative to it, with "/".

    Its methods raise StoreError for a file that is missing, cut short or otherwise not what it
    should be, and UnreachableError for a server that does not answer, or refuses.

    Attributes:
        root: the folder or URL, without a slash at the end.
        remote: whether it is a URL. Files there must not change: each size is asked for once.
    """

    remote = True

    def __init__(self, root: str):
        self.root = root.rstrip("/") or "/"
        self._sizes: dict[str, int] = {}
        self._copying = threading.Lock()

    @abstractmethod
    def ask_size(self, name: str, seconds: float) -> int:
        """Returns the size of a file in bytes, without retries, within some seconds.

        Raises:
            FileNotFoundError: it is missing.
            PermissionError: the server refuses; the message is its reason.
            PassingError: the next time it may be answered.
        """

    @abstractmethod
    def ask(self, name: str, offset: int, size: int, seconds: float) -> bytes:
        """Returns a range inside a file; otherwise as `ask_size`."""

    def exists(self, name: str) -> bool:
        """Returns whether there is a file; a server that does not tell is an error."""
        try:
            self.size(name)
        except _MissingError:
            return False
        return True

    def size(self, name: str) -> int:
        """Returns the size of a file in bytes."""
        if not (self.remote and name in self._sizes):
            self._sizes[name] = self._patiently(name, 1, lambda left: self.ask_size(name, left))
        return self._sizes[name]

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Reads exactly `size` bytes from `offset` on."""
        if offset + size > (length := self.size(name)):
            raise StoreError(
                f"{self.place(name)} ends at byte {length:,}; bytes {offset:,} to "
                f"{offset + size:,} were asked for: is the file cut short?"
            )

        def ask(seconds: float) -> bytes:
            content = self.ask(name, offset, size, seconds)
            if len(content) != size:
                raise PassingError(f"{len(content):,} of {size:,} bytes came")
            return content

        return self._patiently(name, size, ask) if size else b""

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

        Raises:
            WriteError: the cache cannot be written.
        """
        path = Path(self.place(name))
        if self.remote:
            folder = hashlib.sha256(self.root.encode()).hexdigest()[:16]
            copy = f"{sha256[:16]}-{name.replace('/', '-')}"
            path = files.cache() / "stores" / folder / copy
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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.WriteError(files.explain(path.parent, error)) from error
        with files.atomic(path) as temporary:
            with temporary.open("wb") as file:
                for offset in range(0, size, PIECE_BYTES):
                    file.write(self.read(name, offset, min(PIECE_BYTES, size - offset)))
            if (digest := files.sha256(temporary)) != sha256:
                raise StoreError(
                    f"{self.place(name)} is not the file that was expected: its SHA-256 begins "
                    f"with {digest[:8]}, not {sha256[:8]}. Copy the store there again."
                )

    def _patiently(self, name: str, size: int, ask: Callable[[float], Answer]) -> Answer:
        """Asks with retries, within the time that a range of `size` bytes may take each."""
        place, seconds = self.place(name), SILENCE_SECONDS + size / SLOWEST_BYTES_PER_SECOND
        try:
            return retry(
                lambda _: ask(seconds),
                retries=RETRIES,
                deadline_seconds=math.inf,
                failure=lambda reason: UnreachableError(
                    f"{place} could not be read: {reason} Check the address and the network, and "
                    "that the server is up; then run again."
                ),
            )
        except FileNotFoundError as error:
            raise _MissingError(
                f"{place}: there is no such file; check the path: is the store there, and complete?"
            ) from error
        except PermissionError as error:
            raise UnreachableError(
                f"{place}: the server refuses to give it ({error}). Check the credentials of this "
                "machine and that they may read it; some servers, S3 among them, also say so of a "
                "file that is not there."
            ) from error
