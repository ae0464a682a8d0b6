"""Segments found in real files, by a network whose scores can be worked out by hand."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from commands import run
from html_pages import Page
from video_files import encode

from keras_r3d import VideoClassifier, evaluate, predict, recipe
from keras_r3d.applications.embedding import NONE
from keras_r3d.applications.metadata import Metadata, attach
from keras_r3d.data import Clips, Consecutive, Uniform, Whole
from keras_r3d.inference.prediction.watching import Sighting
from keras_r3d.inference.segments import live
from keras_r3d.inference.segments.finding import SegmentRule
from keras_r3d.recipe.tables import as_dict
from keras_r3d.system.errors import ArgumentError, DataError

CLASSES = ("background", "blue", "red")
COLORS = {"background": (128, 128, 128), "blue": (20, 20, 230), "red": (230, 20, 20)}
SPREAD = Clips(frames=4, size=16, crop=Whole(), sampling=Uniform())
IN_ROW = Clips(frames=4, size=16, crop=Whole(), sampling=Consecutive())
# Seconds of each class: "red" from 2 to 4 and from 8 to 9.5, "blue" from 5 to 7.
PARTS = (("background", 2), ("red", 2), ("background", 1), ("blue", 2), ("background", 1))
PARTS += (("red", 1.5), ("background", 2.5))
RULE = SegmentRule(window_seconds=0.8, threshold=0.6)


def model(clips: Clips, classes=CLASSES, silent=None) -> keras.Model:
    """Names the color of clips."""
    inputs = keras.Input((4, 16, 16, 3))
    scored = dataclasses.replace(recipe.load("few").eval, silent=silent, views=1)
    tables = {"clips": as_dict(clips)} | ({"eval": as_dict(scored)} if silent else {})
    about = Metadata(classes, (0.0,) * 3, (1.0,) * 3, recipe=tables)
    means = keras.layers.GlobalAveragePooling3D()(attach(inputs, about))
    dense = keras.layers.Dense(3, activation="softmax", name="predictions")
    network = keras.Model(inputs, dense(means), name="colors")
    kernel = np.array([[0, -0.05, 0.05], [0, 0, 0], [0, 0.05, -0.05]])
    dense.set_weights([kernel, np.array([3.0, 0, 0])])
    return network


def write(path, parts=PARTS, rate=20):
    frames = [
        np.full((32, 48, 3), COLORS[name], np.uint8)
        for name, seconds in parts
        for _ in range(round(seconds * rate))
    ]
    return encode(path, frames, rate=rate)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two long videos, the second with the parts of the first in the opposite order, and a list."""
    root = tmp_path_factory.mktemp("long")
    lines = ["path,label,split,start_seconds,end_seconds"]
    for name, split, parts in (("a", "train", PARTS), ("b", "test", PARTS[::-1])):
        write(root / f"{name}.mp4", parts)
        start = 0.0
        for label, seconds in parts:
            if label != "background" or split == "train":
                lines.append(f"{name}.mp4,{label},{split},{start},{start + seconds}")
            start += seconds
    (root / "list.csv").write_text("\n".join(lines) + "\n")
    return root


def rounded(segments):
    return [(s.label, s.start_seconds, s.end_seconds) for s in segments]


@pytest.mark.parametrize("clips", [SPREAD, IN_ROW])
def test_segments_are_found_where_they_are(folder, clips):
    rule = RULE if clips is SPREAD else SegmentRule(threshold=0.6)
    found = VideoClassifier(model(clips)).segments(folder / "a.mp4", rule=rule)
    expected = [("red", 2, 4), ("blue", 5, 7), ("red", 8, 9.5)]
    assert [row[0] for row in rounded(found.segments)] == [row[0] for row in expected]
    for row, wanted in zip(rounded(found.segments), expected, strict=True):
        assert row[1:] == pytest.approx(wanted[1:], abs=0.5)
    assert all(segment.score > 0.6 for segment in found.segments)


def test_windows_are_as_long_and_as_far_apart_as_asked(folder):
    rule = SegmentRule(window_seconds=2.0, step=0.5)
    found = VideoClassifier(model(SPREAD)).segments(folder / "a.mp4", rule=rule)
    starts, ends = found.window_seconds.T
    assert len(starts) == 11  # of 12 s
    assert np.diff(starts) == pytest.approx(np.ones(10), abs=0.051)
    # From the middle of the first of 4 parts to that of the last, and a frame.
    assert ends - starts == pytest.approx(np.full(11, 1.55), abs=0.051)


def test_windows_of_several_lengths_find_long_and_short(tmp_path):
    """Half a second of "red" is lost in windows of 2 seconds, that of 4 is in pieces in none."""
    parts = (("background", 3), ("red", 0.5), ("background", 3), ("blue", 4), ("background", 2))
    path, classifier = write(tmp_path / "a.mp4", parts), VideoClassifier(model(SPREAD))
    rule = SegmentRule(threshold=0.8)

    def find(*lengths):
        return classifier.segments(path, rule=dataclasses.replace(rule, window_seconds=lengths))

    alone = rounded(find(2.0).segments)
    assert [row[0] for row in alone] == ["blue"]
    both = rounded(find(2.0, 0.5).segments)
    assert [row[0] for row in both] == ["red", "blue"]
    assert both[0][1:] == pytest.approx((3, 3.5), abs=0.3)
    with pytest.raises(ArgumentError, match="`window_seconds` must be"):
        find(2.0, 0.01)


