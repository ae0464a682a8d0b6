"""Occlusion: how much a class's score falls when a part of the clip cannot be seen."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_r3d.inference.explanation import heat
from keras_r3d.inference.explanation.heat import Heat

_BOXES = (4, 6, 6)  # that a clip is long, high and wide, by default


def occlusion(
    score: Callable[[np.ndarray], Any],
    clips: np.ndarray,
    class_index: int | None = None,
    box: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Heat:
    """Covers one box of the clip after the other with its mean color and scores what is left.

    The heat of a pixel is the mean fall of the class's probability over the boxes that cover it.
    It asks nothing of the model but scores, so it checks what was read off its gradients.

    Args:
        score: a Keras model or any other function, clips like `clips` -> probabilities `(n,
            classes)`.
        clips: uint8 or float `(clips, frames, height, width, channels)`.
        class_index: None is each clip's highest score.
        box: frames, rows and columns; None is a quarter of the frames and a sixth of the sides.
        stride: from one box to the next along each; None is half a box.
        batch_size: clips scored at a time.
        progress: takes the number of boxes done, and of all.

    Returns:
        float32 `(clips, frames, height, width)`: 0-1, 1 the clip's hottest pixel; all 0 where no
        box lowers the score.

    Reference:
        Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section
        4.2, https://arxiv.org/abs/1311.2901; here with boxes in time too.
    """
    shape = clips.shape[1:4]
    box = box or [max(1, size // parts) for size, parts in zip(shape, _BOXES, strict=True)]
    stride = stride or [max(1, size // 2) for size in box]
    if any(not 0 < size <= whole for size, whole in zip(box, shape, strict=True)):
        raise ValueError(f"`box` must be from 1 to {tuple(shape)}. Received: box={tuple(box)}")
    if any(not 0 < step <= size for step, size in zip(stride, box, strict=True)):
        raise ValueError(f"`stride` must be from 1 to {tuple(box)}. Received: {tuple(stride)}")
    places = places_of(shape, box, stride)
    heats, total = [], len(clips) * len(places)
    for number, clip in enumerate(clips):
        scores = np.asarray(score(clip[None]))[0]
        chosen = int(scores.argmax()) if class_index is None else class_index
        falls, counts = np.zeros(shape, np.float64), np.zeros(shape, np.int64)
        color = clip.mean(axis=(0, 1, 2)).astype(clip.dtype)
        for start in range(0, len(places), batch_size):
            part = places[start : start + batch_size]
            covered = np.repeat(clip[None], len(part), axis=0)
            for copy, place in zip(covered, part, strict=True):
                copy[place] = color
            left = np.asarray(score(covered))[:, chosen]
            for place, probability in zip(part, left, strict=True):
                falls[place] += float(scores[chosen]) - float(probability)
                counts[place] += 1
            if progress is not None:
                progress(number * len(places) + start + len(part), total)
        heats.append(falls / counts)
    return heat.normalized(np.stack(heats))


def places_of(
    shape: Sequence[int], box: Sequence[int], stride: Sequence[int]
) -> list[tuple[slice, ...]]:
    """Lists the places of boxes, so that every pixel is covered; the last are moved inside."""
    axes = [
        [slice(start, start + size) for start in (*range(0, whole - size, step), whole - size)]
        for whole, size, step in zip(shape, box, stride, strict=True)
    ]
    return list(itertools.product(*axes))
