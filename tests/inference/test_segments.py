import dataclasses

import numpy as np
import pytest

from keras_r3d.inference.segments import finding
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
    assert finding.suppress([first, second, third], 0.5) == [second, third]
    assert finding.suppress([first, second, third], 0.9) == [second, first, third]
