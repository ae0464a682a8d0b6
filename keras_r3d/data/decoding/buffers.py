"""Keeping the memory of frames and batches instead of giving it back after each one."""

import ctypes
import functools
import math
import sys
import threading

import numpy as np
from numpy.typing import NDArray

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_KEPT_BYTES = 256 * 2**20  # at the top of each heap
_LARGEST_BYTES = 32 * 2**20  # the most that mallopt takes


@functools.cache
def keep_buffers() -> bool:
    """Lets glibc keep freed memory of up to 256 MiB a heap, for the whole process.

    By default it returns buffers of this size to the kernel, which clears them page by page the
    next time: a quarter of the time that decoding a clip takes. Returns whether there is a glibc
    to tell.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES) and mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES))


class Buffers:
    """Arrays of one shape that are used again once nobody holds them any more.

    They begin where TensorFlow wants them to (at a multiple of 64), so that it does not copy them.
    """

    def __init__(self, shape: tuple[int, ...]):
        self._shape = shape
        self._memory: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def take(self) -> NDArray[np.uint8]:
        """Returns a uint8 array that is not filled."""
        size = math.prod(self._shape)
        with self._lock:
            for memory in self._memory:
                if sys.getrefcount(memory) == _UNUSED:
                    break
            else:
                # Those that are in use now are let go when they are not, but for some.
                self._memory = self._memory[-_KEPT_ARRAYS:]
                memory = np.empty(size + _ALIGNMENT - 1, np.uint8)
                self._memory.append(memory)
            start = -memory.ctypes.data % _ALIGNMENT
            return memory[start : start + size].reshape(self._shape)


_ALIGNMENT = 64
_KEPT_ARRAYS = 7
_UNUSED = 3  # references: the list's, the loop's, the call's
