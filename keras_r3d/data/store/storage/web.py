"""Folders under http:// and https://, read by Python itself.

tensorflow-io 0.37.1 has a file system for them, too, but it never closes a connection (a file
descriptor is lost with each request, so a process ends after about a thousand), waits a minute for
a server that does not answer, and downloads a whole file to learn its size.
"""

import dataclasses
import http.client
import os
import re
import time
import urllib.parse
import urllib.request
from collections import defaultdict, deque

from keras_r3d.data.store.storage.remote import (
    SILENCE_SECONDS,
    PassingError,
    RemoteStorage,
    StorageError,
    deadline_seconds,
    proper,
    too_short,
)

IDLE_CONNECTIONS = 64  # kept open at a time, to each server
REDIRECTS = 5
BLOCK_BYTES = 2**18  # the time left is looked at after each

_REDIRECTED = {301, 302, 303, 307, 308}
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_DENIED = {401, 403, 407}
_MISSING = {404, 410}


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What a server said; `content` is that of a 206 (Partial Content) only."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def total(self) -> int | None:
        """Size of the whole file, if the server tells."""
        found = re.search(r"/(\d+)$", self.headers.get("Content-Range", ""))
        return int(found[1]) if found else None

    @property
    def start(self) -> int | None:
        """Where in the file `content` begins, if the server tells."""
        found = re.match(r"bytes (\d+)-", self.headers.get("Content-Range", ""))
        return int(found[1]) if found else None


class WebStorage(RemoteStorage):
    """A folder on a web server that answers requests for ranges; connections are kept and shared.

    A query in the URL (a signature, say) is sent with every request and shown in no message.
    """

    def __init__(self, root: str):
        parts = urllib.parse.urlsplit(root)
        if not parts.hostname or "@" in parts.netloc:
            raise StorageError(
                f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}: expected a URL "
                "such as https://host/folder, with a host, and without a user's name and password."
            )
        super().__init__(f"{parts.scheme.lower()}://{parts.netloc}{parts.path.rstrip('/')}")
        self._query = f"?{parts.query}" if parts.query else ""
        self._idle: dict[tuple[int, str], deque[http.client.HTTPConnection]] = defaultdict(
            lambda: deque(maxlen=IDLE_CONNECTIONS)
        )

    def length(self, name: str) -> int | None:
        # Asking for the first byte tells more than HEAD does: whether the server can do ranges.
        answer = self._get(name, 0, 1)
        if answer.status in _MISSING:
            return None
        if answer.status == 416:  # there is no first byte
            return 0
        if answer.total is None:
            raise StorageError(f"{self.place(name)}: the server does not tell the file's size.")
        return answer.total

    def fetch(self, name: str, offset: int, size: int) -> bytes:
        answer = self._get(name, offset, size)
        if answer.status in _MISSING:
            raise self.missing(name)
        if answer.status == 416 or (answer.total or offset + size) < offset + size:
            raise too_short(self.place(name), answer.total or 0, offset, size)
        if len(answer.content) != size:
            raise PassingError(f"the connection ended after {len(answer.content):,} of {size:,} B")
        return answer.content

    def _get(self, name: str, offset: int, size: int) -> _Answer:
        """Returns the answer to a request for a range: 206, 416, or that it is not there."""
        url = f"{self.root}/{urllib.parse.quote(proper(name))}{self._query}"
        for _ in range(1 + REDIRECTS):
            answer = self._request(url, offset, size)
            if answer.status not in _REDIRECTED:
                break
            url = urllib.parse.urljoin(url, answer.headers.get("Location", ""))
        said = f"{answer.status} {answer.reason}".strip()
        if answer.status in _PASSING:
            raise PassingError(f"the server answered {said}")
        if answer.status in _DENIED:
            raise self.denied(name, said)
        if answer.status == 200:
            raise StorageError(
                f"{self.place(name)}: the server sends the whole file where a range was asked for "
                "(200, not 206). Serve the store with one that answers ranges (nginx, Apache, …; "
                "`python -m http.server` does not), or copy it to the disk."
            )
        if answer.status not in {206, 416} | _MISSING:
            raise StorageError(
                f"{self.place(name)}: the server answered {said}, 206 was expected. Check the URL."
            )
        if answer.status == 206 and answer.start != offset:
            raise StorageError(
                f"{self.place(name)}: bytes from {offset:,} on were asked for, the server sent "
                f"{answer.headers.get('Content-Range')}. Copy the store to the disk."
            )
        return answer

    def _request(self, url: str, offset: int, size: int) -> _Answer:
        until = time.monotonic() + deadline_seconds(size)
        parts = urllib.parse.urlsplit(url)
        # A child process must not speak on the connections of its parent.
        idle = self._idle[os.getpid(), f"{parts.scheme}://{parts.netloc}"]
        headers = {
            "Range": f"bytes={offset}-{offset + size - 1}",
            "Accept-Encoding": "identity",
            "User-Agent": "keras_r3d",
        }
        while True:
            try:
                connection, kept = idle.pop(), True
            except IndexError:
                connection, kept = _connect(parts), False
            try:
                connection.request("GET", _target(parts), headers=headers)
                answer = connection.getresponse()
                content = _content(answer, size, until) if answer.status == 206 else b""
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept and isinstance(error, ConnectionError):
                    continue  # the server had closed it meanwhile
                said = "no answer in time" if isinstance(error, TimeoutError) else error
                raise PassingError(str(said) or type(error).__name__) from error
            # What is left of an answer would be taken for the next one.
            if answer.isclosed() and not answer.will_close:
                idle.append(connection)
            else:
                connection.close()
            return _Answer(answer.status, answer.reason, answer.headers, content)


def _content(answer: http.client.HTTPResponse, size: int, until: float) -> bytes:
    blocks = []
    while size and (block := answer.read(min(size, BLOCK_BYTES))):
        blocks.append(block)
        size -= len(block)
        if time.monotonic() > until:
            raise TimeoutError
    return b"".join(blocks)


def _proxy(parts: urllib.parse.SplitResult) -> urllib.parse.SplitResult | None:
    """Returns the proxy that the environment names for a URL (http_proxy, no_proxy, …)."""
    found = urllib.request.getproxies().get(parts.scheme)
    if not found or urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.parse.urlsplit(found if "://" in found else f"http://{found}")


def _connect(parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StorageError(f"The server redirects to {parts.geturl()}, which is no web address.")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    proxy = _proxy(parts)
    server = proxy or parts
    connection = kind(str(server.hostname), server.port, timeout=SILENCE_SECONDS)
    if proxy and parts.scheme == "https":
        connection.set_tunnel(parts.hostname, parts.port)
    return connection


def _target(parts: urllib.parse.SplitResult) -> str:
    """Returns what to ask a server for; a proxy of http:// wants the whole URL."""
    if parts.scheme == "http" and _proxy(parts):
        return parts.geturl()
    return urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
