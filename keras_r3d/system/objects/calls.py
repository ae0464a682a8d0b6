"""Calls of fsspec, one request each, whose errors say whether another try may help."""

import os
from typing import Any

from keras_r3d.system.retrying import PassingError

SILENCE_SECONDS = 8.0  # how long a server may say nothing
SLOWEST_BYTES_PER_SECOND = 200_000  # slower than that counts as not answering
WEB = ("http://", "https://")
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "hdfs": "pyarrow"}  # of fsspec
_S3 = {
    **{"connect_timeout": SILENCE_SECONDS, "read_timeout": SILENCE_SECONDS},
    "max_pool_connections": 64,
}


class FileSystem:
    """Files of a scheme; ImportError where fsspec or its package is not installed.

    `tries` are of each request, for calls that make many; calls themselves are not repeated.
    """

    def __init__(self, scheme: str, tries: int = 1):
        import fsspec.asyn

        fsspec.get_filesystem_class(scheme)
        self._fsspec = fsspec
        self._options: dict[str, Any] = {"protocol": scheme, "use_listings_cache": False}
        if scheme == "s3":  # S3_ENDPOINT is tensorflow-io's name of the address
            self._options["endpoint_url"] = os.environ.get("S3_ENDPOINT")
            self._options["config_kwargs"] = {**_S3, "retries": {"total_max_attempts": tries}}

    def call(self, method: str, *arguments: Any, seconds: float, **options: Any) -> Any:
        """Calls a method of fsspec; FileNotFoundError, PermissionError, or PassingError."""
        # fsspec keeps it, and makes another one in a child process.
        system = self._fsspec.filesystem(**self._options)
        system.retries = 1  # of s3fs; ours come on top
        try:
            if not system.async_impl:
                return getattr(system, method)(*arguments, **options)
            call = getattr(system, f"_{method}")
            return self._fsspec.asyn.sync(system.loop, call, *arguments, timeout=seconds, **options)
        except (FileNotFoundError, PermissionError):
            raise
        except TimeoutError:
            raise PassingError(f"no answer in {seconds:.3g} s") from None
        except Exception as error:  # each package has its own
            if "Credentials" in type(error).__name__:  # botocore's: there are none, or half of them
                raise PermissionError(phrase(error)) from error
            raise PassingError(phrase(error)) from error


def is_url(path: str) -> bool:
    """Returns whether a path is a URL such as "s3://bucket/folder", of a known scheme or not."""
    return "://" in path


def phrase(error: Exception) -> str:
    """Returns the message of a file system on one line."""
    message = " ".join(str(getattr(error, "message", None) or error).split()).strip(" :.")
    return message or "the server answered with an error (429, 5xx)"
