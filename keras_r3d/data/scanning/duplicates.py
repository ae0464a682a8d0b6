"""Videos that look alike though their files differ: hashes of a few frames, compared by bits.

A frame's hash says which of its coarse patterns are strong. It stays nearly the same where a video
is encoded again, resized, or made a little brighter; a crop, a mirrored copy or another part of a
recording has another one.

Reference:
    Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2
    (the hash by the discrete cosine transform), https://www.phash.org/docs/pubs/thesis_zauner.pdf
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.data.decoding.picture import Cutter, Picture
from keras_r3d.data.sampling.cropping import whole
from keras_r3d.system.opencv import cv2

FRAMES = 5  # of a video, spread over it
# Bits that may differ in each frame. Copies of 142 gestures that were made half as large, brighter
# and encoded again differ by at most 8; gestures of different scenes by 20 or more, interactions of
# different sequences by 18 or more.
NEAR = 10
SAYS_NOTHING = 0  # hash of a frame without patterns: black, one color, a slope

_SIDE, _PATTERNS = 32, 8  # pixels; patterns a direction
_FAINT = 4.0  # strength of a pattern, of 0 to 255 * _SIDE
_LEAST = 3  # frames that must say something, in both videos
_BLOCK = 256  # videos that are compared at once with all others
_ONES = np.array([number.bit_count() for number in range(2**16)], np.uint8)

Hashes = NDArray[np.uint64]


def hashed_frames(count: int) -> list[int]:
    """Returns the numbers of `FRAMES` frames, from the middle of as many parts of `count`."""
    return ((np.arange(FRAMES) + 0.5) * count / FRAMES).astype(int).tolist()


def frame_hash(picture: Picture) -> int:
    """Hashes a picture: 64 bits, each of a coarse pattern and set where it is a strong one.

    Or `SAYS_NOTHING`.
    """
    gray = np.empty((_SIDE, _SIDE), np.uint8)
    Cutter()(gray, picture, whole(*picture.shape))
    patterns = cv2.dct(gray.astype(np.float32))[:_PATTERNS, :_PATTERNS]
    if np.median(np.abs(patterns)) < _FAINT:
        return SAYS_NOTHING
    bits = np.packbits(patterns > np.median(patterns))
    return int.from_bytes(bits.tobytes(), "big")


def near(
    hashes: Sequence[Sequence[int]], apart: Callable[[slice], NDArray[np.bool_]]
) -> list[tuple[int, int, float]]:
    """Finds videos of which all frames are nearly alike.

    Frames that say nothing are left out, and fewer than three that are compared make no pair. Of a
    slice of the videos `apart` gives bool `(slice, all)`: which pairs are of interest. Returns the
    numbers of two videos, and bits that differ in a frame on average; the most alike first.
    """
    table = np.array(hashes, np.uint64).reshape(-1, FRAMES)
    order = np.argsort(np.abs(np.arange(FRAMES) - FRAMES // 2))  # the middle tells most apart
    pairs: list[tuple[int, int, float]] = []
    for start in range(0, len(table), _BLOCK):
        block = slice(start, start + _BLOCK)
        alike = _alike(table[block, order[0], None], table[None, :, order[0]])
        first, second = np.nonzero(np.triu(apart(block), start + 1) & alike)
        first += start
        for frame in order[1:]:
            kept = _alike(table[first, frame], table[second, frame])
            first, second = first[kept], second[kept]
        compared = (table[first] != SAYS_NOTHING) & (table[second] != SAYS_NOTHING)
        enough = compared.sum(axis=1) >= _LEAST
        first, second, compared = first[enough], second[enough], compared[enough]
        bits = (distance(table[first], table[second]) * compared).sum(axis=1)
        bits = bits / compared.sum(axis=1)
        pairs += zip(first.tolist(), second.tolist(), bits.tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (pair[2], pair))


def distance(ours: Hashes, theirs: Hashes) -> NDArray[np.uint8]:
    """Counts the bits that differ."""
    words = np.ascontiguousarray(ours ^ theirs)[..., None].view(np.uint16)
    ones = _ONES[words]
    return ones[..., 0] + ones[..., 1] + ones[..., 2] + ones[..., 3]


def _alike(ours: Hashes, theirs: Hashes) -> NDArray[np.bool_]:
    """Whether frames are near each other, or one of them says nothing."""
    silent = (ours == SAYS_NOTHING) | (theirs == SAYS_NOTHING)
    return silent | (distance(ours, theirs) <= NEAR)
