import csv
import dataclasses
import json
import re
import warnings

import cv2
import evaluations
import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_r3d.inference.evaluation import metrics
from keras_r3d.pictures import confusion, fonts, reliability
from keras_r3d.system.errors import R3DError

TEN = [f"class {number}" for number in range(10)]


def by_labels(classes, labels, predicted, windows=1, **other):
    """Makes an evaluation of videos whose windows are alike: 0.9 for the predicted class."""
    rest = 0.1 / max(1, len(classes) - 1)
    rows = [np.where(np.arange(len(classes)) == one, 0.9, rest)[None] for one in predicted]
    rows = [np.repeat(one, windows, axis=0) for one in rows]
    for number in other.get("errors", {}):
        rows[number] = rows[number][:0]
    return evaluations.make(classes, labels, rows, **other)


def row(text: str, title: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(title))


def test_the_table_has_clips_and_videos_with_intervals():
    evaluation = by_labels(TEN, [0] * 20, [0] * 15 + [1] * 5, windows=2)
    text = str(evaluation)
    assert text.splitlines()[0].split() == ["clip", "accuracy", "video", "accuracy"]
    # Wilson's of 15 of 20; also of clips, as both of a video are alike.
    assert row(text, "top-1 ").count("75.0% (53.1-88.8%)") == 2
    assert row(text, "top-5 ")
    assert row(text, "mean of top-1, top-5 ")
    assert "100.0% (class 0)" in row(text, "largest class")
    assert row(text, "chance").endswith(" 10.0%")
    assert "40 windows" in row(text, "scored")
    assert "20 of 20 videos" in row(text, "scored")
    assert "They are not to be compared" in text.replace("\n", " ")
    assert "without errors" not in text
    assert "partial" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_where_every_video_has_one_window_there_is_one_column():
    text = str(by_labels(TEN, list(range(10)) * 2, list(range(10)) * 2))
    assert "clip" not in text.lower()
    assert text.splitlines()[0].split() == ["video", "accuracy"]
    assert re.fullmatch(r"top-1 +100\.0% \(83\.9-100\.0%\)", row(text, "top-1 "))
    assert re.fullmatch(r"mean of classes +100\.0% \(.*\)", row(text, "mean of classes"))
    assert re.fullmatch(r"scored +20 of 20 videos", row(text, "scored"))
    assert "Warning" not in text


def test_the_table_warns_of_what_a_simple_guess_reaches():
    evaluation = by_labels(TEN, [0] * 20, [0] * 15 + [1] * 5)
    text = str(evaluation)
    assert "always naming 'class 0' would be right in 100.0%" in evaluation.floor()
    assert evaluation.floor() in text.replace("\n", " ")
    assert max(map(len, text.splitlines())) <= 80


def test_the_table_names_errors_and_partial_videos():
    errors = {0: "/videos/0.avi: it cannot be opened", **dict.fromkeys(range(1, 25), "gone")}
    evaluation = by_labels(TEN, [0] * 30, [0] * 30, errors=errors, partial={29: "121 of 300"})
    text = str(evaluation)
    assert "16.7% (" in row(text, "top-1 ")
    assert "100.0% (56.6-100.0%)" in row(text, "top-1 without errors")
    assert "5 of 30 videos" in row(text, "scored")
    assert "25, counted as wrong" in row(text, "errors")
    assert "\n  /videos/0.avi: it cannot be opened\n  /videos/1.avi: gone\n" in text
    assert "/videos/19.avi: gone\n  … and 5 more" in text
    assert "1, scored as far as they decode" in row(text, "partial")
    assert text.endswith("Scored in part:\n  /videos/29.avi: 121 of 300")


@pytest.mark.parametrize(("classes", "there"), [(2, False), (5, False), (6, True)])
@pytest.mark.parametrize("errors", [{}, {1: "gone"}])
def test_few_classes_have_no_top_5_and_no_mean(classes, there, errors):
    """Of five classes the right one is always among the best five."""
    text = str(by_labels(TEN[:classes], [0, 1], [0, 0], errors=errors))
    assert ("top-5" in text) == there
    assert ("mean of top-1" in text) == there
    assert text.count("\ntop-1") == 1 + len(errors)


def test_the_table_without_any_score():
    text = str(by_labels(TEN, [0], [0], errors={0: "gone"}))
    assert re.fullmatch(r"top-1 +0\.0% \(0\.0-79\.3%\)", row(text, "top-1 "))
    assert "0 of 1 videos" in text


def written(evaluation, folder):
    evaluation.save(folder)
    return json.loads((folder / "evaluation.json").read_text())


