import os
from pathlib import Path

import numpy as np
import pytest
from conftest import STEP, frame_numbers, read, write_video

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import decoder as videos
from keras_r3d.data.decoding import video_reader as readers
from keras_r3d.data.decoding.reader import Cut
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.sampling import cropping, temporal
from keras_r3d.data.sampling.cropping import Views
from keras_r3d.system.opencv import cv2


def test_frames_are_counted_by_decoding(video):
    info = videos.probe(str(video))
    assert info.frame_count == 20
    assert info.seconds == pytest.approx(np.arange(20) / 10)


def test_read_frames_are_exact(video):
    for indices in ([0], [19], [3, 4, 9], [7, 18, 19]):
        places, frames = zip(*videos.selected(str(video), np.array(indices)), strict=True)
        assert list(places) == list(range(len(indices)))
        assert np.stack(frames).shape == (len(indices), 32, 48, 3)
        assert frame_numbers(np.stack(frames)) == indices
    source = Video(str(video), "a")
    for indices in ([7, 7, 2, 19, 0], [0, 1, 2, 0, 1]):
        assert frame_numbers(read(VideoReader(0, 0), source, indices)) == indices


def test_frames_are_rgb(tmp_path):
    path = write_video(tmp_path / "red.avi", 20, tint=(1, 0, 0))
    frame = read(VideoReader(0, 0), Video(str(path), "a"), [19])[0]
    red, green, blue = frame.reshape(-1, 3).mean(axis=0)
    assert red == pytest.approx(19 * STEP, abs=4)
    assert max(green, blue) < 12


def test_a_segment_is_cut_by_time(video):
    frames = [frame for _, frame in videos.Decoder(str(video)).timed(0.5, 0.9)]
    assert frame_numbers(np.stack(frames)) == [5, 6, 7, 8]


def test_frames_are_shrunk_and_never_enlarged(video):
    for short_side, shape in ((16, (16, 24, 3)), (64, (32, 48, 3))):
        _, frame = next(videos.selected(str(video), np.array([0]), short_side))
        assert frame.shape == shape


@pytest.mark.parametrize("flip", [False, True])
def test_fill_takes_the_rectangle(flip):
    frame = np.zeros((10, 20, 3), np.uint8)
    frame[2:6, 8:16] = 200
    out = np.empty((8, 8, 3), np.uint8)
    videos.fill(out, frame, 2, 8, 4, 8, flip)
    assert (out == 200).all()
    frame[2:6, 8:12] = 100
    videos.fill(out, frame, 2, 8, 4, 8, flip)
    assert (out[2, 0] == (200 if flip else 100)).all()


