"""The doctor: what it finds, within a time limit, and that training honors its list."""

import csv
import json
import shutil
import time
from fractions import Fraction
from pathlib import Path

import commands
import cv2
import numpy as np
import pytest
from conftest import write_video
from odd_jobs import odd_job
from prepared import inline
from video_files import damage_tail, encode, moving, without_decoder

from keras_r3d import R3DError, data, scan
from keras_r3d.data import annotations
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.sampling.cropping import Views
from keras_r3d.data.scanning import examining, report
from keras_r3d.data.scanning.report import Scan
from keras_r3d.system import workers
from keras_r3d.system.errors import ArgumentError, DataError, WriteError
from keras_r3d.system.work import kept_beside


def findings(paths, found=None, **limits) -> dict[str, set[str]]:
    options = {"min_frames": 10, "min_side": 30, "limit_seconds": 60.0, "processes": 2, **limits}
    done = []
    with kept_beside(None) as folder:
        examinations, _ = examining.examine_all(
            [str(p) for p in paths],
            found,
            progress=lambda *numbers: done.append(numbers),
            folder=folder,
            **options,
        )
    assert done == [(i, len(paths)) for i in range(1, len(paths) + 1)]
    assert [e.path for e in examinations] == [str(p) for p in paths]
    return {Path(e.path).name: set(e.findings) for e in examinations}


def test_each_fault_is_found(tmp_path):
    sound = write_video(tmp_path / "sound.avi")
    whole = write_video(tmp_path / "whole.avi", 60, height=64, width=64).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.write_bytes(b"")
    text.write_text("not a video")
    short = write_video(tmp_path / "short.avi", 4, base=9)
    tiny = write_video(tmp_path / "tiny.avi", height=16)
    copy = Path(shutil.copy(sound, tmp_path / "copy.avi"))
    paths = [sound, cut, empty, text, short, tiny, copy, tmp_path / "gone.avi"]
    assert findings(paths) == {
        "sound.avi": set(),
        "cut.avi": {"truncated"},
        "empty.mp4": {"unreadable"},
        "text.mp4": {"unreadable"},
        "short.avi": {"few frames"},
        "tiny.avi": {"tiny"},
        "copy.avi": {"duplicate"},
        "gone.avi": {"unreadable"},
    }


def test_leaks_and_labels_are_told_from_duplicates(tmp_path):
    for place in ("train/a/1.avi", "test/a/2.avi", "train/b/3.avi", "test/b/4.avi"):
        write_video(tmp_path / place)
    write_video(tmp_path / "train/b/5.avi", tint=(0.1, 1, 0.3))
    found = annotations.read(tmp_path, "folders")
    paths = [tmp_path / name for name in ("train/a/1.avi", "test/a/2.avi", "train/b/3.avi")]
    assert findings(paths, found) == {
        "1.avi": set(),
        "2.avi": {"duplicate", "leak"},
        "3.avi": {"duplicate", "label"},
    }


def write_scene(path: Path, seed: int, size=(160, 120), quality=95, gain=1.0) -> Path:
    """Writes a pan over a random picture: two of the same seed look the same."""
    coarse = np.random.default_rng(seed).integers(0, 200, (9, 20, 3), np.uint8)
    wide = cv2.resize(coarse, (320, 120), interpolation=cv2.INTER_CUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, size)
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, quality)
    for number in range(20):
        frame = cv2.resize(wide[:, 8 * number : 8 * number + 160], size)
        writer.write(cv2.convertScaleAbs(frame, alpha=gain, beta=10 * (gain != 1)))
    writer.release()
    return path


def scan_here(folder, found) -> Scan:
    paths = sorted({video.path for videos in found.splits.values() for video in videos})
    limits = {"min_frames": 10, "min_side": 30, "limit_seconds": 60.0, "processes": 2}
    with kept_beside(None) as parts:
        shown = examining.examine_all(
            paths, found, progress=lambda *_: None, folder=parts, **limits
        )
    return Scan(str(folder), *shown, found)


