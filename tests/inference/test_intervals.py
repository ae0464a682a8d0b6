import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_r3d.inference.evaluation import metrics


def columns(*values):
    return np.stack([np.asarray(value, float) for value in values], axis=1)


def of_videos(right: int, videos: int) -> list[float]:
    """Returns the interval of an accuracy."""
    correct = np.arange(videos) < right
    (found,) = metrics.ratio_intervals(columns(correct), columns(np.ones(videos)))
    return found.tolist()


@pytest.mark.parametrize(
    ("right", "videos", "low", "high"),
    [
        (96, 96, 0.9615, 1.0),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),  # Newcombe, Statistics in Medicine 1998, table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_wilsons(right, videos, low, high):
    assert of_videos(right, videos) == pytest.approx([low, high], abs=6e-5)
    assert metrics.wilson(right / videos, videos) == pytest.approx((low, high), abs=6e-5)


@given(st.floats(0, 1), st.floats(0.5, 1e6))
def test_the_ends_are_two_standard_errors_away(share, observations):
    """Wilson's ends solve `(p - end)² = z² end (1 - end) / n`."""
    for end in metrics.wilson(share, observations):
        reach = 1.959964**2 * end * (1 - end) / observations
        assert end in (0, 1) or (share - end) ** 2 == pytest.approx(reach, rel=1e-4, abs=1e-9)


@given(st.integers(0, 40), st.integers(1, 40), st.integers(1, 9))
def test_windows_that_are_alike_say_no_more_than_one(right, videos, times):
    correct, ones = np.arange(videos) < right, np.ones(videos)
    once, repeated = metrics.ratio_intervals(
        columns(correct, times * correct), columns(ones, times * ones)
    )
    assert repeated == pytest.approx(once)


def test_windows_that_differ_say_more_but_never_more_than_so_many_videos():
    rng = np.random.default_rng(0)
    right, windows = rng.binomial(9, 0.7, 40), np.full(40, 9)
    ((low, high),) = metrics.ratio_intervals(columns(right), columns(windows))
    assert high - low < np.diff(metrics.wilson(0.7, 40))[0] / 2
    half = np.resize([4, 5], 40)  # as even as no independent windows are
    ((low, high),) = metrics.ratio_intervals(columns(half), columns(windows))
    assert high - low == pytest.approx(np.diff(metrics.wilson(0.5, 360))[0])


@pytest.mark.parametrize(("right", "windows"), [(0, 9), (9, 9), (1, 2), (1, 49)])
def test_where_all_videos_are_alike_the_interval_is_that_of_so_many_videos(right, windows):
    """1 / 49 times 49 is not 1 in floating point: that is no variance."""
    part, whole = np.full(7, right), np.full(7, windows)
    ((low, high),) = metrics.ratio_intervals(columns(part), columns(whole))
    assert (low, high) == pytest.approx(metrics.wilson(right / windows, 7))
    assert high - low > 0.2


def test_a_ratio_of_unequal_videos_has_the_variance_of_ratios():
    """Residuals of 6 of 12 are 2, -1 and -1: their squares add up to 6, 6 / 144 is the variance."""
    right, windows = np.array([4, 0, 2]), np.array([4, 2, 6])
    (found,) = metrics.ratio_intervals(columns(right), columns(windows))
    assert found == pytest.approx(metrics.wilson(0.5, 0.25 / (6 / 144)))


def test_what_was_not_counted_has_no_interval_and_does_not_count():
    ones, zeros = np.ones(5), np.zeros(5)
    found = metrics.ratio_intervals(columns(ones, zeros), columns(ones, zeros))
    assert np.isnan(found[1]).all()
    assert found[0] == pytest.approx(metrics.wilson(1, 5))
    some = np.array([1, 1, 0, 0, 0])
    assert metrics.ratio_intervals(columns(some), columns(some))[0] == pytest.approx(
        metrics.wilson(1, 2)
    )
    assert np.isnan(metrics.ratio_intervals(np.empty((0, 2)), np.empty((0, 2)))).all()
    assert np.isnan(metrics.class_mean_interval(np.empty(0, bool), np.empty(0, int))).all()


def test_the_mean_of_classes_is_as_certain_as_its_smallest_classes_let_it():
    labels = np.repeat([0, 3], [50, 50])  # classes without videos between
    correct = np.arange(100) % 2 == 0
    even = metrics.class_mean_interval(correct, labels)
    assert even == pytest.approx(metrics.wilson(0.5, 100))
    labels = np.repeat([0, 3], [96, 4])
    uneven = metrics.class_mean_interval(correct, labels)
    assert uneven == pytest.approx(metrics.wilson(0.5, 4 / (1 / 96 + 1 / 4)))
    assert metrics.class_mean_interval(np.ones(100, bool), labels)[0] < 0.9


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32))
def test_intervals_hold_the_estimate_and_need_no_order(videos, seed):
    rng = np.random.default_rng(seed)
    windows = rng.integers(1, 6, videos)
    correct = rng.random(videos) < rng.random()
    right = rng.binomial(windows, rng.random())
    labels = rng.integers(0, 3, videos)
    part, whole = columns(right, correct), columns(windows, np.ones(videos))
    found = metrics.ratio_intervals(part, whole)
    estimates = part.sum(axis=0) / whole.sum(axis=0)
    assert (found[:, 0] <= estimates + 1e-12).all()
    assert (estimates <= found[:, 1] + 1e-12).all()
    assert (found >= 0).all()
    assert (found <= 1).all()
    order = rng.permutation(videos)
    assert metrics.ratio_intervals(part[order], whole[order]) == pytest.approx(found)
    of_classes = metrics.class_mean_interval(correct, labels)
    recall = np.mean([correct[labels == label].mean() for label in np.unique(labels)])
    assert of_classes[0] - 1e-12 <= recall <= of_classes[1] + 1e-12
    assert metrics.class_mean_interval(correct[order], labels[order]) == pytest.approx(of_classes)


@pytest.mark.parametrize("probability", [0.5, 0.7, 0.9])
def test_nineteen_of_twenty_intervals_hold_the_truth(probability):
    """Of 100 videos whose windows hang together: nearly all of a video's are right, or wrong."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(1000):
        of_video = np.where(rng.random(100) < probability, 0.95, 0.05)
        windows = rng.integers(1, 8, 100)
        right = rng.binomial(windows, of_video)
        ((low, high),) = metrics.ratio_intervals(columns(right), columns(windows))
        covered.append(low <= 0.05 + 0.9 * probability <= high)
    # Of 1000 they are 950, give or take 7; but also their variance is an estimate.
    assert 0.92 < np.mean(covered) < 0.98


def test_twenty_thousand_videos_take_no_time():
    rng = np.random.default_rng(0)
    labels, correct = rng.integers(0, 400, 20_000), rng.random(20_000) < 0.6
    part = np.repeat(correct[:, None].astype(float), 9, axis=1)
    started = time.process_time()
    found = metrics.ratio_intervals(part, np.ones_like(part))
    metrics.class_mean_interval(correct, labels)
    assert time.process_time() - started < 1
    spread = 1.96 * math.sqrt(0.6 * 0.4 / 20_000)
    assert found[0] == pytest.approx([correct.mean() - spread, correct.mean() + spread], abs=1e-4)
