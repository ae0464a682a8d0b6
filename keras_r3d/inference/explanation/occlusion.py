"""Occlusion: how much a class's score falls when a part of the clip cannot be seen."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_r3d.inference.explanation import heat
from keras_r3d.inference.explanation.heat import Heat

_BOXES = (4, 6, 6)  # that a clip is long, high and wide; the next is half a box farther
_BATCH = 16  # clips scored at a time


def occlusion(
    score: Callable[[np.ndarray], Any],
    clip: np.ndarray,
    class_index: int,
    progress: Callable[[int, int], None] | None = None,
) -> Heat:
    """Covers one box of a clip after the other with its mean color and scores what is left.

    The heat of a pixel is the mean fall of the class's probability over the boxes that cover it.
    It asks nothing of the model but scores, clips -> probabilities `(n, classes)`, so it checks
    what was read off its gradients. `clip` is `(frames, height, width, channels)`, the heat
    `(frames, height, width)`: 1 is the hottest pixel; all are 0 where no box lowers the score.

    Reference:
        Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section
        4.2, https://arxiv.org/abs/1311.2901; here with boxes in time too.
    """
    shape = clip.shape[:3]
    box = [max(1, size // parts) for size, parts in zip(shape, _BOXES, strict=True)]
    places = places_of(shape, box, [max(1, size // 2) for size in box])
    before = float(np.asarray(score(clip[None]))[0, class_index])
    falls, counts = np.zeros(shape, np.float64), np.zeros(shape, np.int64)
    color = clip.mean(axis=(0, 1, 2)).astype(clip.dtype)
    for start in range(0, len(places), _BATCH):
        part = places[start : start + _BATCH]
        covered = np.repeat(clip[None], len(part), axis=0)
        for copy, place in zip(covered, part, strict=True):
            copy[place] = color
        probabilities = np.asarray(score(covered))[:, class_index]
        for place, probability in zip(part, probabilities, strict=True):
            falls[place] += before - float(probability)
            counts[place] += 1
        if progress is not None:
            progress(start + len(part), len(places))
    return heat.normalized((falls / counts)[None])[0]


def places_of(
    shape: Sequence[int], box: Sequence[int], stride: Sequence[int]
) -> list[tuple[slice, ...]]:
    """Lists the places of boxes, so that every pixel is covered; the last are moved inside."""
    axes = [
        [slice(start, start + size) for start in (*range(0, whole - size, step), whole - size)]
        for whole, size, step in zip(shape, box, stride, strict=True)
    ]
    return list(itertools.product(*axes))
