from pathlib import Path

import pytest

from keras_r3d.data import annotations
from keras_r3d.system.errors import DataError


def read(data_dir, source="folders", validation=0.0, test=0.0):
    return annotations.read(
        data_dir, source, validation_fraction=validation, test_fraction=test, seed=1
    )


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def manifest(root: Path, text: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / "manifest.csv").write_text(text, encoding="utf-8")
    return root


def test_class_folders_in_split_folders(tmp_path):
    root = touch(tmp_path, "train/a/1.mp4", "train/b/2.AVI", "val/a/3.mkv", "test/b/4.webm")
    found = read(root)
    assert found.classes == ["a", "b"]
    names = {s: [(Path(v.path).name, v.label) for v in vs] for s, vs in found.splits.items()}
    assert names == {
        "train": [("1.mp4", "a"), ("2.AVI", "b")],
        "validation": [("3.mkv", "a")],
        "test": [("4.webm", "b")],
    }


def test_bare_class_folders_are_held_out_by_class(tmp_path):
    root = touch(tmp_path, *[f"{c}/{i}.mp4" for c in "ab" for i in range(10)])
    found = read(root, validation=0.25, test=0.2)
    labels = {s: sorted(v.label for v in vs) for s, vs in found.splits.items()}
    assert labels == {
        "train": ["a"] * 6 + ["b"] * 6,
        "test": ["a"] * 2 + ["b"] * 2,
        "validation": ["a"] * 2 + ["b"] * 2,
    }
    assert read(root, validation=0.25, test=0.2).splits == found.splits
    paths = [v.path for vs in found.splits.values() for v in vs]
    assert len(set(paths)) == len(paths) == 20
    assert len(found.notes) == 2


def test_other_files_are_skipped_and_counted(tmp_path):
    root = touch(tmp_path, "a/1.mp4", "b/2.mp4", "b/readme.txt", "b/.hidden.mp4")
    found = read(root)
    assert len(found.split("train")) == 2
    assert "1 files without a video suffix are skipped" in found.notes[0]
    assert "readme.txt" in found.notes[0]
    (root / "quarantine.txt").write_text("b/2.mp4\n")
    with pytest.raises(DataError, match="only one class") as caught:
        read(root)
    assert caught.value.__notes__[0] == found.notes[0]
    assert "1 videos are skipped by" in caught.value.__notes__[1]


def test_csv_with_splits_and_segments(tmp_path):
    touch(tmp_path, "x/1.mp4", "2.mp4", "3.mp4")
    manifest(
        tmp_path,
        "path,label,split,start_seconds,end_seconds,extra\n"
        "x/1.mp4,a,train,0,1.5,?\nx/1.mp4,b,train,1.5,,?\n2.mp4,a,val,,,?\n3.mp4,b,TEST,,,?\n",
    )
    found = read(tmp_path, "manifest.csv")
    first, second = found.split("train")
    assert (first.label, first.start_seconds, first.end_seconds) == ("a", 0, 1.5)
    assert (second.label, second.start_seconds, second.end_seconds) == ("b", 1.5, float("inf"))
    assert first.name.endswith("1.mp4 [0-1.5 s]")
    assert [v.name for v in found.split("validation")] == [str(tmp_path / "2.mp4")]
    assert found.split("test")[0].label == "b"
    # The file itself will do as the data folder.
    assert read(tmp_path / "manifest.csv").splits == found.splits


def test_segments_of_a_file_are_held_out_together(tmp_path):
    touch(tmp_path, *[f"{i}.mp4" for i in range(8)])
    rows = [f"{i}.mp4,{'ab'[i % 2]},{s},{s + 1}" for i in range(8) for s in range(3)]
    manifest(tmp_path, "\n".join(["path,label,start_seconds,end_seconds", *rows]))
    found = read(tmp_path, "manifest.csv", validation=0.5)
    train = {v.path for v in found.split("train")}
    held = {v.path for v in found.split("validation")}
    assert not train & held
    assert len(train) == len(held) == 4
    # Also where a file has segments of several classes.
    rows = [f"{i}.mp4,{'ab'[s % 2]},{s},{s + 1}" for i in range(8) for s in range(4)]
    manifest(tmp_path, "\n".join(["path,label,start_seconds,end_seconds", *rows]))
    found = read(tmp_path, "manifest.csv", validation=0.5)
    assert not {v.path for v in found.split("train")} & {v.path for v in found.split("validation")}


