"""C3D from the files of other projects, against the same network in NumPy, channels first."""

import functools
from collections import OrderedDict
from pathlib import Path

import h5py
import keras
import numpy as np
import pth
import pytest

import keras_r3d
from keras_r3d import applications
from keras_r3d.applications import CheckpointError, WeightsError
from keras_r3d.applications.weights import pretrained

LAYERS = ("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
TOP = ("fc6", "fc7", "fc8")
WIDTHS = (8, 16, 32, 32, 64, 64, 64, 64)  # an eighth
# pool5 makes 2x2x2 of 4x3x3: frames, rows and columns of fc6's inputs can all be confused.
SHAPE = (32, 48, 48, 3)
OPTIONS = {"input_shape": SHAPE, "classifier_activation": None}
CLIP = np.random.default_rng(1).integers(0, 256, (1, *SHAPE), dtype=np.uint8)
CAFFE_MEAN, MMACTION_MEAN = (102, 98, 90), (104, 117, 128)  # of RGB


@functools.cache
def tensors(classes: int) -> OrderedDict[str, np.ndarray]:
    """Weights as PyTorch keeps them, by the plain names."""
    rng = np.random.default_rng(0)
    shapes = {}
    for layer, before, after in zip(LAYERS, (3, *WIDTHS[:-1]), WIDTHS, strict=True):
        shapes[layer] = (after, before, 3, 3, 3)
    shapes |= {"fc6": (512, 64 * 8), "fc7": (512, 512), "fc8": (classes, 512)}
    values = OrderedDict()
    for layer, shape in shapes.items():
        scale = (2 / np.prod(shape[1:])) ** 0.5 / (100 if layer == "conv1" else 1)
        values[f"{layer}.weight"] = rng.normal(0, scale, shape).astype(np.float32)
        values[f"{layer}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)
    return values


def pool(x, kernel, padding):
    """Max-pooling of (channels, frames, height, width) as Caffe or the ports do."""
    pads = [(0, 0)] + [
        {"behind": (0, -size % step), "both": (int(step == 2 and axis > 0),) * 2, "": (0, 0)}[
            padding
        ]
        for axis, (size, step) in enumerate(zip(x.shape[1:], kernel, strict=True))
    ]
    x = np.pad(x, pads, constant_values=-np.inf)
    sizes = [size // step for size, step in zip(x.shape[1:], kernel, strict=True)]
    x = x[:, : sizes[0] * kernel[0], : sizes[1] * kernel[1], : sizes[2] * kernel[2]]
    steps = [n for pair in zip(sizes, kernel, strict=True) for n in pair]
    return x.reshape(x.shape[0], *steps).max((2, 4, 6))


@functools.cache
def expected(classes: int, bgr: bool, mean: tuple[int, ...], padding: str) -> np.ndarray:
    """Logits of CLIP."""
    values = tensors(classes)
    x = (CLIP[0].astype(np.float32) - np.array(mean, np.float32))[..., :: -1 if bgr else 1]
    x = x.transpose(3, 0, 1, 2)
    for layer in LAYERS:
        padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (1, 1)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3), axis=(1, 2, 3))
        x = np.einsum("oijkl,ithwjkl->othw", values[f"{layer}.weight"], windows, optimize=True)
        x = np.maximum(x + values[f"{layer}.bias"][:, None, None, None], 0)
        if layer in ("conv1", "conv2", "conv3b", "conv4b"):
            x = pool(x, (1 if layer == "conv1" else 2, 2, 2), "")
    x = pool(x, (2, 2, 2), padding).ravel()
    for layer in TOP:
        x = values[f"{layer}.weight"] @ x + values[f"{layer}.bias"]
        x = x if layer == "fc8" else np.maximum(x, 0)
    return x


def renamed(classes: int, names: dict[str, str], prefix: str = "") -> OrderedDict:
    pairs = [(name.rpartition("."), value) for name, value in tensors(classes).items()]
    return OrderedDict(
        (f"{prefix}{names.get(layer, layer)}.{kind}", value)
        for (layer, _, kind), value in pairs
        if names.get(layer, layer)
    )


SEQUENTIAL = dict(zip(LAYERS, [f"features.{i}" for i in (0, 3, 6, 8, 11, 13, 16, 18)], strict=True))
SEQUENTIAL |= {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": ""}
CONV_MODULES = {
    name: f"{name if name[-1] in 'ab' else f'{name}a'}.conv" for name in LAYERS
}  # of mmaction2
MMACTION = {layer: f"backbone.{CONV_MODULES.get(layer, layer)}" for layer in (*LAYERS, *TOP)}
MMACTION["fc8"] = "cls_head.fc_cls"


def write_h5(path: Path, classes: int, keras_1: bool, backend: str | None, place: str = "") -> Path:
    """Writes what Keras 1 (of Theano, channels first) or Keras 2 (channels last) saved."""
    with h5py.File(path, "w") as file:
        root = file.create_group(place) if place else file
        if backend is not None:
            file.attrs["backend"] = np.bytes_(backend)
        root.attrs["layer_names"] = [np.bytes_(n) for n in (*LAYERS, "pool5", *TOP)]
        root.create_group("pool5").attrs["weight_names"] = []
        for name, value in tensors(classes).items():
            layer, _, kind = name.rpartition(".")
            if layer == "fc6" and kind == "weight" and not keras_1:
                value = value.reshape(-1, 64, 2, 2, 2).transpose(0, 2, 3, 4, 1).reshape(512, -1)
            if value.ndim == 2:
                value = value.T
            elif value.ndim == 5:
                value = value[..., ::-1, ::-1, ::-1] if backend == "theano" else value
                value = value if keras_1 else value.transpose(2, 3, 4, 1, 0)
            ours = {"weight": f"{layer}_W", "bias": f"{layer}_b"}
            if not keras_1:
                ours = {"weight": f"{layer}/kernel:0", "bias": f"{layer}/bias:0"}
            group = root.require_group(layer)
            group.create_dataset(ours[kind], data=value)
            group.attrs["weight_names"] = [np.bytes_(n) for n in ours.values()]
    return path


def theano(path, classes):
    return write_h5(path.with_suffix(".h5"), classes, True, "theano")


def keras_1_of_tensorflow(path, classes):
    return write_h5(path.with_suffix(".h5"), classes, True, "tensorflow")


def keras_2(path, classes):
    return write_h5(path.with_suffix(".h5"), classes, False, "tensorflow")


def whole_keras_2(path, classes):
    file = write_h5(path.with_suffix(".h5"), classes, False, "tensorflow", "model_weights")
    with h5py.File(file, "r+") as content:
        content["optimizer_weights/Adam/conv1/kernel:0"] = np.ones((3, 3), np.float32)
    return file


def pickled(names, prefix="", wrap=False):
    def write(path, classes):
        content = renamed(classes, names, prefix)
        return pth.write_zip(path, {"state_dict": content} if wrap else content)

    return write


CAFFE = (True, CAFFE_MEAN, "behind")
LAYOUTS = {
    "DavideA": (pickled({}), 487, CAFFE),
    "jfzhang95, trained on": (pickled({}, wrap=True), 6, (True, CAFFE_MEAN, "both")),
    "jfzhang95, to begin with": (pickled(SEQUENTIAL), 487, CAFFE),
    "mmaction2": (pickled(MMACTION, wrap=True), 6, (False, MMACTION_MEAN, "both")),
    "mmaction2, prefix": (pickled(MMACTION, "module."), 6, (False, MMACTION_MEAN, "both")),
    "mmaction2, to begin with": (pickled(CONV_MODULES | {"fc8": ""}), 487, CAFFE),
    "Theano": (theano, 487, CAFFE),
    "Keras 1 of TensorFlow": (keras_1_of_tensorflow, 487, CAFFE),
    "Keras 2": (keras_2, 487, CAFFE),
    "Keras 2, whole": (whole_keras_2, 487, CAFFE),
}


def logits(model: keras.Model, clip=CLIP) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(clip))[0]


def assert_close(received: np.ndarray, wanted: np.ndarray) -> None:
    assert wanted.std() > 0.1
    np.testing.assert_allclose(received, wanted, atol=1e-4 * np.abs(wanted).max())


def load(path: Path, **options) -> keras.Model:
    return applications.C3D(weights=path, **OPTIONS, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:.*does not say how it was trained")
def test_every_layout_gives_the_network_it_was_made_of(tmp_path, layout):
    write, classes, training = LAYOUTS[layout]
    path = write(tmp_path / "w.pth", classes)
    if "to begin with" not in layout:
        assert_close(logits(load(path)), expected(classes, *training))
        return
    # There is no fc8: what comes before is compared by putting it there.
    with pytest.warns(UserWarning, match="has no classes, this network 487"):
        model = load(path, classes=487)
    head = [tensors(487)[f"fc8.{kind}"].T for kind in ("weight", "bias")]
    model.get_layer("predictions").set_weights(head)
    assert_close(logits(model), expected(487, *training))


def test_the_conventions_of_pool5_differ():
    """Or the tests above would prove nothing of them; likewise of blue and red."""
    wanted = expected(487, *CAFFE)
    for other in [(True, CAFFE_MEAN, "both"), (False, CAFFE_MEAN, "behind")]:
        assert np.abs(expected(487, *other) - wanted).max() > 0.01 * np.abs(wanted).max()


@pytest.mark.parametrize("padding", ["behind", "both"])
@pytest.mark.parametrize("size", [(2, 7, 7), (4, 6, 3)])
def test_pool5_is_as_asked(padding, size):
    """The layer itself, on negative values nowhere, as behind a ReLU."""
    frames, height, width = (8 * size[0], 16 * size[1], 16 * size[2])
    shape = (frames, height, width, 3)
    model = applications.C3D(width=0.02, input_shape=shape, pool5_padding=padding)
    names = [layer.name for layer in model.layers]
    assert ("pool5_pad" in names) == (padding == "both")
    before, after = model.get_layer("conv5b_relu").output, model.get_layer("pool5").output
    assert before.shape[1:4] == size
    x = np.random.default_rng(2).random((1, *before.shape[1:]), np.float32)
    received = keras.ops.convert_to_numpy(keras.Model(before, after)(x))[0]
    assert (
        received == pool(x[0].transpose(3, 0, 1, 2), (2, 2, 2), padding).transpose(1, 2, 3, 0)
    ).all()


def test_what_was_asked_for_goes_before_what_the_project_does(tmp_path):
    path = pickled({})(tmp_path / "w.pth", 487)
    model = load(path, bgr=False, pool5_padding="both", mean=MMACTION_MEAN)
    assert_close(logits(model), expected(487, False, MMACTION_MEAN, "both"))
    with pytest.raises(ValueError, match=r"`pool5_padding` must be one of \['behind', 'bo"):
        applications.C3D(width=0.02, pool5_padding="around")
    with pytest.raises(ValueError, match="frames of at least 16"):
        applications.C3D(width=0.02, pool5_padding="both", input_shape=(8, 16, 16, 3))


@pytest.mark.parametrize(
    ("names", "assumed"),
    [
        ({}, r"by jfzhang95/\S+: bgr=True, pool5_padding='both', mean=\[102\.0, 98\.0, 90\.0\]"),
        (MMACTION, r"by open-mmlab/mmaction2: bgr=False, .*mean=\[104\.0, 117\.0, 128\.0\]"),
    ],
)
def test_what_is_assumed_is_said(tmp_path, names, assumed):
    path = pickled(names)(tmp_path / "w.pth", 6)
    with pytest.warns(UserWarning, match=rf"w\.pth does not say .* Assumed as {assumed}"):
        load(path)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".npz"])
