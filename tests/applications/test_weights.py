"""Weights into networks: what a file decides, what does not fit, where named ones come from."""

import functools
import hashlib
from collections import OrderedDict
from dataclasses import replace

import h5py
import keras
import numpy as np
import pth
import pytest
from checkpoint_values import CLIP, LOGITS, logits, moved, state_dict, without_drawing
from range_server import RangeServer

from keras_r3d import applications
from keras_r3d.applications import CheckpointError, WeightsError
from keras_r3d.applications.labels import read_labels
from keras_r3d.applications.networks import NETWORKS
from keras_r3d.applications.weights import pretrained, pytorch
from keras_r3d.applications.weights.weights_file import open_file
from keras_r3d.system import retrying

PYTORCH_NAMES = {
    "r3d_18": pytorch.TORCHVISION,
    "mc3_18": pytorch.TORCHVISION,
    "r2plus1d_18": pytorch.TORCHVISION_2PLUS1D,
    "densenet121": pytorch.DENSENET_2018,
    "densenet169": pytorch.DENSENET,
    "r2p1d18": pytorch.AUTHORS_2PLUS1D,
    "r2p1d50": pytorch.AUTHORS_2PLUS1D_BOTTLENECK,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_R3D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@functools.cache
def small() -> keras.Model:
    return moved(applications.R3D10(width=0.125, classes=5, **LOGITS))


@functools.cache
def bottlenecks() -> keras.Model:
    return applications.R3D50(width=0.125, classes=5)


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of the small network, as the authors' code would name and wrap it."""
    return pth.write_zip(tmp_path / "save_200.pth", {"state_dict": state_dict(small())})


@pytest.mark.parametrize(
    ("name", "container", "shortcut"),
    [
        ("r3d10", "legacy", "A"),
        pytest.param("r3d18", "zip", "B", marks=pytest.mark.slow),
        pytest.param("r3d34", "legacy", "A", marks=pytest.mark.slow),
        ("r3d50", "zip", "A"),
        pytest.param("r3d101", "zip", "B", marks=pytest.mark.slow),
        pytest.param("r3d152", "zip", "B", marks=pytest.mark.slow),
        pytest.param("r3d200", "zip", "B", marks=pytest.mark.slow),
        pytest.param("r3d_18", "legacy", "B", marks=pytest.mark.slow),
        ("mc3_18", "zip", "B"),
        pytest.param("r2plus1d_18", "zip", "B", marks=pytest.mark.slow),
        ("preresnet18", "zip", "A"),
        pytest.param("preresnet50", "legacy", "B", marks=pytest.mark.slow),
        pytest.param("wideresnet50", "zip", "B", marks=pytest.mark.slow),
        pytest.param("resnext50", "zip", "B", marks=pytest.mark.slow),
        ("r2p1d18", "zip", "A"),
        pytest.param("r2p1d50", "zip", "B", marks=pytest.mark.slow),
        ("densenet121", "zip", None),
        pytest.param("densenet169", "legacy", None, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:.*does not say how its input")
def test_a_checkpoint_decides_the_network_s_options(tmp_path, name, container, shortcut):
    original = moved(
        applications.get_model(
            # At other widths some of ResNeXt's stages have no groups.
            name,
            width=0.0625,
            classes=7,
            shortcut=shortcut,
            conv1_t_size=5,
            **LOGITS,
        )
    )
    names = PYTORCH_NAMES.get(name, pytorch.AUTHORS)
    content = {"state_dict": state_dict(original, names)}
    path = pth.WRITERS[container](tmp_path / "w.pth", content)
    assert open_file(path).network == name
    loaded = applications.get_model(name, weights=path, **LOGITS)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in original.layers]
    assert loaded.output_shape == (None, 7)
    for ours, theirs in zip(loaded.weights, original.weights, strict=True):
        assert (keras.ops.convert_to_numpy(ours) == keras.ops.convert_to_numpy(theirs)).all()
    if not name.startswith("densenet"):  # to which CLIP is too short
        assert (logits(loaded) == logits(original)).all()


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ("wideresnet50", "resnext50", r"holds resnext50 .*conv2\.weight is \(8, 1, 3, 3, 3\), in"),
        ("r3d18", "preresnet18", r"holds preresnet18 .*layer2\.0\.bn1\.weight is \(4,\), in"),
        pytest.param(
            *("r3d50", "wideresnet50"),
            r"holds wideresnet50 .*conv1\.weight is \(8, 4, 1, 1, 1\), in",
            marks=pytest.mark.slow,
        ),
        ("r3d18", "densenet121", r"holds densenet121 .*conv\.1\.weight is \(8, 4"),
        pytest.param(
            "densenet121", "r3d18", r"holds r3d18 .*: (it has no|layer)", marks=pytest.mark.slow
        ),
        ("r2plus1d_18", "r2p1d18", r"holds r2p1d18 .*conv1_s\.weight is"),
    ],
)
def test_files_of_other_families_are_told_by_name(tmp_path, ours, theirs, message):
    """Their tensors are called alike, but for DenseNet's."""
    small = {"width": 0.0625, "classes": 3}
    with without_drawing():
        values = state_dict(
            applications.get_model(theirs, **small), PYTORCH_NAMES.get(theirs, pytorch.AUTHORS)
        )
        path = pth.write_zip(tmp_path / f"{theirs}.pth", values)
        with pytest.raises(WeightsError, match=rf"does not fit .*{ours} \(it {message}"):
            applications.get_model(ours, weights=path, mean=(1, 2, 3))


def test_a_wider_conv1_is_of_none_of_ours(tmp_path):
    """As in later versions of the authors' code for wide networks and ResNeXt."""
    with without_drawing():
        values = state_dict(applications.ResNeXt50(width=0.0625, classes=3))
    values["conv1.weight"] = np.zeros((8, 3, 7, 7, 7), np.float32)
    for kind in ("weight", "bias", "running_mean", "running_var"):
        values[f"bn1.{kind}"] = np.ones(8, np.float32)
    path = pth.write_zip(tmp_path / "w.pth", values)
    with pytest.raises(WeightsError, match=r"another architecture than .*of their channels, are"):
        applications.ResNeXt50(weights=path)


def test_tensors_too_many_or_too_few_are_named(tmp_path):
    with without_drawing():
        values = state_dict(
            applications.DenseNet121(width=0.0625, classes=3), pytorch.DENSENET_2018
        )
    last = "features.denseblock4.denselayer16.conv.2.weight"
    more = {**values, last.replace("conv.2", "conv.3"): values[last]}
    less = {name: value for name, value in values.items() if name != last}
    for content, message in ((more, r"it has .*conv\.3\.weight"), (less, rf"it has no {last}")):
        path = pth.write_zip(tmp_path / "w.pth", content)
        with without_drawing(), pytest.raises(WeightsError, match=message):
            applications.DenseNet121(weights=path, mean=(1, 2, 3))


@pytest.mark.parametrize("width", [0.1, 0.2, 0.3, 0.7, 1 / 3])
@pytest.mark.parametrize("name", ["r3d10", pytest.param("r2plus1d_18", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:.*does not say how its input")
def test_odd_widths_are_found_again(tmp_path, name, width):
    with without_drawing():
        original = applications.get_model(name, width=width, classes=2)
        original.save_weights(tmp_path / "w.weights.h5")
        loaded = applications.get_model(name, weights=tmp_path / "w.weights.h5")
    assert [w.shape for w in loaded.weights] == [w.shape for w in original.weights]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.filterwarnings("ignore:.*does not say how its input")
def test_other_float_types_are_loaded(tmp_path, dtype):
    path = pth.write_zip(tmp_path / "w.pth", state_dict(small(), dtype=dtype))
    received, expected = logits(applications.R3D10(weights=path, **LOGITS)), logits(small())
    assert abs(received - expected).max() < 0.01 * abs(expected).max()


@pytest.mark.filterwarnings("ignore:.*does not say how its input")
def test_safetensors_are_loaded(tmp_path):
    path = pth.write_safetensors(tmp_path / "w.safetensors", state_dict(small()))
    assert (logits(applications.R3D10(weights=path, **LOGITS)) == logits(small())).all()


@pytest.mark.filterwarnings("ignore:.*does not say how its input")
def test_one_of_several_networks_is_named_behind_the_file(tmp_path):
    content = {"model_ema": state_dict(small()), "model": state_dict(bottlenecks())}
    path = pth.write_zip(tmp_path / "#1.pth", content)
    taken = r"#1\.pth has several networks; taken is #model\. .* one of .*#1\.pth#model_ema\.$"
    with pytest.warns(UserWarning, match=taken):
        applications.R3D50(weights=path)
    loaded = applications.R3D10(weights=f"{path}#model_ema", **LOGITS)
    assert (logits(loaded) == logits(small())).all()
    with pytest.raises(CheckpointError, match=r"must be one of .*#model_ema, .*Received: .*#ema"):
        applications.R3D10(weights=f"{path}#ema")
    loaded.save(tmp_path / "w.keras")
    with pytest.raises(WeightsError, match=r"w\.keras holds one network: omit #ema"):
        applications.R3D10(weights=f"{tmp_path}/w.keras#ema")


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.filterwarnings("ignore:.*does not say how its input")
def test_keras_s_own_files_decide_too(tmp_path, suffix):
    options = {"mean": (90, 80, 70), "std": (50, 60, 70), "conv1_t_stride": 2}
    original = moved(
        applications.R3D10(
            width=0.125, labels=["a", "b"], shortcut="B", max_pool=False, **options, **LOGITS
        )
    )
    path = tmp_path / f"w{suffix}"
    (original.save if suffix == ".keras" else original.save_weights)(path)
    told = {} if suffix == ".keras" else options  # what weights alone do not say
    loaded = applications.R3D10(weights=str(path), **told, **LOGITS)
    assert (logits(loaded) == logits(original)).all()
    about = applications.read_metadata(loaded)
    assert about.mean == (90, 80, 70)
    assert about.labels == (("a", "b") if suffix == ".keras" else None)
    assert about.weights == path.name
    with pytest.raises(
        WeightsError, match=r"is of a network with max_pool=False\. Received:.*True"
    ):
        applications.R3D10(weights=path, max_pool=True)


@pytest.mark.filterwarnings("ignore:.*does not say how its input")
def test_relatives_do_not_change_a_checkpoint_s_network(tmp_path):
    """R3D18 and torchvision's r3d_18 have the same blocks, but another beginning."""
    torchvision_s = moved(applications.r3d_18(width=0.05, classes=4, **LOGITS))
    path = pth.write_zip(tmp_path / "tv.pth", state_dict(torchvision_s, pytorch.TORCHVISION))
    loaded = applications.R3D18(weights=path, **LOGITS)
    assert (logits(loaded) == logits(torchvision_s)).all()
    for option, value in [("max_pool", True), ("conv1_t_stride", 2)]:
        with pytest.raises(WeightsError, match=rf"is of a network with {option}=.*={value}"):
            applications.r3d_18(weights=path, **{option: value})

    authors = moved(applications.R3D18(width=0.05, classes=4, shortcut="B", **LOGITS))
    path = pth.write_zip(tmp_path / "au.pth", state_dict(authors))
    loaded = applications.r3d_18(weights=path, **LOGITS)
    assert (logits(loaded) == logits(authors)).all()


@pytest.mark.filterwarnings("ignore:.*does not say how its input")
def test_what_no_tensor_shows_can_be_said(tmp_path):
    options = {"max_pool": False, "conv1_t_stride": 2}
    original = moved(applications.R3D10(width=0.125, classes=4, **options, **LOGITS))
    path = pth.write_zip(tmp_path / "w.pth", state_dict(original))
    loaded = applications.R3D10(weights=path, **options, **LOGITS)
    assert (logits(loaded) == logits(original)).all()
    other = applications.R3D10(weights=path, **LOGITS)
    assert not np.allclose(logits(other), logits(original))


def test_c3d_loads_its_own_files(tmp_path, checkpoint):
    original = applications.C3D(width=0.02, classes=3, with_batch_norm=True, labels=["x", "y", "z"])
    original.save(tmp_path / "c.keras")
    loaded = applications.C3D(weights=tmp_path / "c.keras")
    assert [w.shape for w in loaded.weights] == [w.shape for w in original.weights]
    assert applications.read_metadata(loaded).labels == ("x", "y", "z")
    assert applications.C3D(weights=tmp_path / "c.keras", include_top=False).output_shape[-1] == 10
    with pytest.warns(UserWarning, match="has 3 classes, this network 5"):
        other = applications.C3D(weights=tmp_path / "c.keras", classes=5)
    for layer in ("conv1", "fc7"):
        kernels = [keras.ops.convert_to_numpy(m.get_layer(layer).kernel) for m in (other, original)]
        assert (kernels[0] == kernels[1]).all()
    with pytest.raises(WeightsError, match=r"save_200\.pth is not of C3D: it has no conv5b/kern"):
        applications.C3D(weights=checkpoint)
    with pytest.raises(WeightsError, match="does not fit the network r3d10"):
        applications.R3D10(weights=tmp_path / "c.keras")


def test_another_number_of_classes_starts_the_classifier_afresh(checkpoint):
    with pytest.warns(UserWarning, match=r"classifier of .*save_200\.pth has 5 classes, this netw"):
        model = applications.R3D10(weights=checkpoint, classes=3, mean=(1, 2, 3))
    assert model.output_shape == (None, 3)
    for layer in ("conv1", "conv5_1_bn2"):
        for ours, theirs in zip(
            model.get_layer(layer).weights, small().get_layer(layer).weights, strict=True
        ):
            assert (keras.ops.convert_to_numpy(ours) == keras.ops.convert_to_numpy(theirs)).all()


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_backbone_needs_no_classifier(tmp_path):
    backbone = OrderedDict((k, v) for k, v in state_dict(small()).items() if "fc" not in k)
    path = pth.write_zip(tmp_path / "backbone.pth", backbone)
    options = {"mean": (1, 2, 3), "std": (1, 1, 1)}
    features = applications.R3D10(weights=path, include_top=False, pooling="avg", **options)
    pooled = keras.Model(small().input, small().get_layer("avg_pool").output)
    plain = applications.R3D10(
        weights=path, include_top=False, pooling="avg", include_preprocessing=False
    )
    clip = (CLIP - small().get_layer("metadata").seed["mean"]).astype(np.float32)
    assert keras.ops.convert_to_numpy(plain(clip)) == pytest.approx(
        keras.ops.convert_to_numpy(pooled(CLIP)), rel=1e-4, abs=1e-5
    )
    assert features.output_shape == (None, 64)
    with pytest.warns(UserWarning, match="has no classes, this network 400"):
        applications.R3D10(weights=path, **options)


def test_weights_reach_a_network_on_a_tensor_of_one_s_own(checkpoint):
    given = keras.Input((4, 24, 24, 4))
    to_rgb = keras.layers.Conv3D(3, 1, name="to_rgb")(given)
    model = applications.R3D10(weights=checkpoint, input_tensor=to_rgb, mean=(0, 0, 0))
    assert model.inputs[0] is given
    kernel = model.get_layer("conv1").kernel
    assert (keras.ops.convert_to_numpy(kernel) == small().get_layer("conv1").kernel.numpy()).all()


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (
            "R3D18",
            {},
            r"does not fit the network r3d18 \(it holds r3d10 with .*\): it has no "
            r"layer1\.1\.conv1\.weight, which the network r3d18 has as \(8, 8, 3, 3, 3\)",
        ),
        (
            "R3D50",
            {},
            r"layer1\.0\.conv1\.weight is \(8, 8, 3, 3, 3\), in the network r3d50 "
            r"\(8, 8, 1, 1, 1\)",
        ),
        ("R3D10", {"width": 0.25}, r"conv1\.weight is \(8, 3, 7, 7, 7\), in .* \(16, 3, 7, 7, 7\)"),
        ("R3D10", {"conv1_t_size": 3}, r"conv1\.weight is \(8, 3, 7.*, in .* \(8, 3, 3, 7, 7\)"),
        (
            "R3D10",
            {"shortcut": "B"},
            r"it has no layer2\.0\.downsample\.0\.weight, which .* as \(16, 8, 1, 1, 1\)",
        ),
        ("mc3_18", {}, r"it holds r3d10 .*: it has no layer1\.1\.conv1\.weight, which .* mc3_18"),
        ("R3D10", {"labels": ["a"]}, r"`labels` has 1 names, but the classifier 5 classes in .*"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*does not say how its input")
def test_what_does_not_fit_is_named_with_both_shapes(checkpoint, network, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(applications, network)(weights=checkpoint, **options)


@pytest.mark.filterwarnings("ignore:.*does not say how its input")
def test_a_projection_that_was_not_asked_for_is_left_over(tmp_path):
    path = pth.write_zip(
        tmp_path / "w.pth", state_dict(applications.R3D10(width=0.125, shortcut="B", classes=5))
    )
    with pytest.raises(WeightsError, match=r"it has layer2\.0\.downsample\.0\.weight, .* has not"):
        applications.R3D10(weights=path, shortcut="A")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bn1.running_var": np.full(8, -1, "f4")}, r"bn1\.running_var is a variance, but has"),
        ({"layer1.00.conv1.weight": np.ones(3, "f4")}, r"it has layer1\.00\.conv1\.weight"),
        ({"extra.weight": np.ones(3, np.float32)}, r"it has extra\.weight \(1 such in all\)"),
        ({"conv1.weight": np.ones((8, 3, 7, 7), np.float32)}, "a network for images"),
        (
            {"bn1.weight": np.full(8, np.nan, np.float32)},
            r"bn1\.weight has values that are not fin",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*does not say how its input")
def test_odd_tensors_are_named(tmp_path, change, message):
    path = pth.write_zip(tmp_path / "w.pth", state_dict(small()) | change)
    with pytest.raises(WeightsError, match=message):
        applications.R3D10(weights=path)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"features.0.weight": np.ones((3, 3), np.float32)}, "its tensors are features.0.weight"),
        ({"conv1.weight": np.ones((3, 3), np.float32)}, "is of another architecture"),
        ({"stem.4.weight": np.ones(3, np.float32)}, "is of another architecture"),
        ({"fc\x1b[2K.weight": np.ones(3, np.float32)}, r"its tensors are fc\?\[2K\.weight"),
        ({"layer1.0.conv1.weight": np.ones((0, 3), np.float32)}, "has an empty tensor, layer1"),
        # As the authors' ResNeXt, wide and pre-activated networks.
        ({"layer4.0.conv2.weight": np.ones((64, 2, 3, 3, 3), "f4")}, "though its tensors are"),
        ({"layer4.0.bn3.weight": np.ones(128, "f4")}, "though its tensors are called alike"),
        ({"layer4.0.bn1.weight": np.ones(128, "f4")}, "though its tensors are called alike"),
        ({"layer4.3.conv1.weight": np.ones((64, 256, 1, 1, 1), "f4")}, "though its tensors are"),
    ],
)
def test_another_architecture_is_told(tmp_path, tensors, message):
    if any(name.startswith("layer") for name in tensors):
        tensors = state_dict(bottlenecks()) | tensors
    path = pth.write_zip(tmp_path / "w.pth", tensors)
    with pytest.raises(WeightsError, match=message):
        applications.R3D50(weights=path)


def test_a_small_file_builds_no_giant(tmp_path):
    """Shapes that a few small tensors claim, and nothing else of the network."""
    names = ["conv1.weight", "bn1.weight", "layer4.0.bn1.weight", "layer4.0.bn2.weight"]
    base = np.ones(64, np.float32)
    tensors = {f"layer{i}.0.conv1.weight": np.ones((1, 1, 1, 1, 1), "f4") for i in (1, 2, 3)}
    tensors |= dict.fromkeys(names, pth.View(base, 0, (1, 64, 1, 1, 1), (0, 0, 0, 0, 0)))
    tensors["layer4.0.conv1.weight"] = pth.View(base, 0, (64, 1, 1, 1, 1), (0, 0, 0, 0, 0))
    path = pth.write_zip(tmp_path / "w.pth", tensors)
    with pytest.raises(WeightsError, match="is of another architecture"):
        applications.R3D10(weights=path)


def test_an_h5_file_shows_no_other_file(tmp_path):
    path = tmp_path / "w.weights.h5"
    (tmp_path / "secret").write_bytes(bytes(400))
    applications.R3D10(width=0.125, classes=2).save_weights(path)
    with h5py.File(path, "r+") as file:
        group = file["layers/dense/vars"]
        del group["1"]
        group.create_dataset("1", (2,), "f4", external=[(str(tmp_path / "secret"), 0, 8)])
    with pytest.raises(WeightsError, match="layers/dense/vars/1 is not an array of numbers inside"):
        applications.R3D10(weights=path)


def test_files_that_are_no_weights(tmp_path):
    for name, message in [
        ("w.keras", "Keras cannot load"),
        ("w.weights.h5", "is no file of Keras's weights"),
    ]:
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(WeightsError, match=message):
            applications.R3D10(weights=tmp_path / name)
    (tmp_path / "w.pth").write_bytes(b"<html>")
    with pytest.raises(CheckpointError, match="is a web page"):
        applications.R3D10(weights=tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"`weights`: there is no file nowhere\.pth"):
        applications.R3D10(weights="nowhere.pth")
    for wrong in ("imagenet", "", True, 5):
        with pytest.raises(WeightsError, match=rf"one of \['kinetics400', 'kin.*weights={wrong!r}"):
            applications.R3D18(weights=wrong)


def test_a_folder_hides_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kinetics400").mkdir()
    with pytest.raises(WeightsError, match=r"is the file resnet-18-kinetics\.pth, which"):
        applications.R3D18(weights="kinetics400")


def test_unknown_conventions_are_said(checkpoint):
    with pytest.warns(
        UserWarning, match=r"save_200\.pth does not say how.*mean \[114\.77, 107\.74"
    ):
        applications.R3D10(weights=checkpoint)


def official(tmp_path, file: str, classes: int, network: str = "r3d18"):
    model = applications.get_model(network, width=0.02, classes=classes)
    tmp_path.mkdir(parents=True, exist_ok=True)
    return pth.write_zip(tmp_path / file, {"state_dict": state_dict(model)})


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("by", ["name", "file name", "path"])
def test_conventions_and_names_come_with_official_files(cache, tmp_path, by):
    folder = tmp_path if by == "path" else cache
    old = official(folder, "resnet-18-kinetics.pth", 400)
    new = official(folder, "r3d18_K_200ep.pth", 700)
    weights = {
        "name": ("kinetics400", "kinetics700"),
        "file name": (old.name, new.name),
        "path": (old, new),
    }[by]
    about = applications.read_metadata(applications.R3D18(weights=weights[0]))
    assert about.labels == read_labels("kinetics400")
    assert (about.mean, about.std) == ((114.7748, 107.7354, 99.4750), (1, 1, 1))
    model = applications.R3D18(weights=weights[1])
    about = applications.read_metadata(model)
    assert about.labels is None
    assert about.mean == pytest.approx((110.7975, 103.3005, 96.2625))
    assert about.std == pytest.approx((70.584, 69.1815, 69.7935))
    with pytest.raises(ValueError, match="does not say what the classes are called"):
        applications.decode_predictions(np.zeros((1, 700)), model=model)
    names = [f"class {i}" for i in range(700)]
    model = applications.R3D18(weights=weights[1], labels=names)
    decoded = applications.decode_predictions(np.eye(700)[[3]], top=1, model=model)
    assert decoded == [[(3, "class 3", 1.0)]]


@pytest.mark.filterwarnings("ignore:.*classifier of")
def test_own_classes_take_no_names_from_the_file(cache):
    official(cache, "resnet-18-kinetics.pth", 400)
    model = applications.R3D18(weights="kinetics400", classes=7)
    about = applications.read_metadata(model)
    assert about.labels is None
    assert about.mean == (114.7748, 107.7354, 99.4750)


@pytest.mark.filterwarnings("error::UserWarning")
def test_an_official_file_for_other_channels(tmp_path):
    path = official(tmp_path, "resnet-18-kinetics.pth", 400)
    model = applications.R3D18(weights=path, in_channels=1)
    assert applications.read_metadata(model).mean == (128.0,)


@pytest.mark.parametrize(
    "builder", ["R3D10", pytest.param("r2plus1d_18", marks=pytest.mark.slow), "C3D"]
)
def test_rgb_weights_fit_flow(tmp_path, builder):
    options = {"width": 0.125, "classes": 3, "input_shape": (8, 16, 16, 3)}
    theirs = moved(getattr(applications, builder)(**options))
    theirs.save(tmp_path / "rgb.keras")
    options["input_shape"] = (8, 16, 16, 2)
    ours = getattr(applications, builder)(weights=tmp_path / "rgb.keras", **options)
    first = "conv1_spatial" if builder == "r2plus1d_18" else "conv1"
    for layer in theirs.layers:
        if layer.name == first:
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            received = keras.ops.convert_to_numpy(ours.get_layer(first).kernel)
            expected = np.stack([kernel.mean(axis=3)] * 2, axis=3)
            np.testing.assert_allclose(received, expected, rtol=1e-6)
        elif layer.name != "normalization":
            for one, other in zip(layer.weights, ours.get_layer(layer.name).weights, strict=True):
                assert (one.numpy() == other.numpy()).all()
    assert applications.read_metadata(ours).mean == (128.0, 128.0)


def test_weights_for_flow_do_not_fit_rgb(tmp_path):
    applications.R3D10(width=0.125, classes=2, in_channels=2).save(tmp_path / "flow.keras")
    with pytest.raises(WeightsError, match=r"conv1/kernel is \(7, 7, 7, 2, 8\), in .* 7, 3, 8\)"):
        applications.R3D10(weights=tmp_path / "flow.keras", in_channels=3)


def test_an_own_file_under_an_official_name_is_not_taken_for_it(tmp_path):
    path = official(tmp_path, "r3d18_K_200ep.pth", 12)
    with pytest.warns(UserWarning, match="does not say how its input was normalized"):
        applications.R3D18(weights=path)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("name", ["resnet-18-kinetics-cpu.pth", "resnet-18-kinetics (1).pth"])
def test_copies_of_official_files_are_known(tmp_path, name):
    model = applications.R3D18(weights=official(tmp_path, name, 400))
    assert applications.read_metadata(model).labels == read_labels("kinetics400")


def test_another_file_in_the_cache_is_not_taken_for_the_published_one(cache):
    official(cache, "r3d18_K_200ep.pth", 400)
    with pytest.raises(WeightsError, match="it holds r3d18 for 400 classes, not r3d18 for 700"):
        applications.R3D18(weights="kinetics700")


def test_the_assumed_mean_of_flow_is_the_one_that_is_used(tmp_path):
    flow = applications.R3D10(width=0.125, classes=2, in_channels=2)
    path = pth.write_zip(tmp_path / "flow.pth", state_dict(flow))
    with pytest.warns(UserWarning, match=r"mean \[128\.0, 128\.0\], std \[1\.0, 1\.0\]"):
        model = applications.R3D10(weights=path)
    assert applications.read_metadata(model).mean == (128.0, 128.0)


def test_what_cannot_be_downloaded_is_explained(cache):
    with pytest.raises(WeightsError) as error:
        applications.R3D34(weights="kinetics700")
    for part in (
        "r3d34_K_200ep.pth",
        "https://drive.google.com/",
        str(cache / "r3d34_K_200ep.pth"),
    ):
        assert part in str(error.value)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.01)
    with RangeServer({}) as running:
        yield running


def publish(server, monkeypatch, content: bytes, digest: str) -> pretrained.Pretrained:
    """Makes r3d_18's weights a file on the server; returns its row."""
    server.files["/r3d_18.pth"] = content
    row = replace(
        pretrained.find("r3d_18", "kinetics400"),
        file=f"r3d_18-{digest[:8]}.pth",
        url=f"{server.address}/r3d_18.pth",
        sha256=digest[:8],
    )
    monkeypatch.setattr(pretrained, "PRETRAINED", (row,))
    return row


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory) -> bytes:
    model = applications.r3d_18(width=0.02)
    path = tmp_path_factory.mktemp("w") / "w.pth"
    return pth.write_zip(path, state_dict(model, pytorch.TORCHVISION)).read_bytes()


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("name", ["kinetics400", "KINETICS400_V1", "DEFAULT"])
def test_torchvision_s_weights_are_downloaded_once(
    server, monkeypatch, cache, torchvision_file, name, capsys
):
    row = publish(
        server, monkeypatch, torchvision_file, hashlib.sha256(torchvision_file).hexdigest()
    )
    server.faults = [503, 503]
    model = applications.r3d_18(weights=name)
    assert f"Downloading {row.url}" in capsys.readouterr().out
    assert (cache / row.file).read_bytes() == torchvision_file
    about = applications.read_metadata(model)
    assert about.labels == read_labels("kinetics400")
    assert about.std == pytest.approx((58.14765, 56.46975, 55.332195))
    server.always = 500
    applications.r3d_18(weights=name)
    (cache / row.file).write_bytes(b"changed")
    with pytest.raises(WeightsError, match=r"is not the published r3d_18-.*Remove it"):
        applications.r3d_18(weights=name)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (404, "could not be downloaded: the server answered 404 Not Found"),
        ("cut", r"the connection ended before the answer was complete .Asked 3 times"),
        (None, "gave another file than the published one"),
    ],
)
def test_a_failed_download_leaves_nothing(
    server, monkeypatch, cache, torchvision_file, fault, message
):
    publish(server, monkeypatch, torchvision_file, "0" * 64)
    server.always = fault
    with pytest.raises(WeightsError, match=message):
        applications.r3d_18(weights="kinetics400")
    assert list(cache.iterdir()) == []


