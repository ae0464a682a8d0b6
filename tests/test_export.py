import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_r3d.applications import R3D10, R3D18
from keras_r3d.export import parity, saved_model, tflite
from keras_r3d.inference import artefacts
from keras_r3d.training import run as training

CLIPS = np.random.default_rng(0).integers(0, 256, (3, 16, 32, 32, 3), dtype=np.uint8)


def moved(model: keras.Model) -> keras.Model:
    """Moves the batch-norm statistics away from their start, where mistakes would not show."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


@pytest.fixture(scope="module", params=["A", "B"])
def model(request) -> keras.Model:
    return moved(R3D18(input_shape=(16, 32, 32, 3), width=0.125, classes=3, shortcut=request.param))


def scores(model):
    return lambda clips: keras.ops.convert_to_numpy(model(clips))


def test_saved_model_computes_what_keras_computes(model, tmp_path):
    path = saved_model.destination(tmp_path / "r3d")
    assert path == tmp_path / "r3d" / "1"
    saved_model.write(model, path)
    found = parity.compare(scores(model), artefacts.load_export(path, 2)[0], CLIPS)
    assert found.same_class == 3
    assert found.largest_difference < 1e-5
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    _, arguments = signature.structured_input_signature
    assert arguments["clip"].dtype == tf.uint8
    assert arguments["clip"].shape.as_list() == [None, 16, 32, 32, 3]


def test_a_second_export_gets_the_next_version(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "7").mkdir()
    assert saved_model.destination(tmp_path) == tmp_path / "8"


def test_tflite_computes_what_keras_computes_with_builtin_operators(model, tmp_path):
    path = tmp_path / "model.tflite"
    tflite.write(model, path)
    found = parity.compare(scores(model), artefacts.load_export(path, 2)[0], CLIPS)
    assert found.same_class == 3
    assert found.largest_difference < 1e-5
    # The reference resolver knows built-in operators only.
    plain = tf.lite.Interpreter(
        str(path),
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
    )
    plain.allocate_tensors()
    names = {op["op_name"] for op in plain._get_ops_details()}
    assert not {n for n in names if n.startswith("Flex") or n == "CUSTOM"}
    assert plain.get_input_details()[0]["dtype"] == np.uint8


@pytest.mark.parametrize("name", ["model.tflite", "model.classes.txt"])
def test_existing_tflite_files_are_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(parity.ExportError, match=f"{name} exists and is left as it is"):
        tflite.destination(tmp_path / "model.tflite")
    with pytest.raises(parity.ExportError, match=r"must end in \.tflite"):
        tflite.destination(tmp_path / "model")


@pytest.mark.parametrize("wrong", [0.01, pytest.param(np.nan, marks=pytest.mark.slow)])
def test_an_export_that_differs_is_not_kept(class_folders, small, tmp_path, monkeypatch, wrong):
    run = training.train(small, class_folders, tmp_path / "run", say=lambda line: None)
    right = artefacts.load_export

    def off(path, batch_size):
        score, shape = right(path, batch_size)
        return lambda clips: score(clips) + wrong, shape

    monkeypatch.setattr(artefacts, "load_export", off)
    with pytest.raises(parity.ExportError, match=r"differs from Keras .* is not kept"):
        parity.export_and_compare(run, tflite, tmp_path / "out" / "model.tflite")
    assert not list((tmp_path / "out").iterdir())
    monkeypatch.setattr(artefacts, "load_export", right)
    parity.export_and_compare(run, tflite, tmp_path / "out" / "model.tflite")
    assert (tmp_path / "out" / "model.classes.txt").read_text() == "green\nred\n"


@pytest.mark.parametrize("shape", [(7, 33, 32, 3), (8, 16, 48, 3)])
def test_odd_shapes_survive_without_pooling_layers(shape):
    model = moved(R3D10(input_shape=shape, width=0.125, classes=3))
    clips = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    lowered = tflite.without_pooling(model)
    assert scores(lowered)(clips) == pytest.approx(scores(model)(clips), abs=1e-6)
    pools = (keras.layers.MaxPooling3D, keras.layers.AveragePooling3D)
    assert not [layer for layer in lowered.layers if isinstance(layer, pools)]


def test_an_unknown_pooling_layer_is_named():
    x = keras.Input((8, 8, 8, 3))
    model = keras.Model(x, keras.layers.AveragePooling3D(2, name="mean")(x))
    with pytest.raises(parity.ExportError, match="cannot replace the layer mean"):
        tflite.without_pooling(model)


def test_a_difference_is_reported():
    found = parity.compare(
        lambda x: np.array([[0.9, 0.1], [0.4, 0.6]]),
        lambda x: np.array([[0.8, 0.2], [0.6, 0.4]]),
        np.zeros((2, 1)),
    )
    assert (found.clips, found.same_class) == (2, 1)
    assert found.largest_difference == pytest.approx(0.2)
    assert json.dumps(str(found)).count("same class in 1")
