import contextlib
import csv
import json
import os
import re

import keras
import numpy as np
import pytest
from conftest import write_video

from keras_r3d import recipe, run_folder
from keras_r3d.data import opening, pipeline
from keras_r3d.pictures import curves
from keras_r3d.system.devices import choose
from keras_r3d.system.errors import DataError, TrainingError
from keras_r3d.training import checks
from keras_r3d.training import run as training
from keras_r3d.training.loop import SUMS, Training
from keras_r3d.training.optimization.step import Steps
from keras_r3d.training.setup import Opened

pytestmark = pytest.mark.usefixtures("cheap_pictures")
TIMINGS = {"clips_per_second", "data_wait", "seconds", "validation_seconds"}


def figures(run: run_folder.Run) -> list[dict[str, str]]:
    """Returns the rows of the log, without what the clock says."""
    with (run.path / run_folder.LOG).open(newline="") as file:
        return [
            {name: text for name, text in row.items() if name not in TIMINGS}
            for row in csv.DictReader(file)
        ]


@pytest.fixture
def said() -> list[str]:
    return []


class Told(keras.callbacks.Callback):
    """Writes down what it is told."""

    def __init__(self):
        super().__init__()
        self.calls: list = []

    def on_train_begin(self, logs=None):
        self.calls.append("begin")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch} begins")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(batch)
        assert np.isfinite(logs["loss"])
        assert logs["learning_rate"] > 0

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append((epoch, logs["loss"], self.model.name))

    def on_train_end(self, logs=None):
        self.calls.append("end")


