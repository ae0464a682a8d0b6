"""`python -m keras_r3d.convert`: what it writes, what it prints, what it refuses."""

import subprocess
import sys
from pathlib import Path

import commands
import keras
import numpy as np
import pth
import pytest
from checkpoint_values import LOGITS, logits, moved, state_dict

from keras_r3d import applications
from keras_r3d import convert as convert_command
from keras_r3d.applications import WeightsError
from keras_r3d.applications.weights import pytorch, weights_file
from keras_r3d.system.errors import R3DError

ROOT = Path(__file__).parents[2]
CLIP = np.random.default_rng(0).integers(0, 256, (2, 4, 24, 24, 3), dtype=np.uint8)


def convert(*words, code: int = 0) -> str:
    return commands.output(convert_command.main, *words, code=code)


@pytest.fixture(scope="module")
def original() -> keras.Model:
    return moved(applications.R3D10(width=0.125, classes=3, mean=(1, 2, 3), std=(4, 5, 6)))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, original) -> Path:
    path = tmp_path_factory.mktemp("convert") / "save_200.pth"
    tensors = {f"module.{name}": array for name, array in state_dict(original).items()}
    return pth.write_legacy(path, {"state_dict": tensors, "epoch": 200})


@pytest.mark.slow
def test_the_command_writes_a_file_of_plain_keras_and_says_what_it_found(
    tmp_path, original, checkpoint
):
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    path = tmp_path / "m.keras"
    options = ("--mean=1,2,3", "--std=4,5,6", f"--labels={tmp_path / 'names.txt'}")
    output = convert(checkpoint, path, *options)
    for line in (
        "legacy container under state_dict.module",
        f"r3d10, {original.count_params():,} parameters",
        "in_channels 3, width 0.125, conv1_t_size 7, shortcut A, conv1_t_stride 1, max_pool True",
        f"{len(original.weights)} used, 0 left over, 9 that only training needs",
        "3; names: a, b, c",
        "mean [1.0000, 2.0000, 3.0000], std [4.0000, 5.0000, 6.0000] of 0-255 (given)",
        "torch.linspace(-1, 1, 602112).reshape(1, 3, 16, 112, 112)",
        f"{path}; loaded again",
    ):
        assert line in output
    assert "Warning" not in output
    script = (
        "import sys, keras, numpy as np\n"
        "model = keras.models.load_model('m.keras')\n"
        "assert 'keras_r3d' not in sys.modules\n"
        "np.save('scores.npy', model.predict(np.load('clip.npy')))\n"
    )
    np.save(tmp_path / "clip.npy", CLIP)
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    expected = keras.ops.convert_to_numpy(original(CLIP))
    assert np.load(tmp_path / "scores.npy") == pytest.approx(expected, abs=1e-5)
    about = applications.read_metadata(keras.models.load_model(path))
    assert (about.labels, about.weights) == (("a", "b", "c"), "save_200.pth")

    again = convert(checkpoint, path, code=1)
    assert again.startswith(f"Error: {path} already exists; choose another name")
    flags = ("--conv1_t_stride=2", "--nomax_pool", "--overwrite")
    assert "conv1_t_stride 2, max_pool False" in convert(checkpoint, path, *flags)
    assert convert(path, tmp_path / "m.npz").startswith(f"Written: {tmp_path / 'm.npz'}")


def test_the_logits_are_those_of_the_ramp(tmp_path, original, checkpoint):
    done = applications.convert(checkpoint, tmp_path / "m.keras", mean=(1, 2, 3), std=(4, 5, 6))
    assert done.conventions == "given"
    ramp = np.linspace(-1, 1, 3 * 16 * 112 * 112, dtype=np.float32).reshape(1, 3, 16, 112, 112)
    bare = applications.R3D10(
        weights=checkpoint, include_preprocessing=False, classifier_activation=None
    )
    expected = keras.ops.convert_to_numpy(bare(ramp.transpose(0, 2, 3, 4, 1)))[0]
    assert done.logits == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.filterwarnings("error::UserWarning", "ignore:The structure of `inputs`:UserWarning")
