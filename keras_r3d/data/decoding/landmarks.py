"""Frames of a video that are known by their pixels, so that a seek can be checked."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

EVERY = 16  # frames, from one landmark to the next
_NEAREST = 2 * EVERY  # frames from the start that are sooner decoded than sought


@dataclasses.dataclass
class Landmarks:
    """Pairs of neighbouring frames, with a checksum of each.

    Containers lie about where their frames are, so what a seek gives is compared with what
    decoding from the start gave. Of a pair both must be alike, and pairs of two equal frames are
    not used: where nothing moves, a frame is like the one before.

    Attributes:
        numbers: int64 `(n,)`, of the first frame of each pair, increasing.
        checksums: uint32 `(n, 2)`.
        trusted: no seek has missed so far; none is made in this video after one has.
    """

    numbers: NDArray[np.int64]
    checksums: NDArray[np.uint32]
    trusted: bool = True

    def before(self, number: int) -> tuple[int, tuple[int, int]] | None:
        """Returns the last pair that ends before a frame; None if to seek it does not pay."""
        place = int(np.searchsorted(self.numbers, number - 1)) - 1
        if not self.trusted or place < 0 or self.numbers[place] < _NEAREST:
            return None
        first, second = self.checksums[place].tolist()
        return int(self.numbers[place]), (first, second)


def collected(checksums: dict[int, int]) -> Landmarks:
    """Makes landmarks of the checksums of frames, by their numbers, increasing."""
    pairs = [
        (number, checksum, checksums[number + 1])
        for number, checksum in checksums.items()
        if checksums.get(number + 1, checksum) != checksum
    ]
    table = np.array(pairs, np.int64).reshape(-1, 3)
    return Landmarks(table[:, 0].copy(), table[:, 1:].astype(np.uint32))
