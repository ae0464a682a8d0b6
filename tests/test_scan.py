"""The doctor: what it finds, within a time limit, and that training honours its list."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import write_video

from keras_r3d.data import annotations, doctor, landmarks, workers
from keras_r3d.data.video import VideoInfo

ROOT = Path(__file__).parent.parent


def scan(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "keras_r3d.scan", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def findings(paths, found=None, **limits) -> dict[str, set[str]]:
    options = {"min_frames": 10, "min_side": 30, "limit_seconds": 60.0, "processes": 2, **limits}
    done = []
    examinations = doctor.scan(
        [str(p) for p in paths],
        annotations=found,
        progress=lambda *numbers: done.append(numbers),
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


def test_a_made_up_count_is_no_truncation(monkeypatch):
    for header_rate, status in [(10.0, "truncated"), (1000.0, "wrong count")]:
        one = doctor.Examination("x", {}, 30, 1000, header_rate, 640, 480, 2.9, 2.9, 0)
        assert set(doctor._judged(one, 16, 112).findings) == {status}


def test_a_segment_behind_the_end_is_found(tmp_path):
    write_video(tmp_path / "a.avi")
    write_video(tmp_path / "b.avi", base=5)
    rows = "path,label,start_seconds,end_seconds\na.avi,x,500,600\nb.avi,y,0,1\n"
    (tmp_path / "manifest.csv").write_text(rows)
    found = annotations.read(tmp_path, "auto")
    paths = [tmp_path / "a.avi", tmp_path / "b.avi"]
    assert findings(paths, found) == {"a.avi": {"segment"}, "b.avi": set()}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0.1 * i for i in range(50)], False),
        ([0.1 * i + 0.02 * (i % 2) for i in range(50)], False),  # a container's rounding
        ([0.1 * i + (0.5 if i > 30 else 0) for i in range(50)], True),
        ([0.1 * i if i < 25 else 0.2 * i for i in range(50)], True),
    ],
)
def test_uneven_times(monkeypatch, seconds, expected):
    none = landmarks.collected({})
    info = VideoInfo(len(seconds), len(seconds), 10.0, np.array(seconds), 64, 64, 0, none)
    monkeypatch.setattr(doctor, "probe", lambda path: info)
    assert ("variable rate" in doctor.examine("x").findings) == expected


def odd_job(what):
    """Runs in another process."""
    if what == "hang":
        time.sleep(600)
    if what == "crash":
        os._exit(139)
    return what * 2


def test_what_hangs_or_crashes_takes_nothing_along():
    started = time.monotonic()
    jobs = ["a", "hang", "b", "crash", "c", "crash", "d"]
    done = dict(workers.run(odd_job, jobs, workers=2, limit_seconds=5))
    assert {i: r for i, r in done.items() if isinstance(r, str)} == {
        0: "aa",
        2: "bb",
        4: "cc",
        6: "dd",
    }
    assert done[1] == workers.Failure("time limit", "not done after 5 s")
    assert done[3] == done[5] == workers.Failure("crash", "its process ended with code 139")
    assert time.monotonic() - started < 60


def test_the_command_reports_and_training_honours_the_quarantine(class_folders, tmp_path):
    bad = class_folders / "red" / "bad.avi"
    bad.write_text("nothing")
    (class_folders / "quarantine.txt").write_text("green/5.avi\n")
    table, report = tmp_path / "scan.csv", tmp_path / "scan.json"
    done = scan(
        class_folders, "--min_frames=8", "--min_side=8", f"--csv={table}", f"--json={report}"
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("\n    ") == 1 + 5 + 1  # five duplicates are shown, and "more"
    assert (
        "1 unreadable: no frame can be had\n    red/bad.avi: OpenCV cannot open it" in done.stdout
    )
    with table.open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file) if row["status"] != "duplicate"}
    assert rows[str(bad)]["status"] == "unreadable"
    one = next(r for r in json.loads(report.read_text()) if r["path"].endswith("red/0.avi"))
    assert (one["frames"], one["width"], one["height"], one["fps"]) == (12, 48, 32, 10.0)
    assert len(annotations.read(class_folders, "folders").splits["train"]) == 12

    done = scan(class_folders, "--min_frames=8", "--min_side=8", "--quarantine")
    assert "leave its files aside" in done.stdout
    listed = (class_folders / "quarantine.txt").read_text().splitlines()
    assert listed == ["green/5.avi", "red/bad.avi"]
    found = annotations.read(class_folders, "folders")
    assert len(found.splits["train"]) == 11
    assert any("2 videos are left aside by" in note for note in found.notes)
    again = scan(class_folders, "--min_frames=8", "--min_side=8", "--quarantine")
    assert again.returncode == 1  # it looks at the quarantined ones, too
    assert (class_folders / "quarantine.txt").read_text().splitlines() == listed


def test_a_folder_without_labels_is_scanned_all_the_same(tmp_path):
    write_video(tmp_path / "loose" / "deep" / "one.avi")
    done = scan(tmp_path / "loose", "--min_side=8")
    assert done.returncode == 0, done.stderr
    assert "Without labels and splits: " in done.stdout
    assert "1 files, 1 without findings" in done.stdout
    one = scan(tmp_path / "loose" / "deep" / "one.avi", "--min_side=8")
    assert "1 files, 1 without findings" in one.stdout
    for arguments, message in [
        ([tmp_path / "nowhere"], "nowhere does not exist"),
        ([tmp_path / "nothing"], "holds no videos"),
        ([], "Missing: SOURCE"),
        ([tmp_path / "loose", "--annotations=gone.csv"], "gone.csv does not exist"),
    ]:
        (tmp_path / "nothing").mkdir(exist_ok=True)
        done = scan(*arguments)
        assert done.returncode == 1
        assert message in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
