import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from signature_networks import (
    CLASSES,
    CLIPS,
    FRAMES,
    SIZE,
    network,
    noise,
    scores,
    served,
    source,
)
from tensorflow.core.protobuf import saved_model_pb2

from keras_r3d.applications import C3D, I3D, R3D10
from keras_r3d.export.saved_model import saved_model
from keras_r3d.inference.models import runtimes

HELPERS = Path(__file__).parents[1] / "helpers"
PIXELS = noise(3, FRAMES, SIZE, SIZE)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return served(network(), tmp_path_factory.mktemp("one") / "model" / "1")


def test_it_is_loaded_as_other_exports(one):
    loaded = runtimes.load_export(one.path)
    assert loaded.shape == (FRAMES, None, None, 3)
    assert loaded.score(2)(PIXELS) == pytest.approx(scores(one.model, PIXELS), abs=1e-5)


def test_class_names_are_an_asset(one):
    assert (one.path / "assets" / "labels.txt").read_text("utf-8").splitlines() == CLASSES


def test_operators_are_tensorflows_own(one):
    graph = saved_model_pb2.SavedModel.FromString((one.path / "saved_model.pb").read_bytes())
    (meta,) = graph.meta_graphs
    functions = meta.graph_def.library.function
    used = {node.op for function in functions for node in function.node_def}
    used |= {node.op for node in meta.graph_def.node}
    assert {"Conv3D", "DecodeJpeg", "Assert"} <= used
    assert not {op for op in used if "PyFunc" in op or ("Batch" in op and "Norm" in op)}
    used -= {function.signature.name for function in functions}
    assert not {op for op in used if not hasattr(tf.raw_ops, op)}


# Prints the scores of the clips on stdin, in a process to which Keras and we are not known.
ALONE = f"""
import sys
from importlib.machinery import PathFinder
class Finder:
    def find_spec(self, name, path=None, target=None):
        known = name.split(".")[0] not in ("keras", "tf_keras", "keras_r3d", "export", "cv2")
        return PathFinder.find_spec(name, path, target) if known else None
sys.meta_path[sys.meta_path.index(PathFinder)] = Finder()
import numpy as np, tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1]).signatures
clips = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(-1, {FRAMES}, {SIZE}, {SIZE}, 3)
files = [[tf.io.encode_jpeg(frame).numpy() for frame in clip] for clip in clips]
assert signatures["features"](clip=tf.constant(clips))["features"].shape[0] == len(clips)
assert signatures["jpeg"](jpegs=tf.constant(files))["scores"].shape[0] == len(clips)
assert not set(sys.modules).intersection(["keras", "keras_r3d", "cv2"])
answer = signatures["serving_default"](clip=tf.constant(clips))
print("labels", answer["labels"][0, 0].numpy().decode())
for row in answer["probabilities"].numpy():
    print("scores", *row)
"""