def test_a_video_shorter_than_a_window_has_one(tmp_path):
    path = write(tmp_path / "short.mp4", (("red", 0.5),))
    found = VideoClassifier(model(SPREAD)).segments(path, rule=SegmentRule(window_seconds=9.0))
    assert rounded(found.segments) == [
        ("red", pytest.approx(0, abs=0.1), pytest.approx(0.5, abs=0.1))
    ]


def test_bad_rules_are_refused(folder):
    path = folder / "a.mp4"
    with pytest.raises(ArgumentError, match="pass `window_seconds`, about as long as"):
        VideoClassifier(model(SPREAD)).segments(path)
    with pytest.raises(ArgumentError, match="of no use: this model takes 4 consecutive frames"):
        VideoClassifier(model(IN_ROW)).segments(path, rule=RULE)
    for name, value in {
        "step": 0,
        "smoothing": 0,
        "threshold": 2,
        "overlap": -1,
        "margin": -1,
    }.items():
        with pytest.raises(ArgumentError, match=f"`{name}` must be"):
            VideoClassifier(model(IN_ROW)).segments(path, rule=SegmentRule(**{name: value}))


def test_a_rule_is_chosen_on_training_videos(folder, tmp_path):
    lines: list[str] = []
    classifier = VideoClassifier(model(SPREAD))
    found = classifier.evaluate_segments(folder / "list.csv", split="test", say=lines.append)
    assert "chosen on 1 training videos (mAP" in lines[0]
    assert set(found.rule.lengths) <= {1.6, 2.0}  # quantiles of 1.5, 2 and 2 seconds
    assert found.mean_average_precision(0.5) == 1
    assert 0 < found.figures()["mean_average_precision"]["0.5:0.95"] <= 1
    assert "3 segments found in 1 videos, 3 are there" in str(found)
    place = found.save(tmp_path / "out")
    assert sorted(path.name for path in place.iterdir()) == [
        "b.png",
        "segments.csv",
        "segments.html",
        "segments.json",
    ]
    assert len(json.loads((place / "segments.json").read_text())["records"][0]["true"]) == 3
    page = Page((place / "segments.html").read_text())
    assert page.values("classes", "true") == [1, 2]
    assert page.values("classes", "AP at 0.5") == [1, 1]
    (end, rows) = page.values("videos", "timeline")[0]
    assert end == pytest.approx(12, abs=0.3)
    assert [row[2] for row in rows["found"]] == ["red", "blue", "red"]
    assert rows["true"][0][:3] == [2.5, 4.0, "red"]
    assert {"mAP at overlap 0.5", "100.0 %"} <= set(page.texts)
    with pytest.raises(ArgumentError, match="exists"):
        found.save(tmp_path / "out")
    with pytest.raises(ArgumentError, match="of no run"):
        found.save()


