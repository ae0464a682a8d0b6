"""Late fusion: the scores of several models, each with clips of its own, become one."""

import os
from collections.abc import Iterator, Sequence

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.inference.evaluation.scoring import Scored
from keras_r3d.system.errors import ArgumentError


def check(classes: Sequence[Sequence[str]], names: Sequence[str], weights: Sequence[float]) -> None:
    """Raises ArgumentError if models have other classes, or there is not a weight for each."""
    if len(names) < 2:
        raise ArgumentError(f"--fuse takes at least two runs. Received: {' '.join(names)}")
    for name, others in zip(names[1:], classes[1:], strict=True):
        if different := sorted(set(classes[0]) ^ set(others)):
            raise ArgumentError(
                f"{names[0]} and {name} must have the same classes. Only one of them has: "
                f"{', '.join(different[:5])}{', …' if len(different) > 5 else ''}"
            )
    if len(weights) != len(names):
        raise ArgumentError(
            f"--weights must have a number for each of the {len(names)} runs of --fuse. Received: "
            f"{len(weights)}"
        )
    finite = all(np.isfinite(weight) and weight >= 0 for weight in weights)
    if not finite or not sum(weights):
        raise ArgumentError(
            f"--weights must be 0 or more, and not all 0. Received: {list(weights)}"
        )


def parse_weights(weights: Sequence[str], models: int) -> list[float]:
    """Returns the weights of as many models; 1 each if none are given.

    Raises:
        ArgumentError: one is no number.
    """
    try:
        return [float(weight) for weight in weights] or [1.0] * models
    except ValueError:
        raise ArgumentError(f"--weights must be numbers. Received: {' '.join(weights)}") from None


def aligned(videos: Sequence[Sequence[Video]], names: Sequence[str]) -> list[list[Video]]:
    """Returns the videos of each model in the order of the first's.

    Two are the same if their paths below the videos' common folder are, and their segments. Flow
    that was stored ahead lies in files of its own: then suffixes do not count.

    Raises:
        ArgumentError: a model lacks some, or has others, or names differ in their suffix only.
    """
    keyed = [_by_key(own, suffix=True) for own in videos]
    if any(set(own) != set(keyed[0]) for own in keyed[1:]):
        keyed = [_by_key(own, suffix=False) for own in videos]
    for name, own, others in zip(names[1:], keyed[1:], videos[1:], strict=True):
        if different := sorted(set(keyed[0]) ^ set(own)):
            raise ArgumentError(
                f"{names[0]} and {name} must have the same videos. Only one of them has "
                f"{different[0][0]} (and {len(different) - 1} more): pass --data_dir or --split."
            )
        if len(own) != len(others) or len(own) != len(videos[0]):
            raise ArgumentError(
                f"{names[0]} and {name} have videos whose names differ in their suffix only: "
                "rename them, to tell which is which."
            )
    return [[own[key] for key in keyed[0]] for own in keyed]


def _by_key(videos: Sequence[Video], suffix: bool) -> dict[tuple[str, float, float], Video]:
    root = os.path.commonpath([os.path.dirname(video.path) for video in videos])

    def key(video: Video) -> tuple[str, float, float]:
        path = os.path.relpath(video.path, root)
        name = path if suffix else os.path.splitext(path)[0]
        return name, video.start_seconds, video.end_seconds

    return {key(video): video for video in videos}


def fuse(
    of_models: Sequence[Iterator[Scored]],
    classes: Sequence[Sequence[str]],
    weights: Sequence[float],
) -> Iterator[Scored]:
    """Yields the weighted means of several models' scores of the same videos.

    Windows are fused if all models have the same number of them in a video, in their order; else
    the fused video has none, and only its own score.

    Args:
        of_models: the videos' scores by each model, in the same order.
        classes: names of each model, in its order; the first's is that of the fused scores.
        weights: one a model, as `check` has them.

    Yields:
        A video is an error if it is one of any model, and partial likewise.
    """
    places = [[list(own).index(name) for name in classes[0]] for own in classes]
    shares = np.array(weights) / np.sum(weights)
    for ones in zip(*of_models, strict=True):
        first = ones[0]
        status = max((one.status for one in ones), key=("ok", "partial", "error").index)
        detail = next((one.detail for one in ones if one.status == status and one.detail), "")
        counts = {len(one.window_scores) for one in ones}
        windows, seconds = np.empty((0, len(classes[0])), np.float32), np.empty((0, 2))
        if len(counts) == 1 and status != "error":
            parts = (one.window_scores[:, own] for one, own in zip(ones, places, strict=True))
            fused = sum(share * part for share, part in zip(shares, parts, strict=True))
            windows = np.asarray(fused, np.float32)
            seconds = first.window_seconds
        scores = sum(
            share * one.scores[own] for share, one, own in zip(shares, ones, places, strict=True)
        )
        yield Scored(first.video, status, detail, windows, seconds, scores)