def test_near_duplicates_in_other_splits_and_groups_are_found(tmp_path):
    copy = {"size": (80, 60), "quality": 40, "gain": 1.1}
    for name, seed, changes in [
        *(("a1", 1, {}), ("a2", 1, copy), ("b1", 2, {}), ("b2", 2, copy)),
        *(("c1", 3, {}), ("c2", 3, copy), ("d", 4, {})),
    ]:
        write_scene(tmp_path / f"{name}.avi", seed, **changes)
    shutil.copy(tmp_path / "d.avi", tmp_path / "e.avi")
    for name in ("black1", "black2"):
        write_video(tmp_path / f"{name}.avi", base=len(name), tint=(0, 0, 0), width=64, height=48)
    rows = ["path,label,split,group", "a1.avi,x,train,A", "a2.avi,x,test,B", "b1.avi,y,train,A"]
    rows += ["b2.avi,y,train,C", "c1.avi,y,test,D", "c2.avi,y,test,D"]
    rows += ["d.avi,x,train,E", "e.avi,x,train,F", "black1.avi,x,train,", "black2.avi,x,test,"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    found = annotations.read(tmp_path, "auto")
    scanned = scan_here(tmp_path, found)
    pairs = {tuple(Path(p).name for p in pair.paths): pair for pair in scanned.near_duplicates}
    assert set(pairs) == {("a1.avi", "a2.avi"), ("b1.avi", "b2.avi")}
    assert pairs["b1.avi", "b2.avi"].places == ("train, group 'A'", "train, group 'C'")
    bits = [pair.bits for pair in scanned.near_duplicates]
    assert bits == sorted(bits)
    findings = {Path(one.path).name: one.findings for one in scanned.examinations}
    assert findings["a1.avi"]["near-duplicate"].endswith("a2.avi (test, group 'B')")
    assert "near-duplicate" in findings["a2.avi"]
    assert findings["e.avi"]["leak"].startswith("in train, group 'F', but ")  # the same content
    assert not findings["c1.avi"]
    assert not findings["d.avi"]
    shown = report.table(scanned)
    assert "4 near-duplicate: looks the same as a file of another split or group\n    " in shown
    assert "b1.avi (train, group 'A') and b2.avi (train, group 'C'): " in shown
    text = report.description(scanned.examinations, found)
    assert [line.split() for line in text.splitlines()[:3]] == [
        ["split", "videos", "seconds", "median", "least", "most", "frame", "size"],
        ["train", "6", "12", "2.0", "2.0", "2.0", "~160x120"],
        ["test", "4", "8", "2.0", "2.0", "2.0", "~80x60"],
    ]


def test_many_pairs_are_counted():
    pair = examining.NearDuplicate(("/x/a", "/x/b"), ("train", "test"), 1.0)
    lines = report.table(Scan("/x", [], [pair] * 13)).splitlines()[1:]
    assert len(lines) == 11
    assert lines[0] == "    a (train) and b (test): 1.0 of 64 bits differ"
    assert lines[-1] == "    … and 3 more pairs, less alike"


def test_the_description_fits_a_terminal_and_shortens_many_classes():
    def one(number):
        return examining.Examination(f"{number}", {}, 300, 300, 1920, 1080, 299 / 30, 299 / 30)

    names = ["a kind with quite a long name", *(f"c{number:02}" for number in range(39))]
    splits: dict = {"train": [], "validation": [], "test": []}
    for number, name in enumerate(names):
        splits["train"] += [Video(f"{number}", name)] * (50 - number)
        splits["test"].append(Video(f"{number}", name, 2.0, 5.0))
    splits["validation"].append(Video("0", names[0]))
    found = annotations.Annotations(splits, names, [])
    text = report.description([one(number) for number in range(40)], found)
    assert max(map(len, text.splitlines())) <= 80
    rows = text.split("class ")[1].splitlines()
    assert [row.split()[0] for row in rows[1:6]] == ["a", "c00", "c01", "c02", "c03"]
    assert rows[6] == "… 30 more"
    assert rows[-1].split() == ["c38", "11", "0", "1", "113", "10.0", "1920x1080"]


def test_a_segment_behind_the_end_is_found(tmp_path):
    write_video(tmp_path / "a.avi")
    write_video(tmp_path / "b.avi", base=5)
    rows = "path,label,start_seconds,end_seconds\na.avi,x,500,600\nb.avi,y,0,1\n"
    (tmp_path / "manifest.csv").write_text(rows)
    found = annotations.read(tmp_path, "auto")
    paths = [tmp_path / "a.avi", tmp_path / "b.avi"]
    assert findings(paths, found) == {"a.avi": {"segment"}, "b.avi": set()}
    sentence = "the segment begins at 500 s, but the video ends at 2 s"
    assert sentence in str(report.scan(tmp_path, min_side=16, processes=1))
    reader = VideoReader(0, 0)
    with pytest.raises(R3DError, match=rf"{sentence}\.$"):
        reader.count(found.splits["train"][0])
    assert [problem.status for problem in reader.problems] == ["segment"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0.1 * i for i in range(50)], False),
        ([0.1 * i + 0.02 * (i % 2) for i in range(50)], False),  # a container's rounding
        ([0.1 * i + (0.5 if i > 30 else 0) for i in range(50)], True),
        ([0.1 * i if i < 25 else 0.2 * i for i in range(50)], True),
    ],
)
def test_uneven_times(tmp_path, seconds, expected):
    path = encode(tmp_path / "v.mkv", moving(50), seconds=seconds)
    assert ("variable rate" in examining.examine(str(path)).findings) == expected


