"""Videos with several labels: read from lists, written back, as targets, in stores."""

import json

import numpy as np
import pytest
from conftest import write_video

from keras_r3d.data import Clips, Whole, open_videos, prepare_store
from keras_r3d.data.annotations import Annotations, Video, labels, read, to_csv
from keras_r3d.system.errors import DataError


def write(folder, text, name="list.csv"):
    for letter in "abcd":
        (folder / f"{letter}.mp4").touch()
    (folder / name).write_text(text)
    return read(folder, name)


def named(videos: Annotations, split="train") -> dict[str, tuple[str, ...]]:
    return {video.path[-5]: video.labels for video in videos.splits[split]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("up", ("up",)),
        ("up;left", ("left", "up")),
        ("up | left |up|", ("left", "up")),
        ('"a;b";left', ("a;b", "left")),
        ('"say ""hi"", now"|left', ("left", 'say "hi", now')),
    ],
)
def test_labels_are_read_from_a_text_and_written_to_one(text, expected):
    assert labels.split_labels(text) == expected
    assert labels.split_labels(labels.join_labels(expected)) == expected


@pytest.mark.parametrize("text", ["up,left", "up\tleft", "up;left|down", '"up;left'])
def test_unknown_separators_are_refused(text):
    with pytest.raises(DataError, match=r"must be separated by ; or by \|.*Received: "):
        labels.split_labels(text)


def test_a_column_of_labels(tmp_path):
    videos = write(tmp_path, "path,labels\na.mp4,up;left\nb.mp4,up\nc.mp4,\n")
    assert named(videos) == {"a": ("left", "up"), "b": ("up",), "c": ()}
    assert videos.several
    assert videos.classes == ["left", "up"]
    assert any("1 videos of split 'train' have no label" in note for note in videos.notes)
    again = write(tmp_path, to_csv(videos), "again.csv")
    assert again.splits == videos.splits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('path,labels\na.mp4,"up,left"\n', r"line 2: several labels must be separated by ;"),
        ("path;labels\na.mp4;up;left\n", r"line 2 has more cells than the header: put labels"),
        ("path,labels\na.mp4,\nb.mp4,;\n", r"No training video has a label\. Expected:"),
        ("path,up,left\na.mp4,1,2\n", r"line 2: .*'left' is taken for a class.*Received: '2'"),
    ],
)
def test_lists_that_cannot_be_read_are_told_in_a_sentence(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        write(tmp_path, text)


def test_a_column_of_0_and_1_for_each_class(tmp_path):
    videos = write(
        tmp_path, "path,Up,left,split\na.mp4,1,1,train\nb.mp4,0,1,train\nc.mp4,1,0,test\n"
    )
    assert named(videos) == {"a": ("Up", "left"), "b": ("left",)}
    assert named(videos, "test") == {"c": ("Up",)}


def test_numbers_of_classes_behind_a_path(tmp_path):
    (tmp_path / "classes.txt").write_text("down\nleft\nup\n")
    videos = write(tmp_path, "a.mp4 2,1\nb.mp4 0\n", "list.txt")
    assert named(videos) == {"a": ("left", "up"), "b": ("down",)}


def test_lists_of_sports1m(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "labels.txt").write_text("down\nleft\nup\n")
    for name, text in (("train", "a 0,1\nb 1\ngone 2"), ("test", "c 1,2\nd 2")):
        lines = [f"http://www.youtube.com/watch?v={line}\n" for line in text.splitlines()]
        (tmp_path / "lists" / f"{name}_partition.txt").write_text("".join(lines))
    for letter in "abcd":
        (tmp_path / f"{letter}.mp4").touch()
    videos = read(tmp_path, "lists")
    assert named(videos) == {"a": ("down", "left"), "b": ("left",)}
    assert named(videos, "test") == {"c": ("left",)}  # nothing of `up` can be trained on
    assert any("classes without training videos are skipped: up" in n for n in videos.notes)


def test_segments_that_overlap_share_their_labels(tmp_path):
    lines = ["a.mp4,up,0,4", "a.mp4,left,1,3", "a.mp4,down,3,10", "a.mp4,left,0,4"]
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.csv").write_text("\n".join(["path,label,start_seconds,end_seconds", *lines]))
    videos = read(tmp_path, "list.csv", several_labels=True)
    found = {(v.start_seconds, v.end_seconds): v.labels for v in videos.splits["train"]}
    # up covers left wholly, left half of up; what both share with down is less than half.
    assert found == {(0, 4): ("left", "up"), (1, 3): ("left", "up"), (3, 10): ("down",)}
    with pytest.raises(DataError, match="listed twice"):
        read(tmp_path, "list.csv")


def test_segments_of_activitynet_that_overlap(tmp_path):
    segments = [("up", [0, 4]), ("left", [0, 4]), ("left", [5, 9])]
    annotations = [{"label": name, "segment": times} for name, times in segments]
    video = {"subset": "training", "duration": 10, "annotations": annotations}
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.json").write_text(json.dumps({"database": {"a": video}}))
    videos = read(tmp_path, "list.json", several_labels=True)
    assert [v.labels for v in videos.splits["train"]] == [("left", "up"), ("left",)]


def test_a_label_of_no_training_video_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"Split 'test' has classes without training videos: down"):
        write(tmp_path, "path,labels,split\na.mp4,up;left,train\nb.mp4,up;down,test\n")


