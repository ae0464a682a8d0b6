"""The command `evaluate`, through every artifact."""

import dataclasses
import errno
import json
import shutil
from pathlib import Path

import commands
import cv2
import exports
import numpy as np
import pytest
from conftest import small_recipe, write_video

from keras_r3d import VideoClassifier, evaluate, run_folder
from keras_r3d.applications import R3D10
from keras_r3d.data import Clips, annotations
from keras_r3d.data.decoding.frame_folder import timed_frames
from keras_r3d.data.opening import open_source
from keras_r3d.inference.evaluation import evaluating, results
from keras_r3d.inference.models import opening, protocol
from keras_r3d.inference.prediction import kept
from keras_r3d.system import command, files
from keras_r3d.system.errors import R3DError

CLASSES = ("green", "red")
pytestmark = pytest.mark.usefixtures("cheap_pictures")  # drawn in test_results


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for number in range(3):
        write_video(root / "test" / "red" / f"{number}.avi", 12, tint=(1, 0.2, 0.2), base=60)
        write_video(root / "test" / "green" / f"{number}.avi", 9, tint=(0.2, 1, 0.2), base=60)
        write_video(root / "train" / "red" / f"{number}.avi", 5)
        write_video(root / "train" / "green" / f"{number}.avi", 5)
    (root / "test" / "red" / "broken.avi").write_bytes(b"no video")
    return root


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> run_folder.Run:
    """An untrained run with all its artifacts."""
    experiment = small_recipe()
    found = open_source(data, experiment.clips, experiment.videos, seed=1).annotations
    path = tmp_path_factory.mktemp("runs") / "run"
    network = R3D10(input_shape=(4, 16, 16, 3), width=0.125, labels=CLASSES)
    videos = annotations.to_csv(found)
    made = exports.run_of(network, path, CLASSES, videos=videos, data_dir=str(data))
    exports.write(made, "saved_model", exports.SAVED_MODEL)
    exports.write(made, "tflite", exports.TFLITE)
    return made


@pytest.fixture(scope="module")
def evaluated(run) -> list[str]:
    """Evaluates the run as its recipe says; what is said."""
    lines: list[str] = []
    evaluating.evaluate_run(run, say=lines.append)
    return lines


def evaluate_to(run, output=None, *, model=None, protocol=None, **options) -> None:
    classifier = VideoClassifier(model or run.path, protocol=protocol)
    evaluating.report(classifier.evaluate(**options), output, print)


def read(path):
    return json.loads((path / run_folder.EVALUATION).read_text())


def test_a_run_is_evaluated_into_its_folder(run, evaluated):
    found = read(run.path)
    assert found["videos"] == 7
    assert found["errors"] == 1
    assert found["windows"] == 3 * 3 + 3 * 3
    assert found["split"] == "test"
    assert (run.path / run_folder.CONFUSION).is_file()
    assert run_folder.open_run(run.path).summary["evaluation"]["videos"] == 7
    said = "\n".join(evaluated)
    assert "all windows of 4 frames; center crop at 16x16; mean of probabilities" in said
    assert "broken.avi" in said


@pytest.mark.parametrize("name", [exports.SAVED_MODEL, exports.TFLITE])
@pytest.mark.usefixtures("evaluated")
def test_every_artifact_has_the_same_protocol(run, name):
    before = (run.path / run_folder.EVALUATION).read_bytes()
    evaluate_to(run, model=run.path / name)
    assert (run.path / run_folder.EVALUATION).read_bytes() == before
    (folder,) = (run.path / run_folder.EVALUATIONS).glob(f"test-{name.replace('/', '_')}")
    ours, theirs = (
        {r["video"]: {t["label"]: t["score"] for t in r.get("top", [])} for r in one["records"]}
        for one in (json.loads(before), read(folder))
    )
    assert ours.keys() == theirs.keys()
    for video, scores in ours.items():
        assert theirs[video] == pytest.approx(scores, abs=1e-5)


def test_another_protocol_does_not_replace_the_first(run, tmp_path):
    evaluate_to(run, protocol="2x3", split="train")
    found = read(run.path / run_folder.EVALUATIONS / "train-2x3")
    assert found["videos"] == 4  # the recipe holds a video of each class out
    assert found["windows"] == 4 * 2
    evaluate_to(run, tmp_path / "mine")
    assert read(tmp_path / "mine")["videos"] == 7
    with pytest.raises(R3DError, match="mine already exists"):
        evaluate_to(run, tmp_path / "mine")


def test_protocols_by_name():
    assert protocol.overrides(None) == []
    assert protocol.overrides("paper")[0] == "eval.windows=all"
    assert protocol.overrides("torch7")[2] == 'eval.average="log_probabilities"'
    assert protocol.overrides("10x3")[:2] == ["eval.windows=10", "eval.views=3"]
    assert protocol.overrides("1x2")[:2] == ["eval.windows=1", "eval.views=2"]
    for wrong in ("10x4", "x3", "0x1", "mine", "10X3"):
        with pytest.raises(protocol.ArgumentError, match=f"must be one of .* Received: {wrong}"):
            protocol.overrides(wrong)


