"""Scores the newest window of a live source, again and again."""

import collections
import dataclasses
import datetime
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_r3d.data.clips import views_of
from keras_r3d.data.decoding.live import Held, Shape, Source, window_pixels
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.prediction import best, named, named_record
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError, VideoError

_SLICE = 0.2  # seconds of waiting, after which the time is looked at


@dataclasses.dataclass(frozen=True, eq=False)
class Sighting:
    """The scores of a window of a live source.

    Attributes:
        time: when it was scored.
        start_seconds, end_seconds: when its first and its last frame came, from the source's first
            window on.
        latency_seconds: from the last frame's coming to the scores.
        frames: that came so far.
        dropped: of those, the number in no window, because scoring took too long or windows are
            farther apart.
        scores: float64 `(classes,)`, probabilities, averaged over the windows that are smoothed.
        labels: class names, in the order of the scores.
        thresholds: as of `Prediction`.
    """

    time: datetime.datetime
    start_seconds: float
    end_seconds: float
    latency_seconds: float
    frames: int
    dropped: int
    scores: np.ndarray
    labels: Sequence[str]
    thresholds: np.ndarray | None = None

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Returns the `k` best classes with their scores, the best first."""
        return best(self.labels, self.scores, k)

    def record(self, k: int = 5) -> dict[str, Any]:
        """Returns what is written to JSON: the `k` best classes, and seconds."""
        return {
            "time": self.time.isoformat(timespec="milliseconds"),
            "start_seconds": round(self.start_seconds, 3),
            "end_seconds": round(self.end_seconds, 3),
            "latency_seconds": round(self.latency_seconds, 4),
            "frames": self.frames,
            "dropped": self.dropped,
            "top": named(self.top(k)),
            **named_record(self),
        }

    def append(self, path: str | os.PathLike[str], k: int = 5) -> None:
        """Appends the record to a file of JSON lines."""
        files.append_json(path, self.record(k))


def shape(classifier: Classifier, seconds: float | None) -> Shape:
    """Returns the frames of a source that are kept.

    `seconds` are what a clip is spread over, of a recipe that spreads clips over whole videos.
    ArgumentError: they are missing, or of no use; or the model takes optical flow.
    """
    clips = classifier.clips
    if clips.input != "rgb":
        raise ArgumentError(
            f"This model takes optical flow ({clips.input}), which is not computed of live "
            "sources: name one that takes RGB."
        )
    if not clips.is_spread:
        if seconds is not None:
            raise ArgumentError(
                f"`seconds` is of no use: this model takes {clips.frames} consecutive frames. "
                "Leave it out."
            )
    elif seconds is None:
        raise ArgumentError(
            f"This model was trained on {clips.frames} frames spread over whole videos, and a live "
            "source has no end: pass `seconds` N, about as long as its training videos, and "
            "the newest N seconds are scored."
        )
    stride, fps = getattr(clips.sampling, "stride", None), clips.sampling.fps
    if stride is not None and fps:
        seconds = clips.frames * stride / fps
    return Shape(
        frames=clips.frames,
        frame_stride=stride,
        seconds=seconds or 0.0,
        fps=fps,
        snippet=clips.snippet,
        short_side=clips.short_side or 0,
        views=views_of(clips, classifier.eval.views),
    )


def warm_up(classifier: Classifier, kept: Shape) -> None:
    """Scores nothing, so that the first window does not wait for the compiler."""
    clip = (kept.views.count, kept.frames, *kept.views.size, 3)
    classifier.score(np.zeros(clip, np.uint8))


def watch(
    classifier: Classifier,
    source: Source,
    kept: Shape,
    *,
    every: float | None = None,
    step: float = 1.0,
    smooth: int = 1,
    duration: float | None = None,
    say: Callable[[str], None] = print,
) -> Iterator[Sighting]:
    """Scores the newest window whenever one is due, until the source or the time ends.

    Args:
        every: seconds from one window's last frame to the next one's, at least; None: a share
            `step` of a window.
        smooth: newest windows over which scores are averaged; not over a lost connection.
        duration: seconds after which it ends; None: never.
        say: takes what there is to say of the connection.
    """
    newest: collections.deque[np.ndarray] = collections.deque(maxlen=smooth)
    every = every if every is not None else step * kept.seconds or None
    began = time.monotonic()
    seen, dropped, first = 0, 0, 0.0
    last: Held | None = None
    while duration is None or time.monotonic() - began < duration:
        window = source.wait(seen, _SLICE)
        for text in source.news():
            say(text)
        if not window:
            seen = source.frames
            if source.ended:
                break
            continue
        seen = window[-1].number + 1
        if last is None:
            due = True
        elif every is None:
            due = window[-1].number >= last.number + step * kept.span
        else:
            due = window[-1].captured >= last.captured + every
        if not due:
            continue
        scores = classifier.average(classifier.score(window_pixels(window, kept)))
        latency = time.monotonic() - window[-1].captured
        if last is None:
            first = window[0].captured
        else:
            dropped += max(0, window[0].number - last.number - kept.step)
            if window[-1].connection != last.connection:
                newest.clear()
        newest.append(scores)
        last = window[-1]
        yield Sighting(
            time=datetime.datetime.now().astimezone(),
            start_seconds=window[0].captured - first,
            end_seconds=last.captured - first,
            latency_seconds=latency,
            frames=source.frames,
            dropped=dropped,
            scores=np.mean(list(newest), axis=0),
            labels=classifier.classes,
            thresholds=classifier.thresholds,
        )
    if last is None:
        came = f"{source.frames} frames came in {time.monotonic() - began:.1f} s"
        raise VideoError(f"{source.name}: no window was scored: {came}.")
