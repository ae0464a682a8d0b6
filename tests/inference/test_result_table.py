import datetime

import numpy as np
import predictions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_r3d.data.annotations.listing import printable
from keras_r3d.inference.prediction import result_table
from keras_r3d.inference.prediction.watching import Sighting
from keras_r3d.system import text


def predicted(video="v.mp4", detail="", labels=("one", "two", "three")):
    classes = len(labels)
    scores = np.arange(1, classes + 1) / (classes * (classes + 1) / 2)
    return predictions.make(video, labels, [scores], detail=detail)


def test_the_best_classes_stand_below_each_other():
    for columns in (80, None):
        table = result_table.Table(["v.mp4", "other.mp4"], ["one", "two", "three"], columns)
        assert table.heading() == "video      class  score"
        assert table.rows(predicted(), 2) == [
            "v.mp4      three  0.500",
            "           two    0.333",
        ]


def test_what_is_wrong_is_said_on_one_line_without_the_path_again():
    table = result_table.Table(["a/v.mp4"], ["x"], 80)
    error = predictions.make("a/v.mp4", ["x"], [], detail="a/v.mp4: no\nframe")
    assert table.rows(error, 5) == ["a/v.mp4  error: no\\nframe"]
    short = predicted(detail="v.mp4: 5 frames, repeated to the 16 of a clip.")
    assert table.rows(short, 1)[1].strip() == "5 frames, repeated to the 16 of a clip."


def test_long_names_are_cut_where_it_hurts_least():
    path = "/data/set/some/where/video_17.mp4"
    assert text.shortened_path(path, 40) == path
    assert text.shortened_path(path, 30) == "…/set/some/where/video_17.mp4"
    assert text.shortened_path(path, 16) == "…/video_17.mp4"
    assert text.shortened_path(path, 9) == "vide….mp4"
    assert text.shortened("pushing a trolley", 9) == "push…lley"


@pytest.mark.parametrize(("columns", "whole"), [(80, False), (200, True), (None, True)])
def test_names_are_cut_as_the_terminal_needs_and_not_in_a_pipe(columns, whole):
    video, label = "v" * 70 + ".mp4", "l" * 75
    table = result_table.Table([video], [label], columns)
    (line,) = table.rows(predicted(video, labels=[label]), 1)
    assert (video in line and label in line) == whole
    assert line.endswith("1.000")


@settings(max_examples=30)
@given(st.text(st.characters(codec="utf-8")), st.text(), st.integers(1, 5), st.integers(40, 200))
def test_no_row_is_wider_than_the_terminal(video, label, top, columns):
    table = result_table.Table([video], [label], columns)
    for line in table.rows(predicted(video, labels=[label] * 3), top):
        assert text.width(line) <= columns


@settings(max_examples=30)
@given(st.lists(st.text(), min_size=1), st.floats(0, 0.9999))
def test_no_live_line_is_wider_than_the_terminal_and_in_a_pipe_none_is_cut(labels, latency):
    now, scores = datetime.datetime.now(), np.full(len(labels), 0.5)
    sighting = Sighting(now, 0.0, 1.0, latency, 1, 0, scores, labels)
    line = result_table.sighting_line(sighting, len(labels), 80)
    assert text.width(line) <= 80
    assert "0.500" in line
    line = result_table.sighting_line(sighting, len(labels), None)
    assert all(f"{printable(label)} 0.500" in line for label in labels)


def test_the_last_line_counts():
    assert result_table.total(["ok", "error", "ok"]) == "3 videos: 2 ok, 0 partial, 1 error."
    assert result_table.total(["partial"]) == "1 video: 0 ok, 1 partial, 0 error."