def grouped(root: Path, rows: list[str]) -> Path:
    """Writes a CSV file of videos with groups: name, label, group, and split if there is one."""
    touch(root, *(row.split(",")[0] for row in rows))
    columns = ["path", "label", "group", "split"][: rows[0].count(",") + 1]
    return manifest(root, "\n".join([",".join(columns), *rows]))


def test_groups_are_read_and_written(tmp_path):
    found = read(grouped(tmp_path, ["0.mp4,a,x y", "1.mp4,b,", "2.mp4,a,z"]), "manifest.csv")
    assert [video.group for video in found.split("train")] == ["x y", "", "z"]
    text = annotations.to_csv(found)
    assert text.splitlines()[0] == "path,label,split,start_seconds,end_seconds,group"
    (tmp_path / "again.csv").write_text(text, encoding="utf-8")
    assert read(tmp_path / "again.csv").splits == found.splits


def test_without_groups_there_is_no_column_for_them(tmp_path):
    found = read(grouped(tmp_path, ["0.mp4,a,", "1.mp4,b,"]), "manifest.csv")
    columns = annotations.to_csv(found).splitlines()[0]
    assert columns == "path,label,split,start_seconds,end_seconds"


def test_a_group_in_two_splits_is_refused(tmp_path):
    rows = ["0.mp4,a,x,train", "1.mp4,b,y,train", "2.mp4,a,y,test", "3.mp4,b,,test"]
    with pytest.raises(annotations.DataError) as error:
        read(grouped(tmp_path, rows), "manifest.csv")
    assert str(error.value) == (
        f"The group 'y' is in split 'train' ({tmp_path / '1.mp4'}) and in split 'test' "
        f"({tmp_path / '2.mp4'}), which would inflate the accuracy. Put all videos of a group "
        "into one split, or leave the column 'group' out."
    )


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_held_out_together(tmp_path, seed):
    """A class has 4 groups of two videos, and 4 videos without one."""
    groups = [0, 0, 1, 1, 2, 2, 3, 3, "", "", "", ""]
    rows = [f"{c}{n}.mp4,{c},{c * (n < 8)}{group}" for c in "ab" for n, group in enumerate(groups)]
    found = annotations.read(
        grouped(tmp_path, rows),
        "manifest.csv",
        validation_fraction=0.25,
        test_fraction=0.25,
        seed=seed,
    )
    sides: dict[str, str] = {}
    for split, videos in found.splits.items():
        for video in videos:
            assert sides.setdefault(video.group or video.path, split) == split
    # Of 8 units of each class 2 are for testing; of the 6 that are left a quarter is 2 again.
    assert {split: list(sides.values()).count(split) for split in found.splits} == {
        "train": 8,
        "test": 4,
        "validation": 4,
    }


def test_a_group_of_several_classes_is_held_out_as_one(tmp_path):
    rows = [f"{label}{n}.mp4,{label},{n}" for n in range(6) for label in "ab"]
    found = read(grouped(tmp_path, rows), "manifest.csv", test=0.5)
    train, test = ({v.group for v in found.split(split)} for split in ("train", "test"))
    assert (len(train), len(test)) == (3, 3)
    assert not train & test


def test_one_group_a_class_cannot_be_held_out(tmp_path):
    rows = [f"{label}{n}.mp4,{label},{label}" for n in range(6) for label in "ab"]
    with pytest.raises(annotations.DataError, match=r"two videos or more \(of different gr"):
        read(grouped(tmp_path, rows), "manifest.csv", test=0.5)


@pytest.mark.parametrize(("least", "drawn"), [(0, 4), (4, 4), (5, 0)])
def test_too_few_validation_videos_are_not_held_out(tmp_path, least, drawn):
    root = touch(tmp_path, *[f"{c}/{i}.mp4" for c in "ab" for i in range(10)])
    found = annotations.read(
        root, "folders", validation_fraction=0.25, test_fraction=0.2, seed=1, least_validation=least
    )
    assert len(found.splits.get("validation", [])) == drawn
    assert len(found.split("train")) == 16 - drawn
    assert len(found.split("test")) == 4
    told = [note for note in found.notes if "none is drawn: 4 videos" in note]
    assert len(told) == (drawn == 0)


