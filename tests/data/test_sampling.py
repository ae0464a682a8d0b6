from collections import Counter

import numpy as np
import pytest
from chances import LEAST_P, generators, p_value
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d.data.sampling import temporal

counts = st.integers(1, 400)
lengths = st.integers(1, 64)
strides = st.integers(1, 8)


@given(counts, lengths, strides, st.integers(0, 2**32))
def test_random_window_is_consecutive_and_inside(count, frames, stride, seed):
    clip = temporal.random_window(np.random.default_rng(seed), count, frames, stride)
    assert clip.shape == (frames,)
    assert clip.min() >= 0
    assert clip.max() < count
    if count >= (frames - 1) * stride + 1:
        assert (np.diff(clip) == stride).all()
    else:  # from the start, looped
        once = np.arange(0, count, stride)
        assert (clip == np.resize(once, frames)).all()


@given(counts, lengths, strides, st.integers(0, 7), st.integers(0, 2**32))
def test_a_random_stride_fits_where_any_does(count, frames, least, more, seed):
    stride = temporal.random_stride(np.random.default_rng(seed), count, frames, least, least + more)
    assert least <= stride <= least + more
    span = (frames - 1) * stride + 1
    assert span <= count or stride == least


@pytest.mark.parametrize(
    ("count", "frames", "least", "most", "longest"),
    [
        (100, 16, 1, 4, 4),
        (46, 16, 1, 4, 3),
        (45, 16, 1, 4, 2),
        (31, 16, 2, 5, 2),
        (30, 16, 2, 5, 2),
        (1, 16, 1, 4, 1),
        (9, 1, 3, 6, 6),
    ],
)
def test_every_stride_that_fits_is_as_likely(count, frames, least, most, longest):
    drawn = Counter(
        temporal.random_stride(rng, count, frames, least, most) for rng in generators(2000)
    )
    assert p_value(drawn, dict.fromkeys(range(least, longest + 1), 1)) > LEAST_P


def test_one_stride_is_not_drawn():
    rng = np.random.default_rng(1)
    assert temporal.random_stride(rng, 100, 16, 2, 2) == 2
    assert rng.random() == np.random.default_rng(1).random()


@given(counts, lengths, strides)
def test_middle_window_is_in_the_middle(count, frames, stride):
    clip = temporal.middle_window(count, frames, stride)
    assert clip.shape == (frames,)
    span = (frames - 1) * stride + 1
    if count >= span:
        before, after = clip[0], count - 1 - clip[-1]
        assert 0 <= after - before <= 1


@given(counts, lengths, st.integers(0, 2**32))
def test_spread_takes_one_frame_from_each_part(count, frames, seed):
    for rng in (None, np.random.default_rng(seed)):
        clip = temporal.spread(count, frames, rng)
        parts = np.arange(frames + 1) * count / frames
        assert (clip >= np.floor(parts[:-1])).all()
        assert (clip < np.ceil(parts[1:])).all()
        assert clip.max() < count


def test_loop_repeats_from_the_start():
    assert temporal.loop(np.array([3, 5, 7]), 8).tolist() == [3, 5, 7, 3, 5, 7, 3, 5]
    assert temporal.loop(np.array([3, 5, 7]), 2).tolist() == [3, 5]


@given(
    count=st.integers(1, 400),
    frames=st.integers(1, 20),
    stride=st.integers(1, 4),
    n=st.integers(1, 30),
)
def test_even_windows_reach_from_start_to_end(count, frames, stride, n):
    windows = temporal.even_windows(count, frames, stride, n)
    span = (frames - 1) * stride + 1
    starts = [int(window[0]) for window in windows]
    assert 1 <= len(windows) <= n
    assert starts == sorted(set(starts))
    assert all(len(window) == frames and window.max() < count for window in windows)
    if count >= span:
        assert all((np.diff(window) == stride).all() for window in windows)
        if n > 1:
            assert (starts[0], starts[-1]) == (0, count - span)
            assert len(windows) == min(n, count - span + 1)
    else:
        assert len(windows) == 1


def test_one_even_window_is_the_middle_one():
    (window,) = temporal.even_windows(21, 4, 2, 1)
    assert window.tolist() == temporal.middle_window(21, 4, 2).tolist() == [7, 9, 11, 13]


@given(count=st.integers(1, 200), frames=st.integers(1, 20), n=st.integers(1, 12))
def test_even_spreads_are_different_and_each_covers_the_video(count, frames, n):
    spreads = temporal.even_spreads(count, frames, n)
    assert 1 <= len(spreads) <= n
    assert len({tuple(one.tolist()) for one in spreads}) == len(spreads)
    for one in spreads:
        parts = np.floor(one * frames / count + 1e-9), np.arange(frames)
        assert count < frames or (np.abs(parts[0] - parts[1]) <= 1).all()
    if n == 1:
        assert spreads[0].tolist() == temporal.spread(count, frames).tolist()


