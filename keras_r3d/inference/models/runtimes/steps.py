"""Scoring any number of clips in steps of few sizes."""

from collections.abc import Callable

import numpy as np

# uint8 clips `(n, frames, size, size, channels)` -> probabilities, float32 `(n, classes)`.
Score = Callable[[np.ndarray], np.ndarray]


def in_steps(step: Score, batch_size: int, least: int) -> Score:
    """Scores any number of clips in steps of few different sizes, so that few are compiled.

    The last step is filled up with its last clip, to the next power of two times `least`. (Of one
    clip alone a matrix product is another one, with other rounding: so `least` is 2 or more.)
    """
    batch_size = least * max(1, batch_size // least)

    def score(clips: np.ndarray) -> np.ndarray:
        scores = []
        for start in range(0, len(clips), batch_size):
            part = clips[start : start + batch_size]
            count = least
            while count < len(part):
                count *= 2
            filled = np.minimum(np.arange(min(count, batch_size)), len(part) - 1)
            scores.append(step(part if len(filled) == len(part) else part[filled])[: len(part)])
        return np.concatenate(scores)

    return score
