"""Keras as other projects set it up: channels first, or another backend than TensorFlow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCORES = """
import sys
from pathlib import Path

import keras, numpy as np
from exports import source_of
from keras_r3d.applications import C3D, R3D10, r2plus1d_18
from keras_r3d.applications import embedding
from keras_r3d.export.tflite import tflite
from keras_r3d.inference.models import runtimes

clips = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 32, 3), dtype=np.uint8)
shape, path, scores = (8, 32, 32, 3), Path(sys.argv[1]), {}
builders = {
    "a": lambda: R3D10(input_shape=shape, width=0.125, shortcut="A", classes=3),
    "max": lambda: R3D10(input_shape=shape, width=0.125, include_top=False, pooling="max"),
    "2plus1d": lambda: r2plus1d_18(input_shape=shape, width=0.125, classes=3),
    "c3d": lambda: C3D(input_shape=(16, 32, 32, 3), width=0.125, classes=3),
}
for name in sys.argv[2:]:
    network = builders[name]()
    rng = np.random.default_rng(1)
    network.set_weights([0.1 * rng.random(w.shape) for w in network.get_weights()])
    scores[name] = network(clips[:, : network.input_shape[1]])
    if name == "max":
        continue
    tflite.write(source_of(network, ["x", "y", "z"]), path / f"{name}.tflite", "none")
    loaded = runtimes.load_export(path / f"{name}.tflite")
    scores[f"{name}.tflite"] = loaded.score(1)(clips[:, : network.input_shape[1]])
    if name == "a":
        (embedder,) = embedding.join([network], ["conv3", "conv5"])
        scores["stages"] = embedder(clips[:, :8])
np.savez(path / "scores.npz", **scores)
"""


def run(folder: Path, *words: object, **environment: str) -> subprocess.CompletedProcess:
    helpers = f"{ROOT}:{ROOT / 'tests'}:{ROOT / 'tests' / 'helpers'}"
    clean = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=clean | {"PYTHONPATH": helpers, "KERAS_HOME": str(folder)} | environment,
        capture_output=True,
        text=True,
    )


def set_up(folder: Path, **changes: str) -> Path:
    folder.mkdir()
    config = {"floatx": "float32", "epsilon": 1e-7, "backend": "tensorflow"}
    config |= {"image_data_format": "channels_last"} | changes
    (folder / "keras.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("names", "count"),
    [(("a", "max"), 4), pytest.param(("2plus1d", "c3d"), 4, marks=pytest.mark.slow)],
)
def test_channels_first_change_nothing(tmp_path, monkeypatch, names, count):
    """Networks, embeddings and exports say themselves where their channels are."""
    assert keras.config.image_data_format() == "channels_last"
    monkeypatch.setattr(sys, "argv", ["-c", tmp_path, *names])
    exec(SCORES, {})
    folder = set_up(tmp_path / "channels_first", image_data_format="channels_first")
    done = run(folder, "-c", SCORES, folder, *names)
    assert done.returncode == 0, done.stderr
    scores = [np.load(place / "scores.npz") for place in (tmp_path, folder)]
    assert sorted(scores[0]) == sorted(scores[1])
    assert len(scores[0].files) == count
    for name, expected in scores[0].items():
        assert np.ptp(expected) > 0
        assert scores[1][name] == pytest.approx(expected, abs=1e-6), name


USES = {
    "a classifier": "keras_r3d.VideoClassifier('motion')",
    "a network": "keras_r3d.applications.R3D18()",
    "a training": "keras_r3d.training.train('demo')",
    "a dry run": "keras_r3d.training.dry_run('demo')",
    "an optimizer": "keras_r3d.training.SGD",
    "an export": "keras_r3d.export",
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("place", ["KERAS_BACKEND", "keras.json"])
def test_python_with_another_backend_is_told_what_to_do(tmp_path, use, place):
    backend = {"backend": "jax"} if place == "keras.json" else {}
    environment = {"KERAS_BACKEND": "jax"} if place == "KERAS_BACKEND" else {}
    folder = set_up(tmp_path / "home", **backend)
    done = run(folder, "-c", f"import keras_r3d; {USES[use]}", **environment)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "keras_r3d.system.errors.DeviceError: keras_r3d needs Keras on TensorFlow, but Keras is "
        "set up for 'jax' here: set the environment variable KERAS_BACKEND=tensorflow before Keras "
        "is imported (it has precedence over ~/.keras/keras.json)."
    )


@pytest.mark.parametrize(
    "place", [pytest.param("KERAS_BACKEND", marks=pytest.mark.slow), "keras.json"]
)
def test_commands_take_tensorflow(tmp_path, place):
    backend = {"backend": "jax"} if place == "keras.json" else {}
    environment = {"KERAS_BACKEND": "jax"} if place == "KERAS_BACKEND" else {}
    folder = set_up(tmp_path / "home", image_data_format="channels_first", **backend)
    (folder / "w.pth").write_bytes(b"<html>")
    words = ("-m", "keras_r3d.convert", "w.pth", "w.keras")
    done = run(folder, *words, **environment)
    # TensorFlow 2.21 says what it found whatever TF_CPP_MIN_LOG_LEVEL is: its lines come before.
    assert done.stderr.splitlines()[-1].startswith("Error: w.pth is a web page"), done.stderr
