"""Folders under s3://, gs://, az:// and hdfs://, read by fsspec or by TensorFlow.

fsspec reads a scheme whose package is installed: a read is one request. Otherwise TensorFlow's own
file systems and tensorflow-io do: a read is several requests, one of them for 512 KiB, and a
process that has opened s3:// may abort when it ends (tensorflow/io#1912, #2039).
"""

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

from keras_r3d.data.store.storage.storage import SILENCE_SECONDS, Storage
from keras_r3d.system.errors import StoreError
from keras_r3d.system.retrying import PassingError

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "hdfs": "pyarrow"}  # of fsspec
_S3 = {
    **{"connect_timeout": SILENCE_SECONDS, "read_timeout": SILENCE_SECONDS},
    "max_pool_connections": 64,
    "retries": {"total_max_attempts": 1},
}
_TENSORFLOW_S3 = {  # likewise; read when the first file is opened
    "S3_CONNECT_TIMEOUT_MSEC": f"{1000 * SILENCE_SECONDS:.0f}",
    "S3_REQUEST_TIMEOUT_MSEC": f"{1000 * SILENCE_SECONDS:.0f}",
    **{"AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "1"},
}


def open_file_system(scheme: str, rest: str) -> Storage:
    """Opens the folder SCHEME://REST.

    Raises:
        StoreError: the scheme is unknown, or what reads it is not installed.
    """
    root = f"{scheme}://{rest}"
    if scheme not in _PACKAGES:
        schemes = ", ".join(f"{name}://" for name in (*_PACKAGES, "http", "https"))
        raise StoreError(f"{scheme}:// is unknown; a store lies in a folder or at {schemes}.")
    if rest.startswith("/") or not rest:
        raise StoreError(f"{root}: the bucket is missing, as in {scheme}://bucket/folder .")
    try:
        return _Fsspec(root, scheme)
    except ImportError:
        return _TensorFlow(root, scheme)


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
        system.retries = 1  # of s3fs; ours come on top
        try:
            if not system.async_impl:
                return getattr(system, method)(self.place(name), **span)
            call = getattr(system, f"_{method}")
            return self._fsspec.asyn.sync(
                system.loop, call, self.place(name), timeout=seconds, **span
            )
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
