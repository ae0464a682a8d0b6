"""Cropping, scaling and mirroring frames that are arrays, by OpenCV."""

import ctypes
import functools

import numpy as np
from numpy.typing import NDArray

from keras_r3d.system.opencv import cv2

Frame = NDArray[np.uint8]

_NEARLY_ALL = 1.4  # factor of shrinking a side, below which bilinear leaves hardly a pixel out
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_KEPT_BYTES = 256 * 2**20  # at the top of each heap
_LARGEST_BYTES = 32 * 2**20  # the most that mallopt takes


def fill(
    out: Frame, frame: Frame, top: int, left: int, height: int, width: int, flip: bool
) -> None:
    """Cuts a rectangle out of a frame and scales it to fill `out`.

    It is scaled as `resize` does, but faster where it shrinks by less than two a side: to twice the
    size of `out`, bilinearly, then averaged over squares of 2x2. That takes half the time of
    OpenCV's average over areas of fractions of pixels, and differs by a gray level at most. Where
    it shrinks by less than 1.4, bilinear is as close.

    Args:
        out: uint8 `(height, width, 3)`, contiguous.
        flip: mirrors it left to right.
    """
    rows, columns = out.shape[:2]
    part = frame[top : top + height, left : left + width]
    factor = max(height / rows, width / columns)
    if factor < _NEARLY_ALL:
        part = _bilinear(part, rows, columns)
    else:
        if factor < 2:
            part = _bilinear(part, 2 * rows, 2 * columns)
        part = resize(part, rows, columns)
    if flip:
        cv2.flip(part, 1, dst=out)
    else:
        out[...] = part


def flip(clip: Frame) -> None:
    """Mirrors the frames of a clip left to right, in place.

    Args:
        clip: uint8 `(frames, height, width, 3)`, contiguous.
    """
    rows = clip.reshape(-1, *clip.shape[2:])
    cv2.flip(rows, 1, dst=rows)


def to_rgb(clip: Frame) -> None:
    """Converts the frames of a clip from BGR to RGB, in place."""
    for frame in clip:
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=frame)


def shrunk(frame: Frame, short_side: int) -> tuple[int, int]:
    """Returns height and width of a frame shrunk to `short_side`, with its aspect ratio."""
    height, width = frame.shape[:2]
    scale = short_side / min(height, width) if short_side else 1.0
    if scale >= 1:
        return height, width
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(frame: Frame, height: int, width: int) -> Frame:
    """Scales a frame: area average where it shrinks, bilinear where a side grows."""
    if frame.shape[:2] == (height, width):
        return frame
    if height <= frame.shape[0] and width <= frame.shape[1]:
        # INTER_AREA averages what a shrunk pixel covers; bilinear would alias.
        return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return _bilinear(frame, height, width)


def _bilinear(frame: Frame, height: int, width: int) -> Frame:
    if frame.shape[:2] == (height, width):
        return frame
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)


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
