"""One HTTP client, for clip stores behind a URL, published weights, and model servers.

It is urllib3, which TensorFlow brings by way of requests: it keeps connections and shares them
among threads, follows redirects, and notices answers that are cut. requests itself is left out,
because it adds 0.8 ms of Python to each request, which a loader of 450 clips a second would feel.
"""

import contextlib
import functools
import http.client
import math
import os
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3

from keras_r3d.system.retrying import PassingError

_BLOCK_BYTES = 2**18
_PASSING = {408, 425, 429, 500, 502, 503, 504}


class HttpError(Exception):
    """A request that would fail again. Its message is a phrase to stand behind the address."""


@contextlib.contextmanager
def request(
    method: str,
    url: str,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Iterator[urllib3.BaseHTTPResponse]:
    """Sends a request; the block gets the answer, whatever its status, and reads its content.

    The server may be silent for `seconds`. Raises PassingError if there is no answer, or not all of
    it, but there may be the next time; HttpError if there will be none.
    """
    parts = urllib.parse.urlsplit(url)
    timeout = urllib3.Timeout(total=max(seconds, 0.001))
    try:
        answer = _pool(parts.scheme, parts.netloc, os.getpid()).request(
            method, url, body=body, headers=headers, timeout=timeout, preload_content=False
        )
        try:
            yield answer
        finally:
            answer.close()  # of no effect once all is read: the connection is then kept
    except urllib3.exceptions.HTTPError as error:
        raise _explained(error, seconds) from error


def read(answer: urllib3.BaseHTTPResponse, until: float = math.inf) -> bytes:
    """Returns the content of an answer, which is complete at `until` of `time.monotonic`."""
    blocks = []
    while block := answer.read(_BLOCK_BYTES, decode_content=False):
        blocks.append(block)
        if time.monotonic() > until:
            raise PassingError("the answer comes too slowly")
    return b"".join(blocks)


def status(answer: urllib3.BaseHTTPResponse) -> str:
    """Returns the status of an answer, for people; PassingError if it may pass."""
    text = f"{answer.status} {answer.reason or ''}".strip()
    if answer.status in _PASSING:  # overloaded or starting, say
        raise PassingError(f"the server answered {text}")
    return text


@functools.cache
def _pool(scheme: str, host: str, process: int) -> urllib3.PoolManager:
    """Returns the connections to a host, through the proxy that the environment names for it.

    A child process must not use those of its parent.
    """
    once = urllib3.Retry(redirect=5, connect=0, read=0, other=0, raise_on_redirect=False)
    options: Any = {"headers": {"User-Agent": "keras_r3d"}, "retries": once, "maxsize": 256}
    proxy = urllib.request.getproxies().get(scheme)  # http_proxy, no_proxy, …
    if not proxy or urllib.request.proxy_bypass(host):
        return urllib3.PoolManager(**options)
    return urllib3.ProxyManager(proxy if "://" in proxy else f"http://{proxy}", **options)


def _explained(error: BaseException, seconds: float) -> Exception:
    """Returns the error of a request as a phrase; urllib3's own show the URL with its query."""
    while True:  # urllib3 wraps errors in its own
        candidates = (error.__cause__, getattr(error, "reason", None), *error.args)
        inner = next((e for e in candidates if isinstance(e, BaseException)), None)
        if inner is None:
            break
        error = inner
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
        return PassingError(f"no answer in {max(seconds, 0):.3g} s")
    if isinstance(error, socket.gaierror):
        text = f"there is no such host ({error.strerror})"
        return HttpError(text) if error.errno == socket.EAI_NONAME else PassingError(text)
    if isinstance(error, ConnectionRefusedError):
        return PassingError("the connection is refused: does a server run there?")
    if isinstance(error, ConnectionError | http.client.IncompleteRead):
        return PassingError("the connection ended before the answer was complete")
    if isinstance(error, http.client.HTTPException):
        return HttpError(f"it does not speak HTTP ({type(error).__name__})")
    if isinstance(error, OSError):
        return PassingError(error.strerror or type(error).__name__)
    return HttpError(type(error).__name__)