def test_a_proxy_is_asked(server, monkeypatch, cache, torchvision_file):
    digest = hashlib.sha256(torchvision_file).hexdigest()
    row = publish(server, monkeypatch, torchvision_file, digest)
    elsewhere = replace(row, url="http://weights.test/r3d_18.pth")
    monkeypatch.setattr(pretrained, "PRETRAINED", (elsewhere,))
    monkeypatch.setenv("http_proxy", server.address)
    assert pretrained.fetch(elsewhere).read_bytes() == torchvision_file
    assert [request.path for request in server.requests] == [elsewhere.url]


def test_a_server_that_is_not_there(server, monkeypatch, cache):
    row = publish(server, monkeypatch, b"", "0" * 64)
    monkeypatch.setattr(
        pretrained, "PRETRAINED", (replace(row, url="http://127.0.0.1:9/r3d_18.pth"),)
    )
    with pytest.raises(WeightsError, match=r"could not be downloaded: .*refused.*put it at"):
        applications.r3d_18(weights="kinetics400")


@pytest.mark.parametrize(
    "name",
    [
        *("r3d18", "r3d_18", "r2plus1d_18", "r2p1d18"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("r3d50", "mc3_18", "densenet121", "densenet169", "r2p1d50")
        ),
    ],
)
def test_names_translate_both_ways(name):
    names = PYTORCH_NAMES.get(name, pytorch.AUTHORS)
    with without_drawing():
        model = applications.get_model(name, width=0.02, classes=2)
    for layer in model.layers:
        for variable in layer.weights:
            ours = f"{layer.name}/{variable.name}"
            assert pytorch.variable(names, pytorch.tensor(names, ours)) == ours
    torchvision = names in (pytorch.TORCHVISION, pytorch.TORCHVISION_2PLUS1D)
    assert (NETWORKS[name].family == "torchvision") == torchvision
