"""Answers for videos: from Python, and by the command, run in this process and in its own."""

import base64
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import av
import commands
import cv2
import exports
import numpy as np
import predictions
import pytest
from color_model import CLASSES, classifier_of, color_model
from conftest import write_video
from html_pages import Page
from mjpeg_server import Camera

from keras_r3d import VideoClassifier
from keras_r3d import predict as predict_command
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import video_writer
from keras_r3d.data.decoding.frame_folder import timed_frames
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.inference.evaluation.evaluating import evaluate_videos
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction import kept
from keras_r3d.inference.prediction import predictions as predictions_module
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.predictions import Predictions
from keras_r3d.system.errors import R3DError, VideoError, WriteError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def opened(small) -> Classifier:
    return classifier_of(color_model(), small.clips)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Videos of 18, 9 and 3 frames, one that breaks in the middle, and one that is none."""
    root = tmp_path_factory.mktemp("videos")
    write_video(root / "long.avi", 18, tint=(1, 0.2, 0), base=60)
    write_video(root / "deep" / "green.avi", 9, tint=(0.2, 1, 0), base=60)
    write_video(root / "short.avi", 3, tint=(1, 0.2, 0), base=60)
    cut = write_video(root / "cut.avi", 40, 96, 128, tint=(0.2, 1, 0), base=10)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    (root / "none.mp4").write_bytes(b"no video")
    return root


def predict(*words) -> tuple[int, str]:
    return commands.run(predict_command.main, *words)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, small) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    shares = {"a": 0.05, "b": 0.002}
    for name, share in shares.items():
        exports.run_of(color_model(share), root / name, CLASSES, experiment=small)
    return [root / name for name in shares]


def test_scores_are_an_evaluation_s_to_the_bit(opened, folder):
    paths = [folder / "long.avi", folder / "deep" / "green.avi", folder / "short.avi"]
    videos = [Video(str(path), "red") for path in paths]
    evaluated = evaluate_videos(opened, VideoReader(0, 0), videos, split="test")
    for number, path in enumerate(paths):
        (found,) = predictions.score_files(opened, [Video(str(path), "")])
        own = evaluated.window_videos == number
        assert (found.scores == evaluated.video_scores[number]).all()
        assert (found.window_scores == evaluated.window_scores[own]).all()
        assert len(found.window_scores) == [5, 3, 1][number]
        assert found.labels == CLASSES
        assert found.top(1)[0][0] == ["red", "green", "red"][number]
        assert found.status == "ok"
    assert found.detail.endswith("short.avi: 3 frames, repeated to the 4 of a clip.")


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.mp4", "cannot be opened as"), ("gone.mp4", "no such file"), ("deep", "no numbered")],
)
def test_what_is_no_video_is_an_error(runs, opened, folder, name, message):
    (found,) = predictions.score_files(opened, [Video(str(folder / name), "")])
    assert (found.status, found.top(1)) == ("error", [])
    assert re.search(message, found.detail)
    if name != "deep":  # a folder names several
        with pytest.raises(VideoError, match=message):
            VideoClassifier(runs[0]).predict(folder / name)


def test_a_folder_of_pictures_is_one_video(runs, folder, tmp_path):
    for name, end in (("v", 18), ("w", 9)):
        (tmp_path / "all" / name).mkdir(parents=True)
        for number, (_, frame) in enumerate(timed_frames(str(folder / "long.avi"))):
            if number < end:
                path = tmp_path / "all" / name / f"image_{number:05}.png"
                cv2.imwrite(str(path), frame[..., ::-1])
    classifier = VideoClassifier(runs[0])
    found = classifier.predict(tmp_path / "all" / "v", frame_rate=10)
    assert found.top(1)[0][0] == classifier.predict(folder / "long.avi").top(1)[0][0]
    assert found.window_seconds[:, 0] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6])
    found.save(tmp_path / "copy.mp4")
    assert [time for time, _ in timed_frames(str(tmp_path / "copy.mp4"))][-1] == pytest.approx(1.7)
    (tmp_path / "test.txt").write_text("all/v\nall/w\nall/gone\n")
    code, out = predict("--workdir", runs[0], tmp_path / "test.txt", "--top=1")
    assert code == 1
    assert "3 videos: 2 ok, 0 partial, 1 error." in out
    assert len(list(classifier.predict(tmp_path / "all"))) == 2


def test_a_folder_is_predicted_and_a_broken_file_is_the_exit_code(runs, folder, tmp_path):
    code, out = predict(
        *("--workdir", runs[0], folder, "--top=1", "--json", tmp_path / "all.json"),
        *("--csv", tmp_path / "all.csv", "--timeline", tmp_path / "lines"),
        *("--annotate", tmp_path / "copies", "--html", tmp_path / "pages"),
    )
    assert code == 1
    assert "5 videos: 3 ok, 1 partial, 1 error." in out
    (line,) = [line for line in out.splitlines() if "none.mp4" in line]
    assert line.endswith("error: it cannot be opened as a video (truncated, or no "
                         "video).")  # fmt: skip
    records = json.loads((tmp_path / "all.json").read_text())
    by_name = {Path(record["video"]).stem: record for record in records}
    assert {name: record["status"] for name, record in by_name.items()} == {
        "cut": "partial",
        "green": "ok",
        "long": "ok",
        "none": "error",
        "short": "ok",
    }
    assert "repeated to the 4 of a clip" in by_name["short"]["detail"]
    assert by_name["long"]["windows"] == 5
    assert by_name["long"]["seconds"] == pytest.approx(1.8)
    assert (by_name["none"]["top"], by_name["none"]["seconds"]) == ([], None)
    for name in ("long", "green", "short", "cut"):
        found = VideoClassifier(runs[0]).predict(by_name[name]["video"])
        label, score = found.top(1)[0]
        assert by_name[name]["top"] == [{"label": label, "score": score}]
        assert len(VideoFile(str(tmp_path / "copies" / f"{name}.mp4")).index().seconds) >= 3
    assert {path.stem for path in (tmp_path / "pages").iterdir()} == {
        "long",
        "green",
        "short",
        "cut",
    }
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["video"] for row in rows] == [record["video"] for record in records]
    assert [row["label_1"] for row in rows if row["status"] == "ok"] == ["green", "red", "red"]
    drawn = sorted(path.name for path in (tmp_path / "lines").iterdir())
    assert drawn == [f"{n}.{s}" for n in ("cut", "green", "long", "short") for s in ("csv", "png")]
    assert not (tmp_path / "copies" / "none.mp4").exists()


def test_partial_videos_and_lists_on_stdin_leave_with_0(runs, folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{folder}/cut.avi\n{folder}/long.avi\n"))
    code, out = predict("--workdir", runs[0], "-")
    assert code == 0
    assert "2 videos: 1 ok, 1 partial, 0 error." in out
    assert out.index("cut.avi") < out.index("long.avi")


def test_a_glob_that_nothing_fits_is_one_line(runs, folder, tmp_path):
    given = [f"{folder}/*.webm", folder / "long.avi", "--json", tmp_path / "a.json"]
    code, out = predict("--workdir", runs[0], *given, "--top=1")
    assert code == 1
    assert "2 videos: 1 ok, 0 partial, 1 error." in out
    first, second = json.loads((tmp_path / "a.json").read_text())
    assert (first["status"], second["status"]) == ("error", "ok")
    assert first["detail"] == f"{folder}/*.webm: there is no such file."


def test_two_runs_are_fused(runs, folder, tmp_path):
    video = folder / "long.avi"
    code, _ = predict(
        *(video, "--fuse", runs[0], runs[1], "--weights", 1, 3, "--json", tmp_path / "f.json"),
        *("--timeline", tmp_path / "lines"),
    )
    assert code == 0
    (record,) = json.loads((tmp_path / "f.json").read_text())
    a, b = (VideoClassifier(run).predict(video).scores for run in runs)
    assert record["top"][0]["score"] == pytest.approx(float(0.25 * a[1] + 0.75 * b[1]))
    assert (tmp_path / "lines" / "long.csv").is_file()


def test_python_writes_what_the_command_writes(runs, folder, tmp_path):
    first, second = map(VideoClassifier, runs)
    fused = VideoClassifier.fused([first, second], [1, 3])
    path = folder / "long.avi"
    found = fused.predict(path, json=tmp_path / "a.json", annotate=tmp_path / "copy.mp4", top=1)
    expected = 0.25 * first.predict(path).scores + 0.75 * second.predict(path).scores
    assert found.scores == pytest.approx(expected)
    (record,) = json.loads((tmp_path / "a.json").read_text())
    assert record == found.record(1)
    assert len(VideoFile(str(tmp_path / "copy.mp4")).index().seconds) == 18
    coming = fused.predict([path, folder / "none.mp4"], csv=tmp_path / "a.csv")
    assert [one.status for one in coming] == coming.statuses == ["ok", "error"]
    assert coming.written == [tmp_path / "a.csv"]
    with pytest.raises(R3DError, match=r"a\.csv already exists"):
        first.predict(path, csv=tmp_path / "a.csv")


def test_the_page_of_a_video_plays_it_beside_its_scores(runs, folder, tmp_path):
    segment = Video(str(folder / "long.avi"), "", 0.4, 1.4)  # 10 frames a second
    found = VideoClassifier(runs[0]).predict(segment)
    page = Page(found.save(tmp_path / "page.html").read_text())
    assert np.array(page.data["windows"]) == pytest.approx(found.window_seconds)
    assert page.data["start"] == 0.4
    series = {line["name"]: line for line in page.data["chart"]["series"]}
    assert series.keys() == set(found.labels)
    for number, label in enumerate(found.labels):
        assert series[label]["y"] == pytest.approx(found.window_scores[:, number], rel=1e-5)
        assert series[label]["x"] == pytest.approx(found.window_seconds.mean(axis=1))
    (source,) = [value for name, value in page.attributes if name == "src"]
    clip = base64.b64decode(source.removeprefix("data:video/mp4;base64,"))
    frames = list(av.open(io.BytesIO(clip)).decode(video=0))
    assert [round(frame.time, 2) for frame in frames] == [n / 10 for n in range(10)]
    colors = np.stack([frame.to_ndarray(format="rgb24").mean(axis=(0, 1)) for frame in frames])
    assert (colors[:, 0] > colors[:, 2] + 40).all(), "RGB: the video is red"
    with pytest.raises(R3DError, match=r"page\.html already exists"):
        found.save(tmp_path / "page.html")
    for given, message in [
        (["--html", tmp_path / "a.mp4"], r"--html must end in \.html, or name a folder"),
        (["--annotate", tmp_path / "a", "--segments"], "--annotate is not for --segments"),
    ]:
        code, out = predict("--workdir", runs[0], folder / "long.avi", *given)
        assert code == 1
        assert re.search(message, out)


def test_python_watches_as_the_command_does(runs, folder, tmp_path):
    classifier = VideoClassifier(runs[0])
    seen = list(classifier.watch(str(folder / "long.avi"), json=tmp_path / "a.jsonl", top=1))
    assert [sighting.top(1)[0][0] for sighting in seen] == ["red"] * len(seen)
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [sighting.record(1) for sighting in seen]
    assert len(seen) > 1
    with pytest.raises(VideoError, match="no window was scored: 3 frames came"):
        list(classifier.watch(str(folder / "short.avi")))


def test_a_copy_of_one_video_is_a_file(runs, folder, tmp_path):
    code, out = predict(
        "--workdir", runs[0], folder / "long.avi", "--annotate", tmp_path / "copy.mp4"
    )
    assert code == 0
    assert f"Written: {tmp_path / 'copy.mp4'}" in out
    assert len(VideoFile(str(tmp_path / "copy.mp4")).index().seconds) == 18


def test_an_interrupted_prediction_keeps_what_is_done_and_resumes(
    runs, folder, tmp_path, monkeypatch
):
    given = ["--workdir", runs[0], folder / "long.avi", folder / "short.avi"]
    given += ["--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv"]
    given += ["--timeline", tmp_path / "lines", "--annotate", tmp_path / "copies"]
    original = Prediction.record

    def interrupted(found, k):
        if "short" in found.video:
            raise KeyboardInterrupt
        return original(found, k)

    monkeypatch.setattr(Prediction, "record", interrupted)
    assert predict(*given)[0] == 130
    left = {path.name for path in tmp_path.iterdir()}
    unfinished = {f"{n}.unfinished" for n in ("a.json", "a.csv", "lines", "copies")}
    assert left == {*unfinished, "a.json.parts"}
    (record,) = json.loads((tmp_path / "a.json.unfinished").read_text())
    assert record["video"].endswith("long.avi")
    assert (tmp_path / "copies.unfinished" / "long.mp4").is_file()
    (tmp_path / "lines.unfinished" / "gone.png").write_bytes(b"of a video that is named no more")
    monkeypatch.setattr(Prediction, "record", original)
    scored, score = [], kept.score
    monkeypatch.setattr(kept, "score", lambda *a, **b: scored.extend(a[2]) or score(*a, **b))
    code, out = predict(*given)
    assert code == 0
    assert [
        Path(video.path).name for video in scored
    ] == []  # both were, before the second's record
    assert out.count("Written: ") == 4
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "a.csv", "lines", "copies"}
    assert len(json.loads((tmp_path / "a.json").read_text())) == 2
    drawn = {path.name for path in (tmp_path / "lines").iterdir()}
    assert drawn == {f"{name}.{kind}" for name in ("long", "short") for kind in ("png", "csv")}


@pytest.mark.parametrize("models", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_shares_give_the_same_files(runs, folder, tmp_path, models):
    given = [folder, *(("--workdir", runs[0]) if models == 1 else ("--fuse", *runs)), "--top=2"]
    outputs = {"json": "a.json", "csv": "a.csv", "timeline": "lines", "annotate": "copies"}

    def run(place, *words):
        places = [word for n, p in outputs.items() for word in (f"--{n}", place / p)]
        return predict(given[0], *places, *words, *given[1:])

    (tmp_path / "whole").mkdir()
    (tmp_path / "shared").mkdir()
    assert run(tmp_path / "whole")[0] == 1  # one is broken
    for index, made in ((0, "2 of 5 parts are made; 3 are missing."), (2, "3 of 5 parts are made")):
        code, out = run(tmp_path / "shared", f"--shard_index={index}", "--shard_count=3")
        assert (code, made in out) == (0, True), out
        assert [path.name for path in (tmp_path / "shared").iterdir()] == ["a.json.parts"]
    code, out = run(tmp_path / "shared", "--finish")
    assert code == 1
    assert "lacks 2 of its 5 parts: 1, 4. Make them (--shard_index, --shard_count), then" in out
    run(tmp_path / "shared", "--shard_index=1", "--shard_count=3")
    code, out = run(tmp_path / "shared", "--finish")
    assert (code, out.count("Written: ")) == (1, 4), out
    for path in (tmp_path / "whole").rglob("*"):
        other = tmp_path / "shared" / path.relative_to(tmp_path / "whole")
        assert path.is_dir() or path.suffix == ".mp4" or path.read_bytes() == other.read_bytes()
    assert len(list((tmp_path / "shared").iterdir())) == 4
    assert (
        "--json is missing: what several processes make is kept beside it"
        in (predict(folder, "--workdir", runs[0], "--shard_index=0", "--shard_count=3")[1])
    )


def test_segments_of_a_list_are_scored_each(runs, opened, folder, tmp_path):
    path = folder / "long.avi"
    rows = f"path,start_seconds,end_seconds\n{path},0,0.8\n{path},0.8,\n{path},70,80\n{path},,\n"
    (tmp_path / "list.csv").write_text(rows)
    code, out = predict(
        *("--workdir", runs[0], tmp_path / "list.csv", "--json", tmp_path / "all.json"),
        *("--timeline", tmp_path / "lines", "--annotate", tmp_path / "copies", "--top=1"),
    )
    assert code == 1
    names = [f"{path} [0-0.8 s]", f"{path} [0.8-inf s]", f"{path} [70-80 s]", str(path)]
    lines = [line for line in out.splitlines() if line.startswith(str(path))]
    assert [line.startswith(name) for line, name in zip(lines, names, strict=True)] == [True] * 4
    assert lines[2].endswith("error: the segment begins at 70 s, but the video ends at 1.8 s.")
    records = json.loads((tmp_path / "all.json").read_text())
    assert [record["video"] for record in records] == names
    assert [record["seconds"] for record in records] == pytest.approx([0.8, 1.0, None, 1.8])
    videos = [Video(str(path), "red", 0.0, 0.8), Video(str(path), "red", 0.8)]
    evaluated = evaluate_videos(opened, VideoReader(0, 0), videos, split="test")
    for record, video, scores in zip(records, videos, evaluated.video_scores, strict=False):
        assert record["top"][0]["score"] == scores.max()
        found = VideoClassifier(runs[0]).predict(video)
        assert (found.scores == scores).all()
    assert {file.name for file in (tmp_path / "copies").iterdir()} == {
        *("long.avi [0-0.8 s].mp4", "long.avi [0.8-inf s].mp4", "long.avi.mp4")
    }
    for name, count in (("long.avi [0-0.8 s]", 8), ("long.avi [0.8-inf s]", 10), ("long.avi", 18)):
        assert len(list(timed_frames(str(tmp_path / "copies" / f"{name}.mp4")))) == count
        assert (tmp_path / "lines" / f"{name}.png").is_file()


def test_what_is_done_is_on_the_disk_before_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(predictions_module, "_SECONDS", 0.0)
    made = [predictions.make(f"{n}.mp4", ["x", "y"], [[0.75, 0.25]]) for n in (1, 2)]
    coming = Predictions(["1.mp4", "2.mp4"], made, json=tmp_path / "a", top=1)
    assert next(coming) is made[0]
    assert coming.lacking == []
    (record,) = json.loads((tmp_path / "a.unfinished").read_text())
    assert record["top"] == [{"label": "x", "score": 0.75}]
    (tmp_path / "a").write_text("of another")
    with pytest.raises(R3DError, match="written by something else meanwhile"):
        list(coming)
    assert (tmp_path / "a").read_text() == "of another"


@pytest.mark.parametrize("made", ["notes.txt", "deep/x.png"])
def test_a_folder_of_something_else_is_not_emptied(tmp_path, made):
    mine = tmp_path / "lines.unfinished" / made
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(R3DError, match="is in the way"):
        Predictions(["1.mp4"], [], timeline=tmp_path / "lines")
    assert mine.read_text() == "mine"


def test_a_copy_that_cannot_be_written_stops_no_other(runs, folder, tmp_path, monkeypatch):
    write = video_writer.write

    def failing(path, *arguments, **more):
        if "long" in path.name:
            raise WriteError(f"Could not write {path}: 0 of 18 frames arrived.")
        write(path, *arguments, **more)

    monkeypatch.setattr(video_writer, "write", failing)
    videos = [folder / "long.avi", folder / "short.avi"]
    code, out = predict("--workdir", runs[0], *videos, "--annotate", tmp_path / "copies")
    assert code == 1
    assert out.count("  no copy: ") == 1
    assert "2 videos: 2 ok, 0 partial, 0 error." in out
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["short.mp4"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Missing: VIDEOS. See --help. They come before --fuse and --weights"),
        (["VIDEO"], "Name a model: --model RUN, --model FILE or --fuse RUN_A RUN_B"),
        (["VIDEO", "--workdir=RUN", "--fuse", "RUN", "RUN"], "Name a model"),
        (["VIDEO", "--workdir=RUN", "--recipe=demo"], "a run has its own"),
        (["VIDEO", "--workdir=RUN", "--weights", "1"], "--weights is for --fuse"),
        (["VIDEO", "--fuse", "RUN"], "at least two models"),
        (["VIDEO", "--workdir=RUN", "--json=VIDEO"], "already exists; choose another --json"),
        (["VIDEO", "--workdir=RUN", "--csv=no/such/x.csv"], "there is no such folder"),
        (["VIDEO", "--workdir=RUN", "--timeline=RUN"], "already exists; choose another --timeline"),
        (
            ["VIDEO", "--workdir=RUN", "--annotate=VIDEO"],
            "already exists; choose another --annotate",
        ),
        (["VIDEO", "RUN/x.avi", "--workdir=RUN", "--annotate=x.mp4"], "there are 2 videos"),
        (["VIDEO", "--workdir=RUN", "--annotate=x.mov"], "must end in .mp4 or .avi"),
        (["VIDEO", "--workdir=RUN", "--every=1"], "--every is for live sources, not for files"),
        (["0", "--workdir=RUN", "--csv=x"], "--csv is for files, not for live sources"),
        (["0", "VIDEO", "--workdir=RUN"], "A live source is watched alone"),
        (["0", "--fuse", "RUN", "RUN"], "--fuse is for files"),
        (["VIDEO", "--workdir=RUN", "--protocol=9x9"], "--protocol must be one of"),
    ],
)
def test_what_cannot_be_is_said(runs, folder, words, message):
    names = {"VIDEO": str(folder / "long.avi"), "RUN": str(runs[0])}
    given = []
    for word in words:
        for name, path in names.items():
            word = word.replace(name, path)
        given.append(word)
    code, out = predict(*given)
    assert code == 1
    assert re.search(message, out)


def test_a_live_source_prints_and_appends_lines(runs, tmp_path):
    (tmp_path / "seen.jsonl").write_text('{"before": 1}\n')
    with Camera() as camera:
        code, out = predict(
            *("--workdir", runs[0], camera.url, "--duration=1.5", "--smooth=2"),
            *("--json", tmp_path / "seen.jsonl"),
        )
    assert code == 0
    lines = (tmp_path / "seen.jsonl").read_text().splitlines()
    assert lines[0] == '{"before": 1}'
    records = [json.loads(line) for line in lines[1:]]
    assert len(records) >= 3
    assert re.search(rf"{len(records)} windows in \d\.\d s", out)
    assert out.count(" latency ") == len(records)
    assert {one["label"] for one in records[0]["top"]} == set(CLASSES)
    assert all(record["latency_seconds"] < 60 for record in records)


@pytest.mark.slow
def test_a_decoder_that_hangs_does_not_keep_the_process(runs, folder):
    script = (
        "import sys, threading\n"
        "from keras_r3d import predict\n"
        "from keras_r3d.data.decoding.video_file import VideoFile\n"
        "frames = VideoFile.frames\n"
        "def hang(self, *arguments):\n"
        "    if 'short' in self.path:\n"
        "        threading.Event().wait()\n"
        "    yield from frames(self, *arguments)\n"
        "VideoFile.frames = hang\n"
        "predict.main()\n"
    )
    given = [str(folder / "short.avi"), str(folder / "long.avi"), f"--workdir={runs[0]}"]
    done = subprocess.run(
        [sys.executable, "-c", script, *given, "--timeout=1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "error: nothing decoded in 1 s: it was given up" in done.stdout
    assert "2 videos: 1 ok, 0 partial, 1 error." in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_command_leaves_what_is_done(runs, folder, tmp_path, number):
    script = (
        "import time\n"
        "from keras_r3d import predict\n"
        "from keras_r3d.inference.prediction import predictions\n"
        "from keras_r3d.inference.prediction.prediction import Prediction\n"
        "predictions._SECONDS = 0.0\n"
        "record = Prediction.record\n"
        "def slow(found, k):\n"
        "    if 'short' in found.video:\n"
        "        print('waiting', flush=True)\n"
        "        time.sleep(60)\n"
        "    return record(found, k)\n"
        "Prediction.record = slow\n"
        "predict.main()\n"
    )
    given = [str(folder / "long.avi"), str(folder / "short.avi"), f"--workdir={runs[0]}"]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *given, f"--json={tmp_path / 'a.json'}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.stdout.readline() not in ("waiting\n", ""):
        pass
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    codes = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
    assert process.returncode == codes[number], said
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.json.unfinished", "a.json.parts"}
    assert len(json.loads((tmp_path / "a.json.unfinished").read_text())) == 1
    if number != signal.SIGKILL:
        assert "Not finished: 1 of 2 videos are in " in said


@pytest.mark.slow
def test_an_error_while_threads_decode_ends_without_a_crash(runs, tmp_path):
    for number in range(12):
        write_video(tmp_path / f"{number}.avi", 40, 480, 640)
    given = [sys.executable, "-m", "keras_r3d.predict", f"--workdir={runs[0]}", str(tmp_path)]
    process = subprocess.Popen(
        given, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(3):
        process.stdout.readline()
    process.stdout.close()  # as `head` does
    assert process.wait(60) == 128 + signal.SIGPIPE
    assert process.stderr.read() == ""


@pytest.mark.real
def test_odd_files_get_a_line_each_and_nothing_else(small, runs, tmp_path):
    real = os.environ.get("KERAS_R3D_REAL_DATA")
    if not real:
        pytest.skip("KERAS_R3D_REAL_DATA is unset")
    source = Path(real) / "robustness"
    given = [f"--workdir={runs[0]}", source, f"--json={tmp_path / 'j'}", f"--annotate={tmp_path}/a"]
    done = subprocess.run(
        [sys.executable, "-m", "keras_r3d.predict", *map(str, given), "--timeout=60"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == ""
    with (source / "manifest.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    records = json.loads((tmp_path / "j").read_text())
    assert {os.path.basename(record["video"]) for record in records} == set(rows)
    for record in records:
        row = rows[os.path.basename(record["video"])]
        if row["codec"] == "AV01":  # the list is of OpenCV, which has no AV1
            continue
        broken = row["status"] in ("does not open", "no frames")
        assert (record["status"] == "error") == broken, record
        if not broken:
            assert record["windows"] == -(-int(row["frames_decoded"]) // 4), record
    copies = {path.name for path in (tmp_path / "a").iterdir()}
    assert len(copies) == sum(record["status"] != "error" for record in records)
