import datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d.inference import lines
from keras_r3d.inference.prediction import Prediction


def predicted(video="v.mp4", status="ok", detail="", labels=("one", "two", "three")):
    classes = len(labels)
    scores = np.arange(1, classes + 1) / (classes * (classes + 1) / 2)
    return Prediction(
        *(video, status, detail, labels, scores),
        np.array([scores], np.float32),
        np.array([[0.0, 1.0]]),
    )


def test_the_best_classes_stand_below_each_other():
    assert lines.of_prediction(predicted(), 2) == [
        f"{'v.mp4':36}  {'three':35}  0.500",
        f"{'':36}  {'two':35}  0.333",
    ]
    assert len(lines.heading()) == 80


def test_what_is_wrong_is_said_on_one_line_without_the_path_again():
    error = Prediction(
        *("a/v.mp4", "error", "a/v.mp4: no\nframe", ["x"]),
        *(np.array([np.nan]), np.empty((0, 1), np.float32), np.empty((0, 2))),
    )
    assert lines.of_prediction(error, 5) == [f"{'a/v.mp4':36}  error: no\\nframe"]
    short = predicted(detail="v.mp4: 5 frames, repeated to the 16 of a clip.")
    assert lines.of_prediction(short, 1)[1].strip() == "5 frames, repeated to the 16 of a clip."


def test_long_names_are_cut_where_it_hurts_least():
    path = "/data/set/some/where/video_17.mp4"
    assert lines.shortened_path(path, 40) == path
    assert lines.shortened_path(path, 30) == "…/set/some/where/video_17.mp4"
    assert lines.shortened_path(path, 16) == "…/video_17.mp4"
    assert lines.shortened_path(path, 9) == "vide….mp4"
    assert lines.shortened("pushing a trolley", 9) == "push…lley"


@given(st.text(st.characters(codec="utf-8")), st.text(), st.integers(1, 5))
def test_no_row_is_wider_than_80_columns(video, label, top):
    for line in lines.of_prediction(predicted(video, labels=[label] * 3), top):
        assert lines._width(line) <= 80


@given(st.lists(st.text(), min_size=1), st.floats(0, 0.9999))
def test_no_live_line_is_wider_than_80_columns(labels, latency):
    top = [{"label": label, "score": 0.5} for label in labels]
    line = lines.of_record({"latency_seconds": latency, "top": top}, datetime.datetime.now())
    assert lines._width(line) <= 80
    assert "0.500" in line


def test_the_last_line_counts():
    assert lines.total(["ok", "error", "ok"]) == "3 videos: 2 ok, 0 partial, 1 error."
    assert lines.total(["partial"]) == "1 video: 0 ok, 1 partial, 0 error."