def test_the_json_has_figures_and_records_and_what_else_is_said(tmp_path):
    more = {"split": "test", "described": {"protocol": "paper"}}
    evaluation = by_labels(TEN, [0, 1], [0, 0], errors={1: "gone"}, **more)
    values = written(evaluation, tmp_path / "out")
    assert list(values)[:2] == ["split", "protocol"]
    assert values["split"] == "test"
    assert values["video_top1"] == 0.5
    assert values["warning"] == evaluation.floor() != ""
    assert values["classes"] == TEN
    assert [one["status"] for one in values["records"]] == ["ok", "error"]


def test_the_json_has_no_warning_where_there_is_none(tmp_path):
    evaluation = by_labels(TEN, list(range(10)), list(range(10)))
    assert written(evaluation, tmp_path / "out")["warning"] is None


def test_an_evaluation_of_no_run_needs_a_new_folder(tmp_path):
    evaluation = by_labels(TEN, [0], [0])
    with pytest.raises(R3DError, match="`folder` is missing: this model is of no run"):
        evaluation.save()
    with pytest.raises(R3DError, match="exists"):
        evaluation.save(tmp_path)


def test_the_classes_csv(tmp_path):
    classes = ["a, b", "c", "never"]
    by_labels(classes, [0, 0, 0, 1, 0], [0, 0, 1, 1, 0], errors={4: "gone"}).save(tmp_path / "out")
    with (tmp_path / "out" / "per_class.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["class", "videos", "precision", "recall", "f1", "most_confused_with"],
        ["a, b", "4", "1.0000", "0.5000", "0.6667", "c"],
        ["c", "1", "0.5000", "1.0000", "0.6667", ""],
        ["never", "0", "", "", "", ""],
    ]


def texts(figure) -> list[str]:
    found = []
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        found += [axes.get_title(), axes.get_title(loc="left")]
    return found


def test_sixty_classes_are_all_named_and_of_four_hundred_the_confusions():
    names = [f"class {number}" for number in range(400)]
    shown = texts(confusion.figure(np.eye(60, dtype=int), names[:60], "videos"))
    assert set(names[:60]) <= set(shown)
    assert "60 of 60 videos right" in shown
    matrix = 3 * np.eye(400, dtype=int)
    matrix[7, 301], matrix[300, 2] = 2, 5
    shown = texts(confusion.figure(matrix, names, "videos"))
    assert "class 4" in shown
    assert "class 5" not in shown
    assert "5 ×  class 300 → class 2\n2 ×  class 7 → class 301" in shown


def test_pictures_of_long_and_foreign_names_are_drawn_in_silence(tmp_path):
    classes = ["x" * 200, "$a_b", "跑步", "दौड़ना", "line\x07"]
    evaluation = by_labels(classes, [0, 1, 2, 3], [0, 1, 2, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation.save(tmp_path / "out")
    height, width = cv2.imread(str(tmp_path / "out" / "confusion.png")).shape[:2]
    assert max(height, width) < 1000
    assert cv2.imread(str(tmp_path / "out" / "reliability.png")) is not None


def test_without_any_score_pictures_say_so(tmp_path):
    evaluation = by_labels(TEN, [0], [0], errors={0: "gone"})
    matrix = confusion.figure(evaluation.confusion(), TEN, "scored videos")
    assert "0 of 0 scored videos right" in texts(matrix)
    assert not matrix.axes[0].texts
    found = dataclasses.astuple(evaluation.calibration())
    diagram = reliability.figure(*found, "scored videos")
    assert "0 scored videos: none has a score" in texts(diagram)
    assert not any(patch.get_height() for patch in diagram.axes[1].patches)
    assert {"confusion.png", "reliability.png"} <= set(evaluation.save(tmp_path / "out"))


def test_letters_that_the_usual_font_lacks_are_taken_from_another(monkeypatch):
    """Of installed fonts, in order; DejaVu Serif stands for one of another script."""
    monkeypatch.setattr(fonts, "_FAMILIES", ("No Such Font", "DejaVu Serif", "DejaVu Sans Mono"))
    fonts._installed.cache_clear()
    with fonts.look():
        figure = Figure()
        text = figure.text(0, 0, "run")
    fonts._installed.cache_clear()
    assert text.get_fontfamily()[-2:] == ["DejaVu Serif", "DejaVu Sans Mono"]
    assert Figure().text(0, 0, "run").get_fontfamily() != text.get_fontfamily()


def test_the_reliability_diagram_shows_the_bins():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    found = metrics.calibration(scores, np.array([0, 1, 1]))
    figure = reliability.figure(*dataclasses.astuple(found), "videos")
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    assert bars[13] == 0.5  # of 2 with confidence 0.9, 1 is right
    assert sum(bars) == 0.5
    shown = texts(figure)
    assert {"2", "1"} <= set(shown)
    assert f"3 videos: expected calibration error (ECE) {found.error:.3f}" in shown
