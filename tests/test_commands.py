"""The commands as a user runs them, from folders to exports."""

import csv
import importlib
import json
import runpy
import shlex
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import keras
import numpy as np
import pth
import pytest
import tensorflow as tf
from commands import ROOT, output, process
from conftest import write_classes

from keras_r3d import applications, evaluate, recipe, train
from keras_r3d.__main__ import COMMANDS
from keras_r3d.system import command


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small) -> Path:
    """A run on red and green videos, one of them broken; read by the tests below."""
    root = tmp_path_factory.mktemp("commands")
    write_classes(root / "data", 8, base=60)
    (root / "data" / "red" / "broken.mp4").write_bytes(b"no video")
    (root / "recipe.toml").write_text(recipe.dumps(small), encoding="utf-8")
    shown = process(
        "keras_r3d.train",
        f"--recipe={root / 'recipe.toml'}",
        f"--data_dir={root / 'data'}",
        f"--workdir={root / 'run'}",
        "--set=train.epochs=3",
        "--histograms",
    )
    (root / "output.txt").write_text(shown)
    return root


def test_training_fills_the_run_folder(trained):
    folder = trained / "run"
    assert {p.name for p in folder.iterdir()} >= {
        "recipe.toml",
        "classes.txt",
        "best.keras",
        "last.keras",
        "log.csv",
        "tensorboard",
        "curves.png",
        "clips.png",
        "summary.json",
        "evaluation.json",
        "confusion.png",
        "report.html",
    }
    assert (folder / "classes.txt").read_text() == "green\nred\n"
    assert recipe.load(str(folder / "recipe.toml")).train.epochs == 3
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    columns = {"loss", "clip_top1", "learning_rate", "clips_per_second", "data_wait"}
    assert columns <= set(rows[0])
    assert all(float(row["clips_per_second"]) > 0 for row in rows)
    assert all(0 <= float(row["data_wait"]) <= 1 for row in rows)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "trained"
    assert summary["videos"] == {"train": 13, "test": 4}  # 2 more are too few for validation


def test_tensorboard_gets_figures_and_histograms(trained):
    (path,) = (trained / "run" / "tensorboard" / "train").iterdir()
    events = tf.compat.v1.train.summary_iterator(str(path))
    tags = {value.tag for event in events for value in event.summary.value}
    assert {"epoch/loss", "conv1/kernel", "training clips"} <= tags, tags


def test_the_model_file_knows_its_classes_and_its_input(trained):
    model = keras.models.load_model(trained / "run" / "best.keras")
    about = applications.read_metadata(model)
    means = recipe.load(str(trained / "run" / "recipe.toml")).model.mean
    assert (about.labels, about.mean, about.normalises) == (("green", "red"), means, True)


def test_the_broken_video_is_named_wherever_it_fell(trained):
    output = (trained / "output.txt").read_text()
    assert "broken.mp4: it cannot be opened as a video" in output
    assert "broken.mp4,unreadable" in (trained / "run" / "problems.csv").read_text()


def test_the_output_says_what_to_run_next(trained):
    output = (trained / "output.txt").read_text()
    assert "clip accuracy           video accuracy" in output
    assert f" -m keras_r3d.evaluate --model {trained / 'run'}" in output
    assert "UserWarning" not in output


def test_evaluate_repeats_the_result(trained):
    path = trained / "run" / "evaluation.json"
    before = json.loads(path.read_text())
    shown = output(evaluate.main, f"--workdir={trained / 'run'}")
    assert json.loads(path.read_text()) == before
    assert "clip accuracy           video accuracy" in shown
    # A broken video is among them.
    output(evaluate.main, f"--workdir={trained / 'run'}", "--split=train", code=1)
    assert json.loads(path.read_text()) == before
    other = json.loads((trained / "run" / "evaluations" / "train" / "evaluation.json").read_text())
    assert other["split"] == "train"
    assert other["videos"] == 13


