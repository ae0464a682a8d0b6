"""Takes the items of an iterator in a thread, a few ahead, and gives up one that hangs."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from keras_r3d.system import workers

Item = TypeVar("Item")

_PATIENCE = 2.0  # seconds for a thread to end


class Ahead(Generic[Item], Iterator[Item]):
    """Yields items that a thread of its own produces.

    The thread is a daemon: a decoder that hangs does not keep the process from ending.

    Args:
        produce: returns the items; called in the thread. What it raises, `next` raises.
        name: of the thread.
        most: items that are held.
        timeout: seconds after which `next` raises `queue.Empty` if no item has come.
    """

    def __init__(
        self, produce: Callable[[], Iterable[Item]], *, name: str, most: int, timeout: float
    ):
        self._produce, self._timeout = produce, timeout
        self._queue: queue.Queue[Item | BaseException] = queue.Queue(most)
        self._stopped = threading.Event()
        self._thread = workers.start_thread(self._run, name)

    def __next__(self) -> Item:
        try:
            item = self._queue.get(timeout=self._timeout)
        except queue.Empty:
            self.stop()
            raise
        if isinstance(item, BaseException):
            self._queue.put(item)  # for whoever asks again
            raise item
        return item

    def stop(self) -> None:
        """Lets the thread end."""
        self._stopped.set()

    def join(self) -> None:
        """Waits for the thread, but not for one that hangs."""
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        end: BaseException = StopIteration()
        try:
            for item in self._produce():
                if not self._put(item):
                    return
        except BaseException as error:
            end = error
        self._put(end)

    def _put(self, item: Item | BaseException) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.5)
                return True
            except queue.Full:
                continue
        return False