def scored_alone(python: str, path: Path) -> tuple[str, np.ndarray]:
    done = subprocess.run(
        [python, "-c", ALONE, str(path)],
        input=PIXELS.tobytes(),
        capture_output=True,
        cwd="/",
        env=os.environ | {"PYTHONPATH": "", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = [line.split(" ", 1) for line in done.stdout.decode().splitlines()]
    (label,) = [rest for key, rest in lines if key == "labels"]
    return label, np.array([rest.split() for key, rest in lines if key == "scores"], float)


def test_it_runs_where_keras_is_not_known(one):
    label, found = scored_alone(sys.executable, one.path)
    expected = scores(one.model, PIXELS)
    assert found == pytest.approx(expected, abs=1e-5)
    assert label == CLASSES[expected[0].argmax()]


@pytest.mark.slow
@pytest.mark.skipif(
    "KERAS_R3D_OTHER_PYTHON" not in os.environ,
    reason="set KERAS_R3D_OTHER_PYTHON to a Python with another TensorFlow",
)
def test_it_runs_with_another_tensorflow(one):
    _, found = scored_alone(os.environ["KERAS_R3D_OTHER_PYTHON"], one.path)
    assert found == pytest.approx(scores(one.model, PIXELS), abs=1e-5)


@pytest.mark.slow
def test_the_command_line_of_tensorflow_takes_it(one, tmp_path):
    command = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
    shown = subprocess.run(
        [*command, "show", "--dir", one.path, "--all"], capture_output=True, text=True, check=True
    ).stdout
    for name in one.loaded.signatures:
        assert f"signature_def['{name}']" in shown
    assert "shape: (-1, 8, -1, -1, 3)" in shown
    np.save(tmp_path / "clip.npy", PIXELS)
    subprocess.run(
        [
            *(*command, "run", "--dir", one.path, "--tag_set", "serve"),
            *("--signature_def", "serving_default", "--inputs", f"clip={tmp_path / 'clip.npy'}"),
            *("--outdir", tmp_path),
        ],
        capture_output=True,
        check=True,
    )
    found = np.load(tmp_path / "probabilities.npy")
    assert found == pytest.approx(scores(one.model, PIXELS), abs=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
def test_half_precision_halves_the_file_and_keeps_the_outputs(one, tmp_path, precision):
    own = served(one.model, tmp_path / "1", quantize=precision)
    weights = Path("variables", "variables.data-00000-of-00001")
    sizes = [(path / weights).stat().st_size for path in (own.path, one.path)]
    assert sizes[0] < 0.6 * sizes[1]
    for name in one.loaded.signatures:
        outputs = own.loaded.signatures[name].structured_outputs
        assert outputs == one.loaded.signatures[name].structured_outputs
    found = own.serving_default(clip=tf.constant(PIXELS))["probabilities"].numpy()
    assert found == pytest.approx(scores(one.model, PIXELS), abs=0.02)
    assert found.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-6)


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tmp_path):
    code = (
        f"import pathlib, sys; sys.path[:0] = [{str(HELPERS)!r}, {str(HELPERS.parent)!r}]\n"
        "from signature_networks import network, source\n"
        "from keras_r3d.export.saved_model import saved_model\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "saved_model.write(source(network()), path, 'none')"
    )
    contents = []
    for name in ("a", "b"):
        path = tmp_path / name
        subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True)
        found = [p for p in path.rglob("*") if p.is_file() and p.name != "fingerprint.pb"]
        contents.append(
            {p.relative_to(path): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}
        )
    assert contents[0] == contents[1]


def test_a_folder_that_cannot_be_written_is_an_error(one, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(saved_model.files.WriteError, match="Could not write"):
        saved_model.write(source(one.model), tmp_path / "file" / "1", "none")


@pytest.mark.slow
def test_i3d_is_served_as_keras_computes_it(tmp_path):
    keras.utils.set_random_seed(0)
    model = I3D(input_shape=(16, 49, 64, 3), width=0.125, classes=len(CLASSES))
    clips = dataclasses.replace(CLIPS, frames=16, size=(49, 64), short_side=None)
    each = served(model, tmp_path / "1", clips)
    pixels = noise(2, 16, 49, 64)
    found = each.serving_default(clip=tf.constant(pixels))["probabilities"].numpy()
    assert found == pytest.approx(scores(model, pixels), abs=1e-5)
    assert np.ptp(found) > 0.01


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "build", [pytest.param(R3D10, id="r3d10"), pytest.param(C3D, id="c3d", marks=pytest.mark.slow)]
)
def test_weights_and_computation_are_half_as_wide(build, precision):
    keras.utils.set_random_seed(0)
    model = build(input_shape=(8, 16, 16, 3), width=0.0625, classes=3)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([0.02 * kernel, bias])  # else all probabilities are 0 or 1
    half = saved_model.narrowed(model, precision)
    kinds = {layer.name: layer.compute_dtype for layer in half.layers}
    assert {kinds["conv1"], kinds["conv1_relu"]} == {precision}
    assert {kinds["normalization"], kinds["predictions"]} == {"float32"}
    # Of what stays, only the classifier and the numbers of the normalization have weights.
    wide = {v.path.split("/")[0] for v in half.weights if v.dtype == "float32"}
    assert wide <= {"predictions", "normalization"}
    outputs = [scores(m, PIXELS[:2]) for m in (model, half)]
    assert outputs[1].dtype == np.float32
    assert outputs[1] == pytest.approx(outputs[0], abs=0.02)
    assert (outputs[1] != outputs[0]).any()
