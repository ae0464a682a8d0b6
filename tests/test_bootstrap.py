import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_r3d.inference import bootstrap


def columns(*values):
    return np.stack([np.asarray(value, float) for value in values], axis=1)


def test_the_interval_of_an_accuracy_is_about_two_standard_errors():
    right = np.repeat([1, 0], [300, 100])
    ((low, high),) = bootstrap.ratio_intervals(columns(right), columns(np.ones(400)))
    spread = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - spread, abs=0.01)
    assert high == pytest.approx(0.75 + spread, abs=0.01)


def test_windows_of_a_video_are_drawn_together():
    """Nine alike windows a video say no more than one: the interval stays as wide."""
    right = np.repeat([1, 0], [30, 10])
    ones = np.ones(40)
    videos, windows = bootstrap.ratio_intervals(columns(right, 9 * right), columns(ones, 9 * ones))
    assert windows == pytest.approx(videos)


def test_all_right_is_a_point_and_nothing_counted_is_nan():
    ones, zeros = np.ones(5), np.zeros(5)
    found = bootstrap.ratio_intervals(columns(ones, zeros), columns(ones, zeros))
    assert found[0].tolist() == [1, 1]
    assert np.isnan(found[1]).all()
    assert np.isnan(bootstrap.ratio_intervals(np.empty((0, 2)), np.empty((0, 2)))).all()
    assert np.isnan(bootstrap.class_mean_interval(np.empty(0, bool), np.empty(0, int))).all()


def test_the_mean_class_accuracy_agrees_with_a_loop_over_drawn_videos():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 80) * 3  # classes without videos between
    correct = rng.random(80) < 0.2 + labels / 15
    means = []
    for _ in range(2000):
        drawn = rng.integers(80, size=80)
        classes = np.unique(labels[drawn])
        means.append(np.mean([correct[drawn][labels[drawn] == one].mean() for one in classes]))
    expected = np.percentile(means, (2.5, 97.5))
    assert bootstrap.class_mean_interval(correct, labels) == pytest.approx(expected, abs=0.02)


@settings(max_examples=30)
@given(st.integers(5, 60), st.integers(0, 2**32))
def test_intervals_hold_the_estimate_and_need_no_order(videos, seed):
    rng = np.random.default_rng(seed)
    windows = rng.integers(1, 6, videos)
    correct = rng.random(videos) < rng.random()
    right = rng.binomial(windows, 0.6)
    labels = rng.integers(0, 3, videos)
    part, whole = columns(right, correct), columns(windows, np.ones(videos))
    found = bootstrap.ratio_intervals(part, whole)
    estimates = part.sum(axis=0) / whole.sum(axis=0)
    assert (found[:, 0] <= estimates).all()
    assert (estimates <= found[:, 1]).all()
    order = rng.permutation(videos)
    assert (bootstrap.ratio_intervals(part[order], whole[order]) == found).all()
    of_classes = bootstrap.class_mean_interval(correct, labels)
    assert (of_classes >= 0).all()
    assert (of_classes <= 1).all()
    assert (bootstrap.class_mean_interval(correct[order], labels[order]) == of_classes).all()


def test_blocks_of_draws_do_not_matter(monkeypatch):
    """Many videos are drawn in several blocks; every draw has as many videos as there are."""
    monkeypatch.setattr(bootstrap, "_BLOCK", 700)
    blocks = list(bootstrap._draws(100))
    assert [len(block) for block in blocks] == [7] * 142 + [6]
    assert all((block.sum(axis=1) == 100).all() for block in blocks)


def test_twenty_thousand_videos_take_seconds():
    rng = np.random.default_rng(0)
    labels, correct = rng.integers(0, 400, 20_000), rng.random(20_000) < 0.6
    part = np.repeat(correct[:, None].astype(float), 9, axis=1)
    started = time.process_time()
    bootstrap.ratio_intervals(part, np.ones_like(part))
    bootstrap.class_mean_interval(correct, labels)
    assert time.process_time() - started < 4  # 0.4 s measured on a free core