def test_what_hangs_or_crashes_takes_nothing_along():
    started = time.monotonic()
    jobs = ["a", "hang", "b", "crash", "c", "crash", "d", "broken"]
    done = dict(workers.run(odd_job, jobs, workers=2, limit_seconds=3))
    assert {i: r for i, r in done.items() if isinstance(r, str)} == {
        0: "aa",
        2: "bb",
        4: "cc",
        6: "dd",
    }
    assert done[1] == workers.Failure("time limit", "not done after 3 s")
    assert done[3] == done[5] == workers.Failure("crash", "its process ended with code 139")
    assert done[7] == workers.Failure("unreadable", "v.avi: it is broken.")
    assert done[7].sentence("v.avi") == "v.avi: it is broken."
    assert done[3].sentence("v.avi") == "v.avi: its process ended with code 139."
    assert time.monotonic() - started < 60
    with pytest.raises(WriteError, match="Could not write"):
        list(workers.run(odd_job, ["full"], workers=1, limit_seconds=60))


def test_the_report_and_training_honors_the_quarantine(class_folders, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "run", inline)
    bad = class_folders / "red" / "bad.avi"
    bad.write_text("nothing")
    (class_folders / "quarantine.txt").write_text("green/5.avi\n")
    table, json_file = tmp_path / "scan.csv", tmp_path / "scan.json"
    options = {"min_frames": 8, "min_side": 8}
    shown = str(data.scan(class_folders, csv=str(table), json=str(json_file), **options))
    assert shown.count("\n    ") == 1 + 5 + 1  # five duplicates are shown, and "more"
    assert "1 unreadable: no frame can be had\n    red/bad.avi: it cannot be opened" in shown
    assert f"\nWritten: {table}\nWritten: {json_file}" in shown
    with table.open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file) if row["status"] != "duplicate"}
    assert rows[str(bad)]["status"] == "unreadable"
    one = next(r for r in json.loads(json_file.read_text()) if r["path"].endswith("red/0.avi"))
    assert (one["frames"], one["width"], one["height"], one["fps"]) == (12, 48, 32, 10.0)
    assert (one["seconds"], one["labels"], one["splits"]) == (1.2, ["red"], ["train"])
    assert rows[str(bad)]["label"] == "red"
    assert len(annotations.read(class_folders, "folders").splits["train"]) == 12
    assert "leave its files aside" in str(data.scan(class_folders, quarantine=True, **options))
    listed = (class_folders / "quarantine.txt").read_text().splitlines()
    assert listed == ["green/5.avi", "red/bad.avi"]
    found = annotations.read(class_folders, "folders")
    assert len(found.splits["train"]) == 11
    assert any("2 videos are skipped by" in note for note in found.notes)
    again = data.scan(class_folders, quarantine=True, **options)
    assert again.broken == [str(bad)]  # it looks at the quarantined ones, too
    assert (class_folders / "quarantine.txt").read_text().splitlines() == listed


def test_a_folder_without_labels_is_scanned_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "run", inline)
    path = write_video(tmp_path / "loose" / "deep" / "one.avi")
    lines: list[str] = []
    shown = str(data.scan(tmp_path / "loose", min_side=8, say=lines.append))
    assert lines[0].startswith("Without labels and splits: ")
    assert "1 files, 1 without findings" in shown
    one = str(data.scan(path, min_side=8))
    assert "files       1        2" in one
    assert "1 files, 1 without findings" in one
    (tmp_path / "nothing").mkdir()
    for source, options, message in [
        (tmp_path / "nowhere", {}, "nowhere does not exist"),
        (tmp_path / "nothing", {}, "holds no videos"),
        (tmp_path / "loose", {"annotations": "gone.csv"}, r"gone.csv does not exist"),
    ]:
        with pytest.raises(R3DError, match=message):
            data.scan(source, **options)