def test_two_runs_of_one_seed_are_the_same_also_with_callbacks(
    class_folders, small, tmp_path, said
):
    told = Told()
    alone = training.train_network(small, class_folders, tmp_path / "alone", say=said.append)
    run = training.train_network(
        small, class_folders, tmp_path / "run", callbacks=[told], say=said.append
    )
    assert figures(run) == figures(alone)
    losses = [float(row["loss"]) for row in figures(run)]
    steps = list(range(len([one for one in told.calls if isinstance(one, int)]) // 2))
    assert told.calls == [
        "begin",
        *("epoch 0 begins", *steps, (0, pytest.approx(losses[0], rel=1e-4), "r3d10")),
        *("epoch 1 begins", *steps, (1, pytest.approx(losses[1], rel=1e-4), "r3d10")),
        "end",
    ]


def test_mlflow_s_callback_logs_a_training(class_folders, small, tmp_path, said):
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"file://{tmp_path / 'mlruns'}")
    with mlflow.start_run() as began:
        callback = mlflow.keras.MlflowCallback()
        training.train_network(
            small, class_folders, tmp_path / "run", callbacks=[callback], say=said.append
        )
    metrics = mlflow.get_run(began.info.run_id).data.metrics
    assert np.isfinite(metrics["loss"])


def weights(path) -> list[np.ndarray]:
    return keras.models.load_model(path, compile=False).get_weights()


def test_without_enough_validation_videos_the_last_weights_are_kept(
    class_folders, small, tmp_path, said
):
    """Of 12 videos none is held out: the two that it would be are too few to choose by."""
    experiment = recipe.override(small, ["train.patience=1"])
    run = training.train_network(experiment, class_folders, tmp_path / "run", say=said.append)
    assert "Note: no validation: the last weights are kept (30 videos would do)." in said
    assert any("train.patience is not used" in line for line in said)
    assert any("none is drawn: 2 videos" in line for line in said)
    assert any("best.keras is of epoch 2 of 2, the last." in line for line in said)
    assert run.summary["videos"]["train"] == 10
    assert figures(run)[0]["val_loss"] == ""
    best, last = (weights(run.path / name) for name in ("best.keras", "last.keras"))
    assert all((one == other).all() for one, other in zip(best, last, strict=True))
    assert (run.path / run_folder.CURVES).is_file()


@pytest.mark.slow
def test_a_small_validation_split_is_looked_at_but_does_not_choose(
    class_folders, small, tmp_path, said
):
    """The split that is evaluated is held out, however small it is."""
    experiment = recipe.override(small, ["eval.split=validation"])
    run = training.train_network(experiment, class_folders, tmp_path / "run", say=said.append)
    assert any("2 validation videos are too few to choose by: the last" in line for line in said)
    assert [float(row["val_loss"]) > 0 for row in figures(run)] == [True, True]
    assert run.summary["best_epoch"] == 2


@pytest.fixture
def two_choose(monkeypatch):
    """Lets two validation videos choose the epoch."""
    monkeypatch.setattr(checks, "LEAST_TO_CHOOSE", 2)


def rising(monkeypatch) -> None:
    """Makes the validation loss rise from epoch to epoch."""
    monkeypatch.setattr(
        Training,
        "_validate",
        lambda self, _: (np.array([self.progress.epoch + 1.0, 0, 0, 1]), np.eye(2, dtype=int)),
    )


def test_patience_ends_a_training_and_going_on_does_not_go_on(
    class_folders, small, tmp_path, said, monkeypatch, two_choose
):
    experiment = recipe.override(small, ["train.epochs=9", "train.patience=2"])
    rising(monkeypatch)
    run = training.train_network(experiment, class_folders, tmp_path / "run", say=said.append)
    assert [row["epoch"] for row in figures(run)] == ["1", "2", "3"]
    assert run.summary["status"] == "trained"
    assert any("best.keras is of epoch 1 of 3, the lowest validation" in line for line in said)
    best, last = (weights(run.path / name) for name in ("best.keras", "last.keras"))
    assert any((one != other).any() for one, other in zip(best, last, strict=True))
    # As if it had been killed before it was said to be trained.
    run.update_summary(status="training")
    (run.path / "last.keras").unlink()
    monkeypatch.setattr(Steps, "train", None)
    again = training.train_network(experiment, class_folders, tmp_path / "run", say=said.append)
    assert figures(again) == figures(run)
    assert again.summary["status"] == "trained"
    assert all(
        (one == other).all()
        for one, other in zip(weights(again.path / "last.keras"), last, strict=True)
    )


def test_curves_mark_the_epoch_that_is_kept():
    log = [
        {
            "epoch": epoch,
            "learning_rate": 0.1,
            **{f"{split}{name}": 1 / epoch for split in ("", "val_") for name in SUMS},
        }
        for epoch in (1, 2, 3)
    ]
    figure = curves.figure(log, 2)
    marked = [
        line.get_xdata()
        for axes in figure.axes
        for line in axes.get_lines()
        if line.get_label() == "kept: epoch 2"
    ]
    assert marked == [[2, 2], [2, 2]]  # in loss and accuracy


def test_the_best_model_is_plain_keras_and_of_the_best_epoch(
    class_folders, small, tmp_path, said, two_choose
):
    experiment = recipe.override(
        small,
        [
            "train.epochs=4",
            "train.schedule={kind='plateau', factor=0.1, patience=10, threshold=1e-4, drops=3}",
        ],
    )
    run = training.train_network(experiment, class_folders, tmp_path / "run", say=said.append)
    model = keras.models.load_model(run.model_path())
    assert model.input_shape == (None, 4, 16, 16, 3)
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert model.jit_compile is False
    losses = [float(row["val_loss"]) for row in figures(run)]
    summary = json.loads((run.path / run_folder.SUMMARY).read_text())
    assert summary["best_epoch"] == int(np.argmin(losses)) + 1
    assert summary["best_loss"] == pytest.approx(min(losses), rel=1e-5)


def test_broken_videos_are_named_counted_and_reported(class_folders, small, tmp_path, said):
    for label in ("red", "green"):
        for number in range(3):
            (class_folders / label / f"broken{number}.mp4").write_bytes(b"no video")
    experiment = recipe.override(
        small, ["videos.hold_out.test=", "eval.split=validation", "train.epochs=1"]
    )
    run = training.train_network(experiment, class_folders, tmp_path / "run", say=said.append)
    text = (run.path / run_folder.PROBLEMS).read_text()
    assert text.startswith("video,status,detail\n")
    assert text.count("unreadable") == 6  # all, from training and validation
    assert f"6 broken videos ({run.path / run_folder.PROBLEMS}):" in said
    assert run.summary["broken_videos"] == 6


def test_an_unreadable_validation_split_is_said_before_the_training(
    class_folders, small, tmp_path, said
):
    lines = ["path,label,split"]
    lines += [f"{p},{p.parent.name},train" for p in sorted(class_folders.rglob("*.avi"))]
    for label in ("red", "green"):
        (tmp_path / f"{label}.mp4").write_bytes(b"no video")
        lines.append(f"{label}.mp4,{label},validation")
        lines.append(f"{next(class_folders.glob(f'{label}/*.avi'))},{label},test,0,1")
    lines[0] += ",start_seconds,end_seconds"
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"None of the 2 videos of split 'validation'"):
        training.train_network(small, tmp_path / "list.csv", tmp_path / "run", say=said.append)