@pytest.mark.parametrize("side", [112, 125, 160, 180, 214, 223, 303, 360])
def test_fill_is_near_the_average_over_areas(side):
    noise = np.random.default_rng(side).integers(0, 256, (side // 4, side // 4, 3)).astype(np.uint8)
    frame = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    out = np.empty((112, 112, 3), np.uint8)
    videos.fill(out, frame, 0, 0, side, side, False)
    exact = cv2.resize(frame.astype(np.float64), (112, 112), interpolation=cv2.INTER_AREA)
    worst = cv2.resize(frame, (112, 112), interpolation=cv2.INTER_NEAREST)
    error, of_nearest = (np.sqrt(np.mean((one - exact) ** 2)) for one in (out, worst))
    assert error < 4
    assert error < of_nearest / 4 or side == 112


def moving(path, frames, still=range(0)):
    """Writes a video in which a square wanders; in the frames of `still` it stands."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for number in range(frames):
        frame = np.full((48, 64, 3), 30, np.uint8)
        place = still[0] if number in still else number
        frame[place % 40 : place % 40 + 8, 3 * place % 56 : 3 * place % 56 + 8] = 50 + place
        writer.write(frame)
    writer.release()
    return str(path)


def test_a_sought_frame_is_that_of_decoding_in_order(tmp_path):
    path = moving(tmp_path / "v.mp4", 150)
    known = videos.probe(path).landmarks
    assert known.numbers.tolist() == list(range(0, 150, videos.LANDMARK_EVERY))
    whole = [frame for _, frame in videos.selected(path, np.arange(150))]
    for first in range(150):
        ((_, frame),) = videos.selected(path, np.array([first]), 0, known)
        assert (frame == whole[first]).all()
    assert known.trusted
    decoder = videos.Decoder(path)
    assert decoder.seek(*known.before(149))
    assert decoder.count == known.numbers[-1] + 2
    assert decoder.seconds == pytest.approx((decoder.count - 1) / 25)
    with pytest.raises(videos.VideoError, match="frame 150 was asked for, but only 150 decode"):
        list(videos.selected(path, np.array([149, 150]), 0, known))


def test_a_seek_that_misses_is_noticed_and_not_tried_again(tmp_path, monkeypatch):
    path = moving(tmp_path / "v.mp4", 150)
    reader, source = VideoReader(0, 0), Video(path, "a")
    exact = read(reader, source, [100, 120])
    sought = []
    seek = videos.Decoder.seek

    def beside(self, number, checksums):
        sought.append(number)
        return seek(self, number + 1, checksums)

    monkeypatch.setattr(videos.Decoder, "seek", beside)
    assert (read(reader, source, [100, 120]) == exact).all()
    assert (read(reader, source, [100, 120]) == exact).all()
    assert sought == [96]


def test_where_nothing_moves_no_frame_is_sought(tmp_path):
    still = range(40, 120)
    known = videos.probe(moving(tmp_path / "v.avi", 150, still)).landmarks
    assert not set(known.numbers.tolist()) & set(range(48, 112))


def test_a_landmark_ends_before_the_frame():
    known = videos.Landmarks.of_frames({0: 1, 1: 2, 48: 3, 49: 4, 64: 5, 65: 5, 80: 6})
    assert known.numbers.tolist() == [0, 48]  # 64 and 65 are alike, 81 is missing
    assert known.before(49) is None
    assert known.before(50) == (48, (3, 4))
    assert known.before(200) == (48, (3, 4))
    known.trusted = False
    assert known.before(200) is None


def test_a_truncated_video_gives_what_decodes(tmp_path, video):
    short = tmp_path / "short.avi"
    data = video.read_bytes()
    short.write_bytes(data[: (data.index(b"movi") + data.index(b"idx1")) // 2])
    info = videos.probe(str(short))
    assert 0 < info.frame_count < 20
    reader = VideoReader(0, 1.0)
    assert reader.count(Video(str(short), "a")) == info.frame_count
    (problem,) = reader.problems
    assert problem.status == "short"
    assert f"promises 20 frames, {info.frame_count} decode" in problem.detail


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (b"RIFF....WAVEfmt not a video", "OpenCV cannot open it as a video"),
        (b"<html>", "OpenCV cannot open it as a video"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, content, message):
    path = tmp_path / "broken.mp4"
    if content is not None:
        path.write_bytes(content)
    for attempt in (
        lambda: videos.probe(str(path)),
        lambda: next(videos.Decoder(str(path)).timed()),
        lambda: next(videos.selected(str(path), np.array([0]))),
    ):
        with pytest.raises(videos.VideoError, match=message) as error:
            attempt()
        assert str(path) in str(error.value)


def test_a_video_without_frames_is_named(tmp_path, video):
    headers = tmp_path / "headers.avi"
    data = video.read_bytes()
    headers.write_bytes(data[: data.index(b"movi") + 4])
    with pytest.raises(videos.VideoError, match=r"no frame of it decodes|cannot open"):
        videos.probe(str(headers))


def test_a_folder_is_no_video(tmp_path):
    with pytest.raises(videos.VideoError, match="there is no such file"):
        videos.probe(str(tmp_path))


def test_reading_beyond_the_end_says_how_many_there_are(video):
    with pytest.raises(videos.VideoError, match="frame 20 was asked for, but only 20 decode"):
        list(videos.selected(str(video), np.array([3, 20])))


@pytest.mark.parametrize("cache_gib", [0.0, 1.0])
def test_reader_gives_the_same_frames_from_memory_and_from_the_file(video, cache_gib):
    reader = VideoReader(16, cache_gib)
    part = Video(str(video), "a", 0.5, 1.5)
    assert reader.count(part) == 10
    assert frame_numbers(read(reader, part, [0, 9, 3, 9])) == [5, 14, 8, 14]
    windows = [window.pixels[0] for window in reader.windows(part, 4, 1, Views(1), 16)]
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
    selected = videos.selected
    monkeypatch.setattr(videos, "selected", lambda *a: passes.append(a) or selected(*a))
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
    monkeypatch.setattr(videos, "selected", None)
    monkeypatch.setattr(readers, "Decoder", None)
    assert frame_numbers(read(reader, source, [4])) == [4]
    assert len(list(reader.windows(source, 1, 1, Views(1), 16))) == 20


def test_reader_keeps_within_its_memory(tmp_path):
    frame_bytes = 32 * 48 * 3
    reader = VideoReader(0, 25 * frame_bytes / 2**30)
    first, second = (Video(str(write_video(tmp_path / f"{i}.avi", 20)), "a") for i in range(2))
    for source in (first, second):
        assert frame_numbers(read(reader, source, [1])) == [1]
    assert reader._passes[first].frames is not None
    assert reader._passes[second].frames is None


def test_reader_names_an_empty_segment(video):
    reader = VideoReader(0, 0)
    for attempt in (reader.count, reader.check):
        with pytest.raises(videos.VideoError, match=r"no frame is shown .*1\.9 s"):
            attempt(Video(str(video), "a", 5.0, 6.0))
    assert [p.status for p in reader.problems] == ["unreadable"]


def test_a_broken_video_is_looked_at_once_and_its_error_does_not_grow(tmp_path):
    reader = VideoReader(0, 0)
    broken = Video(str(tmp_path / "broken.mp4"), "a")
    errors = []
    for _ in range(50):
        with pytest.raises(videos.VideoError) as error:
            reader.count(broken)
        errors.append(error)
    assert len(errors[-1].traceback) == len(errors[1].traceback)


def test_a_name_that_is_not_utf8_is_an_error(tmp_path, video):
    path = os.fsencode(tmp_path) + b"/\xff.avi"
    with open(path, "wb") as file:
        file.write(video.read_bytes())
    with pytest.raises(videos.VideoError, match="the file name is not UTF-8: rename the file"):
        videos.probe(os.fsdecode(path))


def test_a_colon_in_a_relative_path_is_no_protocol(tmp_path, video, monkeypatch):
    (tmp_path / "10:30").mkdir()
    (tmp_path / "10:30" / "1.avi").write_bytes(video.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert videos.probe("10:30/1.avi").frame_count == 20


def test_streaming_names_a_video_that_ends_early(tmp_path, video):
    short = tmp_path / "short.avi"
    data = video.read_bytes()
    short.write_bytes(data[: (data.index(b"movi") + data.index(b"idx1")) // 2])
    reader = VideoReader(0, 0)
    source = Video(str(short), "a")
    frames = sum(1 for _ in reader.windows(source, 1, 1, Views(1), 16))
    assert 0 < frames < 20
    assert [problem.status for problem in reader.problems] == ["short"]


def test_a_video_that_vanishes_is_noted(tmp_path, video):
    reader = VideoReader(0, 0)
    source = Video(str(video), "a")
    assert reader.count(source) == 20
    video.unlink()
    with pytest.raises(videos.VideoError, match="there is no such file"):
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


@pytest.mark.parametrize("views", [*map(Views, (1, 3, 10)), Views(2, whole=True)], ids=str)
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
        list(kept.windows(source, 4, stride, views, 16)),
        list(streamed.windows(source, 4, stride, views, 16)),
        list(VideoReader(0, 0).chosen(source, choose, views, 16)),
        list(kept.chosen(source, choose, views, 16)),
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
    (window, *_) = VideoReader(0, 0).windows(source, 4, 1, Views(3), 16)
    left, middle, right = window.pixels.mean(axis=(1, 2, 3, 4))
    assert left < 5 < 50 < middle
    assert middle == pytest.approx(right, abs=2)


def test_a_video_too_large_to_hold_is_decoded_twice(video, monkeypatch):
    source = Video(str(video), "a")
    monkeypatch.setattr(readers, "_HELD", 5 * 32 * 48 * 3)
    choose = lambda count: [np.arange(count - 4, count)]  # noqa: E731
    (window,) = VideoReader(0, 0).chosen(source, choose, Views(1), 16)
    assert frame_numbers(window.pixels[0]) == [16, 17, 18, 19]
    assert (window.start_seconds, window.end_seconds) == pytest.approx((1.6, 2.0))


def test_times_of_windows_are_those_of_the_frames(tmp_path, monkeypatch):
    source = varied(tmp_path / "v.avi")
    times = np.cumsum(np.linspace(0.05, 0.3, 20))  # of uneven distances

    def shown(decoder, *_):
        for number, _ in enumerate(decoder):
            yield times[number]

    monkeypatch.setattr(videos.Decoder, "shown", shown)
    last = times[-1] + (times[-1] - times[0]) / 19
    found = list(VideoReader(0, 0).windows(source, 8, 1, Views(1), 16))
    expected = [(times[0], times[8]), (times[8], times[16]), (times[16], last)]
    times_found = np.array([(w.start_seconds, w.end_seconds) for w in found])
    assert times_found == pytest.approx(np.array(expected))
    (one,) = VideoReader(0, 0).chosen(source, lambda _: [np.array([2, 5, 7])], Views(1), 16)
    assert (one.start_seconds, one.end_seconds) == pytest.approx((times[2], times[8]))


def test_a_frame_that_cannot_be_converted_ends_a_video_there(video, monkeypatch):
    frame = videos.Decoder.frame

    def failing(decoder):
        if decoder.count == 11:
            raise videos.VideoError(f"{decoder.path}: the frame at 1 s cannot be converted.")
        return frame(decoder)

    monkeypatch.setattr(videos.Decoder, "frame", failing)
    reader = VideoReader(0, 0)
    source = Video(str(video), "a")
    found = [frame_numbers(w.pixels[0]) for w in reader.windows(source, 4, 1, Views(1), 16)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 8, 9]]
    problem = reader.problem(source)
    assert problem.status == "short"
    assert "The 10 frames before it are used" in problem.detail
