"""Live sources: the newest frames, a camera in the network, and what watches them."""

import collections
import dataclasses
import itertools
import time
import tracemalloc

import numpy as np
import pytest
from conftest import frame_numbers, write_video
from hypothesis import given
from hypothesis import strategies as st
from mjpeg_server import Camera
from odd_videos import write_rotated

from keras_r3d import recipe
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import live
from keras_r3d.data.decoding.live import Held, Shape, Source, newest_window, window_pixels
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.sampling.cropping import Views
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction import watching
from keras_r3d.recipe.clips import Consecutive, Uniform
from keras_r3d.system.errors import VideoError

SHAPE = Shape(frames=4, frame_stride=1, seconds=0.0, short_side=0, views=Views(1, (16, 16)))


def held(number: int, captured: float, connection: int = 0) -> Held:
    return Held(number, connection, captured, np.full((1, 2, 2, 3), number % 256, np.uint8))


def brightness(data: recipe.Clips, seconds_to_score: float = 0.0) -> Classifier:
    """Says "bright" with the mean of a clip, as a share of 255."""

    def score(clips: np.ndarray) -> np.ndarray:
        time.sleep(seconds_to_score)
        bright = clips.mean(axis=(1, 2, 3, 4)) / 255
        return np.stack([1 - bright, bright], axis=1).astype(np.float32)

    of = recipe.Eval("test", 1, "all", 1, "probabilities")
    return Classifier("model", "Keras", ["dark", "bright"], data, of, score, None, "")


def watch(classifier, source, *, windows=None, seconds=None, **options):
    kept = watching.shape(classifier, seconds)
    options.setdefault("say", lambda text: None)
    return list(itertools.islice(watching.watch(classifier, source, kept, **options), windows))


def wait(source: Source) -> None:
    """Waits for a first frame."""
    while not source.frames:
        source.wait(0, 1.0)


class Fake:
    """Gives windows that are thought out."""

    def __init__(self, frames: list[Held], shape: Shape):
        self.held: collections.deque[Held] = collections.deque(maxlen=shape.most)
        self.shape, self.waiting, self.frames = shape, frames, 0

    def wait(self, past, seconds):
        if not self.waiting:
            return []
        frame = self.waiting.pop(0)
        if self.held and frame.connection != self.held[-1].connection:
            self.held.clear()
        self.held.append(frame)
        self.frames = frame.number + 1
        return newest_window(self.held, self.shape)

    @property
    def ended(self):
        return not self.waiting

    def news(self):
        return []


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 60))
def test_a_window_is_the_newest_frames_at_their_stride(frames, stride, pushed):
    shape = Shape(frames, stride, 0.0, 0, Views(1, (2, 2)))
    newest = collections.deque([held(n, n / 10) for n in range(pushed)], maxlen=shape.most)
    window = newest_window(newest, shape)
    if pushed < (frames - 1) * stride + 1:
        assert window == []
        return
    assert window_pixels(window, shape)[0, :, 0, 0, 0].tolist() == [
        pushed - 1 - stride * back for back in reversed(range(frames))
    ]


@given(st.integers(1, 6), st.floats(0.3, 4), st.floats(2, 200), st.floats(0, 6))
def test_a_spread_window_covers_its_seconds_in_bounded_memory(frames, seconds, rate, played):
    shape = Shape(frames, None, seconds, 0, Views(1, (2, 2)))
    newest: collections.deque[Held] = collections.deque(maxlen=shape.most)
    for number in range(int(played * rate)):
        if live.is_wanted(number / rate, newest, shape):
            newest.append(held(number, number / rate))
    window = newest_window(newest, shape)
    assert len(newest) <= max(frames, seconds * 67 + 2)
    if window:
        assert played >= seconds - 2 / rate - 0.05
        covered = window[-1].captured - window[0].captured
        assert seconds - 2 / min(rate, 50) - 0.02 <= covered <= seconds
        assert window_pixels(window, shape).shape == (1, frames, 2, 2, 3)