@pytest.mark.filterwarnings("ignore:.*does not say how it")
def test_it_stays_the_same_in_files_of_ours(tmp_path, suffix):
    model = load(pickled({})(tmp_path / "w.pth", 6))
    path = tmp_path / f"ours{suffix}"
    if suffix == ".npz":
        model.save(tmp_path / "ours.keras")
        applications.convert(tmp_path / "ours.keras", path)
    else:
        (model.save if suffix == ".keras" else model.save_weights)(path)
    told = {"mean": CAFFE_MEAN, "std": (1, 1, 1)} if suffix == ".weights.h5" else {}
    wanted = expected(6, True, CAFFE_MEAN, "both")
    received = logits(load(path, **told))
    np.testing.assert_allclose(
        received, wanted, atol=(2e-2 if suffix == ".npz" else 1e-4) * wanted.max()
    )


def full_clip(names, path, classes):
    """A checkpoint for the clips of the published network, 16x112x112."""
    values = renamed(classes, names)
    fc6 = next(name for name in values if values[name].shape == (512, 512) and "fc6" in name)
    values[fc6] = np.random.default_rng(3).normal(0, 0.04, (512, 64 * 16)).astype(np.float32)
    return pth.write_zip(path, values)


def test_convert_says_what_it_found_and_takes_what_is_known_better(tmp_path):
    path = full_clip({}, tmp_path / "c3d.pickle", 487)
    done = applications.convert(path, tmp_path / "c.keras")
    assert (done.network, done.used, done.conventions) == ("c3d", 22, "published")
    assert "pool5_padding behind, bgr True" in str(done)
    assert "mean [102.0000, 98.0000, 90.0000], std [1.0000, 1.0000, 1.0000]" in str(done)
    # The first kernel is turned, and so is the clip: PyTorch's network sees the ramp itself.
    plain = applications.C3D(
        weights=path, bgr=False, include_preprocessing=False, classifier_activation=None
    )
    ramp = np.linspace(-1, 1, 3 * 16 * 112 * 112, dtype=np.float32).reshape(1, 3, 16, 112, 112)
    assert done.logits == pytest.approx(
        logits(plain, ramp.transpose(0, 2, 3, 4, 1)), rel=1e-3, abs=1e-4
    )
    better = {"pool5_padding": "both", "bgr": False, "overwrite": True}
    done = applications.convert(path, tmp_path / "c.keras", **better)
    assert "pool5_padding both, bgr False" in str(done)
    with pytest.raises(ValueError, match=r"`max_pool` is no option of c3d, which .*c3d\.pickle h"):
        applications.convert(path, tmp_path / "d.keras", max_pool=True)
    loaded = applications.C3D(weights=tmp_path / "c.keras")
    assert loaded.get_layer("pool5_pad")


