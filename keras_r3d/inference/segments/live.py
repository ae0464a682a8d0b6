"""Segments of a live source: each is told when it ends."""

import collections
import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from keras_r3d.inference.prediction.watching import Sighting
from keras_r3d.inference.segments.finding import Segment, SegmentRule, numbers
from keras_r3d.system import files


@dataclasses.dataclass(frozen=True)
class LiveSegment(Segment):
    """A part of a live source that shows a class; seconds count from its first window on.

    Attributes:
        delay_seconds: from its end until it is told, scoring included.
    """

    delay_seconds: float

    def append(self, path: str | os.PathLike[str]) -> None:
        """Appends it to a file of JSON lines."""
        files.append_json(path, dataclasses.asdict(self))


def segments_of(
    sightings: Iterable[Sighting], rule: SegmentRule, silent: Sequence[str] = ()
) -> Iterator[LiveSegment]:
    """Yields each segment when it ends; all end with the source, or where it was lost."""
    finder: Finder | None = None
    last: Sighting | None = None
    for sighting in sightings:
        length = sighting.end_seconds - sighting.start_seconds
        if finder and last and sighting.start_seconds > last.end_seconds + length:
            yield from _told(finder.finish(), last)
            finder = None
        finder, last = finder or Finder(sighting.labels, rule, silent), sighting
        ended = finder.add(sighting.start_seconds, sighting.end_seconds, sighting.scores)
        yield from _told(ended, sighting)
    if finder and last:
        yield from _told(finder.finish(), last)


def _told(segments: Iterable[Segment], newest: Sighting) -> Iterator[LiveSegment]:
    for segment in segments:
        delay = newest.end_seconds + newest.latency_seconds - segment.end_seconds
        yield LiveSegment(**vars(segment), delay_seconds=round(delay, 3))


class Finder:
    """Finds what `finding.find` finds, but for what a later segment suppresses."""

    def __init__(self, labels: Sequence[str], rule: SegmentRule, silent: Sequence[str] = ()):
        self._smoothing, self._threshold, self._margin, _ = numbers(rule)
        self._labels = [None if label in silent else label for label in labels]
        self._windows = collections.deque[tuple[float, float, np.ndarray]]()
        self._first: float | None = None
        self._open: dict[str, tuple[float, list[tuple[float, float]]]] = {}  # start; ends, scores

    def add(self, start: float, end: float, scores: np.ndarray) -> list[Segment]:
        """Takes the next window; returns the segments that are over."""
        self._first = start if self._first is None else self._first
        self._windows.append((start, end, scores))
        ahead = self._smoothing // 2
        return self._look(ahead) if len(self._windows) > ahead else []

    def finish(self) -> list[Segment]:
        """Returns the segments that the end of the source ends."""
        ahead = min(self._smoothing // 2, len(self._windows))
        ended = [segment for left in reversed(range(ahead)) for segment in self._look(left)]
        return ended + [self._close(label) for label in list(self._open)]

    def _look(self, ahead: int) -> list[Segment]:
        """Judges the window with `ahead` newer ones; returns the segments that it ends."""
        while len(self._windows) > ahead + (self._smoothing - 1) // 2 + 1:
            self._windows.popleft()
        start, end, _ = self._windows[-1 - ahead]
        middle, margin = (start + end) / 2, self._margin * (end - start)
        smoothed = np.mean([scores for *_, scores in self._windows], axis=0)
        ended = []
        for label, score in zip(self._labels, smoothed.tolist(), strict=True):
            if label is not None and score >= self._threshold:
                new = max(self._first or 0.0, middle - margin), list[tuple[float, float]]()
                until = min(self._windows[-1][1], middle + margin)
                self._open.setdefault(label, new)[1].append((until, score))
            elif label in self._open:
                ended.append(self._close(label))
        return ended

    def _close(self, label: str) -> Segment:
        start, windows = self._open.pop(label)
        return Segment(start, windows[-1][0], label, float(np.mean([s for _, s in windows])))
