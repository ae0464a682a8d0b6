"""Python functions that TensorFlow's threads call, ended before Python ends.

A thread that asks for Python's lock while the interpreter is shut down never comes back, and
TensorFlow waits for it. So no call begins once the process ends, and those under way are waited
for.
"""

import atexit
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

_QUIET_SECONDS = 0.1  # without a call: TensorFlow has seen the errors and asks for no more
_MOST_SECONDS = 10.0

_lock = threading.Lock()
_active = 0
_last = 0.0
_ending = False


class EndingError(RuntimeError):
    """The process ends; nothing is computed any more."""


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function as TensorFlow may call it: it raises `EndingError` as Python ends."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        global _active, _last
        with _lock:
            _last = time.monotonic()
            if _ending:
                raise EndingError
            _active += 1
        try:
            return function(*arguments)
        finally:
            with _lock:
                _active -= 1
                _last = time.monotonic()

    return call


@atexit.register
def _end() -> None:
    global _ending
    with _lock:
        _ending = True
    deadline = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < deadline:
        with _lock:
            if not _active and time.monotonic() - _last > _QUIET_SECONDS:
                return
        time.sleep(_QUIET_SECONDS / 10)