@given(
    st.integers(1, 5), st.integers(1, 3), st.floats(5, 150), st.floats(2, 200), st.floats(0.1, 3)
)
def test_a_window_at_a_rate_is_of_the_frames_nearest_to_its_instants(
    frames, stride, fps, rate, played
):
    shape = Shape(frames, stride, frames * stride / fps, 0, Views(1, (2, 2)), fps)
    newest: collections.deque[Held] = collections.deque(maxlen=shape.most)
    for number in range(int(played * rate)):
        if live.is_wanted(number / rate, newest, shape):
            newest.append(held(number, number / rate))
    window = newest_window(newest, shape)
    assert len(newest) <= max(frames, shape.seconds * max(67, 2 * fps) + 2.001)
    if len(newest) > 1 and newest[-1].captured - newest[0].captured >= shape.seconds:
        assert window
    if window:
        clip = window[stride - 1 :: stride]
        assert window_pixels(window, shape)[0, :, 0, 0, 0].tolist() == [
            f.number % 256 for f in clip
        ]
        assert clip[-1] is newest[-1]
        kept = [frame.captured for frame in newest]
        for back, frame in enumerate(reversed(clip)):
            instant = newest[-1].captured - back * stride / fps
            assert abs(frame.captured - instant) <= min(abs(t - instant) for t in kept) + 2e-4


def test_a_camera_of_another_rate_is_resampled(small):
    """A model of 10 frames a second takes every third of 30, and each of 5 twice."""
    clips = dataclasses.replace(small.clips, sampling=Consecutive(fps=10))
    shape = watching.shape(brightness(clips), None)
    for rate, expected in ((30, [9, 12, 15, 18]), (5, [1, 2, 2, 3])):
        newest = [held(n, n / rate) for n in range(expected[-1] + 1)]
        pixels = window_pixels(newest_window(newest, shape), shape)
        assert pixels[0, :, 0, 0, 0].tolist() == expected
    seen = watch(brightness(clips), Fake([held(n, n / 30) for n in range(40)], shape))
    assert [s.end_seconds - s.start_seconds for s in seen] == pytest.approx([0.3] * len(seen))
    assert len(seen) == 3
    assert np.diff([s.end_seconds for s in seen]) == pytest.approx(0.4, abs=1.01 / 30)


def test_windows_follow_each_other_and_none_is_late(small):
    classifier = brightness(small.clips)
    seen = watch(classifier, Fake([held(n, n / 10) for n in range(13)], SHAPE))
    assert [(round(s.start_seconds, 6), round(s.end_seconds, 6)) for s in seen] == [
        (0, 0.3),
        (0.4, 0.7),
        (0.8, 1.1),
    ]
    assert [s.dropped for s in seen] == [0, 0, 0]


def test_frames_in_no_window_are_counted(small):
    classifier = brightness(small.clips)
    seen = watch(classifier, Fake([held(n, n / 10) for n in range(20)], SHAPE), every=0.6)
    assert [round(s.end_seconds, 6) for s in seen] == [0.3, 0.9, 1.5]
    assert [s.dropped for s in seen] == [0, 2, 4]
    overlapping = watch(classifier, Fake([held(n, n / 10) for n in range(8)], SHAPE), every=0.2)
    assert [round(s.end_seconds, 6) for s in overlapping] == [0.3, 0.5, 0.7]
    assert overlapping[-1].dropped == 0