def test_videos_as_people_have_them(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "run", inline)
    pictures = moving(20, 96, 64)
    encode(tmp_path / "audio_longer.webm", pictures, "libvpx", audio_seconds=5)
    damage_tail(encode(tmp_path / "damaged_tail.mp4", pictures, options={"bf": "0"}), 6)
    rare = [100.0 * number for number in range(5)]
    encode(tmp_path / "every_100_s.mp4", moving(5), seconds=rare, audio_seconds=5)
    encode(tmp_path / "wide_pixels.mp4", pictures, aspect=Fraction(2))
    av1 = {"preset": "12", "svtav1-params": "lp=1"}
    encode(tmp_path / "av1.mp4", pictures, "libsvtav1", options=av1)
    scanned = data.scan(tmp_path, min_frames=1, min_side=1)
    facts = ("frames", "header_frames", "width", "height", "fps", "seconds", "findings")
    assert {
        Path(record["path"]).stem: tuple(record[name] for name in facts)
        for record in report.records(scanned)
    } == {
        "audio_longer": (20, 20, 64, 96, 25, 0.8, {}),
        "av1": (20, 20, 64, 96, 25, 0.8, {}),
        "damaged_tail": (
            *(14, 20, 64, 96, 25, 0.56),
            {"truncated": "14 frames decode, the container promises 20"},
        ),
        "every_100_s": (5, 5, 64, 48, 0.01, 500, {}),
        "wide_pixels": (20, 20, 128, 96, 25, 0.8, {}),
    }
    reader = VideoReader(0, 0.0)
    for file in scanned.examinations:
        shown = list(reader.windows(Video(file.path, "a"), 1, 1, Views(1, (8, 8))))
        assert len(shown) == file.frames
    assert [(Path(p.name).name, p.status, p.detail) for p in reader.problems] == [
        (
            "damaged_tail.mp4",
            "short",
            f"{tmp_path / 'damaged_tail.mp4'}: the container promises 20 frames, 14 decode; these "
            "are used.",
        )
    ]


def test_the_command(tmp_path):
    (tmp_path / "bad.avi").write_text("nothing")
    without_decoder(tmp_path / "new.mp4")
    write_video(tmp_path / "one.avi")
    given = ("--min_side=8", "--quarantine", f"--csv={tmp_path / 'scan.csv'}")
    output = commands.output(scan.main, tmp_path, *given, code=1)
    assert "Without labels and splits: " in output
    assert "1 unreadable: no frame can be had\n    bad.avi: it cannot be opened" in output
    assert "1 codec: nothing here decodes it, though it may be sound: --quarantine" in output
    assert "\n    new.mp4: its codec 'lcev' has no decoder here: convert it to H.264" in output
    assert f"Written: {tmp_path / 'scan.csv'}\n" in output
    with (tmp_path / "scan.csv").open(newline="") as file:
        statuses = {Path(row["path"]).name: row["status"] for row in csv.DictReader(file)}
    assert statuses == {"bad.avi": "unreadable", "new.mp4": "codec", "one.avi": "ok"}
    assert (tmp_path / "quarantine.txt").read_text() == "bad.avi\n"
    (tmp_path / "bad.avi").unlink()
    output = commands.output(scan.main, tmp_path, "--quarantine", code=1)
    assert "quarantine.txt" not in output
    assert "Missing: DATA" in commands.output(scan.main, code=1)


def interrupted(*_):
    raise KeyboardInterrupt


def test_shares_and_what_was_interrupted_give_the_same_report(class_folders, tmp_path, monkeypatch):
    (class_folders / "red" / "broken.mp4").write_bytes(b"no video")
    whole = report.scan(class_folders, json=str(tmp_path / "whole.json"))
    output, options = tmp_path / "a.json", {"json": str(tmp_path / "a.json"), "processes": 1}
    for index in (1, 0):
        made = report.scan(class_folders, **options, shard_index=index, shard_count=2)
        assert (made.parts, len(made.missing)) == (13, 6 * index + index)
        assert not output.exists()
    monkeypatch.setattr(examining, "exists", lambda path: False)
    with pytest.raises(DataError, match=r"is not on .*: each machine"):
        report.scan(class_folders, **options, shard_index=0, shard_count=2)
    monkeypatch.undo()
    joined = report.scan(class_folders, **options, finish=True)
    assert output.read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert joined.examinations == whole.examinations
    assert not output.with_name("a.json.parts").exists()
    output.unlink()
    monkeypatch.setattr(examining, "_compared", interrupted)
    with pytest.raises(KeyboardInterrupt):  # when all but the join is done
        report.scan(class_folders, **options)
    monkeypatch.undo()
    monkeypatch.setattr(workers, "_start", lambda *_: pytest.fail("made again"))
    report.scan(class_folders, **options)
    assert output.read_bytes() == (tmp_path / "whole.json").read_bytes()
    with pytest.raises(
        ArgumentError, match="`csv` is missing: what several processes make is kept"
    ):
        report.scan(class_folders, shard_index=0, shard_count=2)
