"""What all storages behind a URL share: trying again, and copies on this machine."""

import hashlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from keras_r3d.system import files
from keras_r3d.system.errors import R3DError

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5  # doubled after each attempt: 3.5 s in all
SILENCE_SECONDS = 8.0  # how long a server may take to say anything
SLOWEST_BYTES_PER_SECOND = 200_000  # slower than that counts as not answering
PIECE_BYTES = 8 * 2**20  # of a file that is downloaded whole

Answer = TypeVar("Answer")


class StorageError(R3DError):
    """A file that cannot be read from its disk or server, or is not what it should be."""


class UnreachableError(StorageError):
    """A server that gives no answer, or refuses: the next file will fare no better."""


class PassingError(Exception):
    """A request failed in a way that may pass: it is made again. Never leaves a storage."""


def deadline_seconds(size: int) -> float:
    """Returns how long a request for `size` bytes may take."""
    return SILENCE_SECONDS + size / SLOWEST_BYTES_PER_SECOND


def proper(name: str) -> str:
    """Returns the name of a file if it stays inside the folder.

    Raises:
        StorageError: it is absolute, or has empty, "." or ".." parts.
    """
    if {"", ".", ".."} & set(name.split("/")):
        raise StorageError(f"{name!r} is not the name of a file inside a store, such as 'a/b.txt'.")
    return name


def too_short(place: str, length: int, offset: int, size: int) -> StorageError:
    """Returns the error of a range that does not lie in its file."""
    return StorageError(
        f"{place} ends at byte {length:,}; bytes {offset:,} to {offset + size:,} were asked for: "
        "is the file cut short?"
    )


def decoded(place: str, content: bytes) -> str:
    """Returns the text of a file.

    Raises:
        StorageError: it is not UTF-8.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageError(
            f"{place} is not UTF-8 text (byte {error.start:,} is {content[error.start]:#04x}): "
            "is the file damaged?"
        ) from None


class RemoteStorage(ABC):
    """A folder under a URL: see `Storage`. Its methods may be called from any thread.

    What is under the URL must not change meanwhile: the size of a file is asked for once.
    """

    remote = True

    def __init__(self, root: str):
        self.root = root
        self._lengths: dict[str, int] = {}
        self._copying = threading.Lock()

    def place(self, name: str) -> str:
        """Returns the URL of a file, as messages show it."""
        return f"{self.root}/{proper(name)}"

    @abstractmethod
    def length(self, name: str) -> int | None:
        """Asks for the size of a file once; None if it is not there.

        Raises:
            PassingError: it may be answered the next time.
            StorageError: it will not.
        """

    @abstractmethod
    def fetch(self, name: str, offset: int, size: int) -> bytes:
        """Asks for a range of a file once; raises as `length` does, also if it is not there."""

    def exists(self, name: str) -> bool:
        return self._length(name) is not None

    def size(self, name: str) -> int:
        length = self._length(name)
        if length is None:
            raise self.missing(name)
        return length

    def read(self, name: str, offset: int, size: int) -> bytes:
        length = self.size(name)
        if offset + size > length:
            raise too_short(self.place(name), length, offset, size)
        if size == 0:
            return b""
        return self._patiently(name, lambda: self.fetch(name, offset, size))

    def text(self, name: str) -> str:
        return decoded(self.place(name), self.read(name, 0, self.size(name)))

    def local_copy(self, name: str, size: int, sha256: str) -> Path:
        folder = files.cache() / "stores" / hashlib.sha256(self.root.encode()).hexdigest()[:16]
        path = folder / f"{sha256[:16]}-{proper(name).replace('/', '-')}"
        with self._copying:
            if not (path.is_file() and path.stat().st_size == size):
                self._download(name, size, sha256, path)
        return path

    def missing(self, name: str) -> StorageError:
        return StorageError(
            f"{self.place(name)}: there is no such file (404). Check the URL: is the store there, "
            "and complete?"
        )

    def denied(self, name: str, status: str) -> StorageError:
        return UnreachableError(
            f"{self.place(name)}: the server refuses to give it ({status}). Check the credentials "
            "of this machine and that they may read it; some servers, S3 among them, also say so "
            "of a file that is not there."
        )

    def _length(self, name: str) -> int | None:
        if name not in self._lengths:
            length = self._patiently(name, lambda: self.length(name))
            if length is None:
                return None
            self._lengths[name] = length
        return self._lengths[name]

    def _patiently(self, name: str, ask: Callable[[], Answer]) -> Answer:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
            try:
                return ask()
            except PassingError as error:
                reason = error
        raise UnreachableError(
            f"{self.place(name)} could not be read in {ATTEMPTS} attempts; the last one: {reason}. "
            "Check the address and the network, and that the server is up; then run again."
        )

    def _download(self, name: str, size: int, sha256: str, path: Path) -> None:
        place = self.place(name)
        if (length := self.size(name)) != size:
            raise StorageError(
                f"{place} has {length:,} bytes, {size:,} were expected: is it of another store, or "
                "still being copied?"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.WriteError(files.explain(path.parent, error)) from error
        digest = hashlib.sha256()
        with files.atomic(path) as temporary:
            with temporary.open("wb") as file:
                for offset in range(0, size, PIECE_BYTES):
                    piece = self.read(name, offset, min(PIECE_BYTES, size - offset))
                    digest.update(piece)
                    file.write(piece)
            if digest.hexdigest() != sha256:
                raise StorageError(
                    f"{place} is not the file that was expected: its SHA-256 begins with "
                    f"{digest.hexdigest()[:8]}, not {sha256[:8]}. Copy the store there once more."
                )
