"""Lists of one's own: lines of path and label, other separators, Windows paths, no labels."""

import pytest
from test_annotations import manifest, read, touch

from keras_r3d.data import annotations
from keras_r3d.data.annotations import Video, listing
from keras_r3d.system.errors import DataError, R3DError


def labels(found, root, split="train"):
    """Returns label by path below a folder."""
    prefix = f"{root}/"
    return {video.path.removeprefix(prefix): video.label for video in found.splits[split]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "x/a 1.mp4 one\ny/b.avi two\n"),
        ("list.txt", "x/a 1.mp4, one\ny/b.avi,two\n"),
        ("list.txt", "path,label\nx/a 1.mp4,one\ny/b.avi,two\n"),
        ("train.csv", "x/a 1.mp4 one\ny/b.avi two\n"),
        ("train.csv", "x/a 1.mp4;one\ny/b.avi;two\n"),
        ("list.csv", "\ufeffPath;Label;Split\r\nx/a 1.mp4;one;Train\r\ny/b.avi;two;\r\n"),
        ("list.tsv", "LABEL\tPATH\none\tx/a 1.mp4\ntwo\ty/b.avi\n"),
        ("list.csv", "path,label\nx\\a 1.mp4,one\n.\\y\\b.avi,two\n"),
        ("list.txt", "x\\a 1.mp4 one\ny\\b.avi two\n"),
    ],
)
def test_lists_of_one_s_own(tmp_path, name, text):
    touch(tmp_path, "x/a 1.mp4", "y/b.avi")
    (tmp_path / name).write_text(text, encoding="utf-8")
    for found in (read(tmp_path, name), read(tmp_path / name)):
        assert labels(found, tmp_path) == {"x/a 1.mp4": "one", "y/b.avi": "two"}


@pytest.mark.parametrize(
    ("names", "text", "expected"),
    [
        (None, "", {"a.mp4": "0", "b.mp4": "1"}),
        (
            "label_map_k2.txt",
            "playing guitar\nclimb\n",
            {"a.mp4": "playing guitar", "b.mp4": "climb"},
        ),
        ("classInd.txt", "1 Climb\n0 Run\n", {"a.mp4": "Run", "b.mp4": "Climb"}),
    ],
)
def test_a_file_beside_names_numbered_classes(tmp_path, names, text, expected):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "list.txt").write_text("a.mp4 0\nb.mp4 1\n")
    if names:
        (tmp_path / names).write_text(text)
    assert labels(read(tmp_path, "list.txt"), tmp_path) == expected


