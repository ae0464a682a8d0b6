"""When classes happen in a long video: segments from the scores of windows in time, NumPy only."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.inference.segments import precision

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Segment:
    """A part of a video that shows a class.

    Attributes:
        start_seconds, end_seconds: when.
        label: the class.
        score: mean of the class over the windows of the segment, 0 to 1.
    """

    start_seconds: float
    end_seconds: float
    label: str
    score: float


@dataclasses.dataclass(frozen=True)
class SegmentRule:
    """How segments come of the scores of windows that slide over a video.

    Where a class reaches the threshold in several windows in a row is a segment.

    Attributes:
        window_seconds: of segments: length of a window, or several lengths, for models that spread
            clips over videos.
        step: of segments: from one window to the next, in windows; else 0.25.
        smoothing: of segments: windows over which scores are averaged; else 1.
        threshold: of segments: least score of a class, 0 to 1; else 0.5.
        margin: of segments: before the middle of the first window and behind that of the last, as a
            share of a window; else 0.5.
        overlap: of two segments of a class that share more of their union, the surer one is kept;
            else 0.5.
    """

    window_seconds: float | Sequence[float] | None = None
    step: float | None = None
    smoothing: int | None = None
    threshold: float | None = None
    margin: float | None = None
    overlap: float | None = None

    @property
    def lengths(self) -> tuple[float | None, ...]:
        """Lengths of windows, increasing; (None,) of models of consecutive frames."""
        value = self.window_seconds
        return tuple(sorted(value)) if isinstance(value, Sequence) else (value,)

    def changed(self, other: "SegmentRule | None") -> "SegmentRule":
        """Returns this rule with the numbers of another that are not None."""
        values = {} if other is None else dataclasses.asdict(other)
        kept = {name: value for name, value in values.items() if value is not None}
        return dataclasses.replace(self, **kept)


DEFAULT = SegmentRule(step=0.25, smoothing=1, threshold=0.5, margin=0.5, overlap=0.5)


def numbers(rule: SegmentRule) -> tuple[int, float, float, float]:
    """Returns smoothing, threshold, margin and overlap; the usual ones where a rule has none."""
    rule = DEFAULT.changed(rule)
    assert rule.smoothing is not None
    assert rule.threshold is not None
    assert rule.margin is not None
    assert rule.overlap is not None
    return rule.smoothing, rule.threshold, rule.margin, rule.overlap


def find(
    seconds: Floats,
    scores: NDArray,
    labels: Sequence[str],
    rule: SegmentRule,
    silent: Sequence[str] = (),
) -> list[Segment]:
    """Returns the segments in the scores of a video's windows, by time.

    Of each class, windows in a row that reach the threshold are a segment.

    Args:
        seconds: when windows start and end, `(windows, 2)`, increasing.
        scores: `(windows, classes)`.
        silent: classes that are not reported, such as the background.
    """
    if not len(scores):
        return []
    smoothing, threshold, margin, overlap = numbers(rule)
    smoothed = moving_average(scores, smoothing)
    middles, margins = seconds.mean(axis=1), margin * np.diff(seconds)[:, 0]
    first, last = seconds[:, 0].min(), seconds[:, 1].max()
    kept: list[Segment] = []
    for number, label in enumerate(labels):
        if label in silent:
            continue
        kept += [
            Segment(
                float(max(first, middles[start] - margins[start])),
                float(min(last, middles[end - 1] + margins[end - 1])),
                label,
                float(smoothed[start:end, number].mean()),
            )
            for start, end in runs(smoothed[:, number] >= threshold)
        ]
    return suppress(kept, overlap)


def moving_average(scores: NDArray, count: int) -> Floats:
    """Averages each row with its neighbors, `count` in all; fewer at the ends."""
    sums = np.cumsum(np.concatenate([np.zeros((1, scores.shape[1])), scores]), axis=0)
    places = np.arange(len(scores))
    starts = np.maximum(0, places - (count - 1) // 2)
    ends = np.minimum(len(scores), places + count // 2 + 1)
    return (sums[ends] - sums[starts]) / (ends - starts)[:, None]


def runs(chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Returns where what is chosen begins and ends (exclusively)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def suppress(segments: Sequence[Segment], overlap: float) -> list[Segment]:
    """Keeps of segments of a class that share more than `overlap` of their union the surest.

    They are returned by time.
    """
    kept: list[Segment] = []
    for segment in sorted(segments, key=lambda segment: -segment.score):
        interval = np.array([[segment.start_seconds, segment.end_seconds]])
        rivals = [other for other in kept if other.label == segment.label]
        others = np.array([[other.start_seconds, other.end_seconds] for other in rivals])
        if not rivals or precision.overlaps(interval, others).max() <= overlap:
            kept.append(segment)
    return sorted(kept, key=lambda segment: (segment.start_seconds, segment.end_seconds))
