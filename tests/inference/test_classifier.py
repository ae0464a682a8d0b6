"""Any artifact of a model scores the same, and its clips are cut as its recipe says."""

import dataclasses
import importlib.machinery
import json
import shutil
import sys
import types
import zipfile
from pathlib import Path

import exports
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import small_recipe

from keras_r3d import recipe, run_folder
from keras_r3d.applications import C3D, R3D10, metadata
from keras_r3d.inference.models import classifier, opening, runtimes
from keras_r3d.inference.models.runtimes import tflite
from keras_r3d.system import devices
from keras_r3d.system.errors import ModelError

CLASSES = ("green", "red", "blue")
CLIPS = np.random.default_rng(0).integers(0, 256, (9, 4, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return R3D10(input_shape=CLIPS.shape[1:], width=0.125, labels=CLASSES)


@pytest.fixture(scope="module")
def run(network, tmp_path_factory) -> run_folder.Run:
    """A run with all its artifacts, but no training."""
    made = exports.run_of(network, tmp_path_factory.mktemp("runs") / "run", CLASSES)
    exports.write(made, "saved_model", exports.SAVED_MODEL)
    exports.write(made, "tflite", exports.TFLITE)
    return made


ARTEFACTS = ("best.keras", exports.SAVED_MODEL, exports.TFLITE)


@pytest.mark.parametrize("name", ARTEFACTS)
def test_all_artifacts_score_alike(run, network, name):
    opened = classifier.of_file(run.path / name, run)
    expected = keras.ops.convert_to_numpy(network(CLIPS))
    assert opened.classes == list(CLASSES)
    assert opened.score(CLIPS) == pytest.approx(expected, abs=1e-5)
    assert opened.score(CLIPS).dtype == np.float32


@pytest.mark.parametrize("name", ARTEFACTS)
def test_scores_are_the_same_to_the_bit_whatever_is_scored_together(run, name):
    opened = classifier.of_file(run.path / name, run, overrides=["eval.batch_size=4"])
    together = opened.score(CLIPS)
    one_by_one = np.concatenate([opened.score(clip[None]) for clip in CLIPS])
    reversed_ = opened.score(CLIPS[::-1])[::-1]
    assert (together == one_by_one).all()
    assert (together == reversed_).all()


def test_a_network_that_ends_in_a_dense_layer_scores_alike_too():
    network = C3D(input_shape=(8, 32, 32, 3), width=0.03125, classes=5)
    clips = np.random.default_rng(0).integers(0, 256, (7, 8, 32, 32, 3), dtype=np.uint8)
    score = runtimes.of_network(network, devices.choose(), 4)
    one_by_one = np.concatenate([score(clip[None]) for clip in clips])
    assert (score(clips) == one_by_one).all()


def test_logits_become_probabilities(network):
    logits = R3D10(
        input_shape=CLIPS.shape[1:], width=0.125, labels=CLASSES, classifier_activation=None
    )
    logits.set_weights(network.get_weights())
    score = runtimes.of_network(logits, devices.choose(), 4)
    expected = runtimes.of_network(network, devices.choose(), 4)(CLIPS)
    assert score(CLIPS) == pytest.approx(expected, abs=1e-6)


def test_a_model_is_found_to_be_of_its_run(run):
    for name in ARTEFACTS:
        opened = opening.open_model(str(run.path / name))
        assert opened.run.path == run.path
        assert opened.classifier.clips == run.recipe.clips
        assert f"run {run.path}" in opened.classifier.described


def test_a_model_alone_says_classes_and_shape(network, tmp_path):
    network.save(tmp_path / "alone.keras")
    opened = classifier.of_file(tmp_path / "alone.keras", overrides=["eval.views=3"])
    assert opened.classes == list(CLASSES)
    assert (opened.clips.frames, opened.clips.size, opened.eval.views) == (4, 16, 3)
    assert opened.clips.sampling.kind == "consecutive"
    assert "as in the paper" in opened.described


def test_a_recipe_that_cuts_other_clips_is_refused(network, tmp_path):
    network.save(tmp_path / "alone.keras")
    with pytest.raises(ModelError, match=r"takes clips of \(4, 16, 16, 3\).* cuts \(16, 64, 64, 3"):
        classifier.of_file(tmp_path / "alone.keras", "gestures")


def test_an_open_shape_takes_the_recipes():
    network = R3D10(width=0.0625, classes=2)
    opened = classifier.of_network(network, recipe.load("gestures"))
    assert (opened.clips.frames, opened.clips.size) == (16, 64)
    assert opened.classes == ["0", "1"]


def test_a_model_in_memory_has_its_own_names(network):
    opened = classifier.of_network(network)
    assert (opened.name, opened.classes) == (network.name, list(CLASSES))


def damaged(path: Path, text: bytes = b"nothing") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return path


def test_what_is_no_model_is_said(tmp_path, run):
    with pytest.raises(ModelError, match="there is no such model"):
        classifier.of_file(tmp_path / "x.keras")
    with pytest.raises(ModelError, match=r"folder without saved_model\.pb"):
        classifier.of_file(tmp_path)
    with pytest.raises(ModelError, match=r"PyTorch checkpoints: `python -m keras_r3d.convert`"):
        classifier.of_file(damaged(tmp_path / "x.pth"))
    with pytest.raises(ModelError, match="Keras cannot load it"):
        classifier.of_file(damaged(tmp_path / "y.keras"))
    with pytest.raises(ModelError, match=r"TensorFlow Lite cannot load it: it is no \.tflite"):
        classifier.of_file(damaged(tmp_path / "z.tflite"))
    damaged(tmp_path / "m" / "saved_model.pb")
    with pytest.raises(ModelError, match="TensorFlow cannot load it"):
        classifier.of_file(tmp_path / "m")
    whole = shutil.copytree(run.path / exports.SAVED_MODEL, tmp_path / "n")
    variables = next(whole.glob("variables/*.data*"))
    variables.write_bytes(variables.read_bytes()[:1000])
    with pytest.raises(ModelError, match="TensorFlow cannot load it"):
        classifier.of_file(whole)


def test_a_tflite_file_that_is_cut_short_does_not_kill_the_process(run, tmp_path):
    whole = (run.path / exports.TFLITE).read_bytes()
    with pytest.raises(ModelError, match="TensorFlow Lite cannot load it, or dies of it: "):
        classifier.of_file(damaged(tmp_path / "cut.tflite", whole[: len(whole) // 2]))


class _Foreign(tf.Module):
    def __init__(self, spec: tf.TensorSpec):
        super().__init__()

        @tf.function(input_signature=[spec])
        def scores(clip):
            return {"probabilities": tf.cast(clip, tf.float32)}

        self.scores = scores


@pytest.mark.parametrize(
    "spec",
    [
        tf.TensorSpec((None, 4, 16, 16, 3), tf.float32, name="clip"),
        tf.TensorSpec(None, tf.uint8, name="clip"),
        tf.TensorSpec((None, 4, 16, 16, 3), tf.uint8, name="image"),
    ],
)
def test_a_saved_model_of_others_is_refused(tmp_path, spec):
    foreign = _Foreign(spec)
    tf.saved_model.save(foreign, str(tmp_path), signatures={"serving_default": foreign.scores})
    with pytest.raises(ModelError, match="must take uint8 clips"):
        classifier.of_file(tmp_path)
    tf.saved_model.save(foreign, str(tmp_path), signatures={"other": foreign.scores})
    with pytest.raises(ModelError, match=r"signature 'serving_default'.* Received: \['other'\]"):
        classifier.of_file(tmp_path)


def test_an_export_with_fewer_names_than_classes_is_refused(run, tmp_path):
    moved = shutil.copytree(run.path / exports.SAVED_MODEL, tmp_path / "1")
    said = moved / "assets.extra" / "model.json"
    values = json.loads(said.read_text())
    said.write_text(json.dumps(values | {"classes": values["classes"][:2]}))
    with pytest.raises(ModelError, match="has 3 classes, but 2 are named"):
        classifier.of_file(moved)
    said.write_bytes(b"\xff")
    with pytest.raises(ModelError, match=r"its model\.json is damaged"):
        classifier.of_file(moved)


@pytest.mark.parametrize("name", [exports.SAVED_MODEL, exports.TFLITE])
def test_an_export_carries_its_recipe_anywhere(run, tmp_path, name):
    moved = tmp_path / Path(name).name
    shutil.move(shutil.copytree(run.path, tmp_path / "copy") / name, moved)
    opened = classifier.of_file(moved, overrides=["eval.views=3"])
    assert opened.classes == list(CLASSES)
    assert opened.clips == run.recipe.clips
    assert opened.eval == dataclasses.replace(run.recipe.eval, views=3)
    assert opened.described == "recipe in the model"


def test_a_trained_model_carries_its_recipe_anywhere(network, tmp_path):
    experiment = recipe.override(small_recipe(), ["clips.short_side=40", "eval.windows=3"])
    trained = keras.models.clone_model(network)
    metadata.record(trained, recipe=recipe.to_dict(experiment))
    trained.save(tmp_path / "alone.keras")
    opened = classifier.of_file(tmp_path / "alone.keras")
    assert (opened.clips, opened.eval) == (experiment.clips, experiment.eval)
    metadata.record(trained, recipe={"data": {"frames": 4}})
    trained.save(tmp_path / "old.keras")
    with pytest.raises(ModelError, match="another version of keras_r3d: pass `recipe`"):
        classifier.of_file(tmp_path / "old.keras")


def test_a_tflite_file_of_others_wants_a_run_for_its_names(run, tmp_path, monkeypatch):
    # The trial in a process of its own is another test's, and takes seconds.
    done = types.SimpleNamespace(returncode=0)
    monkeypatch.setattr(tflite.subprocess, "run", lambda *words, **options: done)
    bare = tmp_path / "bare.tflite"
    end = zipfile.ZipFile(run.path / exports.TFLITE).infolist()[0].header_offset
    bare.write_bytes((run.path / exports.TFLITE).read_bytes()[:end])
    with pytest.raises(ModelError, match="comes without class names: pass the run"):
        classifier.of_file(bare)
    assert classifier.of_file(bare, run).classes == list(CLASSES)


def test_a_network_that_wants_normalized_pixels_is_refused():
    network = R3D10(
        input_shape=CLIPS.shape[1:], width=0.125, classes=3, include_preprocessing=False
    )
    with pytest.raises(ModelError, match="does not normalize its input itself"):
        classifier.of_network(network)


def test_a_network_of_pictures_is_refused():
    image = keras.Input((16, 16, 3))
    network = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    with pytest.raises(ModelError, match="must take clips"):
        classifier.of_network(network)


def test_other_classes_than_the_runs_are_refused(run, tmp_path):
    other = R3D10(input_shape=CLIPS.shape[1:], width=0.125, classes=2)
    other.save(tmp_path / "other.keras")
    with pytest.raises(ModelError, match="has 2 classes, but 3 are named"):
        classifier.of_file(tmp_path / "other.keras", run)


def test_steps_have_few_sizes():
    sizes = []

    def step(clips):
        sizes.append(len(clips))
        return clips.astype(np.float32)

    for batch_size, least in [(32, 2), (5, 2), (6, 4), (1, 1), (1, 2)]:
        sizes.clear()
        score = runtimes.in_steps(step, batch_size, least)
        for count in range(1, 70):
            clips = np.arange(count)[:, None]
            assert (score(clips) == clips).all()
        assert min(sizes) >= least
        assert all(size % least == 0 for size in sizes)
        assert len(set(sizes)) <= 6
        assert max(sizes) == max(least, batch_size // least * least)


def test_a_model_beside_a_run_keeps_its_own_names(run, tmp_path):
    other = R3D10(input_shape=CLIPS.shape[1:], width=0.125, labels=CLASSES[::-1])
    other.save(tmp_path / "other.keras")
    assert classifier.of_file(tmp_path / "other.keras", run).classes == list(CLASSES[::-1])
    strange = R3D10(input_shape=CLIPS.shape[1:], width=0.125, labels=("green", "red", "pink"))
    strange.save(tmp_path / "strange.keras")
    with pytest.raises(ModelError, match=r"other classes than the run\. .* has: blue, pink"):
        classifier.of_file(tmp_path / "strange.keras", run)


def test_code_in_a_model_is_not_executed(tmp_path):
    clip = keras.Input(CLIPS.shape[1:])
    pooled = keras.layers.GlobalAveragePooling3D()(clip)
    hidden = keras.layers.Lambda(lambda x: x[:, :3])(pooled)
    keras.Model(clip, hidden).save(tmp_path / "lambda.keras")
    with pytest.raises(ModelError, match=r"holds code, which is never executed: .* Python lambda"):
        classifier.of_file(tmp_path / "lambda.keras")


def test_the_successor_of_tf_lite_is_used_where_tensorflow_announces_its_end(monkeypatch):
    own = tf.lite.Interpreter
    package, module = (types.ModuleType(f"ai_edge_litert{end}") for end in ("", ".interpreter"))
    package.__spec__ = importlib.machinery.ModuleSpec("ai_edge_litert", None)
    module.Interpreter = object()
    monkeypatch.setattr(tf, "__version__", "2.21.0")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)  # not installed
    assert tflite.find_interpreter() is own
    monkeypatch.setitem(sys.modules, "ai_edge_litert", package)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)
    assert tflite.find_interpreter() is module.Interpreter
    monkeypatch.setattr(tf, "__version__", "2.16.2")
    assert tflite.find_interpreter() is own