@pytest.mark.slow
@pytest.mark.parametrize("module", ["export", "keras_r3d.export"])
def test_exports_agree_with_keras(trained, tmp_path, module):
    run_folder = f"--workdir={trained / 'run'}"
    shown = process(module, run_folder, "--format=tflite", f"--output={tmp_path / 'm.tflite'}")
    assert "largest difference" in shown
    assert (tmp_path / "m.tflite").stat().st_size > 1000
    words = (run_folder, "--format=saved_model", f"--output={tmp_path / 'served'}")
    shown = output(importlib.import_module("keras_r3d.export.__main__").main, *words)
    assert f"Written: {tmp_path / 'served' / '1'}" in shown
    assert "largest difference" in shown


def test_a_folder_with_another_run_is_left_alone(trained):
    before = sorted((p, p.stat().st_mtime_ns) for p in (trained / "run").rglob("*"))
    words = (trained / "data", f"--recipe={trained / 'recipe.toml'}")
    shown = output(train.main, *words, f"--workdir={trained / 'run'}", code=1)
    assert "holds a run of another recipe:\n  train.epochs: 3 in the run, 2 now\n" in shown
    assert "start over with --fresh (the old run is moved aside; not at a URL)" in shown
    assert sorted((p, p.stat().st_mtime_ns) for p in (trained / "run").rglob("*")) == before