def test_lists_of_splits_in_a_folder_or_by_a_pattern(tmp_path):
    touch(tmp_path, "videos/a.mp4", "videos/b.mp4", "videos/c.mp4")
    lists = touch(tmp_path / "lists", "k_train_list_rawframes.txt", "labels.txt", "README.txt")
    (lists / "k_train_list_videos.txt").write_text("videos/a.mp4 0\nvideos/b.mp4 1\n")
    (lists / "k_val_list_videos.txt").write_text("videos/c.mp4 1\n")
    (lists / "labels.txt").write_text("no\nyes\n")
    found = read(tmp_path, "lists/*_list_videos.txt")
    assert annotations.has(tmp_path, "lists/*_list_videos.txt")
    assert labels(found, tmp_path) == {"videos/a.mp4": "no", "videos/b.mp4": "yes"}
    assert labels(found, tmp_path, "validation") == {"videos/c.mp4": "yes"}
    with pytest.raises(DataError, match=r"both lists of the train split: name a pattern"):
        read(tmp_path, "lists")
    (lists / "k_train_list_rawframes.txt").unlink()
    assert read(tmp_path, "lists") == found
    with pytest.raises(DataError, match=r"lists/\*\.json does not exist\. `videos"):
        read(tmp_path, "lists/*.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4 0\nb.mp4 2\n", r"list\.txt, line 2: .*classes\.txt names the classes 0 to 1\."),
        ("a.mp4 0\nb.mp4 1 0\n", r"line 2: several labels are separated by commas\. Received: 1 0"),
        ("a.mp4 0\nb.mp4\n", r"line 2: the column 'label' is empty"),
        ("a.mp4 0\nb.mp4 1\na.mp4 0\n", r"line 3: .*a\.mp4 is listed twice \(first in line 1\)"),
        ("a.mp4 0\ngone.mp4 1\n", r"1 of 2 videos listed in .*gone\.mp4 \(line 2\).*relative to"),
        ("", "lists no videos"),
    ],
)
def test_lines_that_cannot_be_used_are_named(tmp_path, text, message):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "classes.txt").write_text("no\nyes\n")
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path, "list.txt")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test.txt", "my a.mp4\nb.mp4\n"),
        ("test.csv", "path\nmy a.mp4\nb.mp4\n"),
        ("test.csv", "path;label\nmy a.mp4;\nb.mp4;x\n"),
        ("testlist.txt", "my a.mp4 3\nb.mp4 3\n"),
        ("test.json", '{"database": {"my a": {"subset": "testing"}, "b": {"subset": "testing"}}}'),
    ],
)
def test_a_list_without_labels_names_its_videos(tmp_path, monkeypatch, name, text):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "my a.mp4", "b.mp4")
    (tmp_path / name).write_text(text)
    assert sorted(listing.paths([name], say=print)) == ["b.mp4", "my a.mp4"]
    assert listing.paths([name], opens_lists=False) == [name]
    assert listing.names_several(name)


def test_kinetics_without_labels_and_segments(tmp_path):
    touch(tmp_path, "q_000000_000010.mp4", "w.mp4")
    (tmp_path / "test.csv").write_text(
        "youtube_id,time_start,time_end,split\nq,0,10,test\ngone,0,10,test\n"
    )
    notes: list[str] = []
    found = listing.paths([str(tmp_path / "test.csv")], say=notes.append)
    assert found == [str(tmp_path / "q_000000_000010.mp4")]
    assert "videos that were found: test 1 of 2 (50.0 %)" in notes[0]
    assert notes[1] == "Note: 1 listed videos are missing: gone_000000_000010."
    (tmp_path / "test.csv").write_text("youtube_id,time_start,time_end,split\nw,0,10,test\n")
    (found,) = listing.videos([str(tmp_path / "test.csv")], say=print)
    assert found.name == f"{tmp_path / 'w.mp4'} [0-10 s]"


def test_a_list_names_segments_and_frame_rates(tmp_path):
    touch(tmp_path, "a.mp4", "v/1.png")
    rows = "path,start_seconds,end_seconds,frame_rate\na.mp4,0,2,\na.mp4,2,4,\nv,,,10\n"
    (tmp_path / "test.csv").write_text(rows)
    path = str(tmp_path / "a.mp4")
    words = [Video(path, "", 2.0, 4.0), str(tmp_path / "test.csv"), path]
    found = listing.videos(words, frame_rate=30.0)
    assert [video.name for video in found] == [
        *(f"{path} [2-4 s]", f"{path} [0-2 s]", str(tmp_path / "v"), path)
    ]
    assert [video.frame_rate for video in found] == [25, 30, 10, 30]
    assert listing.paths(words) == [path, str(tmp_path / "v")]
    with pytest.raises(R3DError, match=r"`frame_rate` must be from 0\.01 to 1000\. Received: 0"):
        listing.videos([path], frame_rate=0)


def test_other_capitals_do_not_matter_in_a_manifest(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    manifest(tmp_path, "PATH,Label,GROUP,Start_Seconds\na.mp4,x,one,2\nb.mp4,y,two,\n")
    first, second = read(tmp_path, "manifest.csv").splits["train"]
    assert (first.group, first.start_seconds, second.start_seconds) == ("one", 2, 0)