def test_convert_takes_files_of_keras_2(tmp_path):
    path = write_h5(tmp_path / "w.h5", 487, False, "tensorflow")
    with h5py.File(path, "r+") as file:
        del file["fc6/fc6/kernel:0"]
        file["fc6/fc6/kernel:0"] = np.ones((64 * 16, 512), np.float32)
    done = applications.convert(path, tmp_path / "c.keras")
    assert f"{path}, of Keras 1 or 2" in str(done)
    assert "In PyTorch" not in str(done)
    assert keras_r3d.VideoClassifier(path).model.output_shape == (None, 487)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_R3D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def test_public_weights_have_names(cache, recwarn):
    assert applications.list_weights("c3d") == ["sports1m", "sports1m_keras", "ucf101"]
    for name, file, address in [
        ("sports1m", "c3d.pickle", "http://imagelab.ing.unimore.it/files/c3d_pytorch/c3d.pickle"),
        ("sports1m_keras", "sports1M_weights_tf.h5", "https://github.com/adamcasson/c3d/releases"),
    ]:
        with pytest.raises(WeightsError) as error:
            applications.C3D(weights=name)
        remedy = f"{address} . Download it in a browser and put it at {cache / file} "
        assert remedy in str(error.value)
    cache.mkdir(parents=True)
    pickled({})(cache / "c3d.pickle", 487)
    assert_close(logits(load("sports1m")), expected(487, *CAFFE))
    write_h5(cache / "sports1M_weights_tf.h5", 487, False, "tensorflow")
    assert_close(logits(load("sports1m_keras")), expected(487, *CAFFE))
    assert not [w for w in recwarn if "does not say" in str(w.message)]
    row = pretrained.find("c3d", "ucf101")
    assert row.url.endswith("ucf101-rgb_20220811-31723200.pth")
    assert pretrained.find("c3d", "DEFAULT") is None