def test_unknown_conventions_are_said_in_the_summary(tmp_path, checkpoint):
    text = str(applications.convert(checkpoint, tmp_path / "m.keras"))
    assert "mean [114.7748, 107.7354, 99.4750]" in text
    assert "ASSUMED, the file does not say; if wrong, give --mean and --std" in text
    assert "not known (give --labels)" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["page.pth", "m.keras"], "is a web page"),
        (["page.pth"], "Missing: DESTINATION. See --help."),
        (["a", "b", "c"], "Unknown argument 'c'"),
        (["CHECKPOINT", "m.keras", "--mean=1,x,3"], "--mean must be numbers"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path, checkpoint, words, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    words = [checkpoint if word == "CHECKPOINT" else word for word in words]
    assert message in convert(*words, code=1)
    assert [p.name for p in tmp_path.iterdir()] == ["page.pth"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("m.h5", {}, r"must end in \.keras or \.npz\. Received: .*m\.h5"),
        ("m.npz", {}, r"A compact file is made of a \.keras file\. Received: .*save_200\.pth"),
        ("nowhere/m.keras", {}, r"Could not write .*nowhere/m\.keras"),
        ("m.keras", {"labels": "nowhere.txt"}, r"there is no file nowhere\.txt"),
        ("m.keras", {"labels": ["a"]}, "`labels` has 1 names, but the classifier 3 classes"),
        ("m.keras", {"mean": (1, 2)}, "`mean` must have a number for each of 3"),
    ],
)
def test_wrong_options_leave_nothing(tmp_path, checkpoint, name, options, message):
    with pytest.raises(R3DError, match=message):
        applications.convert(checkpoint, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("error::UserWarning", "ignore:The structure of `inputs`:UserWarning")
def test_of_several_networks_the_one_that_was_asked_for_is_converted(tmp_path, original):
    tensors = state_dict(original)
    averaged = {f"module.{name}": array for name, array in tensors.items()}
    averaged["module.fc.bias"] = averaged["module.fc.bias"] + 1
    path = pth.write_zip(tmp_path / "w.pth", {"ema": averaged, "model": tensors})
    trained = applications.convert(path, tmp_path / "trained.keras")
    assert "w.pth, zip container under model; others: SOURCE#ema.module\n" in str(trained)
    mean = applications.convert(f"{path}#ema", tmp_path / "mean.keras")
    assert "w.pth, zip container under ema.module\n" in str(mean)
    assert mean.logits == pytest.approx(trained.logits + 1, abs=1e-4)


def test_nothing_is_overwritten_unasked(tmp_path, checkpoint):
    (tmp_path / "m.keras").write_text("mine")
    with pytest.raises(WeightsError, match=r"m\.keras already exists; choose another name, or"):
        applications.convert(checkpoint, tmp_path / "m.keras")
    assert (tmp_path / "m.keras").read_text() == "mine"


def test_what_no_tensor_shows_is_taken_from_the_arguments(tmp_path):
    options = {"conv1_t_stride": 2, "max_pool": False}
    network = moved(applications.R3D10(width=0.125, classes=3, **options, **LOGITS))
    path = pth.write_zip(tmp_path / "w.pth", state_dict(network))
    done = applications.convert(path, tmp_path / "m.keras", **options)
    for text in ("conv1_t_size 7", "conv1_t_stride 2", "max_pool False"):
        assert text in str(done)
    loaded = keras.models.load_model(tmp_path / "m.keras")
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(logits(network)))
    assert keras.ops.convert_to_numpy(loaded(CLIP[:1])) == pytest.approx(expected, abs=1e-6)


def test_a_keras_file_becomes_a_compact_one(tmp_path):
    network = moved(applications.R3D10(width=0.125, classes=3, input_shape=(4, 24, 24, 3)))
    network.save(tmp_path / "m.keras")
    done = applications.convert(tmp_path / "m.keras", tmp_path / "m.npz")
    assert str(done).startswith(f"Written: {tmp_path / 'm.npz'}, 0.")
    loaded = applications.R3D10(weights=tmp_path / "m.npz", input_shape=(4, 24, 24, 3))
    expected = keras.ops.convert_to_numpy(network(CLIP))
    assert keras.ops.convert_to_numpy(loaded(CLIP)) == pytest.approx(expected, abs=1e-2)
    with pytest.raises(WeightsError, match="already exists"):
        applications.convert(tmp_path / "m.keras", tmp_path / "m.npz")
    applications.R3D10(width=0.125, input_shape=(4, 24, 32, 3)).save(tmp_path / "wide.keras")
    applications.convert(tmp_path / "wide.keras", tmp_path / "wide.npz")
    clips = [weights_file.open_file(tmp_path / name).clip for name in ("m.npz", "wide.npz")]
    assert clips == [(4, 24, 24), (4, 24, 32)]
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    for source, message in [
        ("nowhere.keras", r"There is no file .*nowhere\.keras"),
        ("other.keras", r"other\.keras: The model .* was not built by keras_r3d"),
    ]:
        with pytest.raises(WeightsError, match=message):
            applications.convert(tmp_path / source, tmp_path / "other.npz")
    assert not (tmp_path / "other.npz").exists()


def test_other_networks_are_refused(tmp_path, original):
    headless = {k: v for k, v in state_dict(original).items() if not k.startswith("fc")}
    strange = {**state_dict(original), "layer2.1.conv1.weight": np.ones((8, 8, 3, 3, 3), "f4")}
    original.save(tmp_path / "own.keras")
    for path, message in [
        (pth.write_zip(tmp_path / "headless.pth", headless), r"has no classifier: load it"),
        (pth.write_zip(tmp_path / "strange.pth", strange), "is of another architecture"),
        (tmp_path / "own.keras", "is a file of Keras 3, not a checkpoint"),
    ]:
        with pytest.raises(WeightsError, match=message):
            applications.convert(path, tmp_path / "m.keras")
    assert not (tmp_path / "m.keras").exists()


def test_torchvision_s_names_make_torchvision_s_network(tmp_path):
    model = applications.r3d_18(width=0.02, classes=3)
    path = pth.write_zip(tmp_path / "w.pth", state_dict(model, pytorch.TORCHVISION))
    bytes_read = []
    done = applications.convert(
        path, tmp_path / "m.keras", progress=lambda *numbers: bytes_read.append(numbers)
    )
    assert (done.network, done.conventions) == ("r3d_18", "assumed")
    assert done.metadata.mean == pytest.approx((110.2008, 100.63983, 95.99475))
    assert bytes_read == sorted(bytes_read)
    assert bytes_read[-1][0] == bytes_read[-1][1] == 4 * done.parameters
