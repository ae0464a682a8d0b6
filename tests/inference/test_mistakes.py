import evaluations
import numpy as np
import pytest
from conftest import frame_numbers, write_video

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.inference.evaluation import mistakes

CLASSES = ["green", "red"]


def wrong(*scores: float, paths=None, reader=None):
    """Makes green videos that are taken for red ones, with these scores."""
    rows = [[[1 - score, score]] for score in scores]
    return evaluations.make(CLASSES, [0] * len(scores), rows, paths=paths, reader=reader)


def draw(evaluation):
    return mistakes.read(evaluation).figure()


def titles(figure) -> list[str]:
    return [title for axes in figure.axes if (title := axes.get_title())]


def test_the_surest_mistakes_come_first():
    evaluation = wrong(0.6, 0.9, 0.2, 0.7, 0.9)
    found = mistakes.surest(evaluation)
    assert [video for video, _, _ in found] == [1, 4, 3, 0]
    assert found[0] == (1, 1, pytest.approx(0.9))


def test_the_sheet_shows_twenty_in_their_own_colors(tmp_path):
    path = write_video(tmp_path / "orange.avi", 30, tint=(1, 0.5, 0), base=60)
    scores = np.linspace(0.6, 0.95, 25)
    figure = draw(wrong(*scores, paths=[path] * 25, reader=VideoReader(0, 0)))
    shown = titles(figure)
    assert len(shown) == 20
    assert "green → red (0.95) · orange.avi" in shown
    strip = figure.axes[0].images[0].get_array()
    red, green, blue = strip[64, 64].tolist()
    assert red > green + 20 > blue + 40
    assert figure.get_suptitle() == "Wrong videos, the surest mistake first: 20 of 25"


def test_the_frames_are_spread_over_the_video(tmp_path):
    path = write_video(tmp_path / "v.avi", 24)
    (mistake,) = mistakes.read(wrong(0.9, paths=[path], reader=VideoReader(0, 0))).shown
    assert mistake.frames.shape == (24, 128, 192, 3)  # of 32 rows and 48 columns, none cut away
    assert frame_numbers(mistake.frames) == list(range(24))
    strip = np.split(mistakes._strip(mistake.frames, of_flow=False), 6, axis=1)
    assert frame_numbers(np.stack([frame[:, :192] for frame in strip])) == [2, 6, 10, 14, 18, 22]


def test_a_segment_is_named_with_its_seconds(tmp_path):
    path = write_video(tmp_path / "v.avi", 30)
    segment = Video(str(path), "green", 1, 2)
    figure = draw(wrong(0.9, paths=[segment], reader=VideoReader(0, 0)))
    assert titles(figure) == ["green → red (0.90) · v.avi [1-2 s]"]


def test_a_video_that_is_gone_is_skipped_and_said(tmp_path):
    there = write_video(tmp_path / "there.avi", 10)
    paths, reader = [tmp_path / "gone.avi", there], VideoReader(0, 0)
    figure = draw(wrong(0.9, 0.8, paths=paths, reader=reader))
    assert figure.get_suptitle().endswith("1 of 2; 1 could not be read again")
    assert titles(figure) == ["green → red (0.80) · there.avi"]
    nothing = draw(wrong(0.9, paths=paths[:1], reader=reader))
    assert nothing.get_suptitle().endswith("0 of 1; 1 could not be read again")
    assert titles(nothing) == []


def test_what_can_be_had_of_a_video_is_shown(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.avi", 24, base=50)
    decoded = VideoFile.frames

    def breaking(*arguments):  # the second half cannot be read again
        return (item for item in decoded(*arguments) if item[0] < 12)

    monkeypatch.setattr(VideoFile, "frames", breaking)
    (mistake,) = mistakes.read(wrong(0.9, paths=[path], reader=VideoReader(0, 0))).shown
    assert [number - 50 // 6 for number in frame_numbers(mistake.frames)] == [
        *range(12),
        *[11] * 12,
    ]


def test_without_mistakes_there_is_no_picture(tmp_path):
    evaluation = wrong(0.1, 0.2, reader=VideoReader(0, 0))
    assert mistakes.read(evaluation) is None
    assert "mistakes.png" not in evaluation.save(tmp_path / "out")