def test_scores_are_smoothed_but_not_over_a_lost_connection(small):
    classifier = brightness(small.clips)
    frames = [held(n, n / 10, connection=n // 12) for n in range(24)]
    means = [1.5, 5.5, 9.5, 13.5, 17.5, 21.5]
    plain = watch(classifier, Fake(list(frames), SHAPE))
    assert [s.scores[1] * 255 for s in plain] == pytest.approx(means)
    smooth = watch(classifier, Fake(list(frames), SHAPE), smooth=2)
    expected = [1.5, 3.5, 7.5, 13.5, 15.5, 19.5]
    assert [s.scores[1] * 255 for s in smooth] == pytest.approx(expected)


def test_a_spread_recipe_asks_for_seconds(small):
    spread = brightness(dataclasses.replace(small.clips, sampling=Uniform()))
    with pytest.raises(watching.ArgumentError, match="pass `seconds` N"):
        watching.shape(spread, None)
    assert watching.shape(spread, 3.0).seconds == 3.0
    with pytest.raises(watching.ArgumentError, match="`seconds` is of no use"):
        watching.shape(brightness(small.clips), 3.0)


def test_a_file_is_played_at_its_own_speed(tmp_path, small):
    path = str(write_video(tmp_path / "video.avi", 6))  # 10 frames a second
    source = Source(path, SHAPE, 5.0)
    began, windows = time.monotonic(), []
    while not source.ended:
        windows.append(source.wait(source.frames, 0.5))
    assert 0.5 <= time.monotonic() - began < 60
    assert source.frames == 6
    last = window_pixels(windows[-1] or windows[-2], SHAPE)
    assert frame_numbers(last[0])[-1] == 5
    source.stop()


def test_a_camera_that_stops_and_comes_back(small, monkeypatch):
    monkeypatch.setattr(live, "_PAUSES", (0.1, 0.2))
    said = []
    with Camera() as camera:
        source = Source(camera.url, SHAPE, 5.0)
        classifier = brightness(small.clips)
        before = watch(classifier, source, windows=3, say=said.append)
        camera.on = False
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not any("still gone" in text for text in said):
            said += source.news()
            time.sleep(0.05)
        time.sleep(0.3)
        said += source.news()
        assert len(said) < 8  # it does not try without a pause
        first, frames = camera.sent, source.frames
        camera.on = True
        while source.frames < frames + 8:
            connections = {one.connection for one in source.wait(source.frames, 1.0)}
            assert connections <= {1}, "frames of before the loss are in a window of after it"
        after = watch(classifier, source, windows=2, say=said.append)
        source.stop()
    assert said[0] == f"{camera.url} is lost; next try in 0.1 s."
    assert said[-1] == f"{camera.url} is back."
    assert len(before) == 3
    assert after[-1].scores[1] * 255 >= 40 + first % 200


def test_a_slow_model_drops_frames_and_stays_up_to_date(small):
    with Camera(rate=100) as camera:
        source = Source(camera.url, SHAPE, 5.0)
        seen = watch(brightness(small.clips, seconds_to_score=0.2), source, windows=5)
        newest = 40 + camera.sent % 200
        source.stop()
    assert seen[-1].dropped > 30
    assert all(s.latency_seconds >= 0.2 for s in seen)
    assert newest - seen[-1].scores[1] * 255 < 70  # of 100 sent, were all of them scored


def test_a_camera_that_is_not_there():
    source = Source("97", SHAPE, 1.0)
    with pytest.raises(VideoError, match=r"Camera 97 does not exist.*This machine has"):
        wait(source)


def test_an_address_that_does_not_answer():
    with Camera() as camera:
        camera.silent = True
        source = Source(camera.url, SHAPE, 0.5)
        with pytest.raises(VideoError, match=r"did not answer with a video in 0.5 s"):
            wait(source)
    source = Source("http://user:secret@127.0.0.1:9/x", SHAPE, 5.0)
    with pytest.raises(VideoError, match=r"^http://127.0.0.1:9/x cannot be opened as a video"):
        wait(source)


@pytest.mark.slow
def test_memory_is_flat_over_a_minute(small):
    def resident() -> int:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    with Camera(rate=60) as camera:
        source = Source(camera.url, SHAPE, 5.0)
        classifier = brightness(small.clips)
        watch(classifier, source, windows=50)
        tracemalloc.start()
        before, traced = resident(), tracemalloc.get_traced_memory()[0]
        began = time.monotonic()
        while time.monotonic() - began < 60:
            watch(classifier, source, windows=50)
        grown, traced = resident() - before, tracemalloc.get_traced_memory()[0] - traced
        tracemalloc.stop()
        source.stop()
    print(f"{source.frames} frames; {grown} KiB resident, {traced} bytes of Python more")
    assert source.frames > 2000
    assert grown < 20_000
    assert traced < 1_000_000


@pytest.mark.parametrize(
    "views", [Views(3, (16, 16)), Views(2, (16, 16), whole=True)], ids=["crops", "whole"]
)
def test_a_window_is_cut_as_from_the_file(tmp_path, views):
    path = str(write_rotated(tmp_path / "v.mp4"))
    shape = Shape(frames=4, frame_stride=2, seconds=0.0, short_side=48, views=views)
    source, window = Source(path, shape, 5.0), []
    while not source.ended:
        window = source.wait(source.frames, 0.5) or window
    source.stop()
    frames = window[-1].number - np.array([6, 4, 2, 0])
    (expected,) = VideoReader(48, 0).chosen(Video(path, ""), lambda count: [frames], views)
    ours = window_pixels(window, shape).astype(int)  # OpenCV's colors, a little off
    assert np.abs(ours - expected.pixels).mean() < 4
    assert expected.pixels[0, 0, 2, 8] == pytest.approx([200, 0, 0], abs=25)