def test_a_validation_split_that_is_there_stays_however_small(tmp_path):
    root = touch(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4")
    found = annotations.read(root, "folders", validation_fraction=0.5, least_validation=30)
    assert len(found.split("validation")) == 1


def test_to_csv_reads_back(tmp_path):
    touch(tmp_path, *[f"{i}.mp4" for i in range(4)])
    manifest(
        tmp_path,
        "path,label,split,start_seconds,end_seconds\n0.mp4,a,train,0.1,0.3\n1.mp4,b,train,,\n"
        '2.mp4,"a",test,,2\n3.mp4,b,test,3,\n',
    )
    found = read(tmp_path, "manifest.csv")
    (tmp_path / "again.csv").write_text(annotations.to_csv(found), encoding="utf-8")
    assert read(tmp_path / "again.csv").splits == found.splits


def test_too_few_videos_to_hold_any_out_is_said(tmp_path):
    with pytest.raises(annotations.DataError, match="so none can be held out"):
        read(touch(tmp_path, "a/1.mp4", "b/2.mp4"), test=0.2)


def test_videos_outside_class_folders_are_said(tmp_path):
    found = read(touch(tmp_path, "a/1.mp4", "b/2.mp4", "3.mp4"))
    assert "1 videos in no class folder are skipped" in found.notes[0]


def test_a_missing_split_is_named(tmp_path):
    root = touch(tmp_path, "a/1.mp4", "b/2.mp4")
    with pytest.raises(annotations.DataError, match=r"no videos in split 'test'.*'train': 2"):
        read(root).split("test")


@pytest.mark.parametrize(
    ("files", "text", "message"),
    [
        ([], None, r"holds? no|No class folders with videos"),
        (["a/1.mp4"], None, r"only one class \(a\)"),
        (["a/1.mp4", "b/readme.txt"], None, r"class folder .*b holds no video"),
        (["train/a/1.mp4", "train/b/1.mp4", "val/a/1.mp4", "valid/a/2.mp4"], None, "two folders"),
        (["train/a/1.mp4", "train/b/1.mp4", "val/c/1.mp4"], None, r"without training videos: c"),
        (["val/a/1.mp4"], None, r"No training videos in .*Splits found: \['validation'\]"),
        (["1.mp4"], "path,label\n1.mp4,a\n1.mp4,b\n", r"line 3: .*is listed twice .*line 2"),
        (["1.mp4"], "path,label\n1.mp4,a\n2.mp4,b\n", r"1 of 2 videos .*2\.mp4 \(line 3\)"),
        (["1.mp4"], "file,label\n1.mp4,a\n", r"must have the columns path,label.*file,label"),
        (["1.mp4"], "path,label\n1.mp4,\n", r"line 2: the column 'label' is empty"),
        (["1.mp4"], "path,label\n", r"lists no videos"),
        (["1.mp4"], 'path,label\n1.mp4,"a\nb"\n', r"a label must be one line"),
        (["1.mp4"], "path,label\n1.mp4,a\nx/../1.mp4,b\n", r"is listed twice"),
        (["1.mp4"], "", r"must have the columns"),
        (
            ["1.mp4"],
            "path,label,start_seconds,end_seconds\n1.mp4,a,2,1\n",
            r"line 2: start_seconds must be 0 or more and below end_seconds. Received: 2 and 1",
        ),
        (
            ["1.mp4"],
            "path,label,start_seconds\n1.mp4,a,two\n",
            r"line 2: start_seconds and end_seconds must be numbers. Received: 'two'",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_named(tmp_path, files, text, message):
    touch(tmp_path, *files)
    if text is not None:
        manifest(tmp_path, text)
    with pytest.raises(annotations.DataError, match=message):
        read(tmp_path, "folders" if text is None else "manifest.csv")


def test_a_missing_folder_and_a_missing_csv_are_named(tmp_path):
    with pytest.raises(annotations.DataError, match=r"nowhere does not exist\. Expected:"):
        read(tmp_path / "nowhere")
    with pytest.raises(annotations.DataError, match=r"list\.csv does not exist"):
        read(tmp_path, "list.csv")


def test_a_binary_csv_is_named(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(b"path,label\n\xff\xfe\x00")
    with pytest.raises(annotations.DataError, match="is not a CSV file in UTF-8"):
        read(tmp_path, "manifest.csv")
