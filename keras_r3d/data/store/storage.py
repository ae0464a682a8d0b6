"""Files of a folder on the disk or under a URL, read whole or by ranges.

s3://, gs://, az:// and hdfs:// are read by fsspec where the scheme's package is installed: a read
is one request. Otherwise TensorFlow's own file systems and tensorflow-io do: a read is several
requests, one of them for 512 KiB, and a process that has opened s3:// may abort when it ends
(tensorflow/io#1912, #2039).
"""

import contextlib
import errno
import functools
import hashlib
import io
import math
import os
import re
import stat
import threading
import time
import urllib.parse
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from keras_r3d.system import files, http
from keras_r3d.system.errors import StoreError, UnreachableError
from keras_r3d.system.retrying import PassingError, retry

RETRIES = 4
SILENCE_SECONDS = 8.0  # how long a server may say nothing
SLOWEST_BYTES_PER_SECOND = 200_000  # slower than that counts as not answering
PIECE_BYTES = 8 * 2**20  # of a file that is downloaded whole
OPEN_FILES = 64  # of a folder on the disk
_REMEDIES = {
    errno.EACCES: "see that you may read it.",
    errno.EMFILE: "raise the limit of open files (ulimit -n).",
}
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "hdfs": "pyarrow"}  # of fsspec
_S3 = {
    **{"connect_timeout": SILENCE_SECONDS, "read_timeout": SILENCE_SECONDS},
    **{"max_pool_connections": 64, "retries": {"total_max_attempts": 1}},
}
_TENSORFLOW_S3 = {  # likewise; read when the first file is opened
    "S3_CONNECT_TIMEOUT_MSEC": f"{1000 * SILENCE_SECONDS:.0f}",
    "S3_REQUEST_TIMEOUT_MSEC": f"{1000 * SILENCE_SECONDS:.0f}",
    **{"AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "1"},
}

Answer = TypeVar("Answer")


class _MissingError(StoreError):
    """There is no such file."""


def is_url(path: str) -> bool:
    """Returns whether a path is a URL such as "s3://bucket/folder", of a known scheme or not."""
    return "://" in path


def open_storage(root: str | Path) -> "Storage":
    """Opens a folder by its path or URL; nothing is read yet."""
    if not is_url(str(root)):
        return _Disk(str(root))
    scheme, _, rest = str(root).partition("://")
    scheme = scheme.lower()
    if scheme in ("http", "https"):
        return _Web(str(root))
    url = f"{scheme}://{rest}"
    if scheme not in _PACKAGES:
        schemes = ", ".join(f"{name}://" for name in (*_PACKAGES, "http", "https"))
        raise StoreError(f"{scheme}:// is unknown; a store lies in a folder or at {schemes}.")
    if rest.startswith("/") or not rest:
        raise StoreError(f"{url}: the bucket is missing, as in {scheme}://bucket/folder .")
    try:
        return _Fsspec(url, scheme)
    except ImportError:
        return _TensorFlow(url, scheme)


class Storage(ABC):
    """A folder of files that are read, from any thread. Names are relative to it, with "/".

    Its methods raise StoreError for a file that is missing, cut short or otherwise not what it
    should be, and UnreachableError for a server that does not answer, or refuses.
    """

    remote = True  # files at a URL must not change: each size is asked for once

    def __init__(self, root: str):
        self.root = root.rstrip("/") or "/"
        self._sizes: dict[str, int] = {}
        self._copying = threading.Lock()

    @abstractmethod
    def ask_size(self, name: str, seconds: float) -> int:
        """Returns the bytes of a file, once and within some seconds.

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
        with contextlib.suppress(_MissingError):
            self.size(name)
            return True
        return False

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
        """
        path = Path(self.place(name))
        if self.remote:
            folder = hashlib.sha256(self.root.encode()).hexdigest()[:16]
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

        def failure(reason: str) -> UnreachableError:
            return UnreachableError(
                f"{place} could not be read: {reason} Check the address and the network, and "
                "that the server is up; then run again."
            )

        try:
            return retry(
                lambda _: ask(seconds), retries=RETRIES, deadline_seconds=math.inf, failure=failure
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


class _Disk(Storage):
    """A folder on the disk. Files stay open, and are read without Python's lock."""

    remote = False

    def __init__(self, root: str):
        super().__init__(root)
        # A file is closed when the last thread that reads it lets it go.
        self._open = functools.lru_cache(OPEN_FILES)(functools.partial(io.FileIO, mode="r"))

    def ask_size(self, name: str, seconds: float) -> int:
        with self._explaining(name):
            status = os.stat(self.place(name))
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError
        return status.st_size

    def ask(self, name: str, offset: int, size: int, seconds: float) -> bytes:
        content = b""
        with self._explaining(name):
            file = self._open(self.place(name))
            while more := os.pread(file.fileno(), size - len(content), offset + len(content)):
                content = content + more if content else more  # a read ends at 2 GiB
        return content

    @contextlib.contextmanager
    def _explaining(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError from None
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "see that its disk is well.")
            reason = error.strerror or error
            raise StoreError(f"Could not read {self.place(name)} ({reason}): {remedy}") from error


class _Web(Storage):
    """A folder under http:// or https://, on a server that answers requests for ranges.

    A query in the URL (a signature, say) is sent with every request and shown in no message.
    """

    def __init__(self, url: str):
        parts = urllib.parse.urlsplit(url)
        super().__init__(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
        if not parts.hostname or "@" in parts.netloc:
            raise StoreError(
                f"{self.root}: expected a URL such as https://host/folder, with a host, and "
                "without a user's name and password."
            )
        self._query = f"?{parts.query}" if parts.query else ""

    def ask_size(self, name: str, seconds: float) -> int:
        # Asking for the first byte tells more than HEAD does: whether the server can do ranges.
        return self._get(name, 0, 1, seconds)[0]

    def ask(self, name: str, offset: int, size: int, seconds: float) -> bytes:
        return self._get(name, offset, size, seconds)[1]

    def _get(self, name: str, offset: int, size: int, seconds: float) -> tuple[int, bytes]:
        """Returns the size of a file, and a range of it."""
        place, until = self.place(name), time.monotonic() + seconds
        url = f"{self.root}/{urllib.parse.quote(name)}{self._query}"
        headers = {"Range": f"bytes={offset}-{offset + size - 1}"}
        silence = min(seconds, SILENCE_SECONDS)
        try:
            with http.request("GET", url, headers=headers, seconds=silence) as answer:
                status = http.status(answer)
                content = http.read(answer, until) if answer.status == 206 else b""
        except http.HttpError as error:
            raise UnreachableError(f"{place}: {error}. Check the address.") from error
        if answer.status in (404, 410):
            raise FileNotFoundError
        if answer.status in (401, 403, 407):
            raise PermissionError(status)
        if answer.status == 200:
            raise StoreError(
                f"{place}: the server sends the whole file where a range was asked for (200, not "
                "206). Serve the store with one that answers ranges (nginx, Apache, …; `python -m "
                "http.server` does not), or copy it to the disk."
            )
        text = answer.headers.get("Content-Range", "")
        span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", text)
        if answer.status == 416:  # behind the end; of an empty file, that is any byte
            return int(span[2]) if span else 0, b""
        if answer.status != 206 or span is None or int(span[1] or -1) != offset:
            raise StoreError(
                f"{place}: bytes from {offset:,} on were asked for, the server answered {status} "
                f"{text}. Check the address, or copy the store to the disk."
            )
        return int(span[2]), content


class _Fsspec(Storage):
    def __init__(self, root: str, scheme: str):
        super().__init__(root)
        import fsspec.asyn

        fsspec.get_filesystem_class(scheme)
        self._fsspec = fsspec
        self._options: dict[str, Any] = {"protocol": scheme, "use_listings_cache": False}
        if scheme == "s3":  # tensorflow-io's name of the address
            self._options |= {"config_kwargs": _S3, "endpoint_url": os.environ.get("S3_ENDPOINT")}

    def ask_size(self, name: str, seconds: float) -> int:
        info = self._call("info", name, seconds)
        if info["type"] != "file":
            raise FileNotFoundError
        return info["size"]

    def ask(self, name: str, offset: int, size: int, seconds: float) -> bytes:
        return self._call("cat_file", name, seconds, start=offset, end=offset + size)

    def _call(self, method: str, name: str, seconds: float, **span: int) -> Any:
        # fsspec keeps it, and makes another one in a child process.
        system = self._fsspec.filesystem(**self._options)
        system.retries, place = 1, self.place(name)  # of s3fs; ours come on top
        try:
            if not system.async_impl:
                return getattr(system, method)(place, **span)
            call = getattr(system, f"_{method}")
            return self._fsspec.asyn.sync(system.loop, call, place, timeout=seconds, **span)
        except (FileNotFoundError, PermissionError):
            raise
        except TimeoutError:
            raise PassingError(f"no answer in {seconds:.3g} s") from None
        except Exception as error:  # each package has its own
            raise PassingError(_phrase(error)) from error


class _TensorFlow(Storage):
    def __init__(self, root: str, scheme: str):
        super().__init__(root)
        import tensorflow as tf

        with warnings.catch_warnings(), contextlib.suppress(ImportError):
            warnings.simplefilter("ignore")  # of one that does not fit, which is told below
            import tensorflow_io  # noqa: F401 (registers schemes)
        if scheme not in tf.io.gfile.get_registered_schemes():
            raise StoreError(
                f"{root}: what reads {scheme}:// is not installed: `pip install fsspec "
                f"{_PACKAGES[scheme]}`, or copy the store to the disk."
            )
        if scheme == "gs" and not os.environ.get("GCS_READAHEAD_BUFFER_SIZE_BYTES"):
            raise StoreError(
                f"{root}: without gcsfs, TensorFlow reads 64 MB from gs:// where 100 kB are asked "
                "for. `pip install fsspec gcsfs`, or set GCS_READAHEAD_BUFFER_SIZE_BYTES=0 in the "
                "shell."
            )
        for key, value in _TENSORFLOW_S3.items():
            os.environ.setdefault(key, value)
        self._gfile, self._errors = tf.io.gfile, tf.errors

    def ask_size(self, name: str, seconds: float) -> int:
        try:
            with self._translating():
                status = self._gfile.stat(self.place(name))
        except FileNotFoundError:
            # S3 says so also of a server that is down or refuses: reading a byte tells.
            self.ask(name, 0, 1, seconds)
            raise PassingError("its size could not be had, though it is there") from None
        if status.is_directory:
            raise FileNotFoundError
        return status.length

    def ask(self, name: str, offset: int, size: int, seconds: float) -> bytes:
        with self._translating(), self._gfile.GFile(self.place(name), "rb") as file:
            file.seek(offset)
            return file.read(size)

    @contextlib.contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except self._errors.NotFoundError as error:
            raise FileNotFoundError from error
        except (self._errors.PermissionDeniedError, self._errors.UnauthenticatedError) as error:
            raise PermissionError(_phrase(error)) from error
        except (self._errors.OpError, RuntimeError) as error:  # the latter of C++
            raise PassingError(_phrase(error)) from error


def _phrase(error: Exception) -> str:
    """Returns the message of a file system on one line."""
    message = " ".join(str(getattr(error, "message", None) or error).split()).strip(" :.")
    return message or "the server answered with an error (429, 5xx)"
