"""ONNX and OpenVINO: what the file computes, what it says of itself, what is missing."""

import dataclasses
import importlib.util
import json

import keras
import numpy as np
import pytest
from exports import source_of
from families import mixed
from folded import moved

from keras_r3d.applications import C3D, I3D, R3D18
from keras_r3d.export import formats, onnx, openvino
from keras_r3d.inference.models.runtimes import loaders
from keras_r3d.system.errors import ExportError

CLASSES = ["a\nb", "<&\"'>;", "naïve 日本"]
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(one) is None for one in ("onnx", "tf2onnx", "onnxruntime")),
    reason="needs keras_r3d[onnx]",
)
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs keras_r3d[openvino]"
)
NETWORKS = {
    "A": lambda: R3D18(input_shape=(8, 32, 32, 3), width=0.125, classes=3, shortcut="A"),
    "B": lambda: R3D18(input_shape=(7, 33, 47, 3), width=0.125, classes=3, shortcut="B"),
    "families": mixed,
    "c3d": lambda: C3D(input_shape=(16, 48, 48, 3), width=0.0625, classes=3),
    "i3d": lambda: I3D(input_shape=(16, 49, 64, 3), width=0.125, classes=3),
}


@pytest.fixture(
    scope="module",
    params=[
        *("A", "families"),
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("B", "c3d", "i3d")),
    ],
)
def model(request) -> keras.Model:
    keras.utils.set_random_seed(1)
    made = NETWORKS[request.param]()
    if request.param == "families":
        return made
    moved(made)
    last = made.get_layer("predictions")  # else one class has all the probability
    kernel, bias = last.get_weights()
    last.set_weights([kernel / (5 if request.param == "i3d" else 50), bias])
    return made


def clips(model) -> np.ndarray:
    """Five clips, one brighter than the other."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (5, *model.input_shape[1:]))
    return (noise * np.linspace(0.2, 1, 5)[:, None, None, None, None]).astype(np.uint8)


def check(model, score) -> None:
    """Compares scores with Keras's at several batch sizes."""
    given = clips(model)
    expected = model.predict_on_batch(given.astype(np.float32))
    assert np.ptp(expected, axis=0).max() > 0.01  # else a mistake would not show
    for count in (1, 2, 5):
        received = score(given[:count])
        assert received.dtype == np.float32
        assert received == pytest.approx(expected[:count], abs=1e-5)


@needs_onnx
def test_onnx_computes_what_keras_computes(model, tmp_path):
    import onnxruntime

    path = tmp_path / "model.onnx"
    source = source_of(model, CLASSES)
    onnx.write(source, path, "none")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,), (asked,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type) == ("clip", "tensor(uint8)")
    assert given.shape == ["batch", *model.input_shape[1:]]
    assert (asked.name, asked.shape) == ("probabilities", ["batch", 3])
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said[loaders.CLASSES]) == CLASSES
    assert said[loaders.ONNX_METADATA] == source.metadata.to_json()
    check(model, lambda some: session.run(None, {"clip": some})[0])


@needs_openvino
def test_openvino_computes_what_keras_computes(model, tmp_path):
    from openvino import Core

    path = tmp_path / "model"
    source = source_of(model, CLASSES)
    openvino.write(source, path, "none")
    assert sorted(one.name for one in path.iterdir()) == ["model.bin", "model.xml"]
    assert str(tmp_path) not in (path / openvino.MODEL).read_text(encoding="utf-8")
    read = Core().read_model(path / openvino.MODEL)
    said = {
        name: read.get_rt_info([loaders.OPENVINO_SECTION, name]).astype(str)
        for name in (loaders.CLASSES, loaders.OPENVINO_METADATA)
    }
    assert json.loads(said[loaders.CLASSES]) == CLASSES
    assert said[loaders.OPENVINO_METADATA] == source.metadata.to_json()
    compiled = Core().compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert compiled.input("clip").get_element_type().get_type_name() == "u8"
    assert compiled.input("clip").get_partial_shape().to_string().startswith("[?,")
    check(model, lambda some: compiled(some)["probabilities"])


@needs_onnx
@pytest.mark.slow
def test_a_graph_with_other_inputs_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx, "_with_constants", lambda model: model)
    with pytest.raises(ExportError, match=r"must have one input 'clip'.*normalization"):
        onnx.write(source_of(NETWORKS["A"](), CLASSES), tmp_path / "model.onnx", "none")


def test_a_missing_package_is_named_with_what_brings_it(monkeypatch):
    needs = dataclasses.replace(
        formats.FORMATS["onnx"], packages=("json", "no_such_a", "no_such_b")
    )
    monkeypatch.setitem(formats.FORMATS, "onnx", needs)
    with pytest.raises(
        ExportError,
        match=r"^`form` onnx needs no_such_a and no_such_b: pip install 'keras_r3d\[onnx\]'",
    ):
        formats.get_format("onnx", "none")
