"""Late fusion: the scores of several models, each with clips of its own, become one."""

import os
from collections.abc import Iterator, Sequence

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.system.errors import ArgumentError


def check(
    classes: Sequence[Sequence[str]],
    names: Sequence[str],
    weights: Sequence[float | str],
    several: Sequence[bool] = (),
) -> list[float]:
    """Returns the weights of models, 1 each if none are given.

    ArgumentError: models have other classes, there is not a weight for each, or only some of them
    name `several` labels.
    """
    if len(names) < 2:
        raise ArgumentError(f"Fusion takes at least two models. Received: {' '.join(names)}")
    for name, others in zip(names[1:], classes[1:], strict=True):
        if different := sorted(set(classes[0]) ^ set(others)):
            raise ArgumentError(
                f"{names[0]} and {name} must have the same classes. Only one of them has: "
                f"{', '.join(different[:5])}{', …' if len(different) > 5 else ''}"
            )
    if len(set(several)) > 1:
        one, more = (names[list(several).index(kind)] for kind in (False, True))
        raise ArgumentError(f"{one} names one label of a video and {more} several: fuse like ones.")
    try:
        numbers = [float(weight) for weight in weights] or [1.0] * len(names)
    except ValueError:
        words = " ".join(map(str, weights))
        raise ArgumentError(f"`weights` must be numbers. Received: {words}") from None
    if len(numbers) != len(names):
        raise ArgumentError(
            f"`weights` must have a number for each of the {len(names)} models. Received: "
            f"{len(numbers)}"
        )
    if not all(np.isfinite(number) and number >= 0 for number in numbers) or not sum(numbers):
        raise ArgumentError(f"`weights` must be 0 or more, and not all 0. Received: {numbers}")
    return numbers


def mean_thresholds(
    models: Sequence[tuple[Sequence[str], np.ndarray | None]], shares: Sequence[float] | np.ndarray
) -> np.ndarray | None:
    """Returns the weighted mean of models' thresholds, by their classes, in the first's order."""
    limits = [dict(zip(names, t, strict=True)) for names, t in models if t is not None]
    if not limits:
        return None
    rows = [[of_model[name] for name in models[0][0]] for of_model in limits]
    return np.average(rows, axis=0, weights=shares)


def aligned(videos: Sequence[Sequence[Video]], names: Sequence[str]) -> list[list[Video]]:
    """Returns the videos of each model in the order of the first's.

    Two are the same if their paths below the videos' common folder are, and their segments. Flow
    that was stored ahead lies in files of its own: then suffixes do not count. ArgumentError: a
    model lacks some, or has others, or names differ in their suffix only.
    """
    keyed = [_by_key(listed, suffix=True) for listed in videos]
    if any(set(keys) != set(keyed[0]) for keys in keyed[1:]):
        keyed = [_by_key(listed, suffix=False) for listed in videos]
    for name, keys, listed in zip(names[1:], keyed[1:], videos[1:], strict=True):
        if different := sorted(set(keyed[0]) ^ set(keys)):
            raise ArgumentError(
                f"{names[0]} and {name} must have the same videos. Only one of them has "
                f"{different[0][0]} (and {len(different) - 1} more): pass `data` or `split`."
            )
        if len(keys) != len(listed) or len(keys) != len(videos[0]):
            raise ArgumentError(
                f"{names[0]} and {name} have videos whose names differ in their suffix only: "
                "rename them, to tell which is which."
            )
    return [[keys[key] for key in keyed[0]] for keys in keyed]


def _by_key(videos: Sequence[Video], suffix: bool) -> dict[tuple[str, float, float], Video]:
    root = os.path.commonpath([os.path.dirname(os.path.abspath(v.path)) for v in videos])
    by_key = {}
    for video in videos:
        path = os.path.relpath(video.path, root)
        name = path if suffix else os.path.splitext(path)[0]
        by_key[name, video.start_seconds, video.end_seconds] = video
    return by_key


def fuse(streams: Sequence[Iterator[Prediction]], weights: Sequence[float]) -> Iterator[Prediction]:
    """Yields the weighted means of several models' scores of the same videos.

    Windows are fused if all models have the same number of them in a video, in their order; else
    the fused video has none, and only its own score. Classes are in the first's order. A video is
    an error if it is one of any model, and partial likewise.

    Args:
        streams: the videos' scores by each model, in the same order; of one model, these are
            returned.
        weights: one a model, as `check` returns them.
    """
    if len(streams) == 1:
        yield from streams[0]
        return
    shares = np.array(weights) / np.sum(weights)
    for parts in zip(*streams, strict=True):
        first = parts[0]
        status = max((part.status for part in parts), key=("ok", "partial", "error").index)
        detail = next((part.detail for part in parts if part.status == status and part.detail), "")
        thresholds = mean_thresholds([(part.labels, part.thresholds) for part in parts], shares)
        if status == "error":
            yield Prediction.error(first.source, first.labels, detail, thresholds)
            continue
        places = [[list(part.labels).index(label) for label in first.labels] for part in parts]
        windows, seconds = np.empty((0, len(first.labels)), np.float32), np.empty((0, 2))
        by_model = list(zip(parts, places, strict=True))
        if len({len(part.window_scores) for part in parts}) == 1:
            window_scores = [part.window_scores[:, place] for part, place in by_model]
            windows = np.tensordot(shares, window_scores, 1).astype(np.float32)
            seconds = first.window_seconds
        scores = np.tensordot(shares, [part.scores[place] for part, place in by_model], 1)
        yield Prediction(
            *(first.source, status, detail, first.labels, scores, windows, seconds, thresholds)
        )
