"""Scoring the newest window of a live source, again and again."""

import collections
import dataclasses
import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_r3d.data import clips
from keras_r3d.data.decoding.live import Held, Shape, Source, window_pixels
from keras_r3d.inference.models.averaging import average
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.prediction import best, named
from keras_r3d.system.errors import ArgumentError

_SLICE = 0.2  # seconds of waiting, after which it is asked whether to stop


@dataclasses.dataclass(frozen=True)
class Sighting:
    """The scores of a window of a live source.

    Attributes:
        start_seconds, end_seconds: when its first and its last frame came, from the source's first
            window on.
        latency_seconds: from the last frame's coming to the scores.
        frames: that came so far.
        dropped: of those, how many were in no window, because scoring took too long or was not to
            be so often.
        scores: float64 `(classes,)`, probabilities, averaged over the windows that are smoothed.
        labels: class names, in the order of the scores.
    """

    start_seconds: float
    end_seconds: float
    latency_seconds: float
    frames: int
    dropped: int
    scores: np.ndarray
    labels: Sequence[str]

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Returns the `k` best classes with their scores, the best first."""
        return best(self.labels, self.scores, k)

    def record(self, k: int, now: datetime.datetime) -> dict[str, Any]:
        """Returns what is written to JSON: the `k` best classes, and seconds."""
        return {
            "time": now.isoformat(timespec="milliseconds"),
            "start_seconds": round(self.start_seconds, 3),
            "end_seconds": round(self.end_seconds, 3),
            "latency_seconds": round(self.latency_seconds, 4),
            "frames": self.frames,
            "dropped": self.dropped,
            "top": named(self.top(k)),
        }


def shape(classifier: Classifier, seconds: float | None) -> Shape:
    """Returns what is to be kept of a source.

    Args:
        seconds: that a clip is spread over, of a recipe that spreads clips over whole videos.

    Raises:
        ArgumentError: they are missing, or the recipe takes consecutive frames; or the model takes
            optical flow.
    """
    data = classifier.data
    if data.input != "rgb":
        raise ArgumentError(
            f"This model takes optical flow ({data.input}), which is not computed of live sources: "
            "name one that takes RGB."
        )
    if data.sampling == "consecutive":
        if seconds is not None:
            raise ArgumentError(
                f"--seconds is of no use: this model takes {data.frames} consecutive frames. Leave "
                "it out."
            )
    elif seconds is None:
        raise ArgumentError(
            f"This model was trained on {data.frames} frames spread over whole videos, and a live "
            "source has no end: pass --seconds N, about as long as its training videos, and the "
            "newest N seconds are scored."
        )
    return Shape(
        frames=data.frames,
        frame_stride=data.frame_stride,
        seconds=seconds or 0.0,
        short_side=data.short_side,
        size=data.size,
        views=clips.views_of(data, classifier.eval.views),
    )


def warm_up(classifier: Classifier, of: Shape) -> None:
    """Scores nothing, so that the first window does not wait for the compiler."""
    classifier.score(np.zeros((of.views.count, of.frames, of.size, of.size, 3), np.uint8))


def watch(
    classifier: Classifier,
    source: Source,
    of: Shape,
    *,
    every: float | None,
    smooth: int,
    stopped: Callable[[], bool],
    say: Callable[[str], None],
) -> Iterator[Sighting]:
    """Scores the newest window whenever one is due, until the source ends or it is stopped.

    Args:
        every: seconds from one window's last frame to the next one's, at least; None: windows do
            not overlap.
        smooth: newest windows over which scores are averaged; not over a lost connection.
        say: takes what there is to say of the connection.

    Raises:
        VideoError: the source cannot be connected to.
    """
    newest: collections.deque[np.ndarray] = collections.deque(maxlen=smooth)
    if every is None and of.seconds:
        every = of.seconds
    seen, dropped, first = 0, 0, 0.0
    last: Held | None = None
    while not stopped():
        window = source.wait(seen, _SLICE)
        for text in source.news():
            say(text)
        if not window:
            seen = source.frames
            if source.ended:
                return
            continue
        seen = window[-1].number + 1
        if last is not None and not _due(last, window, every, of.span):
            continue
        pixels = window_pixels(window, of)
        scores = average(classifier.score(pixels), classifier.eval.average)
        latency = time.monotonic() - window[-1].captured
        if last is None:
            first = window[0].captured
        else:
            dropped += max(0, window[0].number - last.number - of.step)
            if window[-1].connection != last.connection:
                newest.clear()
        newest.append(scores)
        last = window[-1]
        yield Sighting(
            start_seconds=window[0].captured - first,
            end_seconds=window[-1].captured - first,
            latency_seconds=latency,
            frames=source.frames,
            dropped=dropped,
            scores=np.mean(list(newest), axis=0),
            labels=classifier.classes,
        )


def _due(last: Held, window: list[Held], every: float | None, span: int) -> bool:
    if every is None:
        return window[-1].number >= last.number + span
    return window[-1].captured >= last.captured + every
