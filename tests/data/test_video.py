import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import STEP, frame_numbers, read, write_video
from video_files import encode, moving

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import pixels
from keras_r3d.data.decoding.reader import Cut
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.sampling import cropping, temporal
from keras_r3d.data.sampling.cropping import Views
from keras_r3d.system.errors import VideoError
from keras_r3d.system.opencv import cv2


def test_frames_are_exact(video):
    source = Video(str(video), "a")
    assert VideoReader(0, 0).count(source) == 20
    assert VideoReader(0, 0).seconds(source) == pytest.approx(np.arange(20) / 10)
    for indices in ([7, 7, 2, 19, 0], [0, 1, 2, 0, 1], [19]):
        assert frame_numbers(read(VideoReader(0, 0), source, indices)) == indices


def test_frames_are_rgb(tmp_path):
    path = write_video(tmp_path / "red.avi", 20, tint=(1, 0, 0))
    frame = read(VideoReader(0, 0), Video(str(path), "a"), [19])[0]
    red, green, blue = frame.reshape(-1, 3).mean(axis=0)
    assert red == pytest.approx(19 * STEP, abs=4)
    assert max(green, blue) < 12


def test_a_segment_is_cut_by_time(video):
    source = Video(str(video), "a", 0.5, 0.9)
    reader = VideoReader(0, 0)
    assert reader.count(source) == 4
    assert frame_numbers(read(reader, source, [0, 1, 2, 3])) == [5, 6, 7, 8]


def test_frames_are_shrunk_and_never_enlarged(video):
    for short_side, shape in ((16, (16, 24)), (64, (32, 48))):
        sizes = []
        crop_of = lambda *size: sizes.append(size) or cropping.center(*size)  # noqa: B023, E731
        out = np.empty((1, 8, 8, 3), np.uint8)
        VideoReader(short_side, 0).cut(Video(str(video), "a"), [Cut(np.array([0]), crop_of, out)])
        assert sizes == [shape]


@pytest.mark.parametrize("flip", [False, True])
def test_fill_takes_the_rectangle(flip):
    frame = np.zeros((10, 20, 3), np.uint8)
    frame[2:6, 8:16] = 200
    out = np.empty((8, 8, 3), np.uint8)
    pixels.fill(out, frame, 2, 8, 4, 8, flip)
    assert (out == 200).all()
    frame[2:6, 8:12] = 100
    pixels.fill(out, frame, 2, 8, 4, 8, flip)
    assert (out[2, 0] == (200 if flip else 100)).all()


