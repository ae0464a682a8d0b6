"""A training that is interrupted, in whatever way, ends as one that never was."""

import csv
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import small_recipe, write_video

from keras_r3d import recipe, run_folder
from keras_r3d.data.annotations import Annotations, Video
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.system import files
from keras_r3d.system.command import INTERRUPTED
from keras_r3d.system.errors import (
    InterruptedTraining,
    R3DError,
    RecipeError,
    RunError,
    TrainingError,
)
from keras_r3d.training import checks, dry_run, state
from keras_r3d.training import run as training
from keras_r3d.training.loop import Training
from keras_r3d.training.optimization.step import Steps

pytestmark = pytest.mark.usefixtures("cheap_pictures")
ROOT = Path(__file__).parents[2]
SETTINGS = [
    "train.optimizer={kind='adamw', learning_rate=0.003, weight_decay=0.05}",
    "model.dropout=0.3",
    "train.mixup=0.4",
    "train.ema=0.9",
    "train.epochs=12",
    "train.schedule.warmup_epochs=1",
    'eval.split="validation"',  # or so few videos would not be held out
]
TIMINGS = {"clips_per_second", "data_wait", "seconds", "validation_seconds"}


class Folder:
    """Videos, a recipe, and trainings of it in processes of their own."""

    def __init__(self, root: Path):
        self.root = root
        for number in range(6):
            for label, tint in (("red", (1, 0.2, 0.2)), ("green", (0.2, 1, 0.2))):
                path = root / "data" / label / f"{number}.avi"
                write_video(path, 12, tint=tint, base=7 * number)
        (root / "small.toml").write_text(recipe.dumps(small_recipe()))

    def start(self, name: str, *arguments: str) -> subprocess.Popen:
        with (self.root / f"{name}.log").open("a") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "keras_r3d.train"),
                    *(f"--recipe={self.root / 'small.toml'}", f"--data_dir={self.root / 'data'}"),
                    *(f"--workdir={self.root / name}", "--devices=cpu", "--deterministic"),
                    "--save_steps=1",
                    *(f"--set={setting}" for setting in SETTINGS),
                    *arguments,
                ],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self, name: str) -> str:
        return (self.root / f"{name}.log").read_text()

    def ends(self, name: str, code: int, *arguments: str) -> str:
        """Trains to the end; returns what was printed."""
        process = self.start(name, *arguments)
        assert process.wait(240) == code, self.log(name)
        assert "Traceback" not in self.log(name), self.log(name)
        return self.log(name)

    def states(self, name: str) -> list[str]:
        return sorted(path.name for path in (self.root / name / "state").glob("step_*.npz"))

    def until(self, name: str, process: subprocess.Popen, reached) -> None:
        """Waits until something is there, or the process has ended."""
        limit = time.monotonic() + 120
        while process.poll() is None and not reached():
            assert time.monotonic() < limit, self.log(name)
            time.sleep(0.0005)

    def until_a_new_state(self, name: str, process: subprocess.Popen) -> None:
        before = self.states(name)
        self.until(name, process, lambda: self.states(name) != before)

    def results(self, name: str) -> dict[str, np.ndarray]:
        """Returns every array of the last state and of the best model, and the log's figures."""
        import keras

        run = run_folder.open_run(self.root / name)
        saved = state.load(run.path / "state")
        found, progress = dict(saved.arrays), saved.progress
        for row in progress["log"]:
            for timing in TIMINGS:
                row.pop(timing, None)
        for timing in ("seconds", "waited", "bookkeeping"):
            progress.pop(timing)
        found["progress"] = np.array(json.dumps(progress, sort_keys=True))
        model = keras.models.load_model(run.model_path(), compile=False)
        found |= {f"best/{n}": np.array(w) for n, w in enumerate(model.weights)}
        with (run.path / run_folder.LOG).open(newline="") as file:
            rows = [{k: v for k, v in r.items() if k not in TIMINGS} for r in csv.DictReader(file)]
        found["log"] = np.array(json.dumps(rows))
        assert run.summary["status"] == "trained"
        assert "evaluation" in run.summary
        assert not [path for path in run.path.rglob("*") if files.is_leftover(path)]
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Folder:
    made = Folder(tmp_path_factory.mktemp("resuming"))
    made.ends("whole", 0)
    return made


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert set(one) == set(other)
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name


