"""TFLite files: precisions, what is inside, and that they run without our help."""

import dataclasses
import itertools
import subprocess
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from exports import source_of
from families import mixed
from folded import moved, output

from keras_r3d.applications import C3D, I3D, R3D10, R3D50, embedding, r2plus1d_18
from keras_r3d.data.annotations import Video
from keras_r3d.export import exporting
from keras_r3d.export.formats import FORMATS
from keras_r3d.export.tflite import tflite
from keras_r3d.inference.embeddings import novelty, ridge
from keras_r3d.inference.evaluation.split import Split
from keras_r3d.inference.models.runtimes import tflite as reading
from keras_r3d.recipe import load
from keras_r3d.system.errors import ExportError, ModelError, VideoError

SHAPE = (8, 32, 32, 3)
NAMES = ["clap", "wave", "Fußball"]
CLIPS = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), dtype=np.uint8)
PLAIN = tf.lite.experimental.OpResolverType.BUILTIN_REF  # knows built-in operators only


def write(model: keras.Model, path: Path, quantize: str, clips=CLIPS) -> Path:
    tflite.write(source_of(model, NAMES, clips=clips), path, quantize)
    return path


def scores(interpreter, clips: np.ndarray) -> np.ndarray:
    interpreter.allocate_tensors()
    given, asked = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert (given["dtype"], asked["dtype"]) == (np.uint8, np.float32)
    found = []
    for clip in clips:
        interpreter.set_tensor(given["index"], clip[np.newaxis])
        interpreter.invoke()
        found.append(interpreter.get_tensor(asked["index"])[0])
    return np.array(found)


def operators(path: Path) -> list[dict]:
    plain = tf.lite.Interpreter(str(path), experimental_op_resolver_type=PLAIN)
    plain.allocate_tensors()
    return plain._get_ops_details()


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = R3D10(input_shape=SHAPE, width=0.25, classes=3, shortcut="A")
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([0.1 * kernel, bias])  # else all probabilities are 0 or 1
    return model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tflite")
    return {q: write(model, folder / f"{q}.tflite", q) for q in FORMATS["tflite"].quantize}


@pytest.mark.parametrize(
    ("quantize", "difference"),
    [("none", 1e-5), ("float16", 2e-3), ("dynamic", 0.05), ("int8", 0.1)],
)
def test_the_file_computes_what_keras_computes(model, exported, quantize, difference):
    found = scores(tf.lite.Interpreter(str(exported[quantize])), CLIPS)
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert found == pytest.approx(output(model, CLIPS), abs=difference)


@pytest.mark.parametrize("quantize", FORMATS["tflite"].quantize)
def test_the_signature_names_what_goes_in_and_out(exported, quantize):
    interpreter = tf.lite.Interpreter(str(exported[quantize]))
    names = {"inputs": ["clip"], "outputs": ["probabilities"]}
    assert interpreter.get_signature_list() == {"serving_default": names}
    expected = scores(interpreter, CLIPS)
    score = interpreter.get_signature_runner()
    found = [score(clip=clip[np.newaxis])["probabilities"][0] for clip in CLIPS]
    assert np.array_equal(found, expected)
    (signature,) = reading.load(exported[quantize]).signatures.items()
    clip, probabilities = {"dtype": "uint8", "shape": [1, *SHAPE]}, {"dtype": "float32"}
    assert signature == (
        "serving_default",
        {"inputs": {"clip": clip}, "outputs": {"probabilities": probabilities | {"shape": [1, 3]}}},
    )


@pytest.mark.parametrize(
    ("quantize", "difference"), [pytest.param("none", 1e-4, marks=pytest.mark.slow), ("int8", 0.2)]
)
def test_none_of_these_is_told_as_by_keras(model, tmp_path, quantize, difference):
    """Two classes that bright and dark clips stand for; random ones are of neither."""
    rng = np.random.default_rng(0)
    (embedder,) = embedding.join([model], ["conv3", "conv5"])
    shown = np.clip(rng.normal(30, 3, (40, *SHAPE)), 0, 255).astype(np.uint8)
    shown[20:] += 180
    clips = np.concatenate([shown[::5], rng.integers(0, 256, (4, *SHAPE)).astype(np.uint8)])
    labels, videos = np.repeat([0, 1], 20), np.arange(40)
    rows = ridge.Labeled([embedder.predict(shown, verbose=0)], videos, labels, videos, 2)
    squared = (distances := novelty.fit(rows, [True])).squared(rows.features[0])
    distances = distances.over(2 * squared.min(axis=1).max())
    fitted = ridge.fit(rows, [""])
    measured = distances.kernel, distances.centers
    told = embedding.classifier([embedder], fitted.kernels[0], fitted.bias, distances=measured)
    expected = output(told, clips)
    assert expected.argmax(axis=1).tolist() == 4 * [0] + 4 * [1] + 4 * [2]
    source = source_of(told, ["dark", "bright", embedding.NONE], clips=clips)
    tflite.write(source, tmp_path / "m.tflite", quantize)
    found = scores(tf.lite.Interpreter(str(tmp_path / "m.tflite")), clips)
    assert found == pytest.approx(expected, abs=difference)


