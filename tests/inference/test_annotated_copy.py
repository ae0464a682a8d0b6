from pathlib import Path

import cv2
import numpy as np
import predictions
import pytest
from conftest import write_video
from hypothesis import given
from hypothesis import strategies as st
from odd_videos import write_jpegs, write_rotated

from keras_r3d.data.decoding.frame_folder import timed_frames
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.inference.prediction import annotated_copy
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.system.errors import VideoError, WriteError

FRAME = np.zeros((2, 2, 3), np.uint8)


def predicted(path: Path, seconds: list[list[float]], scores: list[list[float]]) -> Prediction:
    return predictions.make(path, ["first", "second"], scores, seconds=seconds)


def frames(path: Path) -> list[np.ndarray]:
    """Decodes a video, RGB."""
    return [frame for _, frame in timed_frames(str(path))]


def times(seconds: list[float], rate: float) -> list[float]:
    return [t for t, _ in annotated_copy.at_constant_rate(((t, FRAME) for t in seconds), rate)]


@given(st.floats(1, 120), st.integers(1, 300), st.floats(0, 5))
def test_a_constant_rate_is_kept_frame_by_frame_however_times_are_rounded(rate, count, start):
    seconds = [start + round(number / rate, 3) for number in range(count)]
    assert times(seconds, rate) == seconds


@given(st.lists(st.floats(0.005, 2.0), min_size=2, max_size=50), st.floats(5, 60))
def test_a_variable_rate_lasts_as_long(intervals, rate):
    seconds = np.concatenate([[0], np.cumsum(intervals)]).tolist()
    lasts = seconds[-1] + float(np.mean(intervals))
    written = times(seconds, rate)
    assert len(written) / rate == pytest.approx(lasts, abs=1.5 / rate)
    assert written == sorted(written)
    for place, shown in enumerate(written[:-1]):
        middle = (place + 0.5) / rate
        assert shown <= middle + 1e-6
        assert not [t for t in seconds if shown < t < middle - 1e-6]


def test_a_broken_time_stamp_does_not_fill_the_disk():
    assert len(times([0.0, 0.1, 1e9], 10)) < 2 * 600 + 10


@pytest.mark.parametrize(
    ("windows", "moment", "number"),
    [
        ([[0, 1], [1, 2], [2, 3]], 1.2, 1),
        ([[0, 1], [1, 2], [2, 3]], 9.0, 2),
        ([[0, 1], [4, 5]], 1.5, 0),
        ([[0, 0.2], [0.2, 2]], 0.2, 1),
        ([[0, 4], [1, 5], [2, 6]], 3.1, 1),
        ([[0, 4], [1, 5], [2, 6]], 0.0, 0),
    ],
)
def test_the_window_of_a_moment(windows, moment, number):
    assert annotated_copy.window_at(np.array(windows, float), moment) == number


@pytest.mark.parametrize(("height", "width"), [(240, 320), (720, 1280), (1920, 1080), (320, 320)])
def test_a_label_of_any_length_keeps_off_its_score(height, width):
    long = annotated_copy.caption("riding a unicycle while juggling " * 9, 0.5, height, width)
    short = annotated_copy.caption("", 0.5, height, width)
    assert long.shape == short.shape
    assert long.shape[1] == width
    score = np.flatnonzero(short.any(axis=(0, 2)))
    assert (long[:, score.min() - 4 :] == short[:, score.min() - 4 :]).all()
    assert (long[:, : score.min()].max(axis=(0, 2)) > 200).sum() > 20


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_copy_has_the_video_s_colors_and_the_label_of_the_moment(tmp_path, suffix):
    video = write_video(tmp_path / "v.avi", 20, 240, 322, tint=(1, 0.5, 0), base=130)
    of = predicted(video, [[0, 1], [1, 2]], [[0.9, 0.1], [0.2, 0.8]])
    of.save(tmp_path / f"copy{suffix}")
    copy = frames(tmp_path / f"copy{suffix}")
    assert len(copy) == 20
    assert copy[0].shape == (240, 322, 3)
    assert VideoFile(str(tmp_path / f"copy{suffix}")).rate == pytest.approx(10)
    assert copy[3][:200].mean(axis=(0, 1)) == pytest.approx([148, 74, 0], abs=8)
    below = [frame[-22:].astype(int) for frame in copy]
    assert below[0].max() > 200  # the letters
    assert np.percentile(below[0], 10) < 60
    assert np.abs(below[9] - below[2]).mean() < 12
    assert np.abs(below[10] - below[9]).max() > 100
    wide = annotated_copy.caption("second", 0.8, 240, 322)
    assert np.abs(below[12].max(axis=2) - np.maximum(wide.max(axis=2), 50)).mean() < 12


