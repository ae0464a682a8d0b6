"""Which frames make a clip: pure arithmetic on frame numbers, counted from 0."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def loop(indices: Indices, frames: int) -> Indices:
    """Repeats `indices` from their start until there are `frames` of them; cuts off what is over.

    Args:
        indices: int64 `(n,)`, n >= 1.

    Returns:
        int64 `(frames,)`.
    """
    return np.resize(indices, frames)


def random_window(
    rng: np.random.Generator, frame_count: int, frames: int, frame_stride: int
) -> Indices:
    """Draws a clip of consecutive frames; every start that leaves a whole clip is as likely.

    A video shorter than the clip is taken from its start and looped.

    Returns:
        int64 `(frames,)`.
    """
    span = (frames - 1) * frame_stride + 1
    start = int(rng.integers(max(1, frame_count - span + 1)))
    return loop(np.arange(start, min(frame_count, start + span), frame_stride), frames)


def random_stride(
    rng: np.random.Generator, frame_count: int, frames: int, least: int, most: int
) -> int:
    """Draws the stride of a clip; every one from `least` to `most` that fits is as likely.

    A stride fits if the whole clip lies in the video. If none does, the stride is `least`, the one
    that shows most of the video's frames.
    """
    if least == most:
        return least
    longest = (frame_count - 1) // max(1, frames - 1)
    return int(rng.integers(least, max(least, min(most, longest)), endpoint=True))


def middle_window(frame_count: int, frames: int, frame_stride: int) -> Indices:
    """Returns the clip of consecutive frames in the middle of the video, looped where too short.

    Returns:
        int64 `(frames,)`.
    """
    span = (frames - 1) * frame_stride + 1
    start = max(0, frame_count - span) // 2
    return loop(np.arange(start, frame_count, frame_stride)[:frames], frames)


def even_windows(frame_count: int, frames: int, frame_stride: int, windows: int) -> list[Indices]:
    """Places clips of consecutive frames evenly, from the video's start to its end.

    One is in the middle. Where the video has no place for so many different ones there are fewer;
    one that is shorter than a clip is looped, and has one.

    Returns:
        At most `windows` of int64 `(frames,)`.
    """
    if windows == 1:
        return [middle_window(frame_count, frames, frame_stride)]
    span = (frames - 1) * frame_stride + 1
    starts = np.unique(np.linspace(0, max(0, frame_count - span), windows).astype(np.int64))
    return [
        loop(np.arange(start, frame_count, frame_stride)[:frames], frames)
        for start in starts.tolist()
    ]


def even_spreads(frame_count: int, frames: int, windows: int) -> list[Indices]:
    """Spreads clips over the whole video, each a little later than the one before.

    Returns:
        At most `windows` of int64 `(frames,)`, all different.
    """
    places = [np.full(frames, (number + 0.5) / windows) for number in range(windows)]
    spreads = [_spread(frame_count, frames, place) for place in places]
    return [one for n, one in enumerate(spreads) if n == 0 or (one != spreads[n - 1]).any()]


def spans(frame_count: int, frames: int, shares: Sequence[float]) -> list[Indices]:
    """Spreads clips over shares of a video: over all of it, over its halves, …

    Returns:
        int64 `(frames,)` each, all different; in a short video some would be alike.
    """
    numbers = (span_places(frames, shares) * frame_count).astype(np.int64)
    found: list[Indices] = []
    for one in np.minimum(numbers, frame_count - 1):
        if not any((one == other).all() for other in found):
            found.append(one)
    return found


def span_places(frames: int, shares: Sequence[float]) -> NDArray[np.float64]:
    """Returns where in a video, from 0 to 1, the frames of `spans` are: float64 `(clips, frames)`.

    Of each share there are so many clips that each overlaps the next by half of it or more.
    """
    rows = []
    for share in shares:
        count = math.ceil(2 / share - 1e-9) - 1
        for number in range(count):
            first = (1 - share) * number / max(1, count - 1)
            rows.append(first + share * (np.arange(frames) + 0.5) / frames)
    return np.array(rows)


def spread(frame_count: int, frames: int, rng: np.random.Generator | None = None) -> Indices:
    """Spreads a clip over the whole video: one frame from each of `frames` equal parts.

    Args:
        rng: draws the place inside each part; None takes its middle.

    Returns:
        int64 `(frames,)`, increasing; frames repeat where the video has fewer than `frames`.
    """
    return _spread(frame_count, frames, np.full(frames, 0.5) if rng is None else rng.random(frames))


def _spread(frame_count: int, frames: int, place: NDArray[np.float64]) -> Indices:
    """Takes the frame at `place`, from 0 to below 1, of each of `frames` equal parts."""
    return ((np.arange(frames) + place) * frame_count / frames).astype(np.int64)