def test_lists_of_one_label_and_of_several_go_together(tmp_path):
    for name, text in (
        ("train", "path,labels\na.mp4,up;left\n"),
        ("test", "path,label\nb.mp4,up\n"),
    ):
        (tmp_path / f"{name}.csv").write_text(text)
    for letter in "ab":
        (tmp_path / f"{letter}.mp4").touch()
    videos = read(tmp_path, "*.csv")
    assert {video.several for part in videos.splits.values() for video in part} == {True}


def test_one_class_with_a_separator_in_its_name_is_one_class_and_noted(tmp_path):
    videos = write(tmp_path, "path,label\na.mp4,up;left\nb.mp4,down\n")
    assert videos.classes == ["down", "up;left"]
    assert not videos.several
    assert any("name the column `labels`" in note for note in videos.notes)


def test_what_is_held_out_is_of_the_rarest_labels(tmp_path):
    names = [f"{n}.mp4" for n in range(12)]
    for name in names:
        (tmp_path / name).touch()
    cells = ["up;left" if n < 4 else "up;down" if n < 8 else "up" for n in range(12)]
    lines = [f"{name},{cell}\n" for name, cell in zip(names, cells, strict=True)]
    (tmp_path / "list.csv").write_text("path,labels\n" + "".join(lines))
    videos = read(tmp_path, "list.csv", validation_fraction=0.25)
    held = [video.labels for video in videos.splits["validation"]]
    assert sorted(held) == [("down", "up"), ("left", "up"), ("up",)]


def test_targets_are_rows_of_0_and_1(tmp_path):
    videos = [Video("a", "up;left", several=True), Video("b", "", several=True)]
    assert labels.targets(videos, ["left", "up"]).tolist() == [[1, 1], [0, 0]]
    assert labels.targets([Video("a", "up")], ["left", "up"]).tolist() == [1]
    assert labels.targets([Video("a", "up")], ["left", "up"], several=True).tolist() == [[0, 1]]


def test_data_sets_and_stores_give_rows(tmp_path):
    for letter in "ab":
        write_video(tmp_path / "videos" / f"{letter}.avi", 8)
    (tmp_path / "videos" / "manifest.csv").write_text("path,labels\na.avi,up;left\nb.avi,left\n")
    clips = Clips(frames=4, size=32, crop=Whole(), flip=False)
    store = tmp_path / "store"
    prepare_store(str(tmp_path / "videos"), str(store), short_side=32, say=[].append, processes=1)
    for place in (tmp_path / "videos", store):
        opened = open_videos(place)
        assert opened.classes == ["left", "up"]
        ((pixels, rows),) = opened.dataset("train", clips.center(), batch_size=2)
        assert (pixels.shape, rows.dtype.name) == ((2, 4, 32, 32, 3), "float32")
        assert sorted(rows.numpy().tolist()) == [[1, 0], [1, 1]]
        (pixels, rows), *_ = opened.dataset("train", clips, batch_size=2)
        assert sorted(np.asarray(rows).tolist()) == [[1, 0], [1, 1]]