@pytest.mark.slow
def test_no_space_while_saving_is_one_sentence(trained, tmp_path):
    """A file-size limit stands in for a full disk: the same error comes from the same writes."""
    script = (
        "ulimit -f 100; trap '' XFSZ; "
        f"{sys.executable} -m keras_r3d.train --recipe={trained / 'recipe.toml'} "
        f"--data_dir={trained / 'data'} --workdir={tmp_path / 'run'}"
    )
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "Error: Could not write" in output
    assert "Traceback" not in output
    assert not list((tmp_path / "run").glob("*partial*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["keras_r3d.train"], "--recipe is missing: one of ['c3d', 'demo', "),
        (["keras_r3d.train", "--recipe=dmo"], "Unknown recipe 'dmo'. Did you mean 'demo'?"),
        (
            ["keras_r3d.train", "--recipe=demo", "--set=train.epoch=3"],
            "Unknown recipe key 'train.epoch'. Did you mean 'train.epochs'?",
        ),
        (
            ["keras_r3d.train", "--recipe=kinetics34"],
            "Recipe 'kinetics34' needs videos: pass --data_dir DATA_DIR, where it expects",
        ),
        (
            ["keras_r3d.train", "--recipe=gestures"],
            "or DATA_DIR/CLASS/video.mp4",
        ),
        (
            ["keras_r3d.train", "--recipe=kinetics34", "--data_dir=/nowhere"],
            "The data folder /nowhere does not exist",
        ),
        (["benchmarks.__main__"], "Missing: KIND. See --help."),
        (
            ["benchmarks.__main__", "speed"],
            "must be one of ['train', 'few', 'few_shots', 'evaluate', 'export'",
        ),
        (["benchmarks.__main__", "checkpoint"], "--file is missing"),
        (["benchmarks.__main__", "checkpoint", "--file=/nowhere"], "There is no file /nowhere"),
        (["benchmarks.__main__", "train", "--model=r3d9"], "--model must be one of"),
        (["benchmarks.__main__", "pipeline"], "--data is missing"),
        (
            ["benchmarks.__main__", "pipeline", "--data=/nowhere"],
            "The data folder /nowhere does not exist",
        ),
        (["keras_r3d.train", "a", "b"], "Unknown argument 'b': flags start with `--`."),
        (
            ["keras_r3d.train", "a", "--data_dir=b", "--recipe=few"],
            "--data_dir is the same as DATA: name one.",
        ),
        (["keras_r3d.evaluate"], "Name a model: --model RUN, --model FILE or --fuse RUN_A RUN_B."),
        (["keras_r3d.evaluate", "--workdir=/nowhere"], "--workdir /nowhere does not exist"),
        (
            ["keras_r3d.export.__main__", "--workdir=/nowhere", "--format=pb"],
            "--format must be one of",
        ),
        (
            ["keras_r3d.export.__main__", "--format=tflite"],
            "--model is missing: a run, such as runs/demo",
        ),
    ],
)
def test_a_wrong_call_ends_in_one_message(words, message):
    module, *rest = words
    assert message in output(importlib.import_module(module).main, *rest, code=1)
    assert not tracemalloc.is_tracing()  # which would slow down all tests after this


@pytest.mark.slow
def test_benchmark_checkpoint_writes_its_figures(tmp_path):
    array = np.zeros((1000, 1000), np.float32)
    path = pth.write_zip(tmp_path / "c.pth", {"w": array})
    shown = process("benchmarks", "checkpoint", f"--file={path}", f"--json={tmp_path / 'c.json'}")
    assert "peak memory" in shown
    figures = json.loads((tmp_path / "c.json").read_text())
    assert figures["megabytes_of_tensors"] == pytest.approx(4)
    assert set(figures["contenders"]) == {"plain bytes", "tensors"}
    assert figures["options"]["file"] == str(path)


@pytest.mark.slow
def test_benchmark_train_writes_its_figures(tmp_path):
    shown = process(
        "benchmarks",
        "train",
        "--model=r3d10",
        "--batch_size=1",
        "--frames=2",
        "--size=16",
        "--rounds=2",
        f"--json={tmp_path / 'b.json'}",
    )
    assert "A saved state: " in shown
    figures = json.loads((tmp_path / "b.json").read_text())
    for name, row in figures["contenders"].items():
        if row["problem"]:
            assert name in {"PyTorch, float32", "PyTorch, bfloat16"}
            assert "not importable" in row["problem"]
        else:
            assert row["rate"] > 0


@pytest.mark.slow
def test_benchmark_pipeline_writes_its_figures(trained, tmp_path):
    shown = process(
        "benchmarks",
        "pipeline",
        f"--data={trained / 'data'}",
        f"--recipe={trained / 'recipe.toml'}",
        "--clips=4",
        "--rounds=1",
        "--cores=1",
        "--gpu_clips_per_second=200",
        f"--json={tmp_path / 'p.json'}",
    )
    assert "A GPU that trains at 200 clips/s needs" in shown
    figures = json.loads((tmp_path / "p.json").read_text())
    assert figures["contenders"]["keras_r3d, from videos"]["rate"] > 0
    assert list(figures["cores_needed"]) == ["200"]


def test_a_missing_split_is_said_before_the_training(trained, tmp_path):
    words = (
        trained / "data",
        f"--recipe={trained / 'recipe.toml'}",
        f"--workdir={tmp_path / 'run'}",
    )
    shown = output(train.main, *words, "--set=videos.hold_out.test=", code=1)
    assert "There are no videos in split 'test'" in shown
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_is_two_screens_with_an_example(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"keras_r3d.{name}", "--help"])
    runpy.run_module(f"keras_r3d.{name}", run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 48
    assert max(map(len, lines)) <= 100
    assert any(line.startswith(f"Example: python -m keras_r3d.{name} ") for line in lines)
    flags = [number for number, line in enumerate(lines) if line.startswith("  --")]
    assert flags
    for number in flags:  # the docstring of the function says what each is
        line = lines[number]
        text = line[25:] if line[24:25] == " " else lines[number + 1].strip()
        assert text[0].isupper() or not text[0].isalpha(), line


def test_a_missing_libgl_is_one_sentence(tmp_path):
    broken = tmp_path / "cv2"
    broken.mkdir()
    (broken / "__init__.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file')"
    )
    shown = process("keras_r3d.scan", tmp_path, code=1, PYTHONPATH=str(tmp_path))
    assert "OpenCV could not be loaded (libGL.so.1" in shown
    assert "apt-get install libgl1" in shown
    assert "opencv-python-headless" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_resumes_ends_with_75(number, capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, command.resumable():
        signal.raise_signal(number)
    assert ended.value.code == command.INTERRUPTED == 75
    assert "Run the same command to resume." in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_reader_that_has_enough_gets_no_error(tmp_path):
    code = (
        "from keras_r3d.system import command\n"
        "def main(arguments):\n    for _ in range(9999): print('x' * 99)\n"
        "command.run(main)"
    )
    (tmp_path / "talk.py").write_text(code)
    script = shlex.quote(str(tmp_path / "talk.py"))
    piped = f"PYTHONPATH={ROOT} {shlex.quote(sys.executable)} {script} | head -n 1"
    done = subprocess.run(piped, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("x" * 99 + "\n", "")