def killed(folder: Folder, name: str, kills: int, *arguments: str) -> None:
    """Kills a training so many times: in a save, soon after one, whenever it may be, and again."""
    rng = random.Random(kills)
    state_folder = folder.root / name / "state"

    def saving() -> bool:
        return any(state_folder.glob(".partial-*.npz"))

    for number in range(kills):
        process = folder.start(name, *arguments)
        if number % 3 == 2:
            time.sleep(rng.uniform(0.5, 6))
        else:
            folder.until_a_new_state(name, process)
            time.sleep(rng.uniform(0, 0.3))
        while number % 3 == 0:
            folder.until(name, process, saving)
            process.send_signal(signal.SIGSTOP)  # nothing more happens while we look
            time.sleep(0.01)
            if saving() or process.poll() is not None:
                break
            process.send_signal(signal.SIGCONT)
        assert process.poll() is None, f"ended before kill {number}:\n{folder.log(name)}"
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        assert number % 3 or saving()


@pytest.mark.slow
def test_a_training_killed_three_times_is_the_one_that_was_not(folder):
    killed(folder, "killed", 3)
    log = folder.ends("killed", 0)
    assert "Resuming after epoch " in log
    same(folder.results("killed"), folder.results("whole"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_training_killed_twenty_times_is_the_one_that_was_not(folder):
    longer = "--set=train.epochs=150"
    folder.ends("long", 0, longer)
    killed(folder, "killed often", 20, longer)
    folder.ends("killed often", 0, longer)
    same(folder.results("killed often"), folder.results("long"))


@pytest.mark.slow
def test_a_signal_saves_the_state_and_the_same_command_goes_on_also_elsewhere(folder, tmp_path):
    at_ends = "--save_steps=0"
    process = folder.start("stopped", at_ends)
    folder.until_a_new_state("stopped", process)  # of an epoch's end
    before = folder.states("stopped")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == INTERRUPTED, folder.log("stopped")
    assert "Stopped by SIGTERM after epoch " in folder.log("stopped")
    assert folder.states("stopped") != before
    assert run_folder.open_run(folder.root / "stopped").summary["status"] == "interrupted"
    moved = shutil.copytree(folder.root / "data", tmp_path / "scratch")
    log = folder.ends("stopped", 0, at_ends, f"--data_dir={moved}")
    assert f"those in {moved} are the same by names" in log
    assert "the state is saved. Run the same command to resume." in log
    same(folder.results("stopped"), folder.results("whole"))


@pytest.mark.slow
def test_a_signal_while_the_first_step_is_compiled(folder):
    process = folder.start("stopped early")
    folder.until("stopped early", process, lambda: "Model:" in folder.log("stopped early"))
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == INTERRUPTED, folder.log("stopped early")
    assert "Stopped by SIGINT" in folder.log("stopped early")
    assert "Traceback" not in folder.log("stopped early")


@pytest.mark.slow
def test_a_second_signal_does_not_wait(folder):
    process = folder.start("stopped twice")
    folder.until("stopped twice", process, lambda: "Model:" in folder.log("stopped twice"))
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == INTERRUPTED, folder.log("stopped twice")
    assert "Stopped by SIGTERM. Run the same command to resume." in folder.log("stopped twice")


# In this process: whether a training goes on at all --------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def two_choose():
    """Lets two validation videos choose the epoch, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "LEAST_TO_CHOOSE", 2)
        yield


@pytest.fixture(scope="module")
def ended(tmp_path_factory, cheap_pictures) -> Folder:
    """A run of two epochs that has ended; to be copied, not changed."""
    made = Folder(tmp_path_factory.mktemp("ended"))
    go_on(made, made.root / "run")
    return made


@pytest.fixture
def copied(ended, tmp_path) -> Path:
    """A copy of it, that looks as if it had been broken off."""
    shutil.copytree(ended.root / "run", tmp_path / "run")
    run = run_folder.open_run(tmp_path / "run")
    run.update_summary(status="stopped")
    return tmp_path / "run"


def go_on(ended: Folder, workdir: Path, *changes: str, data=None, **options) -> list[str]:
    said: list[str] = []
    experiment = recipe.load(str(ended.root / "small.toml"), changes)
    options = {"save_steps": 1, "say": said.append} | options
    training.train_network(experiment, data or ended.root / "data", workdir, **options)
    return said


def test_a_run_goes_on_in_the_process_that_has_trained_another(ended, copied):
    last = sorted((copied / "state").glob("*.npz"))[-1]
    last.unlink()
    run_folder.open_run(copied).update_summary(evaluation={"split": "test", "video_top1": 0.5})
    assert any(line.startswith("Resuming after epoch 1, step 3/") for line in go_on(ended, copied))
    assert last.is_file()
    summary = run_folder.open_run(copied).summary
    assert summary["status"] == "trained"
    assert "evaluation" not in summary, "of an earlier model"


def test_a_finished_run_is_not_trained_again(ended):
    before = {path: path.stat().st_mtime_ns for path in (ended.root / "run").rglob("*")}
    said = go_on(ended, ended.root / "run")
    assert said == [
        f"{ended.root / 'run'} holds a finished run of this recipe; pass `fresh` to start over."
    ]
    assert {p: p.stat().st_mtime_ns for p in (ended.root / "run").rglob("*")} == before


def test_another_recipe_is_refused_by_what_differs(ended, copied):
    with pytest.raises(RunError) as error:
        go_on(ended, copied, "train.epochs=7", "model.dropout=0.25", "train.mixup=0.2")
    assert str(error.value) == (
        f"{copied} holds a run of another recipe:\n"
        "  model.dropout: absent in the run, 0.25 now\n"
        "  train.epochs: 2 in the run, 7 now\n"
        "  train.mixup: absent in the run, 0.2 now\n"
        "To resume it, use that recipe. Else choose another `workdir`, or start over with `fresh` "
        "(the old run is moved aside; not at a URL)."
    )


def test_what_a_recipe_no_longer_asks_for_differs_too(ended, copied):
    """What is absent is not always "as the weights say"."""
    text = (copied / "recipe.toml").read_text()
    (copied / "recipe.toml").write_text(text.replace("[model]", "[model]\ndropout = 0.5"))
    with pytest.raises(RunError, match=r"model.dropout: 0.5 in the run, absent now"):
        go_on(ended, copied)


@pytest.mark.slow
def test_fresh_moves_the_old_run_aside(ended, copied):
    for number, aside in enumerate(["run-before", "run-before-2"]):
        said = go_on(ended, copied, f"train.epochs={1 + number}", fresh=True)
        moved = copied.with_name(aside)
        assert f"The run that was in {copied} is now in {moved}." in said
        assert (moved / "best.keras").is_file()
        assert run_folder.open_run(copied).recipe.train.epochs == 1 + number


def test_other_videos_are_refused(ended, copied):
    text = (copied / "videos.csv").read_text()
    (copied / "videos.csv").write_text(text.replace("red/1.avi", "red/gone.avi"))
    with pytest.raises(RunError) as error:
        go_on(ended, copied)
    assert "are not those that the run" in str(error.value)
    assert "1 no longer there, such as " in str(error.value)
    assert "red/gone.avi" in str(error.value)
    assert "1 new, such as " in str(error.value)


def test_a_run_resumes_where_its_videos_have_moved(ended, copied, tmp_path):
    sorted((copied / "state").glob("*.npz"))[-1].unlink()
    moved = shutil.copytree(ended.root / "data", tmp_path / "scratch")
    said = go_on(ended, copied, data=moved)
    assert (
        f"Note: the videos were in {ended.root / 'data'}; those in {moved} are the same by names, "
        "sizes and some checksums."
    ) in said
    assert any(line.startswith("Resuming after epoch 1, step 3/") for line in said)
    run = run_folder.open_run(copied)
    assert run.summary["status"] == "trained"
    assert run.summary["data_dir"] == run.summary["video_root"] == str(moved)
    assert all(Path(v.path).is_relative_to(moved) for v in run.open_split("train")[0])
    run.update_summary(status="stopped")
    again = moved.rename(tmp_path / "other scratch")
    assert any(
        f"those in {again} are the same" in line for line in go_on(ended, copied, data=again)
    )


def test_videos_elsewhere_that_differ_are_refused(ended, copied, tmp_path):
    moved = shutil.copytree(ended.root / "data", tmp_path / "scratch")
    video = moved / "green" / "0.avi"
    whole = video.read_bytes()
    video.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # of the same size
    with pytest.raises(RunError) as error:
        go_on(ended, copied, data=moved)
    shown = str(error.value)
    assert shown.startswith(
        f"1 videos in {moved} are not the files in {ended.root / 'data'} that the run {copied} "
        f"began with, such as green/0.avi,{len(whole)},"
    )
    assert f" instead of green/0.avi,{len(whole)}," in shown
    assert "(name, size, checksum): copy them again. Else choose another `workdir`" in shown
    video.unlink()
    with pytest.raises(RunError, match=r"no longer there, such as green/0\.avi,green,train"):
        go_on(ended, copied, data=moved)
    video.write_bytes(whole)
    (copied / "state" / "files.csv").unlink()
    with pytest.raises(RunError, match=r"cannot be resumed: .*files\.csv cannot be read"):
        go_on(ended, copied, data=moved)


def test_a_damaged_run_is_refused_and_can_be_started_over(ended, copied):
    (copied / "summary.json").write_text("{")
    with pytest.raises(RunError, match=r"(?s)cannot be resumed: .* is damaged.*`fresh`"):
        go_on(ended, copied)
    go_on(ended, copied, "train.epochs=1", fresh=True)
    assert run_folder.open_run(copied).summary["status"] == "trained"


def test_two_trainings_of_one_run_are_refused(ended, copied):
    with run_folder.held(copied):
        for options in ({}, {"fresh": True}):
            with pytest.raises(RunError, match="Another process trains in"):
                go_on(ended, copied, **options)
    assert not copied.with_name("run-before").exists()


def test_what_a_kill_left_half_written_is_removed(ended, copied):
    nobody = subprocess.Popen(["true"])
    nobody.wait()
    left = copied / "state" / f".partial-{nobody.pid}-step_0000000009.npz"
    others = copied / f".partial-{os.getppid()}-evaluation.json"
    for path in (left, others):
        path.write_bytes(b"half")
    go_on(ended, copied)
    assert not left.exists()
    assert others.exists()


@pytest.mark.slow
def test_a_run_that_was_killed_while_its_folder_was_made_begins_again(ended, tmp_path):
    with run_folder.held(tmp_path / "run"):
        (tmp_path / "run" / "classes.txt").write_text("green\n")
        (tmp_path / "run" / ".partial-1-videos.csv").write_text("path")
    go_on(ended, tmp_path / "run", "train.epochs=1")
    assert (tmp_path / "run" / "classes.txt").read_text() == "green\nred\n"


def test_a_folder_of_other_files_stays_as_it_is(ended, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "classes.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty and is left as it is"):
        go_on(ended, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["classes.txt"]


@pytest.mark.parametrize("where", ["train", "validate"])
@pytest.mark.slow
def test_a_signal_is_heeded_wherever_it_comes(ended, copied, monkeypatch, where):
    """In validation too, and in the last step, after which there is no other."""
    for path in sorted((copied / "state").glob("*.npz"))[:-1]:
        path.unlink()
    (newest,) = (copied / "state").glob("*.npz")
    whole = state.load(copied / "state").progress["log"]
    newest.unlink()
    steps = run_folder.open_run(ended.root / "run").recipe.train.epochs * 4
    inner, calls = getattr(Steps, where), []

    def asked(self, *arguments):
        calls.append(arguments)
        if where == "validate" or len(calls) == steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return inner(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Steps, where, asked)
        with pytest.raises(InterruptedTraining, match="Stopped by SIGTERM after epoch"):
            go_on(ended, copied)
    assert run_folder.open_run(copied).summary["status"] == "interrupted"
    go_on(ended, copied)
    again = state.load(copied / "state").progress["log"]
    assert [row["epoch"] for row in again] == [1, 2]
    for row, wanted in zip(again, whole, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-3)


def test_without_a_workdir_the_last_run_goes_on_if_it_has_not_ended(ended, copied):
    runs = copied.parent
    for status, evaluation, expected in (
        ("stopped", {}, "run"),
        ("trained", {}, "run"),  # still to be evaluated
        ("trained", {"evaluation": {}}, "run-2"),
        ("trained", {"seconds": {}}, "run-2"),  # on few videos, without a test split
    ):
        run = run_folder.open_run(copied)
        run.summary.pop("evaluation", None)
        run.update_summary(status=status, **evaluation)
        assert run_folder.default_path(runs, "run") == runs / expected
    shutil.copytree(copied, runs / "run-2")
    run_folder.open_run(runs / "run-2").update_summary(status="interrupted")
    assert run_folder.default_path(runs, "run") == runs / "run-2"


def test_a_rehearsal_writes_nothing(ended, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    experiment = recipe.load(str(ended.root / "small.toml"))
    before = sorted(ended.root.rglob("*"))
    dry_run(experiment, ended.root / "data", say=said.append)
    text = "\n".join(said)
    assert "videos       train        test  validation\ngreen           4" in text
    assert "\nAn epoch has 4 steps and takes about " in text
    assert "No run folder was made." in text
    assert not list(tmp_path.iterdir())
    assert sorted(ended.root.rglob("*")) == before


def test_all_that_keeps_a_training_from_beginning_is_said_at_once(ended, tmp_path, monkeypatch):
    def opened(*_, **__):
        raise AssertionError("a video was opened")

    monkeypatch.setattr(VideoReader, "require_readable", opened)
    with pytest.raises(RecipeError) as error:
        go_on(
            ended,
            tmp_path / "run",
            "train.accumulate=3",
            "train.precision='float16'",
            "model.weights='kinetics400'",
            "model.name='r3d18'",
            "eval.split='tset'",
        )
    first, *lines = str(error.value).split("\n  ")
    assert first == "This training has 4 problems:"
    assert "'train.accumulate' must divide the 4 clips of a replica. Received: 3" in lines[0]
    assert "'train.precision' is \"float16\", which needs a GPU" in lines[1]
    assert "kinetics400" in lines[2]
    assert "There are no videos in split 'tset'" in lines[3]
    assert not (tmp_path / "run").exists()


def test_a_validation_split_without_videos_is_refused(small):
    """As where all its videos are left aside by quarantine.txt."""
    videos = [Video("0.avi", "red")]
    found = Annotations({"train": videos, "test": videos, "validation": []}, ["red"], [])
    (error,) = checks.split_errors(found, small)
    assert str(error).startswith("The validation split has no videos. Add some, or remove the")
    del found.splits["validation"]
    assert not checks.split_errors(found, small)


# Bad outputs ------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_one_sentence(ended):
    with pytest.raises(files.WriteError, match=r"Could not write /proc/run.*then run again"):
        go_on(ended, Path("/proc/run"))


def test_a_full_disk_leaves_the_last_state(ended, copied, monkeypatch):
    for path in sorted((copied / "state").glob("*.npz"))[1:]:
        path.unlink()
    before = {path: path.read_bytes() for path in (copied / "state").glob("*.npz")}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(files.WriteError, match=r"state/step_.*No space left.*free some space"):
        go_on(ended, copied)
    assert {path: path.read_bytes() for path in (copied / "state").glob("*.npz")} == before
    assert run_folder.open_run(copied).summary["status"] == "stopped"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
            r"The memory is used up: lower `train.batch_size`, or raise `train.accumulate`, and "
            r"start over with `fresh` or in another `workdir`. The last good state is "
            r".*step_\d+.npz\.",
        ),
        (MemoryError(), r"The memory is used up: .* The last good state is "),
        (
            tf.errors.ResourceExhaustedError(None, None, "events.out: No space left on device"),
            r"Could not write .*No space left on device",
        ),
        (
            tf.errors.InternalError(None, None, "\nDst tensor is not initialized.\nmore"),
            r"TensorFlow stopped the training: Dst tensor is not initialized. The last good state",
        ),
    ],
)
def test_what_tensorflow_raises_is_one_sentence(ended, copied, monkeypatch, error, message):
    sorted((copied / "state").glob("*.npz"))[-1].unlink()

    def fails(*_):
        raise error

    monkeypatch.setattr(Steps, "train", fails)
    with pytest.raises(R3DError, match=message) as raised:
        go_on(ended, copied)
    assert "\n" not in str(raised.value)
    assert state.load(copied / "state") is not None


def test_a_reader_of_the_output_that_has_enough_is_no_full_disk(tmp_path):
    with pytest.raises(BrokenPipeError), training.errors_as_sentences(tmp_path):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_weights_that_are_not_finite_are_never_saved(ended, copied, monkeypatch):
    """The loss may still be finite: a batch norm divides by its infinite variance."""
    sorted((copied / "state").glob("*.npz"))[-1].unlink()
    before = sorted((copied / "state").glob("*.npz"))
    step = Steps.train

    def spoils(self, *arguments):
        sums = step(self, *arguments)
        self.network.non_trainable_variables[-1].assign(
            np.full(self.network.non_trainable_variables[-1].shape, np.inf)
        )
        return sums

    best = (copied / "best.keras").read_bytes()
    monkeypatch.setattr(Steps, "train", spoils)
    with pytest.raises(TrainingError, match=r"is no longer finite in epoch 2, step 4: lower"):
        go_on(ended, copied)
    assert sorted((copied / "state").glob("*.npz")) == before
    assert (copied / "best.keras").read_bytes() == best


def test_a_finished_run_is_of_its_own_videos_and_has_its_model(ended, tmp_path):
    workdir = ended.root / "run"
    experiment = recipe.load(str(ended.root / "small.toml"))
    with pytest.raises(RunError, match=rf"a finished run on .*, not on {tmp_path}\. To evaluate"):
        training.train_network(experiment, tmp_path, workdir, say=lambda line: None)
    shutil.copytree(workdir, tmp_path / "run")
    (tmp_path / "run" / "best.keras").unlink()
    with pytest.raises(RunError, match=r"has no best\.keras"):
        go_on(ended, tmp_path / "run")


@pytest.mark.slow
def test_how_often_states_are_saved_may_change(ended, copied):
    sorted((copied / "state").glob("*.npz"))[-1].unlink()
    said = go_on(ended, copied, save_minutes=3.0, save_steps=0)
    assert any(line.startswith("Resuming") for line in said)


def test_the_best_model_is_kept_also_when_the_training_breaks_off(ended, copied, monkeypatch):
    """Its epoch ended after the last state."""
    kept = []
    monkeypatch.setattr(Training, "_save", lambda self: self._flush())
    monkeypatch.setattr(Training, "_keep_best", lambda self: kept.append(self.progress.best_epoch))
    for path in (copied / "state").glob("*.npz"):
        path.unlink()
    step = Steps.train

    def fails_in_the_second_epoch(self, batch, number, stop):
        if int(number) > 4:
            raise MemoryError
        return step(self, batch, number, stop)

    monkeypatch.setattr(Steps, "train", fails_in_the_second_epoch)
    with pytest.raises(TrainingError, match="The memory is used up"):
        go_on(ended, copied)
    assert kept == [1]
