"""Which frames make a clip: pure arithmetic on frame numbers, counted from 0."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from keras_r3d.system.errors import VideoError

Indices = NDArray[np.int64]  # `(frames,)`, the frame numbers of a clip

_ROUNDED = 1e-4  # seconds, to which containers round their times
_MOST_INSTANTS = 100_000, 100  # of a video, or of each of its frames, if those are more


def loop(indices: Indices, frames: int) -> Indices:
    """Repeats one or more `indices` from their start until there are `frames`; drops the rest."""
    return np.resize(indices, frames)


def random_window(rng: Generator, frame_count: int, frames: int, frame_stride: int) -> Indices:
    """Draws a clip of consecutive frames; every start that leaves a whole clip is equally likely.

    A video shorter than the clip is taken from its start and looped.
    """
    start = int(rng.integers(_last_start(frame_count, frames, frame_stride) + 1))
    return _window(start, frame_count, frames, frame_stride)


def random_stride(rng: Generator, frame_count: int, frames: int, least: int, most: int) -> int:
    """Draws the stride of a clip; every one from `least` to `most` that fits is equally likely.

    It fits if the whole clip lies in the video. If none does it is `least`, which shows the most.
    """
    if least == most:
        return least
    longest = (frame_count - 1) // max(1, frames - 1)
    return int(rng.integers(least, max(least, min(most, longest)), endpoint=True))


def middle_window(frame_count: int, frames: int, frame_stride: int) -> Indices:
    """Returns the clip of consecutive frames in the middle of the video, looped if too short."""
    start = _last_start(frame_count, frames, frame_stride) // 2
    return _window(start, frame_count, frames, frame_stride)


def even_windows(frame_count: int, frames: int, frame_stride: int, windows: int) -> list[Indices]:
    """Places clips of consecutive frames evenly, from the video's start to its end.

    One is in the middle. A video that is too short for `windows` different ones has fewer; one
    that is shorter than a clip is looped, and has a single window.
    """
    if windows == 1:
        return [middle_window(frame_count, frames, frame_stride)]
    last = _last_start(frame_count, frames, frame_stride)
    starts = np.unique(np.linspace(0, last, windows).astype(np.int64))
    return [_window(start, frame_count, frames, frame_stride) for start in starts.tolist()]


def _last_start(frame_count: int, frames: int, frame_stride: int) -> int:
    return max(0, frame_count - (frames - 1) * frame_stride - 1)


def _window(start: int, frame_count: int, frames: int, frame_stride: int) -> Indices:
    end = min(frame_count, start + frames * frame_stride)
    return loop(np.arange(start, end, frame_stride), frames)


def even_spreads(frame_count: int, frames: int, windows: int) -> list[Indices]:
    """Spreads at most `windows` different clips over the whole video, each a little later."""
    places = (np.full(frames, (number + 0.5) / windows) for number in range(windows))
    return _different(_spread(frame_count, frames, place) for place in places)


def spans(frame_count: int, frames: int, shares: Sequence[float]) -> list[Indices]:
    """Spreads clips over shares of a video: over all of it, over its halves, …

    In a short video some would be alike; the clips returned are all different.
    """
    numbers = (span_places(frames, shares) * frame_count).astype(np.int64)
    return _different(np.minimum(numbers, frame_count - 1))


def _different(clips: Iterable[Indices]) -> list[Indices]:
    return list({tuple(clip.tolist()): clip for clip in clips}.values())


def span_places(frames: int, shares: Sequence[float]) -> NDArray[np.float64]:
    """Returns where in a video, from 0 to 1, the frames of `spans` are: float64 `(clips, frames)`.

    Each share has as many clips as are needed for neighbors to overlap by half or more.
    """
    rows = []
    for share in shares:
        count = math.ceil(2 / share - 1e-9) - 1
        for number in range(count):
            first = (1 - share) * number / max(1, count - 1)
            rows.append(first + share * (np.arange(frames) + 0.5) / frames)
    return np.array(rows)


def spread(frame_count: int, frames: int, rng: Generator | None = None) -> Indices:
    """Spreads a clip over the whole video: one frame from each of `frames` equal parts.

    Frames repeat where the video has fewer than `frames`. `rng` draws the place inside each part;
    None takes its middle.
    """
    return _spread(frame_count, frames, np.full(frames, 0.5) if rng is None else rng.random(frames))


def _spread(frame_count: int, frames: int, place: NDArray[np.float64]) -> Indices:
    """Takes the frame at `place`, from 0 to below 1, of each of `frames` equal parts."""
    return ((np.arange(frames) + place) * frame_count / frames).astype(np.int64)


def snippets(
    frame_count: int, frames: int, length: int, choose: Callable[[int, int], Iterable[Indices]]
) -> list[Indices]:
    """Makes clips of snippets, `length` frames in a row; a too short video's last frame repeats.

    `choose` takes the number of places for a snippet and that of snippets, `frames` / `length`, and
    returns the first frames of each clip's.
    """
    clips = choose(max(1, frame_count - length + 1), frames // length)
    rows = (np.add.outer(starts, np.arange(length)).ravel() for starts in clips)
    return [np.minimum(row, frame_count - 1) for row in rows]


def at_rate(
    seconds: NDArray[np.float64], fps: float | None, name: str
) -> tuple[Indices, NDArray[np.float64]]:
    """Resamples frames to a fixed rate: of each instant, the frame shown nearest to it.

    Args:
        seconds: when frames are shown, float64 `(count,)`, increasing.
        fps: instants a second; 0 or None takes each frame at its own time.
        name: of the video.

    Returns:
        Frame numbers, int64 `(n,)`, and their instants from the first frame's to the last's,
        float64 `(n,)`.

    Raises:
        VideoError: time stamps are damaged: they ask for far more instants than there are frames.
    """
    if not fps:
        return np.arange(len(seconds)), seconds
    span = seconds[-1] - seconds[0]
    count, (least, each) = int(span * fps + 1.001), _MOST_INSTANTS
    if count > max(least, each * len(seconds)):
        raise VideoError(
            f"{name}: its {len(seconds)} frames span {span:.0f} s, so {fps:g} a second are "
            f"{count}; {least} are the limit, or {each} for each frame: its time stamps are "
            "damaged, or a lower `fps` is enough."
        )
    instants = seconds[0] + np.arange(count) / fps
    return nearest(seconds, instants), instants


def nearest(seconds: NDArray[np.float64], instants: NDArray[np.float64]) -> Indices:
    """Returns the frame shown nearest to each instant, of two as near the earlier one."""
    after = np.searchsorted(seconds, instants).clip(1, max(1, len(seconds) - 1))
    before = after - 1
    after = np.minimum(after, len(seconds) - 1)
    is_before = instants - seconds[before] <= seconds[after] - instants + _ROUNDED
    return np.where(is_before, before, after)


def sliding(seconds: NDArray[np.float64], frames: int, length: float, step: float) -> list[Indices]:
    """Slides a window over a video; a clip is spread over each of its places.

    Args:
        seconds: when frames are shown, float64 `(count,)`, increasing.
        frames: of a clip: the frame nearest to the middle of each of as many parts of the window.
        length: of the window, in seconds. A video that is shorter has a single one, of its length.
        step: seconds from the start of a window to that of the next.
    """
    end = seconds[-1] + (seconds[-1] - seconds[0]) / max(1, len(seconds) - 1)
    length = min(length, end - seconds[0])
    starts = seconds[0] + step * np.arange(int((end - seconds[0] - length) / step + _ROUNDED) + 1)
    places = length * (np.arange(frames) + 0.5) / frames - (end - seconds[-1]) / 2
    return [nearest(seconds, start + places) for start in starts]


def sliding_clips(frame_count: int, frames: int, frame_stride: int, step: float) -> list[Indices]:
    """Slides a clip of consecutive frames over a video, by a share `step` of what it spans.

    The last frames may be in none. A video shorter than a clip is looped.
    """
    span = frames * frame_stride
    starts = range(0, max(1, frame_count - span + 1), max(1, round(step * span)))
    return [_window(start, frame_count, frames, frame_stride) for start in starts]