def test_segments_without_an_end_cannot_be_compared(folder, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(f"path,label,split\n{folder}/a.mp4,red,test\n{folder}/b.mp4,blue,test\n")
    with pytest.raises(DataError, match="has no end: segments can only be compared"):
        VideoClassifier(model(SPREAD)).evaluate_segments(path, rule=RULE)


def test_without_ends_in_the_training_list_the_usual_rule_is_taken(folder, tmp_path):
    lines = (folder / "list.csv").read_text().replace("a.mp4", f"{folder}/a.mp4")
    rows = lines.replace("b.mp4", f"{folder}/b.mp4").splitlines()
    rows = [row for row in rows if ",train," not in row] + [f"{folder}/a.mp4,red,train,0,"]
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    said: list[str] = []
    classifier = VideoClassifier(model(IN_ROW))
    found = classifier.evaluate_segments(tmp_path / "list.csv", split="test", say=said.append)
    assert (found.rule.threshold, found.rule.margin) == (0.5, 0.5)
    (note,) = said
    assert "No rule is chosen on training videos" in note
    assert "has no end" in note


def test_a_label_in_no_training_video_is_refused(folder, tmp_path):
    lines = (folder / "list.csv").read_text().replace(".mp4,blue,test", ".mp4,green,test")
    (tmp_path / "list.csv").write_text(lines.replace("\n", f"\n{folder}/")[: -len(f"{folder}/")])
    with pytest.raises(DataError, match=r"not trained on: 'green' \(1\)"):
        VideoClassifier(model(SPREAD)).evaluate_segments(tmp_path / "list.csv", split="test")


def test_classes_of_which_no_segment_is(folder):
    classifier = VideoClassifier(model(SPREAD, silent=("blue",)))
    found = classifier.segments(folder / "a.mp4", rule=RULE)
    assert [segment.label for segment in found.segments] == ["red", "red"]
    evaluation = classifier.evaluate_segments(folder / "list.csv", split="test", rule=RULE)
    assert evaluation.classes == ["red"]
    assert [segment.label for segment in evaluation.found[0].true] == ["red", "red"]
    assert evaluation.mean_average_precision(0.5) == 1


def test_a_class_that_was_not_shown_is_none_of_these(folder, tmp_path):
    """The model says "none of these" where it says "blue" elsewhere; the list calls it "green"."""
    lines = (folder / "list.csv").read_text().replace(".mp4,blue,test", ".mp4,green,test")
    (tmp_path / "list.csv").write_text(lines.replace("\n", f"\n{folder}/")[: -len(f"{folder}/")])
    classifier = VideoClassifier(model(SPREAD, (CLASSES[0], NONE, CLASSES[2])))
    found = classifier.evaluate_segments(tmp_path / "list.csv", split="test", rule=RULE)
    assert [segment.label for segment in found.found[0].true] == ["red", NONE, "red"]
    assert [segment.label for segment in found.found[0].segments] == ["red", NONE, "red"]
    assert found.mean_average_precision(0.5) == 1


def test_commands(folder, tmp_path):
    network = tmp_path / "colors.keras"
    model(SPREAD).save(network)
    words = (folder / "a.mp4", "--model", network, "--segments", "--window_seconds", "0.8,1.2")
    files = (
        "--json",
        tmp_path / "s.json",
        "--csv",
        tmp_path / "s.csv",
        "--timeline",
        tmp_path / "t",
        "--html",
        tmp_path / "a.html",
    )
    code, text = run(predict.main, *words, *files)
    assert code == 0, text
    assert text.count(" s red") == 2
    (record,) = json.loads((tmp_path / "s.json").read_text())
    assert [segment["label"] for segment in record["segments"]] == ["red", "blue", "red"]
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[0] == "video,start_seconds,end_seconds,label,score"
    assert len(lines) == 4
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["a.csv", "a.png"]
    page = Page((tmp_path / "a.html").read_text())
    assert page.tags["video"] == 1
    assert page.values("segments", "class") == ["red", "blue", "red"]
    assert [part[2] for part in page.data["chart"]["rows"]["found"]] == ["red", "blue", "red"]
    assert "3 segments found" in page.texts
    code, text = run(predict.main, folder / "a.mp4", "--model", network, "--step", 0.5)
    assert (code, "--step is for --segments" in text) == (1, True)
    options = ("--model", network, "--segments", "--split", "test", "--output", tmp_path / "e")
    code, text = run(evaluate.main, folder / "list.csv", *options)
    assert code == 0, text
    assert "mAP at overlap 0.5" in text
    code, text = run(evaluate.main, folder / "list.csv", "--model", network, "--margin", 0.5)
    assert (code, "--margin is for --segments" in text) == (1, True)


def test_a_live_source_tells_segments_when_they_end(tmp_path):
    """A file at its own speed: "red" from 1 to 2.5 s, "blue" from 3.5 s to the end."""
    network, parts = tmp_path / "colors.keras", (("background", 1), ("red", 1.5))
    model(SPREAD).save(network)
    path = write(tmp_path / "a.mp4", (*parts, ("background", 1), ("blue", 1.5)))
    words = (path, "--model", network, "--live", "--segments", "--window_seconds", 0.6)
    code, text = run(predict.main, *words, "--json", tmp_path / "s.jsonl")
    assert code == 0, text
    lines = (tmp_path / "s.jsonl").read_text().splitlines()
    red, blue = [json.loads(line) for line in lines]
    assert (red["label"], blue["label"]) == ("red", "blue")
    found = [red["start_seconds"], red["end_seconds"], blue["start_seconds"], blue["end_seconds"]]
    assert found == pytest.approx([1, 2.5, 3.5, 5], abs=0.6)
    assert 0 < red["delay_seconds"] < 5
    assert text.count(" s ago") == 2
    code, text = run(predict.main, *words, "--every", 1)
    assert (code, "--every is not for --segments" in text) == (1, True)
    with pytest.raises(ArgumentError, match="pass `window_seconds`, about as long as"):
        next(VideoClassifier(network).watch_segments(str(path)))


def test_a_lost_source_ends_its_segments():
    """Windows of 1 s, one after the other, with a gap of 5 s: two segments, not one."""
    about = {"time": None, "latency_seconds": 0.25, "frames": 0, "dropped": 0, "labels": ["a"]}
    starts = (0.0, 0.5, 6.5, 7.0)
    sightings = [
        Sighting(start_seconds=start, end_seconds=start + 1, scores=np.array([0.9]), **about)
        for start in starts
    ]
    told = live.segments_of(sightings, SegmentRule(1.0))
    assert [(s.start_seconds, s.end_seconds, s.delay_seconds) for s in told] == [
        (0, 1.5, 0.25),
        (6.5, 8, 0.25),
    ]