def test_a_tiny_video_is_enlarged_so_that_its_label_can_be_read(tmp_path):
    video = write_video(tmp_path / "v.avi", 3, 6, 10, base=90)
    predicted(video, [[0, 1]], [[0.9, 0.1]]).save(tmp_path / "c.mp4", timeout=10)
    assert frames(tmp_path / "c.mp4")[0].shape == (192, 320, 3)


def test_a_video_that_breaks_in_the_middle_ends_there(tmp_path):
    video = write_video(tmp_path / "v.avi", 40, 240, 320)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    predicted(video, [[0, 1]], [[0.9, 0.1]]).save(tmp_path / "c.mp4", timeout=10)
    assert 10 <= len(frames(tmp_path / "c.mp4")) < 30


def test_a_decoder_that_hangs_is_given_up(tmp_path, monkeypatch):
    import threading

    video = write_video(tmp_path / "v.avi", 20, 240, 320)
    forever = threading.Event()
    decoded = VideoFile.frames

    def hanging(self, *arguments):
        for number, item in enumerate(decoded(self, *arguments)):
            if number == 12:
                forever.wait()
            yield item

    monkeypatch.setattr(VideoFile, "frames", hanging)
    predicted(video, [[0, 1]], [[0.9, 0.1]]).save(tmp_path / "c.mp4", timeout=0.3)
    forever.set()
    monkeypatch.undo()
    assert len(frames(tmp_path / "c.mp4")) == 12


def test_what_is_no_video_leaves_no_copy(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match="cannot be opened"):
        predicted(tmp_path / "v.mp4", [[0, 1]], [[1, 0]]).save(tmp_path / "c.mp4", timeout=9)
    assert not list(tmp_path.glob("*c.mp4"))


def test_an_encoder_that_fails_is_an_error(tmp_path, monkeypatch):
    video = write_video(tmp_path / "v.avi", 5)
    monkeypatch.setattr(cv2.VideoWriter, "write", lambda *_: None)
    with pytest.raises(WriteError, match=r"c\.mp4: 0 of \d+ frames arrived"):
        predicted(video, [[0, 1]], [[1, 0]]).save(tmp_path / "c.mp4", timeout=9)
    assert not list(tmp_path.glob("*c.mp4"))


def test_a_turned_video_is_upright(tmp_path):
    video = write_rotated(tmp_path / "v.mp4")
    predicted(video, [[0, 1.2]], [[0.9, 0.1]]).save(tmp_path / "c.mp4", timeout=10)
    copy = frames(tmp_path / "c.mp4")
    assert copy[0].shape == (480, 320, 3)  # of 96x64, enlarged
    copy = np.stack(copy).astype(int)
    assert copy[5][100, 160] == pytest.approx([200, 0, 0], abs=25)
    assert copy[5][350, 160] == pytest.approx([0, 0, 200], abs=25)


@pytest.mark.parametrize("later", [(48, 64), (96, 80, 3), (31, 33, 3)])
def test_other_sizes_and_one_channel_are_written_as_they_are_read(tmp_path, later):
    images = [np.full((48, 64, 3), 100, np.uint8)] * 5 + [np.full(later, 100, np.uint8)] * 5
    video = write_jpegs(tmp_path / "v.mjpeg", images)
    predicted(video, [[0, 0.4]], [[0.9, 0.1]]).save(tmp_path / "c.mp4", timeout=10)
    copy = frames(tmp_path / "c.mp4")
    assert [frame.shape for frame in copy] == [(240, 320, 3)] * 10
    assert copy[9][60, 60] == pytest.approx([100, 100, 100], abs=8)