@pytest.mark.parametrize("count", [1, 4, 5, 16, 100])
def test_snippets_are_frames_in_a_row_of_each_part(count):
    def choose(rng=None):
        (clip,) = temporal.snippets(count, 15, 5, lambda n, k: [temporal.spread(n, k, rng)])
        return clip.reshape(3, 5)

    drawn = [choose(np.random.default_rng(seed)) for seed in range(200)]
    for clip in (choose(), *drawn):
        expected = clip[:, :1] + np.arange(5)
        assert np.array_equal(clip, np.minimum(expected, count - 1))
        assert (np.diff(clip[:, 0]) >= 0).all()
    if count >= 5:  # every place of the video is taken, and no snippet lies partly outside
        assert max(clip.max() for clip in drawn) == count - 1
        assert {first for clip in drawn for first in clip[:, 0]} <= set(range(count - 4))
    if count == 100:
        assert choose()[:, 0].tolist() == [16, 48, 80]  # the middle of each third of 96 places


def test_snippets_of_one_frame_are_the_frames_themselves():
    (clip,) = temporal.snippets(40, 7, 1, lambda n, k: [temporal.spread(n, k)])
    assert np.array_equal(clip, temporal.spread(40, 7))


def test_even_spreads_begin_later_each():
    assert [one.tolist() for one in temporal.even_spreads(12, 3, 2)] == [[1, 5, 9], [3, 7, 11]]


def test_spans_are_all_of_the_video_and_its_first_and_last_part():
    found = [one.tolist() for one in temporal.spans(24, 4, (1.0, 0.5))]
    assert found == [[3, 9, 15, 21], [1, 4, 7, 10], [7, 10, 13, 16], [13, 16, 19, 22]]
    whole, first, last = (one.tolist() for one in temporal.spans(16, 4, (1.0, 0.75)))
    assert (whole, first, last) == ([2, 6, 10, 14], [1, 4, 7, 10], [5, 8, 11, 14])


def test_of_a_short_video_no_two_spans_are_alike():
    assert [one.tolist() for one in temporal.spans(1, 3, (1.0, 0.5, 0.25))] == [[0, 0, 0]]
    assert [one.tolist() for one in temporal.spans(2, 2, (1.0, 0.5))] == [[0, 1], [0, 0], [1, 1]]


shares = st.lists(st.floats(0.05, 1), min_size=1, max_size=3)


@given(counts, lengths, shares)
def test_spans_are_different_and_in_order(count, frames, shares):
    found = temporal.spans(count, frames, shares)
    assert 1 <= len(found) <= len(temporal.span_places(frames, shares))
    assert len({tuple(one.tolist()) for one in found}) == len(found)
    for one in found:
        assert one.shape == (frames,)
        assert one.min() >= 0
        assert one.max() < count
        assert (np.diff(one) >= 0).all()


@given(counts, lengths)
def test_a_span_of_all_is_the_clip_that_is_spread_over_the_video(count, frames):
    (found,) = temporal.spans(count, frames, (1.0,))
    middles = (2 * np.arange(frames) + 1) * count // (2 * frames)
    assert np.abs(found - middles).max() <= 1  # at halves, one or the other
    assert np.abs(found - temporal.spread(count, frames)).max() <= 1


@given(lengths, st.floats(0.05, 1))
def test_spans_reach_from_start_to_end_and_overlap_by_half(frames, share):
    places = temporal.span_places(frames, (share,))
    ends = places[:, [0, -1]] + share / frames / 2 * np.array([-1, 1])
    assert ends[:, 1] - ends[:, 0] == pytest.approx(share)
    steps = np.diff(ends[:, 0])
    if len(places) > 1:
        assert ends[0, 0] == pytest.approx(0)
        assert ends[-1, 1] == pytest.approx(1)
        assert steps.max() <= share / 2 + 1e-9
        # One less would not do.
        assert len(places) == 2 or (1 - share) / (len(places) - 2) > share / 2 - 1e-9
    else:
        assert share > 1 - 1e-9


def test_a_window_of_a_very_long_video_is_drawn_at_once():
    clip = temporal.random_window(np.random.default_rng(0), 2**40, 16, 3)  # of no endless array
    assert (np.diff(clip) == 3).all()


@given(counts, lengths)
def test_a_window_over_the_whole_video_is_a_spread_clip(count, frames):
    seconds = np.arange(count) / 25
    (window,) = temporal.sliding(seconds, frames, 1e6, 1.0)
    # Of two frames as near, rounding may take either.
    assert abs(window - temporal.spread(count, frames)).max() <= 1
    assert window.min() >= 0


def test_windows_slide_in_time_not_in_frames():
    """10 frames a second in the first 2 s, 2 a second in the next 2 s.

    The last frame is shown as long as the others on average, so that the fourth does not fit.
    """
    seconds = np.concatenate([np.arange(20) / 10, 2 + np.arange(4) / 2])
    windows = temporal.sliding(seconds, 2, 1.0, 1.0)
    shown = [seconds[numbers].tolist() for numbers in windows]
    assert len(windows) == 3
    for start, times in enumerate(shown):
        assert times == pytest.approx([start + 0.25, start + 0.75], abs=0.3)


def test_clips_in_a_row_slide_by_a_share_of_what_they_span():
    windows = temporal.sliding_clips(50, 8, 2, 0.5)
    assert [window[0] for window in windows] == [0, 8, 16, 24, 32]
    assert all((np.diff(window) == 2).all() for window in windows)
    (short,) = temporal.sliding_clips(5, 8, 1, 0.5)
    assert short.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
