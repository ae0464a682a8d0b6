"""Folders of numbered pictures, links, and what systems leave behind, in every list."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_annotations import manifest, read, touch
from test_frame_folder import unpack
from video_files import moving

from keras_r3d import data
from keras_r3d.data import annotations, opening
from keras_r3d.data.annotations import Video, listing
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.recipe import Clips, VideoList
from keras_r3d.system.errors import DataError, R3DError

PICTURES = ("image_00001.jpg", "image_00002.jpg", "n_frames")


def videos(root: Path, *names: str) -> Path:
    """Makes folders that are videos by the names in them."""
    return touch(root, *(f"{name}/{picture}" for name in names for picture in PICTURES))


def paths(found, split="train"):
    return [video.path for video in found.splits[split]]


def test_class_folders_hold_folders_of_pictures(tmp_path):
    videos(tmp_path, "a/v1", "a/v2", "b/deep/v3")
    touch(tmp_path, "b/file.mp4", "b/notes.txt", "__MACOSX/a/._v1.mp4", "a/Thumbs.db")
    touch(tmp_path, "a/.DS_Store", "a/._file.mp4", "b/@eaDir/file.mp4/1.jpg")
    found = annotations.read(tmp_path, "folders", frame_rate=30.0)
    assert paths(found) == [str(tmp_path / p) for p in ("a/v1", "a/v2", "b/deep/v3", "b/file.mp4")]
    assert found.classes == ["a", "b"]
    assert all(video.frame_rate == 30 for video in found.splits["train"])
    first, second = found.notes
    assert first.startswith("1 files without a video suffix are skipped: ")
    assert "3 videos are folders of pictures, taken as 30 frames a second (`frame_rate`)" in second


def test_pictures_in_class_folders_are_no_videos_of_theirs(tmp_path):
    videos(tmp_path, "a", "b")
    with pytest.raises(
        DataError, match=r"a holds numbered pictures, so it is a video and no class: put it"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("source", "name", "text"),
    [
        ("own.csv", "own.csv", "path,label\nx/v_one,a\nx/two,b\n"),
        ("train.txt", "train.txt", "x/v_one 250 a\nx/two 12 b\n"),
        (
            "k.csv",
            "k.csv",
            "label,youtube_id,time_start,time_end,split\na,v_one,0,9,train\nb,two,0,9,train\n",
        ),
        (
            "net.json",
            "net.json",
            json.dumps(
                {
                    "database": {
                        "one": {
                            "subset": "training",
                            "annotations": [{"segment": [0, 9], "label": "a"}],
                        },
                        "two": {"subset": "training", "annotations": {"label": "b"}},
                    }
                }
            ),
        ),
        ("lists/1", "lists/trainlist01.txt", "a/v_one.avi 1\nb/two.avi 2\n"),
    ],
)
def test_every_list_may_name_folders_of_pictures(tmp_path, source, name, text):
    videos(tmp_path, "x/v_one", "x/two")
    touch(tmp_path, name, "lists/testlist01.txt")
    (tmp_path / name).write_text(text)
    (tmp_path / "lists" / "testlist01.txt").write_text("")
    found = annotations.read(tmp_path, source, frame_rate=12.5)
    assert sorted(paths(found)) == [str(tmp_path / "x" / name) for name in ("two", "v_one")]
    assert {video.frame_rate for video in found.splits["train"]} == {12.5}


def test_a_list_may_say_the_frame_rate_of_each(tmp_path):
    videos(tmp_path, "v", "w")
    manifest(tmp_path, "path,label,frame_rate\nv,a,10\nw,b,\n")
    found = read(tmp_path, "manifest.csv")
    assert [video.frame_rate for video in found.splits["train"]] == [10, 25]
    assert "1 videos are folders of pictures, taken as 25 frames" in found.notes[0]
    (tmp_path / "again.csv").write_text(annotations.to_csv(found))
    assert read(tmp_path / "again.csv").splits == found.splits
    manifest(tmp_path, "path,label,frame_rate\nv,a,fast\nw,b,\n")
    with pytest.raises(DataError, match=r"line 2: frame_rate must be above 0.*'fast'"):
        read(tmp_path, "manifest.csv")


def test_seconds_of_segments_follow_the_frame_rate(tmp_path):
    folder = str(unpack(tmp_path / "v", "{:03}.png", moving(20)))
    reader = VideoReader(0, 0)
    assert reader.seconds(Video(folder, "", 1.0, 2.0, frame_rate=10.0)).tolist() == pytest.approx(
        np.arange(10, 20) / 10
    )
    assert reader.count(Video(folder, "", 0.2, 0.4)) == 5
    listed = VideoList("folders", 0.1, frame_rate=10.0)
    for label in "ab":
        shutil.copytree(folder, tmp_path / "data" / label / "v")
    opened = opening.open_source(tmp_path / "data", Clips(), listed)
    assert opened.reader.seconds(opened.annotations.splits["train"][0])[-1] == pytest.approx(1.9)
    with pytest.raises(R3DError, match=r"`frame_rate` must be from 0\.01 to 1000. Received: 0"):
        data.open_videos(tmp_path / "data", frame_rate=0)


def test_a_changed_picture_changes_the_state_of_a_video(tmp_path):
    folder = unpack(tmp_path / "v", "{}.png", moving(3))
    video, reader = Video(str(folder), ""), VideoReader(0, 0)
    before = reader.state(video), annotations.sha256(video.path), annotations.size(video.path)
    (folder / "2.png").write_bytes(b"other")
    after = reader.state(video), annotations.sha256(video.path), annotations.size(video.path)
    assert not set(before) & set(after)
    assert before[0]
    assert reader.state(Video(str(folder), "", frame_rate=10)) != after[0]


def test_words_name_folders_of_pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    videos(tmp_path, "all/v", "all/w")
    touch(tmp_path, "all/x.mp4")
    assert listing.paths(["all/v"]) == ["all/v"]
    assert listing.paths(["all"]) == listing.paths(["all/*"]) == ["all/v", "all/w", "all/x.mp4"]
    assert not listing.names_several("all/v")
    assert listing.names_several("all")


def test_scan_tells_copies_and_quarantines_folders(tmp_path):
    for name, seed in (("a/v", 0), ("a/copy", 0), ("b/w", 5)):
        unpack(tmp_path / name, "image_{:05}.jpg", moving(20 + seed)[seed:])
    touch(tmp_path, "b/broken/1.jpg")
    scanned = data.scan(tmp_path, min_side=8, processes=1, frame_rate=10.0, quarantine=True)
    files = {Path(file.path).name: file for file in scanned.examinations}
    assert files["v"].duration == pytest.approx(2.0)
    assert set(files["v"].findings) | set(files["copy"].findings) == {"duplicate"}
    assert scanned.broken == [str(tmp_path / "b/broken")]
    assert len(paths(read(tmp_path))) == 3
    assert len(data.scan(tmp_path / "a/v", min_side=8, processes=1).examinations) == 1


def test_stores_and_flow_are_made_of_folders(tmp_path):
    for name in ("a/v", "b/w"):
        unpack(tmp_path / "data" / name, "{:03}.png", moving(12))
    made = [
        data.prepare_store(tmp_path / "data", tmp_path / "store", short_side=32, frame_rate=10.0),
        data.store_flow(
            tmp_path / "data", tmp_path / "flow", input="dis", short_side=32, frame_rate=10.0
        ),
    ]
    for name, clips in (("store", Clips()), ("flow", Clips(input="dis", short_side=32))):
        opened = opening.open_source(tmp_path / name, clips)
        for video in opened.annotations.splits["train"]:
            assert opened.reader.seconds(video) == pytest.approx(np.arange(12) / 10)
    assert not [problem for one in made for problem in one.problems]
    row = (tmp_path / "store" / "videos.csv").read_text().splitlines()[1].split(",")
    folder = str(tmp_path / "data" / "a" / "v")
    assert row[0] == "a/v"
    assert row[-2:] == [f"{annotations.size(folder)}", annotations.sha256(folder)]


def test_links_are_followed_and_loops_are_not(tmp_path):
    touch(tmp_path, "disk/a/one.mp4", "disk/b/two.mp4", "disk/c/BBBBBBBBBBB_000001_000011.mp4")
    root = tmp_path / "data"
    root.mkdir()
    (root / "train").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "disk" / "b" / "loop").symlink_to(tmp_path / "disk" / "b")
    (tmp_path / "disk" / "again").symlink_to(root)
    assert listing.paths([str(root)]) == [
        str(root / "train" / name)
        for name in ("a/one.mp4", "b/two.mp4", "c/BBBBBBBBBBB_000001_000011.mp4")
    ]
    assert read(root).classes == ["a", "b", "c"]
    rows = "label,youtube_id,time_start,time_end,split\n"
    rows += "x,BBBBBBBBBBB,1,11,train\ny,one,1,11,train\n"
    (root / "list.csv").write_text(rows)
    found = annotations.read(root, "list.csv")
    assert paths(found) == [
        str(root / "train" / name) for name in ("c/BBBBBBBBBBB_000001_000011.mp4", "a/one.mp4")
    ]
