"""Videos that look alike though their files differ: hashes of a few frames, compared by bits.

A frame's hash says which of its coarse patterns are strong. It stays nearly the same where a video
is encoded again, resized, or made a little brighter; a crop, a mirrored copy or another part of a
recording has another one.

Reference:
    Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2
    (the hash by the discrete cosine transform), https://www.phash.org/docs/pubs/thesis_zauner.pdf
"""

from collections.abc import Callable, Iterator, Sequence

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
_MOST_PAIRS = 2**20  # that are compared at once
_ONES = np.array([number.bit_count() for number in range(2**16)], np.uint8)

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]


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
    hashes: Sequence[Sequence[int]], apart: Callable[[Numbers, Numbers], NDArray[np.bool_]]
) -> list[tuple[int, int, float]]:
    """Finds videos of which all frames are nearly alike.

    Frames that say nothing are left out, and fewer than three that are compared make no pair.
    `apart` takes numbers of videos, `(n,)` twice, and says which pairs are of interest. Returns the
    numbers of two videos, and bits that differ in a frame on average; the most alike first.
    """
    table = np.array(hashes, np.uint64).reshape(-1, FRAMES)
    silent = table == SAYS_NOTHING
    order = np.argsort(np.abs(np.arange(FRAMES) - FRAMES // 2))  # the middle tells most apart
    pairs: dict[tuple[int, int], float] = {}
    for place in range(FRAMES - _LEAST + 1):  # one of these frames is compared, of any pair
        frame, before = order[place], order[:place]
        # Where an earlier one is compared, too, the pair was found by that.
        asking = silent[:, before].any(axis=1) if place else np.ones(len(table), bool)
        for first, second in _candidates(table[:, frame], asking & ~silent[:, frame]):
            kept = apart(first, second) & (~asking[second] | (first < second))
            for other in order:
                first, second = first[kept], second[kept]
                kept = _alike(table[first, other], table[second, other])
            first, second = first[kept], second[kept]
            compared = ~silent[first] & ~silent[second]
            count = compared.sum(axis=1)
            bits = (distance(table[first], table[second]) * compared).sum(axis=1)
            enough = count >= _LEAST
            found = np.sort(np.stack([first, second], axis=1)[enough], axis=1).tolist()
            means = (bits[enough] / count[enough]).tolist()
            pairs |= zip(map(tuple, found), means, strict=True)
    rows = ((first, second, bits) for (first, second), bits in pairs.items())
    return sorted(rows, key=lambda pair: (pair[2], pair))


def _candidates(hashes: Hashes, asking: NDArray[np.bool_]) -> Iterator[tuple[Numbers, Numbers]]:
    """Yields pairs of one that is asking and another, all that are near and few that are not.

    Of two hashes that differ in 10 bits, one of their four words differs in 2 at most.

    Reference:
        Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index Hashing, CVPR
        2012, https://arxiv.org/abs/1307.2982
    """
    words = np.ascontiguousarray(hashes)[:, None].view(np.uint16).astype(np.int64)
    asked, others = np.flatnonzero(asking), np.flatnonzero(hashes != SAYS_NOTHING)
    for word in words.T:
        by_word = others[np.argsort(word[others])]
        ends = np.searchsorted(word[by_word], np.arange(2**16 + 1))
        for changed in np.flatnonzero(NEAR // words.shape[1] >= _ONES):
            wanted = word[asked] ^ changed
            starts, counts = ends[wanted], ends[wanted + 1] - ends[wanted]
            total = np.cumsum(counts)
            cuts = np.flatnonzero(np.diff(total // _MOST_PAIRS)) + 1
            for some in np.split(np.arange(len(asked)), cuts):
                count = counts[some]
                first = np.repeat(asked[some], count)
                places = np.arange(len(first)) + np.repeat(
                    starts[some] - np.cumsum(count) + count, count
                )
                yield first, by_word[places]


def distance(ours: Hashes, theirs: Hashes) -> NDArray[np.uint8]:
    """Counts the bits that differ."""
    words = np.ascontiguousarray(ours ^ theirs)[..., None].view(np.uint16)
    ones = _ONES[words]
    return ones[..., 0] + ones[..., 1] + ones[..., 2] + ones[..., 3]


def _alike(ours: Hashes, theirs: Hashes) -> NDArray[np.bool_]:
    """Whether frames are near each other, or one of them says nothing."""
    silent = (ours == SAYS_NOTHING) | (theirs == SAYS_NOTHING)
    return silent | (distance(ours, theirs) <= NEAR)