@pytest.mark.parametrize(
    ("quantize", "share"), [("none", 1e-4), pytest.param("int8", 0.2, marks=pytest.mark.slow)]
)
def test_blocks_of_all_families(tmp_path, quantize, share):
    model = mixed()
    clips = np.random.default_rng(0).integers(0, 256, (6, *model.input_shape[1:]))
    clips = (clips * np.linspace(0.2, 1, 6)[:, None, None, None, None]).astype(np.uint8)
    path = write(model, tmp_path / "m.tflite", quantize, clips)
    expected = output(model, clips)
    differences = abs(scores(tf.lite.Interpreter(str(path)), clips) - expected)
    assert differences.max() < share * np.ptp(expected, axis=0).max()
    assert np.ptp(expected, axis=0).max() > 0.1  # else a mistake would not show
    found = [one["op_name"] for one in operators(path)]  # all are built in
    assert found.count("CONV_2D") < 50  # 3 a grouped convolution, not one a group
    if quantize == "int8":
        assert in_float(path) <= {"CAST", "RESHAPE", "DEQUANTIZE", "SOFTMAX", "FULLY_CONNECTED"}


def test_sizes(model, exported):
    size = {quantize: path.stat().st_size for quantize, path in exported.items()}
    assert size["none"] < 4.4 * model.count_params()
    assert size["float16"] < 0.6 * size["none"]
    assert size["dynamic"] < 0.35 * size["none"]
    assert size["int8"] < 0.35 * size["none"]


def in_float(path: Path) -> set[str]:
    """Returns the operators of an int8 file that compute in float."""
    plain = tf.lite.Interpreter(str(path), experimental_op_resolver_type=PLAIN)
    plain.allocate_tensors()
    types = {one["index"]: one["dtype"] for one in plain.get_tensor_details()}
    return {
        op["op_name"]
        for op in plain._get_ops_details()
        if all(types.get(n) == np.float32 for n in op["outputs"])
    }