def test_a_moved_data_folder_stops_the_training_in_one_sentence(
    class_folders, small, tmp_path, said, monkeypatch
):
    experiment = recipe.override(small, ["videos.hold_out.validation=", "videos.broken_share=1"])
    monkeypatch.setattr(pipeline, "_MOST_DRAWS", 5)

    def say(line: str) -> None:
        if line.startswith("Model:"):
            class_folders.rename(tmp_path / "moved")

    with pytest.raises(TrainingError, match=r"5 training videos in a row cannot .* Is the data"):
        training.train_network(experiment, class_folders, tmp_path / "run", cache_gib=0.0, say=say)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "stopped"
    assert "there is no such file" in (tmp_path / "run" / "problems.csv").read_text()


def untrained(small, data_dir, workdir) -> run_folder.Run:
    """Makes the folder of a run as a training does that begins."""
    source = opening.open_source(data_dir, small.clips, small.videos, seed=small.train.seed)
    with contextlib.ExitStack() as stack:
        return training.start_run(
            Opened(small, source, choose()), workdir, False, say=print, stack=stack
        )


@pytest.mark.parametrize("kind", ["link", "csv"])
def test_moved_videos_are_recognized_however_they_were_named(class_folders, small, tmp_path, kind):
    """Trained through a symbolic link or a CSV file, evaluated on the plain folder elsewhere."""
    if kind == "link":
        data_dir = tmp_path / "link"
        data_dir.symlink_to(class_folders)
    else:
        data_dir = class_folders / "list.csv"
        paths = sorted(p.relative_to(class_folders) for p in class_folders.rglob("*.avi"))
        lines = ["path,label", *[f"{path},{path.parent}" for path in paths]]
        data_dir.write_text("\n".join(lines))
    run = untrained(small, data_dir, tmp_path / "run")
    test = {os.path.join(v.label, os.path.basename(v.path)) for v in run.open_split("test")[0]}
    moved = class_folders.rename(tmp_path / "moved")
    assert {os.path.relpath(v.path, moved) for v in run.open_split("test", moved)[0]} == test


def test_splits_stay_what_they_were_in_training(class_folders, small, tmp_path):
    run = untrained(small, class_folders, tmp_path / "run")
    train, test = run.open_split("train")[0], run.open_split("test")[0]
    for name in ("00", "000"):
        write_video(class_folders / "red" / f"{name}.avi", 12)
    assert run.open_split("test")[0] == test
    # The same videos in another place: the new ones are scored, those of the training are not.
    moved = class_folders.rename(tmp_path / "moved")
    with pytest.raises(DataError, match="pass their new place as `data`"):
        run.open_split("test")[0]
    names = {os.path.relpath(video.path, moved) for video in run.open_split("test", moved)[0]}
    expected = {os.path.relpath(video.path, class_folders) for video in test}
    assert names == expected | {"red/00.avi", "red/000.avi"}
    assert not names & {os.path.relpath(video.path, class_folders) for video in train}


def test_only_broken_videos_are_an_error_before_any_folder_is_made(small, tmp_path, said):
    for label in ("red", "green"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "data" / label / f"{number}.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"None of the .* videos of split 'train' can be read"):
        training.train_network(small, tmp_path / "data", tmp_path / "run", say=said.append)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_the_run(class_folders, small, tmp_path, said):
    sgd = "{kind='sgd', learning_rate=1e30, momentum=0.9, weight_decay=0}"
    experiment = recipe.override(small, [f"train.optimizer={sgd}", "train.epochs=3"])
    with pytest.raises(TrainingError) as error:
        training.train_network(experiment, class_folders, tmp_path / "run", say=said.append)
    found = re.fullmatch(
        r"The .* in epoch \d+, step \d+: lower `train.optimizer.learning_rate`, or add "
        r"`train.schedule.warmup_epochs` or `train.clip_norm`, and start over with `fresh` or in "
        r"another `workdir`. The videos of its batch: (.*)\. (The last "
        r"good state is .*|No state was saved yet)\.",
        str(error.value),
    )
    assert found, error.value
    names = found[1].split(", ")
    assert 1 <= len(names) <= 4
    assert all(name.split("/")[-2] in ("red", "green") for name in names)
    assert run_folder.open_run(tmp_path / "run").summary["status"] == "stopped"
    for path in (tmp_path / "run" / run_folder.STATE).glob("*.npz"):
        with np.load(path) as arrays:
            assert all(np.isfinite(arrays[name]).all() for name in arrays.files)
