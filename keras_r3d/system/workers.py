"""What may hang or crash: items in processes of their own, and threads that a process can leave.

A process that hangs or crashes takes its item with it, and nothing else.
"""

import ctypes
import dataclasses
import multiprocessing
import signal
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from multiprocessing import connection
from typing import Any

from keras_r3d.system.errors import UnreachableError, VideoError, WriteError

LOST = ("time limit", "crash")  # statuses of items whose process says nothing
_ENDING = (WriteError, UnreachableError)  # the next item would fare no better
_SIGNAL_WHEN_PARENT_ENDS = 1  # PR_SET_PDEATHSIG of Linux
_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@dataclasses.dataclass(frozen=True)
class Failure:
    """An item that gave no result."""

    status: str  # of a VideoError, "time limit" or "crash"
    detail: str

    def sentence(self, name: str) -> str:
        """Returns what is wrong with the video of that name."""
        return f"{name}: {self.detail}." if self.status in LOST else self.detail


def run(
    function: Callable[[Any], Any], items: Sequence[Any], *, workers: int, limit_seconds: float
) -> Generator[tuple[int, Any], None, None]:
    """Calls a function of a module with each item, in parallel processes.

    Yields an item's number and its result, or a `Failure`, in the order they are done; a VideoError
    is one. A WriteError or UnreachableError is raised.
    """
    context = multiprocessing.get_context("spawn")
    idle: list[tuple[Any, connection.Connection]] = []
    active: dict[connection.Connection, tuple[Any, int, float]] = {}
    waiting = iter(enumerate(items))
    try:
        while True:
            while len(active) < workers and (job := next(waiting, None)):
                process, pipe = idle.pop() if idle else _start(context, function)
                pipe.send(job[1])
                active[pipe] = process, job[0], time.monotonic() + limit_seconds
            if not active:
                return
            first = min(deadline for _, _, deadline in active.values())
            done = connection.wait(list(active), max(0.0, first - time.monotonic()))
            for pipe in [pipe for pipe in active if pipe in done]:
                process, index, _ = active.pop(pipe)
                try:
                    result = pipe.recv()
                    idle.append((process, pipe))
                except EOFError:
                    process.join()
                    result = Failure("crash", f"its process ended with code {process.exitcode}")
                if isinstance(result, _ENDING):
                    raise result
                yield index, result
            for pipe, (process, index, deadline) in list(active.items()):
                if time.monotonic() > deadline:
                    del active[pipe]
                    process.kill()
                    yield index, Failure("time limit", f"not done after {limit_seconds:g} s")
    finally:
        for process in [*(item[0] for item in idle), *(item[0] for item in active.values())]:
            process.kill()


def call(function: Callable[[Any], Any], item: Any) -> Any:
    """Calls a function; returns its result, a `Failure`, or an error that ends all."""
    try:
        return function(item)
    except VideoError as error:
        return Failure(error.status, str(error))
    except _ENDING as error:
        return error


def _start(context, function: Callable[[Any], Any]) -> tuple[Any, connection.Connection]:
    pipe, child_pipe = context.Pipe()
    process = context.Process(target=_work, args=(function, child_pipe), daemon=True)
    process.start()
    child_pipe.close()  # so that the end of the process is the end of the pipe
    return process, pipe


def _work(function: Callable[[Any], Any], pipe: connection.Connection) -> None:
    end_with_parent()
    try:
        while True:
            pipe.send(call(function, pipe.recv()))
    except (EOFError, ConnectionError, KeyboardInterrupt):
        return  # the other side has ended


def end_with_parent() -> None:
    """Lets this process be killed when its parent ends, however that ends."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_SIGNAL_WHEN_PARENT_ENDS, signal.SIGKILL)


def start_thread(function: Callable[[], None], name: str) -> threading.Thread:
    """Starts a daemon thread, which does not keep the process from ending when it hangs."""
    thread = threading.Thread(target=function, name=name, daemon=True)
    _threads.add(thread)
    thread.start()
    return thread


def threads_ended(seconds: float) -> bool:
    """Waits for each thread of `start_thread` that runs; returns whether all of them ended."""
    running = [thread for thread in _threads if thread.is_alive()]
    for thread in running:
        thread.join(seconds)
    return not any(thread.is_alive() for thread in running)