def test_a_file_of_the_official_name_is_not_assumed_to_be_anything_else(tmp_path, recwarn):
    path = pickled(MMACTION, wrap=True)(tmp_path / pretrained.find("c3d", "ucf101").file, 101)
    assert_close(logits(load(path)), expected(101, False, MMACTION_MEAN, "both"))
    assert not [w for w in recwarn if "does not say" in str(w.message)]


def with_changes(**changes):
    """The tensors of DavideA's file, some of them changed or, if None, left out."""
    values = OrderedDict(tensors(487))
    for name, value in changes.items():
        name = name.replace("__", ".")
        values.pop(name, None)
        if value is not None:
            values[name] = value
    return values


BAD = {
    "missing": ({"conv3b__bias": None}, r"it has no conv3b\.bias, which .* has as \(32,\)"),
    "extra": ({"fc9__weight": np.ones((2, 2), "f4")}, r"it has fc9\.weight \(1 such in all\)"),
    "other size": (
        {"fc6__weight": np.ones((512, 1024), "f4")},
        r"fc6\.weight is \(512, 1024\), in the network c3d \(512, 512\)",
    ),
    "flow": (
        {"conv1__weight": np.ones((8, 2, 3, 3, 3), "f4")},
        r"conv1\.weight is \(8, 2, 3, 3, 3\), in the network c3d \(8, 3, 3, 3, 3\)",
    ),
    "images": ({"conv1__weight": np.ones((8, 3, 3, 3), "f4")}, "a network for images"),
    "other kernels": (
        {"conv5b__weight": np.ones((64, 64, 1, 3, 3), "f4")},
        r"of another architecture than \[.*'c3d_bn'\], though its tensors",
    ),
    "not finite": ({"fc7__bias": np.full(512, np.nan, "f4")}, r"fc7\.bias has values that are not"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_does_not_fit_is_named_as_in_the_file(tmp_path, kind):
    changes, message = BAD[kind]
    path = pth.write_zip(tmp_path / "w.pth", with_changes(**changes))
    with pytest.raises(WeightsError, match=message):
        load(path, in_channels=3)


@pytest.mark.slow
def test_c3d_is_none_of_the_others(tmp_path):
    path = pickled({})(tmp_path / "w.pth", 487)
    with pytest.raises(WeightsError, match=r"does not fit the network r3d10 \(it holds c3d with"):
        applications.R3D10(weights=path)
    with pytest.raises(WeightsError, match=r"it has no conv1_bn/gamma, which the network c3d_bn"):
        applications.get_model("c3d_bn", weights=path, **OPTIONS)
    own = tmp_path / "r3d.weights.h5"
    applications.R3D10(width=0.125, classes=2).save_weights(own)
    with pytest.raises(WeightsError, match=r"r3d\.weights\.h5 is not of C3D: it has no conv5b"):
        applications.C3D(weights=own)


def test_rgb_weights_fit_flow_whatever_their_order(tmp_path):
    path = pickled({})(tmp_path / "w.pth", 487)
    model = applications.C3D(weights=path, input_shape=(*SHAPE[:3], 2))
    mean = tensors(487)["conv1.weight"].mean(axis=1).transpose(1, 2, 3, 0)
    kernel = keras.ops.convert_to_numpy(model.get_layer("conv1").kernel)
    np.testing.assert_allclose(kernel, np.stack([mean] * 2, axis=3), rtol=1e-4, atol=1e-7)


def broken(path: Path, change) -> Path:
    write_h5(path, 487, True, "theano")
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def external(file):
    del file["conv2"]["conv2_b"]
    (Path(file.filename).parent / "secret").write_bytes(bytes(64))
    secret = [(str(Path(file.filename).parent / "secret"), 0, 64)]
    file["conv2"].create_dataset("conv2_b", (16,), "f4", external=secret)


def linked(file):
    del file["conv2"]["conv2_b"]
    file["conv2"]["conv2_b"] = h5py.ExternalLink("elsewhere.h5", "/b")


def replaced(place, value):
    def change(file):
        del file[place]
        if value is not None:
            file[place] = value

    return change


BAD_H5 = {
    "external": (external, "conv2/conv2_b is not an array of numbers inside the file"),
    "linked": (linked, "it has no conv2/bias, which the network c3d has as"),
    "text": (replaced("fc7/fc7_b", np.bytes_("text")), "fc7/fc7_b is not an array of numbers"),
    "missing": (replaced("conv4a", None), "it has no conv4a/kernel, which"),
    "two": (lambda file: file.copy("fc7/fc7_b", "fc7/again"), "it has two of fc7/bias"),
    "extra": (
        lambda file: file.copy("fc7", "fc9"),
        "it has fc9/kernel, .512, 512., which the network",
    ),
    "no backend": (
        lambda file: file.attrs.pop("backend"),
        r"does not say whether Theano or TensorFlow .*\.attrs\['backend'\] = 'theano' \(or 'tens",
    ),
    "other network": (lambda file: file.pop("conv5b"), r"another network than C3D, .* are conv1, "),
}


@pytest.mark.parametrize("kind", BAD_H5)
def test_bad_files_of_keras_1_are_refused(tmp_path, kind):
    change, message = BAD_H5[kind]
    path = broken(tmp_path / "w.h5", change)
    with pytest.raises(WeightsError, match=message):
        load(path)


def test_the_backend_can_be_noted_as_the_error_says(tmp_path):
    path = write_h5(tmp_path / "w.h5", 487, True, "theano")
    with h5py.File(path, "r+") as file:
        file.attrs.pop("backend")
    with pytest.raises(WeightsError) as error:
        load(path)
    line = str(error.value).partition("file: ")[2].partition(" (or")[0]
    exec(line, {"h5py": h5py})
    assert_close(logits(load(path)), expected(487, *CAFFE))


def test_theano_s_kernels_of_keras_2_are_refused(tmp_path):
    path = write_h5(tmp_path / "w.h5", 487, False, "theano")
    with pytest.raises(WeightsError, match="by Keras 2 with Theano and does not say the order"):
        load(path)


@pytest.mark.parametrize("suffix", [".h5", ".pth"])
def test_files_cut_short_are_refused(tmp_path, suffix):
    write = theano if suffix == ".h5" else pickled({})
    whole = write(tmp_path / "whole.pth", 487).read_bytes()
    path = tmp_path / f"w{suffix}"
    for percent in (0, 1, 10, 50, 90, 99):
        path.write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(
            WeightsError if suffix == ".h5" else CheckpointError,
            match=r"is no file of Keras's weights|damaged or cut short|is empty",
        ):
            load(path)
