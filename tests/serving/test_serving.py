"""The kit for TensorFlow Serving: its files are read as the server reads them, and replayed."""

import shlex

import cv2
import numpy as np
import pytest
import serving_protos as protos
import tensorflow as tf
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from serving_model import FRAMES, SIZE, ServedModel, probabilities, write_model
from tensorflow.core.framework import tensor_pb2

from keras_r3d.export.saved_model import saved_model as serving
from keras_r3d.serving import messages
from keras_r3d.system.errors import ExportError

NAME = 'my "model" ü'
SIGNATURES = ("serving_default", "jpeg", "features")


def write_kit(version, name, clip):
    serving.write_warm_up(version, name, clip, SIGNATURES)
    return serving.write_beside(version.parent, name)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (FRAMES, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def version(tmp_path_factory, clip):
    path = write_model(tmp_path_factory.mktemp("kit") / "toy" / "1")
    assert write_kit(path, NAME, clip) == []
    return path


def logs(version) -> list[bytes]:
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    return [record.numpy() for record in tf.data.TFRecordDataset(str(path))]


def test_each_signature_is_warmed_up_once_and_runs(version, clip):
    model, seen = ServedModel(version), {}
    for log in logs(version):
        request = protos.PredictionLog.FromString(log).predict_log.request
        assert request.model_spec.name == NAME
        assert not request.model_spec.HasField("version")
        signature = request.model_spec.signature_name
        inputs = {
            one.key: tf.make_ndarray(tensor_pb2.TensorProto.FromString(one.value))
            for one in request.inputs
        }
        seen[signature] = model.run(signature, inputs, request.output_filter), inputs
    assert list(seen) == sorted(SIGNATURES)
    outputs, inputs = seen["serving_default"]
    assert (inputs["clip"] == clip[np.newaxis]).all()
    np.testing.assert_allclose(outputs["probabilities"], probabilities(clip[np.newaxis]), rtol=1e-5)
    assert cv2.imdecode(np.frombuffer(seen["jpeg"][1]["jpegs"][0, 0], np.uint8), 1).shape == (
        *(SIZE, SIZE, 3),
    )


def test_the_same_values_are_the_same_bytes(version, clip, tmp_path):
    serving.write_warm_up(tmp_path, NAME, clip, SIGNATURES)
    assert logs(tmp_path) == logs(version)


def test_requests_are_those_of_the_official_stubs(version, clip):
    stubs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2", reason="no stubs")
    request = stubs.PredictionLog().predict_log.request
    request.model_spec.name, request.model_spec.signature_name = NAME, "jpeg"
    request.inputs["jpegs"].CopyFrom(tf.make_tensor_proto([[b"a\0", b"b" * 300]]))
    ours = serving.prediction_log(NAME, "jpeg", {"jpegs": [[b"a\0", b"b" * 300]]})
    expected = stubs.PredictionLog(predict_log={"request": request})
    assert stubs.PredictionLog.FromString(ours) == expected
    assert ours == expected.SerializeToString(deterministic=True)
    for log in logs(version):
        found = stubs.PredictionLog.FromString(log)
        assert found.WhichOneof("log_type") == "predict_log"
        found.DiscardUnknownFields()
        assert found.ByteSize() == len(log)


@given(st.integers(0, 2**63 - 1))
def test_numbers_are_written_as_protobuf_does(number):
    message = protos.BatchingParameters(max_batch_size={"value": number})
    groups = serving._varint(number)
    whole = serving._field(1, b"\x08" + groups) if number else serving._field(1, b"")
    assert message.SerializeToString() == whole


def test_models_config_names_the_folder_in_the_container(version):
    text = (version.parent / "models.config").read_text(encoding="utf-8")
    (config,) = text_format.Parse(text, protos.ModelServerConfig()).model_config_list.config
    assert (config.name, config.base_path) == (NAME, f"/models/{NAME}")
    assert config.model_platform == "tensorflow"
    assert config.model_version_policy.latest.num_versions == 1
    stubs = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2", reason="no stubs"
    )
    official = text_format.Parse(text, stubs.ModelServerConfig())
    assert official.model_config_list.config[0].name == NAME


def test_batching_takes_what_the_client_sends(version):
    text = (version.parent / "batching.config").read_text(encoding="utf-8")
    found = text_format.Parse(text, protos.BatchingParameters())
    assert found.max_batch_size.value == found.allowed_batch_sizes[-1] == messages.MOST_CLIPS
    assert list(found.allowed_batch_sizes) == sorted(found.allowed_batch_sizes)
    assert found.num_batch_threads.value > 0


def test_the_line_mounts_the_folder_and_names_its_files(version):
    text = (version.parent / "serving.md").read_text(encoding="utf-8")
    line = text.split("```")[1].strip()
    words = shlex.split(line.replace("\\\n", " "))
    assert f"$PWD:/models/{NAME}:ro" in words
    assert words[:7] == ["docker", "run", "--rm", "-p", "8500:8500", "-p", "8501:8501"]
    for flag in ("--model_config_file", "--batching_parameters_file"):
        (place,) = (w.partition("=")[2] for w in words if w.startswith(flag))
        assert (version.parent / place.removeprefix(f"/models/{NAME}/")).is_file()


@pytest.mark.parametrize("name", ["", "a/b", "a:b"])
def test_names_that_no_address_can_have(tmp_path, name):
    with pytest.raises(ExportError, match="no '/' and no ':'"):
        serving.write_beside(tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_what_the_user_has_changed_is_left(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    assert serving.write_beside(folder, "toy") == []
    own = tmp_path / "toy" / "models.config"
    own.write_text("mine", encoding="utf-8")
    assert serving.write_beside(folder, "toy") == [
        f"{own} exists and is kept; this export would write another one."
    ]
    assert own.read_text(encoding="utf-8") == "mine"
    # Of all that lies there the server takes for versions what is a number.
    assert not [path for path in folder.iterdir() if path.name.isdecimal()]
