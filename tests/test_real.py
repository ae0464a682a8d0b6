"""The recipes on real videos, and the reader on odd files: `KERAS_R3D_REAL_DATA`."""

import csv
import dataclasses
import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from commands import process

from keras_r3d import recipe
from keras_r3d.data import annotations, clips
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.system.errors import VideoError

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def real() -> Path:
    folder = os.environ.get("KERAS_R3D_REAL_DATA")
    if not folder:
        pytest.skip("KERAS_R3D_REAL_DATA is unset")
    return Path(folder)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["gestures", "interactions"])
def test_frame_counts_are_those_that_decode(real, name):
    for row in rows(real / name / "manifest.csv"):
        file = VideoFile(str(real / name / row["path"]))
        index = file.index()
        assert len(index.seconds) == int(row["frames_decoded"]), row["path"]
        assert sum(1 for _ in file.frames(index)) == len(index.seconds), row["path"]
        assert (index.seconds[1:] > index.seconds[:-1]).all(), row["path"]


@pytest.mark.parametrize(
    ("name", "videos", "digest"),
    [("gestures", 102, "fa977b3b3520e4c8"), ("interactions", 41, "1686381feb4fca36")],
)
def test_training_clips_are_those_of_the_documented_results(real, name, videos, digest):
    experiment = recipe.load(name)
    cut = experiment.clips
    found = annotations.read(str(real / name), experiment.videos.annotations).split("train")
    assert len(found) == videos
    reader, drawn = VideoReader(cut.short_side or 0, 1.0), hashlib.sha256()
    for place, video in enumerate(found):
        for epoch in range(2):
            rng = np.random.default_rng([1, epoch, place])
            clip = clips.training_clip(reader, video, cut, rng)
            top, left, height, width, flip, scale = dataclasses.astuple(clip.crop)
            crop = (top, left, height, width, int(flip), scale)
            drawn.update(repr((clip.frame_numbers.tolist(), crop)).encode())
    assert drawn.hexdigest()[:16] == digest


def test_odd_files_give_their_frames_or_a_named_error(real):
    reader = VideoReader(64, 0.0)
    for row in rows(real / "robustness" / "manifest.csv"):
        path = str(real / "robustness" / row["path"])
        started = time.monotonic()
        if row["status"] in ("does not open", "no frames"):
            with pytest.raises(VideoError, match=r"cannot open|no frame|is empty") as error:
                reader.count(Video(path, "a"))
            assert row["path"] in str(error.value)
        else:
            count = reader.count(Video(path, "a"))
            assert count == int(row["frames_decoded"]), row["path"]
            assert sum(1 for _ in reader._stream(Video(path, "a"), 1, 1)) == count
        assert time.monotonic() - started < 60, f"{row['path']} takes too long"
    named = {Path(p.name).name: p.status for p in reader.problems}
    for row in rows(real / "robustness" / "manifest.csv"):
        if row["status"] in ("does not open", "no frames"):
            assert named[row["path"]] == "unreadable"


def test_rotated_videos_are_upright(real):
    reader = VideoReader(0, 0.0)
    for row in rows(real / "robustness" / "manifest.csv"):
        if row["rotation"] in ("90", "270"):
            width, height = map(int, row["size"].split("x"))
            path = str(real / "robustness" / row["path"])
            _, frame = next(reader._stream(Video(path, "a"), 1, 1))
            assert frame.shape[:2] == (width, height), row["path"]


def test_training_and_evaluation_survive_all_odd_files(real, tmp_path, small):
    lines = ["path,label,split"]
    for number, row in enumerate(rows(real / "robustness" / "manifest.csv")):
        split = ("train", "train", "validation", "test")[number % 4]
        path = real / "robustness" / row["path"]
        lines.append(f'"{path}",{"ab"[number // 4 % 2]},{split}')
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "recipe.toml").write_text(recipe.dumps(small), encoding="utf-8")
    output = process(
        "keras_r3d.train",
        f"--recipe={tmp_path / 'recipe.toml'}",
        f"--data_dir={tmp_path / 'list.csv'}",
        f"--workdir={tmp_path / 'run'}",
    )
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    bad = {
        row["path"]
        for row in rows(real / "robustness" / "manifest.csv")
        if row["status"] in ("does not open", "no frames")
    }
    records = evaluation["records"]
    assert evaluation["videos"] == len(records) == 33
    errors = {Path(r["video"]).name for r in records if r["status"] == "error"}
    assert errors == bad & {Path(r["video"]).name for r in records}
    assert evaluation["errors"] == len(errors)
    for name in errors:
        assert name in output
    broken = {Path(r["video"]).name for r in rows(tmp_path / "run" / "problems.csv")}
    trained_on = {
        row["path"]
        for number, row in enumerate(rows(real / "robustness" / "manifest.csv"))
        if number % 4 != 3
    }
    assert bad & trained_on <= broken


def test_gestures_reach_90_percent_and_need_the_order_of_frames(real, tmp_path):
    process(
        "keras_r3d.train",
        "--recipe=gestures",
        f"--data_dir={real / 'gestures'}",
        f"--workdir={tmp_path / 'run'}",
    )
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["videos"] == 40
    assert evaluation["errors"] == 0
    assert evaluation["video_top1"] >= 0.9
    assert shuffled_top1(tmp_path / "run") <= evaluation["video_top1"] - 0.3


def test_interactions_train_and_evaluate(real, tmp_path):
    process(
        "keras_r3d.train",
        "--recipe=interactions",
        f"--data_dir={real / 'interactions'}",
        f"--workdir={tmp_path / 'run'}",
        "--set=train.epochs=5",
    )
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["videos"] == 19
    assert evaluation["errors"] == 0


def shuffled_top1(folder: Path) -> float:
    from shuffling import video_top1

    from keras_r3d import run_folder

    return video_top1(run_folder.open_run(folder), shuffle=True)
