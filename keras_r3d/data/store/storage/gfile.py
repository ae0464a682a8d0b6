"""Folders that TensorFlow's file systems read: s3://, az://, hdfs:// (tensorflow-io) and gs://.

S3 is the one that is tried against a server, and called without detours (`plugin`).

What is known of tensorflow-io 0.37.1 on S3, and met here and in `plugin`:

- It reads parts of 50 MB over a transfer manager, which sends a HEAD before every request; without
  it (S3_DISABLE_MULTI_PART_DOWNLOAD) a read wholly behind the end of a file ends the process, so
  no range is asked for that does not lie in the file.
- It calls a file missing whose size it could not get, for whatever reason: that is asked twice.
- It waits for five minutes and tries eleven times, unless told otherwise.
- A process that has opened anything there aborts when it ends (tensorflow/io#1912, #2039).
"""

import ctypes
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from keras_r3d.data.store.storage.plugin import FileSystem, FileSystemError, file_system, register
from keras_r3d.data.store.storage.remote import (
    SILENCE_SECONDS,
    PassingError,
    RemoteStorage,
    StorageError,
    deadline_seconds,
)

Answer = TypeVar("Answer")

# Read once, when the first file on S3 is opened: one attempt, for ours come on top of it.
S3_SETTINGS = {
    "S3_DISABLE_MULTI_PART_DOWNLOAD": "1",
    "S3_CONNECT_TIMEOUT_MSEC": str(round(SILENCE_SECONDS * 1000)),
    "S3_REQUEST_TIMEOUT_MSEC": str(round(SILENCE_SECONDS * 1000)),
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": "1",
}

# Codes of tf.errors.
_UNKNOWN, _INVALID_ARGUMENT, _NOT_FOUND, _PERMISSION_DENIED = 2, 3, 5, 7
_FAILED_PRECONDITION, _UNIMPLEMENTED, _UNAUTHENTICATED = 9, 12, 16

_lock = threading.Lock()
_s3_ready = threading.Event()


class FileSystemStorage(RemoteStorage):
    """A folder in one of TensorFlow's file systems."""

    def __init__(self, root: str):
        scheme, _, rest = root.partition("://")
        scheme = scheme.lower()
        if not rest.split("/")[0]:
            raise StorageError(f"{root}: a name is lacking, as in {scheme}://bucket/folder .")
        super().__init__(f"{scheme}://{rest.rstrip('/')}")
        self._system: FileSystem | _Streams
        if scheme == "s3":
            self._system = file_system(scheme, self.root)
            _prepare_s3(self._system, self.root)
        elif scheme == "gs":
            _check_google(self.root)
            self._system = _Streams()
        else:
            register(scheme, self.root)
            self._system = _Streams()

    def length(self, name: str) -> int | None:
        url = self.place(name)
        length = self._ask(name, SILENCE_SECONDS, lambda: self._system.size(url))
        if length is not None:
            return length
        # S3 says so also of a server that is down or refuses: reading a byte tells.
        if self._ask(name, deadline_seconds(1), lambda: self._system.read(url, 0, 1)) is None:
            return None
        raise PassingError("its size could not be had, though it is there")

    def fetch(self, name: str, offset: int, size: int) -> bytes:
        url = self.place(name)
        content = self._ask(
            name, deadline_seconds(size), lambda: self._system.read(url, offset, size)
        )
        if content is None:
            raise self.missing(name)
        if len(content) != size:
            raise PassingError(f"{len(content):,} of {size:,} bytes came")
        return content

    def _ask(self, name: str, seconds: float, call: Callable[[], Answer]) -> Answer | None:
        """Calls a file system; None if the file is not there."""
        try:
            return _within(seconds, call)
        except FileSystemError as error:
            said = " ".join(str(error).split()).strip(" :.")
            if said == "No response body":  # of S3, to HEAD and where there is no XML
                said = ""
            if error.code == _NOT_FOUND:
                return None
            if error.code in (_PERMISSION_DENIED, _UNAUTHENTICATED):
                raise self.denied(name, said or "403 Forbidden") from None
            if error.code in (_INVALID_ARGUMENT, _FAILED_PRECONDITION, _UNIMPLEMENTED):
                raise StorageError(
                    f"{self.place(name)} cannot be read: {said or 'the request is refused (400)'}. "
                    "Check the URL and the settings of its file system."
                ) from None
            raise PassingError(said or "the server answered with an error (429, 5xx)") from None


class _Streams:
    """A file system by way of TensorFlow's streams, for those not tried with `FileSystem`.

    A range is two requests, the first for the byte before it. If that byte fails to come, the
    stream takes all that lies before, from the beginning of the file, 8 MiB at a time. (az:// must
    come this way: it throws C++ exceptions, which end a process that calls it directly.)
    """

    def size(self, url: str) -> int:
        import tensorflow as tf

        try:
            return tf.io.gfile.stat(url).length
        except tf.errors.OpError as error:
            raise FileSystemError(error.error_code, error.message) from None
        except RuntimeError as error:  # a C++ exception
            raise FileSystemError(_UNKNOWN, str(error)) from None

    def read(self, url: str, offset: int, size: int) -> bytes:
        import tensorflow as tf
        from tensorflow.python.lib.io import _pywrap_file_io

        try:
            # A tf.io.gfile.GFile, but for the 512 KiB that it always reads.
            stream = _pywrap_file_io.BufferedInputStream(url, size)
            if offset:
                stream.seek(offset)
            return stream.read(size)
        except tf.errors.OpError as error:
            raise FileSystemError(error.error_code, error.message) from None
        except RuntimeError as error:
            raise FileSystemError(_UNKNOWN, str(error)) from None


def _check_google(root: str) -> None:
    if not os.environ.get("GCS_READAHEAD_BUFFER_SIZE_BYTES"):
        raise StorageError(
            f"{root}: TensorFlow reads 64 MB from gs:// where 100 kB are asked for, unless it is "
            "told otherwise before it starts: set GCS_READAHEAD_BUFFER_SIZE_BYTES=0 in the shell, "
            "then run again."
        )


def _within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """Returns what a call returns; one that takes longer is left to itself, in its thread."""
    results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, name="keras_r3d storage", daemon=True).start()
    try:
        result, error = results.get(timeout=seconds)
    except queue.Empty:
        raise PassingError(f"no answer within {seconds:.3g} s") from None
    if error is not None:
        raise error
    return result


def _prepare_s3(system: FileSystem, root: str) -> None:
    """Makes the file system of S3 read our settings, and the process end well."""
    with _lock:
        if _s3_ready.is_set():
            return
        ours = {key: value for key, value in S3_SETTINGS.items() if key not in os.environ}
        os.environ.update(ours)
        try:
            system.close(system.open(f"{root}/store.json"))  # sends nothing
        finally:
            for key in ours:
                del os.environ[key]
        # Its static objects are destroyed in an order that aborts the process, so this one ends
        # before: Python has done by then what it does at its end, and C's files are flushed.
        libc = ctypes.CDLL(None)
        libc.on_exit(libc._exit, None)
        libc.__cxa_atexit(libc.fflush, None, None)  # called first, with NULL: all files
        _s3_ready.set()
