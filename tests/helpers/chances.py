"""Whether chance does what it should: p-values, numbered frames, many generators."""

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping

import numpy as np

from keras_r3d.data.sampling import cropping

LEAST_P = 1e-4


class Numbered:
    """A reader of one video; all values of frame i are i."""

    def __init__(self, count: int, height: int, width: int):
        self._count, self._size = count, (height, width)

    def count(self, video) -> int:
        return self._count

    def cut(self, video, cuts) -> list[cropping.Crop]:
        for cut in cuts:
            cut.out[...] = cut.numbers[:, None, None, None]
        return [cut.crop_of(*self._size) for cut in cuts]


def generators(draws: int) -> Iterator[np.random.Generator]:
    return (np.random.default_rng([1, 0, place]) for place in range(draws))


def tail(chi_square: float, degrees: int) -> float:
    """Returns the chance of a chi-square at least this large, exactly."""
    if chi_square == 0:
        return 1.0
    half, power = chi_square / 2, 0.5 if degrees % 2 else 1.0
    chance = math.erfc(math.sqrt(half)) if degrees % 2 else math.exp(-half)
    while power < degrees / 2:  # recurrence of the incomplete gamma function
        chance += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
        power += 1
    return chance


def p_value(counts: Counter, weights: Mapping[Hashable, float]) -> float:
    """Returns the chance of counts at least as far from `weights`; 0 if one is not in them."""
    if not set(counts) <= set(weights):
        return 0.0
    share = counts.total() / sum(weights.values())
    assert share * min(weights.values()) > 5, "too few draws for a chi-square test"
    chi_square = sum((counts[x] - share * w) ** 2 / (share * w) for x, w in weights.items())
    return tail(chi_square, len(weights) - 1)
