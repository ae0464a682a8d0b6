"""Memory of frames that is kept instead of given back to the kernel after each one."""

import ctypes
import functools

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_KEPT_BYTES = 256 * 2**20  # at the top of each heap
_LARGEST_BYTES = 32 * 2**20  # the most that mallopt takes


@functools.cache
def keep_buffers() -> bool:
    """Lets glibc keep up to 256 MiB of freed memory in each heap, for the whole process.

    By default it returns buffers of this size to the kernel, which clears them page by page the
    next time: a quarter of the time that decoding a clip takes. Returns False where there is no
    glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES) and mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES))