def test_flags_may_take_several_words():
    words = ["--fuse", "a", "b", "--weights", "1", "-1.5", "--split", "test", "video", "--fuse=c"]
    assert command._repeat_flags(words, ("fuse", "weights")) == [
        *("--fuse", "a", "--fuse", "b", "--weights", "1", "--weights", "-1.5"),
        *("--split", "test", "video", "--fuse=c"),
    ]
    assert command._repeat_flags(words, ()) == words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Name a model: --model RUN, --model FILE or --fuse RUN_A RUN_B."),
        (["--workdir", "RUN", "--fuse", "RUN", "RUN"], "Name a model: --model RUN"),
        (["--workdir", "RUN", "--recipe", "demo"], "--recipe is for a --model without --workdir"),
        (["--fuse", "RUN"], "Fusion takes at least two models"),
        (["--fuse", "RUN", "RUN", "--weights", "1"], "a number for each of the 2 models"),
        (["--workdir", "RUN", "--protocol", "9"], "--protocol must be one of 'paper'"),
        (["--workdir", "RUN", "--protocol", "5x10"], "'eval.views' is 10, half of them mirrored"),
        (["--workdir", "RUN", "--model", "RUN/none.keras"], "there is no such model"),
        (["--model", "RUN/recipe.toml"], "must be a .keras, .tflite or .onnx file"),
        (["--workdir", "nowhere"], "nowhere does not exist: recipe.toml was expected in it"),
        (["--workdir", "RUN", "--split", "dev"], "There are no videos in split 'dev'"),
        (["--workdir", "RUN", "--devices", "gpu:7"], "GPU 7 is not there"),
    ],
)
def test_what_cannot_be_evaluated_is_said(run, words, said):
    words = [word.replace("RUN", str(run.path)) for word in words]
    code, out = commands.run(evaluate.main, *words)
    assert code == 1
    assert said in out


def test_a_model_in_no_run_needs_videos_and_its_results_a_folder(run, data, tmp_path, capsys):
    alone = tmp_path / "alone.keras"
    alone.write_bytes((run.path / run_folder.BEST_MODEL).read_bytes())
    classifier = VideoClassifier(alone, recipe=str(run.path / run_folder.RECIPE))
    with pytest.raises(R3DError, match="`data` is missing"):
        classifier.evaluate()
    with pytest.raises(R3DError, match=r"`split` is missing: .* has \['test', 'train'\]"):
        VideoClassifier(alone, clips=Clips(frames=4, size=16)).evaluate(data)
    evaluating.report(classifier.evaluate(data / "test"), None, print)  # has no splits
    assert "Nothing was written: pass --output FOLDER" in capsys.readouterr().out
    output = tmp_path / "results"
    evaluating.report(classifier.evaluate(data, split="test"), output, print)
    assert read(output)["videos"] == 7
    with pytest.raises(R3DError, match="a run has its own"):
        VideoClassifier(run, recipe="demo")
    assert VideoClassifier(alone, exported_from=run.path).evaluate().run.path == run.path


def test_a_frame_rate_of_folders_of_pictures(run, data, tmp_path):
    folder = tmp_path / "test" / "red" / "v"
    folder.mkdir(parents=True)
    for number, (_, frame) in enumerate(timed_frames(f"{data}/test/red/0.avi")):
        cv2.imwrite(f"{folder}/{number}.png", frame)
    shutil.copy(run.model_path(), tmp_path / "m.keras")
    alone = VideoClassifier(tmp_path / "m.keras", clips=small_recipe().clips)
    for model in (VideoClassifier(run.path), alone):
        for rate, options in ((25, {}), (10, {"frame_rate": 10})):
            (found,) = model.evaluate(tmp_path, split="test", **options).predictions
            assert found.window_seconds.max() == pytest.approx(12 / rate)
        with pytest.raises(R3DError, match=r"`frame_rate` is for `data`: the videos of a run"):
            model.evaluate(frame_rate=10)
        with pytest.raises(R3DError, match=r"`frame_rate` must be from 0\.01 to 1000"):
            model.evaluate(tmp_path, frame_rate=0)


@pytest.mark.usefixtures("evaluated")
def test_runs_are_fused(run, tmp_path):
    with pytest.raises(R3DError, match=r"must have the same classes\..* has: blue"):
        VideoClassifier.fused([run, R3D10(input_shape=(4, 16, 16, 3), labels=["blue", "red"])])
    fused = VideoClassifier.fused([VideoClassifier(run), run.path], ["1", "3"])
    assert fused.classes == list(CLASSES)
    fused.evaluate().save()
    (folder,) = (run.path / run_folder.EVALUATIONS).glob("test-fused-*-1-3")
    alone, together = read(run.path), read(folder)
    assert together["weights"] == [1, 3]
    for one, other in zip(alone["records"], together["records"], strict=True):
        assert one["video"] == other["video"]
        scores = [{t["label"]: t["score"] for t in r.get("top", [])} for r in (one, other)]
        assert scores[0] == pytest.approx(scores[1])
    for verb, call in {
        "cannot be trained": lambda: fused.fit(tmp_path),
        "no gradients": lambda: fused.explain(tmp_path / "v.avi"),
        "nothing but its scores": lambda: fused.embed(tmp_path / "v.avi"),
        "cannot be saved: take one of its models": lambda: fused.save(tmp_path / "x.keras"),
        "scored by one model": lambda: next(fused.watch("0")),
        "cannot be fused again": lambda: VideoClassifier.fused([fused, run]),
    }.items():
        with pytest.raises(R3DError, match=verb):
            call()


