"""Files at http(s)://, s3://, gs://, az:// and hdfs://: their sizes and ranges, each by one method.

`ask(place, span, seconds)` returns `size` bytes from `offset` on for the span `(offset, size)`, and
without one how many bytes the file at `place` has. It raises FileNotFoundError, PermissionError
with the server's reason, PassingError if it may be answered the next time, or a StoreError.
"""

import contextlib
import math
import os
import re
import time
import urllib.parse
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from keras_r3d.system import http
from keras_r3d.system.errors import StoreError, UnreachableError
from keras_r3d.system.objects.calls import (
    PACKAGES,
    SILENCE_SECONDS,
    SLOWEST_BYTES_PER_SECOND,
    FileSystem,
    phrase,
)
from keras_r3d.system.retrying import PassingError, retry

RETRIES = 4
PIECE_BYTES = 8 * 2**20  # of a file that is downloaded whole

_TENSORFLOW_S3 = {  # as of fsspec; read when the first file is opened
    "S3_CONNECT_TIMEOUT_MSEC": f"{1000 * SILENCE_SECONDS:.0f}",
    "S3_REQUEST_TIMEOUT_MSEC": f"{1000 * SILENCE_SECONDS:.0f}",
    **{"AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "1"},
}

_VERSIONS = ("ETag", "etag", "content_md5", "LastModified", "last_modified", "mtime")  # of fsspec

Span = tuple[int, int] | None
T = TypeVar("T")


class About(NamedTuple):
    """What is known of a file without reading it: `version` changes with it, "" if unknown."""

    size: int
    version: str


def open_url(url: str) -> "Web | Fsspec | TensorFlow":
    """Returns what reads the files below a URL; nothing is read yet."""
    scheme = url.partition("://")[0].lower()
    if scheme in ("http", "https"):
        return Web(url)
    try:
        return Fsspec(url)
    except ImportError:
        return TensorFlow(_bucket(url), scheme)


def ask(files: Any, place: str, span: Span) -> Any:
    """Asks for a range, or the size, with time in proportion to its bytes, as `retried`."""
    size = span[1] if span else 1
    seconds = SILENCE_SECONDS + size / SLOWEST_BYTES_PER_SECOND

    def once() -> Any:
        answer = files.ask(place, span, seconds)
        if span and len(answer) != size:
            raise PassingError(f"{len(answer):,} of {size:,} bytes came")
        return answer

    return retried(once, place)


def retried(ask: Callable[[], T], place: str) -> T:
    """Asks until there is an answer; raises FileNotFoundError, or UnreachableError."""

    def failure(reason: str) -> UnreachableError:
        return UnreachableError(
            f"{place} could not be read: {reason} Check the address and the network, and that the "
            "server is up; then run again."
        )

    try:
        return retry(lambda _: ask(), retries=RETRIES, deadline_seconds=math.inf, failure=failure)
    except PermissionError as error:
        raise UnreachableError(
            f"{place}: the server refuses to give it ({error}). Check the credentials of this "
            "machine and that they may read it; some servers, S3 among them, also say so of a "
            "file that is not there."
        ) from error


def _bucket(url: str) -> str:
    """Returns the URL of a folder in a bucket, or raises StoreError, which shows no password."""
    scheme, _, rest = url.partition("://")
    scheme, host = scheme.lower(), rest.partition("/")[0]
    if scheme not in PACKAGES:
        schemes = ", ".join(f"{name}://" for name in (*PACKAGES, "http", "https"))
        raise StoreError(f"{scheme}:// is unknown; expected a folder, or one of {schemes}.")
    if not host:
        raise StoreError(f"{url}: the bucket is missing, as in {scheme}://bucket/folder .")
    if set(host) & set(":@") and scheme != "hdfs":
        raise StoreError(
            f"A URL of {scheme}:// must have a bucket, and no user's name and password, as in "
            f"{scheme}://bucket/folder : credentials come from the environment."
        )
    return f"{scheme}://{rest.rstrip('/')}"


class Web:
    """A server that answers requests for ranges.

    A query in the URL (a signature, say) is sent with every request and shown in no message.
    """

    def __init__(self, url: str):
        parts = urllib.parse.urlsplit(url)
        self.root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        if not parts.hostname or "@" in parts.netloc:
            raise StoreError(
                f"{self.root}: expected a URL such as https://host/folder, with a host, and "
                "without a user's name and password."
            )
        self._query = f"?{parts.query}" if parts.query else ""

    def ask(self, place: str, span: Span, seconds: float) -> Any:
        # Asking for the first byte tells more than HEAD does: whether the server can do ranges.
        content, about = self._ask(place, *(span or (0, 1)), seconds)
        return content if span else about.size

    def about(self, place: str, seconds: float) -> About:
        """Returns what is known of a file; raises as `ask`."""
        return self._ask(place, 0, 1, seconds)[1]

    def _ask(self, place: str, offset: int, size: int, seconds: float) -> tuple[bytes, About]:
        until = time.monotonic() + seconds
        url = self.root + urllib.parse.quote(place.removeprefix(self.root)) + self._query
        headers = {"Range": f"bytes={offset}-{offset + size - 1}"}
        silence = min(seconds, SILENCE_SECONDS)
        try:
            with http.request("GET", url, headers=headers, seconds=silence) as answer:
                status = http.status(answer)
                content = http.read(answer, until) if answer.status == 206 else b""
        except http.HttpError as error:
            raise UnreachableError(f"{place}: {error}. Check the address.") from error
        text = answer.headers.get("Content-Range", "")
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified", "")
        match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", text)
        if answer.status in (404, 410):
            raise FileNotFoundError
        if answer.status in (401, 403, 407):
            raise PermissionError(status)
        if answer.status == 200:
            raise StoreError(
                f"{place}: the server sends the whole file where a range was asked for (200, not "
                "206). Serve it with one that answers ranges (nginx, Apache, …; `python -m "
                "http.server` does not), or copy it to the disk."
            )
        if answer.status == 416:  # behind the end; of an empty file, that is any byte
            return b"", About(int(match[2]) if match else 0, version)
        if answer.status != 206 or match is None or int(match[1] or -1) != offset:
            raise StoreError(
                f"{place}: bytes from {offset:,} on were asked for, the server answered {status} "
                f"{text}. Check the address, or copy the store to the disk."
            )
        return content, About(int(match[2]), version)


class Fsspec:
    """A range is one request, a list one for each 1000 files. ImportError where a package lacks."""

    def __init__(self, root: str):
        self.root = _bucket(root)
        scheme = self.root.partition("://")[0]
        self._system, self._lists = FileSystem(scheme), FileSystem(scheme, 1 + RETRIES)

    def ask(self, place: str, span: Span, seconds: float) -> Any:
        if span is not None:
            range_ = {"start": span[0], "end": sum(span)}
            return self._system.call("cat_file", place, seconds=seconds, **range_)
        return self.about(place, seconds).size

    def about(self, place: str, seconds: float) -> About:
        """Returns what is known of a file; raises as `ask`."""
        answer = self._system.call("info", place, seconds=seconds)
        if answer["type"] != "file":
            raise FileNotFoundError
        return _about(answer)

    def find(self, place: str, seconds: float, *, deep: bool) -> dict[str, About]:
        """Returns the files in a folder, by URL, or with `deep` also those below; or raises."""
        if deep:
            rows = self._lists.call("find", place, seconds=seconds, detail=True).values()
        else:
            rows = self._lists.call("ls", place, seconds=seconds, detail=True)
        scheme = place.partition("://")[0]
        return {f"{scheme}://{row['name']}": _about(row) for row in rows if row["type"] == "file"}


def _about(row: dict[str, Any]) -> About:
    version = next((str(row[key]) for key in _VERSIONS if row.get(key)), "")
    return About(int(row["size"]), version.strip('"'))


class TensorFlow:
    """TensorFlow's own file systems and tensorflow-io.

    A range is several requests, one of them for 512 KiB, and a process that has opened s3:// may
    abort when it ends (tensorflow/io#1912, #2039).
    """

    def __init__(self, root: str, scheme: str):
        import tensorflow as tf

        with warnings.catch_warnings(), contextlib.suppress(ImportError):
            warnings.simplefilter("ignore")  # of one that does not fit, which is told below
            import tensorflow_io  # noqa: F401 (registers schemes)
        if scheme not in tf.io.gfile.get_registered_schemes():
            raise StoreError(
                f"{root}: what reads {scheme}:// is not installed: `pip install fsspec "
                f"{PACKAGES[scheme]}`, or copy the store to the disk."
            )
        if scheme == "gs" and not os.environ.get("GCS_READAHEAD_BUFFER_SIZE_BYTES"):
            raise StoreError(
                f"{root}: without gcsfs, TensorFlow reads 64 MB from gs:// where 100 kB are asked "
                "for. `pip install fsspec gcsfs`, or set GCS_READAHEAD_BUFFER_SIZE_BYTES=0 in the "
                "shell."
            )
        for key, value in _TENSORFLOW_S3.items():
            os.environ.setdefault(key, value)
        self.root, self._gfile, self._errors = root, tf.io.gfile, tf.errors

    def ask(self, place: str, span: Span, seconds: float) -> Any:
        try:
            if span is None:
                status = self._gfile.stat(place)
                if status.is_directory:
                    raise FileNotFoundError
                return status.length
            with self._gfile.GFile(place, "rb") as file:
                file.seek(span[0])
                return file.read(span[1])
        except self._errors.NotFoundError as error:
            if span is not None:
                raise FileNotFoundError from error
            # S3 says so also of a server that is down or refuses: reading a byte tells.
            self.ask(place, (0, 1), seconds)
            raise PassingError("its size could not be had, though it is there") from None
        except (self._errors.PermissionDeniedError, self._errors.UnauthenticatedError) as error:
            raise PermissionError(phrase(error)) from error
        except (self._errors.OpError, RuntimeError) as error:  # the latter of C++
            raise PassingError(phrase(error)) from error