@pytest.mark.parametrize("side", [112, 125, 160, 180, 214, 223, 303, 360])
def test_fill_is_near_the_average_over_areas(side):
    noise = np.random.default_rng(side).integers(0, 256, (side // 4, side // 4, 3)).astype(np.uint8)
    frame = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    out = np.empty((112, 112, 3), np.uint8)
    pixels.fill(out, frame, 0, 0, side, side, False)
    exact = cv2.resize(frame.astype(np.float64), (112, 112), interpolation=cv2.INTER_AREA)
    worst = cv2.resize(frame, (112, 112), interpolation=cv2.INTER_NEAREST)
    error, of_nearest = (np.sqrt(np.mean((one - exact) ** 2)) for one in (out, worst))
    assert error < 4
    assert error < of_nearest / 4 or side == 112


def truncated(path: Path, video: Path) -> Video:
    """Writes a video of 20 frames that is cut off in its middle."""
    data = video.read_bytes()
    path.write_bytes(data[: (data.index(b"movi") + data.index(b"idx1")) // 2])
    return Video(str(path), "a")


def damaged(path: Path) -> Video:
    """Writes a video of 60 frames, of which the last third is overwritten."""
    encode(path, moving(60), options={"g": "12", "bf": "0"})
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    data[begin + (data.index(b"moov") - begin) * 2 // 3 : data.index(b"moov") - 8] = bytes(
        data.index(b"moov") - 8 - begin - (data.index(b"moov") - begin) * 2 // 3
    )
    path.write_bytes(data)
    return Video(str(path), "a")


@pytest.mark.parametrize("cache_gib", [0.0, 1.0])
def test_a_truncated_video_gives_what_is_left(tmp_path, video, cache_gib):
    short = truncated(tmp_path / "short.avi", video)
    reader = VideoReader(0, cache_gib)
    count = reader.count(short)
    assert 0 < count < 20
    (problem,) = reader.problems
    assert problem.status == "short"
    assert f"promises 20 frames, {count} decode" in problem.detail
    assert frame_numbers(read(reader, short, range(count))) == list(range(count))


@pytest.mark.parametrize("cache_gib", [0.0, 1.0])
def test_frames_that_do_not_decode_are_those_before_and_both_numbers_are_told(tmp_path, cache_gib):
    source = damaged(tmp_path / "v.mp4")
    file = VideoFile(source.path)
    intact = [number for number, _ in file.frames(file.index())]
    assert 20 < len(intact) < 50
    reader = VideoReader(0, cache_gib)
    assert reader.count(source) == 60
    last = read(reader, source, [intact[-1]])
    for numbers in ([58, 59], [59]):
        assert (read(reader, source, numbers) == last).all()
    (problem,) = reader.problems
    assert problem.status == "short"
    assert f"promises 60 frames, {len(intact)} decode" in problem.detail
    assert reader.broken == 0
    # Draws of a training that is resumed are those of one that was not.
    assert reader.count(source) == 60


def test_threads_may_meet_a_damaged_video_at_the_same_time(tmp_path, monkeypatch):
    source = damaged(tmp_path / "v.mp4")
    reader = VideoReader(0, 0)
    last = read(reader, source, [59])
    reader = VideoReader(0, 0)
    met, frames = threading.Barrier(2, timeout=30), VideoFile.frames
    waiting = [None, None]

    def both_begin(*arguments):
        if waiting:
            waiting.pop()
            met.wait()
        return frames(*arguments)

    monkeypatch.setattr(VideoFile, "frames", both_begin)
    with ThreadPoolExecutor(2) as threads:
        for clip in threads.map(lambda _: read(reader, source, [59]), range(2)):
            assert (clip == last).all()
    assert [problem.status for problem in reader.problems] == ["short"]


def test_evaluation_takes_only_what_decodes(tmp_path):
    source = damaged(tmp_path / "v.mp4")
    file = VideoFile(source.path)
    intact = len(list(file.frames(file.index())))
    reader = VideoReader(0, 0)
    windows = list(reader.windows(source, 8, 1, Views(1, (16, 16))))
    assert len(windows) == -(-intact // 8)
    assert max(window.frame_numbers.max() for window in windows) < intact
    assert [problem.status for problem in reader.problems] == ["short"]
    counts = []
    choose = lambda count: counts.append(count) or [np.arange(count - 4, count)]  # noqa: E731
    for again in (reader, VideoReader(0, 0)):
        (window,) = again.chosen(source, choose, Views(1, (16, 16)))
        assert window.frame_numbers.tolist() == list(range(intact - 4, intact))
    assert counts[-1] == intact


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (b"RIFF....WAVEfmt not a video", "cannot be opened as a video"),
        (b"<html>", "cannot be opened as a video"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, content, message):
    path = tmp_path / "broken.mp4"
    if content is not None:
        path.write_bytes(content)
    source = Video(str(path), "a")
    for attempt in (VideoReader.count, VideoReader.check):
        reader = VideoReader(0, 0)
        with pytest.raises(VideoError, match=message) as error:
            attempt(reader, source)
        assert str(path) in str(error.value)
        assert [problem.status for problem in reader.problems] == ["unreadable"]


def test_a_video_without_frames_is_named(tmp_path, video):
    headers = tmp_path / "headers.avi"
    data = video.read_bytes()
    headers.write_bytes(data[: data.index(b"movi") + 4])
    with pytest.raises(VideoError, match=r"has no frames|cannot be opened"):
        VideoReader(0, 0).count(Video(str(headers), "a"))


@pytest.mark.parametrize("cache_gib", [0.0, 1.0])
def test_reader_gives_the_same_frames_from_memory_and_from_the_file(video, cache_gib):
    reader = VideoReader(16, cache_gib)
    part = Video(str(video), "a", 0.5, 1.5)
    assert reader.count(part) == 10
    assert frame_numbers(read(reader, part, [0, 9, 3, 9])) == [5, 14, 8, 14]
    windows = [window.pixels[0] for window in reader.windows(part, 4, 1, Views(1, (16, 16)))]
    assert frame_numbers(np.concatenate(windows)) == [*range(5, 15), 13, 14]
    seen = []
    crop_of = lambda *size: seen.append(size) or cropping.center(*size)  # noqa: E731
    reader.cut(part, [Cut(np.array([0]), crop_of, np.empty((1, 8, 8, 3), np.uint8))])
    assert seen == [(16, 24)]


def test_several_clips_are_cut_in_one_pass(video, monkeypatch):
    reader = VideoReader(0, 0)
    source = Video(str(video), "a")
    reader.count(source)
    passes = []
    frames = VideoFile.frames
    monkeypatch.setattr(VideoFile, "frames", lambda *a: passes.append(a) or frames(*a))
    outs = np.empty((3, 4, 16, 16, 3), np.uint8)
    starts = (9, 2, 4)
    crops = reader.cut(
        source,
        [Cut(np.arange(s, s + 4), cropping.center, o) for s, o in zip(starts, outs, strict=True)],
    )
    assert [frame_numbers(out)[0] for out in outs] == list(starts)
    assert len(passes) == 1
    assert crops == [cropping.center(32, 48)] * 3


def test_reader_decodes_a_kept_video_once(video, monkeypatch):
    reader = VideoReader(0, 1.0)
    source = Video(str(video), "a")
    reader.count(source)
    video.unlink()
    assert frame_numbers(read(reader, source, [4])) == [4]
    assert len(list(reader.windows(source, 1, 1, Views(1, (16, 16))))) == 20


@pytest.mark.parametrize("short_side", [0, 20])
def test_clips_from_memory_are_those_from_the_file(tmp_path, short_side):
    source = Video(str(encode(tmp_path / "v.mp4", moving(30))), "a")
    outs = np.empty((2, 4, 16, 16, 3), np.uint8)
    for reader, out in zip(
        (VideoReader(short_side, 0), VideoReader(short_side, 1)), outs, strict=True
    ):
        crop_of = lambda h, w: cropping.place(h, w, 0.7, "bottom_right", True)  # noqa: E731
        reader.cut(source, [Cut(np.array([3, 9, 9, 20]), crop_of, out)])
    assert (outs[0] == outs[1]).all()


def test_reader_keeps_within_its_memory(tmp_path):
    paths = [write_video(tmp_path / f"{number}.avi", 20) for number in range(2)]
    first, second = (Video(str(path), "a") for path in paths)
    file = VideoFile(first.path)
    frame_bytes = next(file.frames(file.index()))[1].nbytes
    reader = VideoReader(0, 25 * frame_bytes / 2**30)
    for source in (first, second):
        assert frame_numbers(read(reader, source, [1])) == [1]
    for path in paths:
        path.unlink()
    assert frame_numbers(read(reader, first, [1])) == [1]
    with pytest.raises(VideoError, match="there is no such file"):
        read(reader, second, [1])


def test_reader_names_an_empty_segment(video):
    reader = VideoReader(0, 0)
    for attempt in (reader.count, reader.check):
        with pytest.raises(VideoError, match=r"begins at 5 s, but the video ends at 2 s\."):
            attempt(Video(str(video), "a", 5.0, 6.0))
    assert [p.status for p in reader.problems] == ["segment"]


def test_a_broken_video_is_looked_at_once_and_its_error_does_not_grow(tmp_path):
    reader = VideoReader(0, 0)
    broken = Video(str(tmp_path / "broken.mp4"), "a")
    errors = []
    for _ in range(50):
        with pytest.raises(VideoError) as error:
            reader.count(broken)
        errors.append(error)
    assert len(errors[-1].traceback) == len(errors[1].traceback)


def test_a_name_that_is_not_utf8_is_an_error(tmp_path, video):
    path = os.fsencode(tmp_path) + b"/\xff.avi"
    with open(path, "wb") as file:
        file.write(video.read_bytes())
    with pytest.raises(VideoError, match="the file name is not UTF-8: rename the file"):
        VideoFile(os.fsdecode(path))


@pytest.mark.parametrize("name", ["10:30/1.avi", "ü" * 120 + "%20?#.avi", "-i.avi", "a'b\"c.avi"])
def test_names_are_no_protocols_nor_options(tmp_path, video, monkeypatch, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(video.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert len(VideoFile(name).index().seconds) == 20


def test_a_video_that_vanishes_is_noted(tmp_path, video):
    reader = VideoReader(0, 0)
    source = Video(str(video), "a")
    assert reader.count(source) == 20
    video.unlink()
    with pytest.raises(VideoError, match="there is no such file"):
        read(reader, source, [0])
    assert [problem.status for problem in reader.problems] == ["unreadable"]


def varied(path: Path) -> Video:
    """Writes a video whose left third is black, so that views differ; 20 frames, 10 a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 32))
    for number in range(20):
        frame = np.full((32, 96, 3), (200, 5 * number + 50, 20), np.uint8)
        frame[:, :32] = 0
        writer.write(frame)
    writer.release()
    return Video(str(path), "a")


@pytest.mark.parametrize(
    "views", [*(Views(n, (16, 16)) for n in (1, 3, 10)), Views(2, (16, 16), whole=True)], ids=str
)
@pytest.mark.parametrize("stride", [1, 3])
def test_windows_from_memory_from_one_pass_and_chosen_are_the_same(tmp_path, views, stride):
    source = varied(tmp_path / "v.avi")
    kept, streamed = VideoReader(0, 1.0), VideoReader(0, 0)
    kept.count(source)
    starts = range(0, 20, 4 * stride)

    def choose(count):
        assert count == 20
        return [temporal.loop(np.arange(s, min(s + 4 * stride, 20), stride), 4) for s in starts]

    found = [
        list(kept.windows(source, 4, stride, views)),
        list(streamed.windows(source, 4, stride, views)),
        list(VideoReader(0, 0).chosen(source, choose, views)),
        list(kept.chosen(source, choose, views)),
    ]
    for others in found:
        assert len(others) == len(starts)
        for one, other in zip(found[0], others, strict=True):
            assert one.pixels.shape == (views.count, 4, 16, 16, 3)
            assert (one.pixels == other.pixels).all()
            assert (one.frame_numbers == other.frame_numbers).all()
            assert one.start_seconds == pytest.approx(other.start_seconds)
    # Red, green, blue in this order, in all views.
    red, green, blue = found[1][0].pixels[-1].reshape(-1, 3).max(axis=0)
    assert blue > 150 > green > 30 > red


def test_views_show_other_parts(tmp_path):
    source = varied(tmp_path / "v.avi")
    (window, *_) = VideoReader(0, 0).windows(source, 4, 1, Views(3, (16, 16)))
    left, middle, right = window.pixels.mean(axis=(1, 2, 3, 4))
    assert left < 5 < 50 < middle
    assert middle == pytest.approx(right, abs=2)


def test_times_of_windows_are_those_of_the_frames(tmp_path):
    times = np.cumsum(np.linspace(0.05, 0.3, 20))  # of uneven distances
    path = encode(tmp_path / "v.mkv", moving(20), seconds=times - times[0])
    source = Video(str(path), "a")
    times = VideoFile(str(path)).index().seconds
    last = times[-1] + times[-1] / 19
    windows = list(VideoReader(0, 0).windows(source, 8, 1, Views(1, (16, 16))))
    expected = [(times[0], times[8]), (times[8], times[16]), (times[16], last)]
    received = np.array([(window.start_seconds, window.end_seconds) for window in windows])
    assert received == pytest.approx(np.array(expected))
    (window,) = VideoReader(0, 0).chosen(
        source, lambda _: [np.array([2, 5, 7])], Views(1, (16, 16))
    )
    assert (window.start_seconds, window.end_seconds) == pytest.approx((times[2], times[8]))


def test_a_video_of_which_nothing_decodes_is_named(tmp_path):
    path = encode(tmp_path / "v.mp4", moving(10))
    data = bytearray(path.read_bytes())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    source = Video(str(path), "a")
    for attempt in (
        lambda reader: reader.check(source),
        lambda reader: read(reader, source, [3]),
        lambda reader: list(reader.windows(source, 4, 1, Views(1, (16, 16)))),
    ):
        reader = VideoReader(0, 0)
        for _ in range(2):
            with pytest.raises(VideoError, match="no frame of it decodes"):
                attempt(reader)
        assert [problem.status for problem in reader.problems] == ["unreadable"]


def test_frames_are_resampled_to_a_fixed_rate(tmp_path):
    path = encode(tmp_path / "v.mp4", moving(40), rate=20)  # 2 s
    source = Video(str(path), "a")
    whole = read(VideoReader(0, 0), source, range(40))
    for fps, expected in ((10, range(0, 40, 2)), (20, range(40)), (40, np.arange(79) / 2)):
        reader = VideoReader(0, 0, fps=fps)
        assert reader.count(source) == len(expected)
        assert reader.seconds(source) == pytest.approx(np.arange(len(expected)) / fps)
        numbers = range(0, len(expected), 3)
        taken = np.floor(np.array(expected)[list(numbers)] + 0.49).astype(
            int
        )  # at half, the earlier
        assert (read(reader, source, numbers) == whole[taken]).all()
        windows = list(reader.windows(source, 8, 1, Views(1, (32, 32))))
        assert sum(len(set(window.frame_numbers)) for window in windows) == len(expected)
        assert (windows[1].pixels[0] == read(reader, source, range(8, 16))).all()


def test_damaged_times_do_not_ask_for_frames_without_end(tmp_path):
    years = encode(tmp_path / "years.mkv", moving(8), seconds=[*range(7), 4e7])
    slides = encode(tmp_path / "slides.mkv", moving(8), seconds=100 * np.arange(8))
    for video in (Video(str(years), "a"), Video(f"{years}", "a", 0, 5e7)):
        reader = VideoReader(0, 0, fps=25)
        for _ in range(2):
            with pytest.raises(VideoError, match=r"its 8 frames span 40000000 s, so 25 a second"):
                next(reader.windows(video, 4, 1, Views(1, (16, 16))))
        assert [problem.name for problem in reader.problems] == [video.name]
    assert VideoReader(0, 0).count(Video(str(years), "a")) == 8
    assert VideoReader(0, 0, fps=25).count(Video(str(years), "a", 0, 100)) == 151
    assert VideoReader(0, 0, fps=25).count(Video(str(slides), "a")) == 17501


def test_a_segment_of_uneven_times_is_resampled(tmp_path):
    times = np.array([0, 0.1, 0.5, 0.55, 0.6, 1.4, 1.5])
    path = encode(tmp_path / "v.mkv", moving(7), seconds=times)
    reader = VideoReader(0, 0, fps=5)
    whole = read(VideoReader(0, 0), Video(str(path), "a"), range(7))
    source = Video(str(path), "a", 0.05, 1.45)  # instants: 0.1, 0.3, 0.5, …, 1.3
    assert reader.seconds(source) == pytest.approx(0.1 + np.arange(7) / 5)
    frames = read(reader, source, range(7))
    assert [int(np.argmax((whole == frame).all((1, 2, 3)))) for frame in frames] == [
        *(1, 1, 2, 4, 4, 5, 5)
    ]