BUILDERS = {
    "r3d10_a": lambda **kwargs: R3D10(shortcut="A", **kwargs),
    "r3d10_b": lambda **kwargs: R3D10(shortcut="B", **kwargs),
    "r3d50_a": lambda **kwargs: R3D50(shortcut="A", **kwargs),
    "r3d50_b": R3D50,
    "conv1": lambda **kwargs: R3D10(conv1_t_size=4, conv1_t_stride=2, max_pool=False, **kwargs),
    "r2plus1d_18": r2plus1d_18,
    "c3d_bn": lambda **kwargs: C3D(with_batch_norm=True, **kwargs),
    "i3d": lambda input_shape, **kwargs: I3D(
        input_shape=(input_shape[0] + 8, *input_shape[1:]), **kwargs
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("frames", [8, 16])
@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_int8_has_nothing_in_float_but_the_ends(tmp_path, build, frames):
    shape = (frames, 32, 48, 3)
    model = moved(build(input_shape=shape, width=0.125, classes=3))
    shape = model.input_shape[1:]
    clips = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    path = write(model, tmp_path / "model.tflite", "int8", clips)
    # C3D's fully connected layers are most of it.
    head = set() if "fc6" in {layer.name for layer in model.layers} else {"FULLY_CONNECTED"}
    assert in_float(path) == {"CAST", "DEQUANTIZE", "SOFTMAX"} | head
    names = [op["op_name"] for op in operators(path)]
    assert (names.count("QUANTIZE"), names.count("DEQUANTIZE")) == (1, 1)


def test_operators(exported):
    for path in exported.values():
        names = {op["op_name"] for op in operators(path)}
        assert not {name for name in names if name.startswith("Flex") or name == "CUSTOM"}
        assert not {name for name in names if "3D" in name}
    assert in_float(exported["int8"]) == {"CAST", "DEQUANTIZE", "FULLY_CONNECTED", "SOFTMAX"}


def test_each_value_of_a_pixel_is_a_step_of_int8(exported):
    plain = tf.lite.Interpreter(str(exported["int8"]), experimental_op_resolver_type=PLAIN)
    plain.allocate_tensors()
    (quantize,) = [op for op in plain._get_ops_details() if op["op_name"] == "QUANTIZE"]
    (given,) = quantize["outputs"]
    (found,) = [one for one in plain.get_tensor_details() if one["index"] == given]
    assert found["quantization"] == (1.0, -128)


def test_the_same_model_makes_the_same_bytes(model, tmp_path):
    for name in ("a", "b"):
        keras.backend.clear_session()  # as in a new process: names are counted from 1
        write(model, tmp_path / f"{name}.tflite", "int8", CLIPS[:1])
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()


def test_logits_become_probabilities(tmp_path):
    keras.utils.set_random_seed(0)
    model = R3D10(input_shape=SHAPE, width=0.125, classes=3, classifier_activation=None)
    path = write(model, tmp_path / "model.tflite", "none")
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(output(model, CLIPS[:2])))
    assert scores(tf.lite.Interpreter(str(path)), CLIPS[:2]) == pytest.approx(expected, abs=1e-5)


def test_the_file_carries_names_and_metadata_and_loads_either_way(model, exported):
    for path in exported.values():
        assert reading.read_texts(path) == {
            "labels.txt": "clap\nwave\nFußball\n",
            "model.json": source_of(model, NAMES).metadata.to_json(),
            "model.sha256": reading.read_texts(path)["model.sha256"],
        }
    path = exported["none"]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode().split() == NAMES
    by_path = scores(tf.lite.Interpreter(str(path)), CLIPS[:1])
    by_content = scores(tf.lite.Interpreter(model_content=path.read_bytes()), CLIPS[:1])
    assert np.array_equal(by_path, by_content)


def test_unzip_finds_the_names(exported):
    try:
        found = subprocess.run(
            ["unzip", "-p", exported["int8"], "labels.txt"], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no unzip")
    assert found.stdout.decode() == "clap\nwave\nFußball\n"


def test_the_successor_of_tf_lite_reads_it(model, exported):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    found = scores(litert.Interpreter(str(exported["none"])), CLIPS)
    assert found == pytest.approx(output(model, CLIPS), abs=1e-5)


def test_files_inside_a_model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"TFL3" * 100)
    assert reading.read_texts(path) == {}
    packed = reading.attach_texts(path.read_bytes(), {"a": "1"})
    assert packed.startswith(path.read_bytes())
    assert packed == reading.attach_texts(path.read_bytes(), {"a": "1"})
    path.write_bytes(packed)
    assert reading.read_texts(path)["a"] == "1"
    path.write_bytes(packed.replace(b"TFL3", b"TFL4", 1))
    with pytest.raises(ModelError, match="is damaged: the model inside is not the one that was"):
        reading.read_texts(path)
    path.write_bytes(reading.attach_texts(b"TFL3", {"a": "x" * 2**24, "b": "x"}))
    with pytest.raises(ModelError, match="16,777,281 bytes inside"):
        reading.read_texts(path)
    packed = packed.replace(b"a1", b"a2")  # the check sum is of another text
    path.write_bytes(packed)
    with pytest.raises(ModelError, match="is damaged"):
        reading.read_texts(path)


def video(name: str, label: str) -> Video:
    return Video(name, label)


def test_the_first_clips_are_of_all_classes_and_far_apart():
    videos = [video(f"{label}{n}", label) for label in "ab" for n in range(8)]
    found = [one.name for one in exporting.spread(videos)]
    assert found[:6] == ["a0", "b0", "a4", "b4", "a2", "b2"]
    assert sorted(found) == sorted(one.name for one in videos)
    assert exporting.spread([video("x", "c")]) == [video("x", "c")]


def split_of(*names: str) -> Split:
    return Split([video(name, "x") for name in names], None, "train", "")


@pytest.fixture
def windows(monkeypatch):
    """Videos whose clips are full of their number; those named "broken" cannot be read."""

    def cut(reader, video, clips, count):
        if "broken" in video.name:
            raise VideoError(f"{video.name}: no frames")
        pixels = np.full((1, 2, 4, 4, 3), int(video.name[1:]), np.uint8)
        window = dataclasses.make_dataclass("Window", ["pixels"])(pixels)
        return itertools.repeat(window, count)

    monkeypatch.setattr(exporting, "cut_windows", cut)


def numbers(*names: str, count: int, say=print) -> list[int]:
    found = exporting.example_clips(split_of(*names), load("demo").clips, count, say)
    return [int(clip.mean()) for clip in found]


def test_a_video_that_cannot_be_read_is_replaced_and_counted(windows):
    lines: list[str] = []
    assert numbers("v1", "v2", "broken", "v3", count=3, say=lines.append) == [1, 2, 3]
    assert lines == ["1 videos cannot be read to calibrate on, and are left out: broken: no frames"]


def test_few_videos_give_several_clips_each(windows):
    assert numbers("v1", "v2", count=5) == [1, 1, 1, 2, 2]


def test_no_clip_at_all_is_an_error(windows):
    with pytest.raises(ExportError, match="None of the 1 videos of split 'train' can be read"):
        numbers("broken", count=1, say=lambda line: None)