def test_shares_and_what_was_interrupted_give_the_same_results(run, tmp_path, monkeypatch):
    command_line = ("--workdir", run.path, "--output")
    whole = commands.output(evaluate.main, *command_line, tmp_path / "whole", code=1)
    share = (*command_line, tmp_path / "shared", "--shard_count=2", "--shard_index")
    out = commands.output(evaluate.main, *share, 1)
    assert "3 of 7 parts are made; 4 are missing." in out
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == ["shared.parts"]
    score, scored = kept.score, []

    def interrupted(classifier, reader, videos, **options):
        for prediction in score(classifier, reader, videos, **options):
            if len(scored) == 2:
                raise KeyboardInterrupt
            yield prediction
            scored.append(prediction.video)

    monkeypatch.setattr(kept, "score", interrupted)
    out = commands.output(evaluate.main, *share, 0, code=command.INTERRUPTED)
    assert "Run the same command to resume." in out
    monkeypatch.setattr(
        kept, "score", lambda *a, **b: scored.extend(v.name for v in a[2]) or score(*a, **b)
    )
    assert "7 of 7 parts are made: pass --finish." in commands.output(evaluate.main, *share, 0)
    assert len(scored) == len(set(scored)) == 4
    finish = (*command_line, tmp_path / "shared", "--finish")
    joined = commands.output(evaluate.main, *finish, code=1)
    assert joined.replace("shared", "whole") == whole  # the broken video is told, too
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert names == {path.name for path in (tmp_path / "shared").iterdir()}
    for name in names:
        contents = [(tmp_path / place / name).read_bytes() for place in ("whole", "shared")]
        assert contents[0] == contents[1] or name.endswith(".png"), name
    assert not (tmp_path / "shared.parts").exists()


@pytest.mark.parametrize("layout", ["{}", "test/{}"])
@pytest.mark.usefixtures("evaluated")
def test_a_subset_of_the_classes_is_evaluated(run, data, tmp_path, layout):
    """Also a single class, and what has no training videos."""
    shutil.copytree(data / "test" / "red", tmp_path / "data" / layout.format("red"))
    evaluate_to(run, tmp_path / "out", data=tmp_path / "data")
    found, whole = read(tmp_path / "out"), read(run.path)
    assert (found["videos"], found["errors"], found["classes"]) == (4, 1, list(CLASSES))
    ours, theirs = (
        {Path(r["video"]).name: r.get("top") for r in one["records"] if r["label"] == "red"}
        for one in (found, whole)
    )
    assert ours == theirs
    rows = (tmp_path / "out" / run_folder.PER_CLASS).read_text().splitlines()
    assert rows[1].startswith("green,0,")


def test_classes_that_the_model_does_not_know_are_named(run, data, tmp_path):
    for label in ("red", "blue", "white"):
        shutil.copytree(data / "test" / "red", tmp_path / "data" / label)
    message = r"8 of the 12 videos of split 'test' .*: 'blue' \(4\), 'white' \(4\); for ex.*as"
    with pytest.raises(R3DError, match=message):
        evaluate_to(run, tmp_path / "out", data=tmp_path / "data")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("evaluated")
def test_a_full_disk_leaves_the_old_results_whole(run, monkeypatch):
    (run.path / run_folder.MISTAKES).touch()
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    opened = opening.of_run(run_folder.open_run(run.path))
    always_red = dataclasses.replace(
        opened.classifier, score=lambda clips: np.tile(np.float32([0, 1]), (len(clips), 1))
    )
    opened = dataclasses.replace(opened, classifier=always_red)

    def full(evaluation):
        raise OSError(errno.ENOSPC, "No space left on device")

    evaluation = evaluating.evaluate([opened])
    monkeypatch.setattr(results.mistakes, "read", full)
    with pytest.raises(files.WriteError, match=rf"Could not write {run.path}.*No space left"):
        evaluation.save()
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before
    monkeypatch.setattr(results.mistakes, "read", lambda evaluation: None)
    evaluation.save()
    assert (run.path / run_folder.EVALUATION).read_bytes() != before[
        run.path / run_folder.EVALUATION
    ]
    assert not (run.path / run_folder.MISTAKES).exists(), "of an earlier evaluation"
    summary = run_folder.open_run(run.path).summary["evaluation"]
    assert summary["ece"] == read(run.path)["ece"]
    assert not [path for path in run.path.iterdir() if files.is_leftover(path)]
