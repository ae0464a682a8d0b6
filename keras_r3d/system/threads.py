"""Threads that may hang in a decoder, and the end of a process that has some."""

import threading
import weakref
from collections.abc import Callable

_started: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_lock = threading.Lock()


def start(function: Callable[[], None], name: str) -> threading.Thread:
    """Starts a daemon thread, which does not keep the process from ending when it hangs."""
    thread = threading.Thread(target=function, name=name, daemon=True)
    with _lock:
        _started.add(thread)
    thread.start()
    return thread


def all_ended(seconds: float) -> bool:
    """Waits for each thread of `start` that still runs; returns whether all of them ended."""
    with _lock:
        running = [thread for thread in _started if thread.is_alive()]
    for thread in running:
        thread.join(seconds)
    return not any(thread.is_alive() for thread in running)
