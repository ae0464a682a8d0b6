import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d.inference.segments import finding, live
from keras_r3d.inference.segments.finding import Segment, SegmentRule

RULE = SegmentRule(2.0)


def windows(count, length=2.0, step=1.0):
    starts = step * np.arange(count)
    return np.stack([starts, starts + length], axis=1)


def test_windows_in_a_row_are_a_segment():
    """Windows 2 and 3, [2, 4] and [3, 5], show "a"; window 6, [6, 8], "b"."""
    scores = np.zeros((8, 2))
    scores[[2, 3], 0] = 0.6, 0.9
    scores[6, 1] = 0.7
    found = finding.find(windows(8), scores, ["a", "b"], RULE)
    assert found == [Segment(2, 5, "a", pytest.approx(0.75)), Segment(6, 8, "b", 0.7)]
    narrow = finding.find(windows(8), scores, ["a", "b"], dataclasses.replace(RULE, margin=0.25))
    assert [(s.start_seconds, s.end_seconds) for s in narrow] == [(2.5, 4.5), (6.5, 7.5)]
    assert finding.find(windows(8), scores, ["a", "b"], RULE, silent=["a"]) == found[1:]


def test_segments_stay_inside_the_video():
    found = finding.find(windows(3), np.ones((3, 1)), ["a"], dataclasses.replace(RULE, margin=2.0))
    assert found == [Segment(0, 4, "a", 1)]
    assert finding.find(np.empty((0, 2)), np.empty((0, 1)), ["a"], RULE) == []


def test_smoothing_fills_gaps_and_drops_what_is_short():
    scores = np.array([0, 0, 0.9, 0, 0.9, 0.9, 0, 0, 0, 0, 0])[:, None]
    found = finding.find(
        windows(11), scores, ["a"], dataclasses.replace(RULE, smoothing=3, threshold=0.55)
    )
    assert [(s.start_seconds, s.end_seconds) for s in found] == [(3, 7)]
    assert finding.moving_average(scores, 3)[:, 0] == pytest.approx(
        [0, 0.3, 0.3, 0.6, 0.6, 0.6, 0.3, 0, 0, 0, 0]
    )
    assert finding.moving_average(scores, 1) == pytest.approx(scores)
    assert finding.moving_average(scores, 2)[:3, 0] == pytest.approx([0, 0.45, 0.45])


def test_of_segments_that_overlap_the_surest_are_kept():
    first, second, third = (
        Segment(0, 10, "a", 0.5),
        Segment(2, 10, "a", 0.9),
        Segment(9, 20, "a", 0.1),
    )
    assert finding.suppress([first, second, third], 0.5) == [second, third]  # by time
    assert finding.suppress([first, second, third], 0.9) == [first, second, third]
    of_another = Segment(0, 10, "b", 0.1)
    assert of_another in finding.suppress([first, second, of_another], 0.5)


@given(
    st.lists(st.lists(st.integers(0, 10), min_size=2, max_size=2), max_size=30),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.25, 0.5]),
)
def test_live_segments_are_those_found_afterwards_and_told_at_their_end(rows, smoothing, margin):
    """But for what a later segment suppresses: here none does."""
    rule = SegmentRule(2.0, None, smoothing, 0.437, margin, overlap=1.0)  # no mean is just that
    scores, seconds = np.array(rows).reshape(-1, 2) / 10, windows(len(rows))
    finder, told = live.Finder(["a", "b"], rule), []
    for number, (start, end) in enumerate(seconds):
        for segment in finder.add(start, end, scores[number]):
            # The next window is below the threshold, the mean of those around it.
            late = end - 1 - segment.end_seconds + margin * 2
            assert late == pytest.approx(1 + smoothing // 2)
            told.append(segment)
    told += finder.finish()
    found = finding.find(seconds, scores, ["a", "b"], rule)
    key = lambda segment: (segment.label, segment.start_seconds)  # noqa: E731
    for one, other in zip(sorted(told, key=key), sorted(found, key=key), strict=True):
        assert dataclasses.astuple(one)[2] == other.label
        assert one.start_seconds == pytest.approx(other.start_seconds)
        assert one.end_seconds == pytest.approx(other.end_seconds)
        assert one.score == pytest.approx(other.score)


def test_what_is_silent_is_not_told():
    finder = live.Finder(["a", "b"], RULE, silent=["a"])
    finder.add(0.0, 2.0, np.array([0.9, 0.9]))
    assert finder.finish() == [Segment(0, 2, "b", 0.9)]
    assert finder.finish() == []
