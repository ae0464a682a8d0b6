import dataclasses
import re
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from memory_reader import VIDEO, MemoryReader
from signature_networks import (
    CLASSES,
    CLIPS,
    FRAMES,
    SIZE,
    network,
    noise,
    scores,
    served,
)
from tensorflow.core.protobuf import config_pb2

from keras_r3d.data import clips
from keras_r3d.export.saved_model import signatures
from keras_r3d.inference.embeddings.features import embedding_layer, embedding_network
from keras_r3d.recipe.clips import MultiScale, Uniform


@pytest.fixture(
    scope="module",
    params=["A", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("B", "C3D"))],
)
def each(request, tmp_path_factory):
    return served(network(request.param), tmp_path_factory.mktemp("each") / "1")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return served(network(), tmp_path_factory.mktemp("one") / "1")


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_clips_are_scored_as_by_keras(each, batch):
    pixels = noise(batch, FRAMES, SIZE, SIZE)
    expected = scores(each.model, pixels)
    found = each.serving_default(clip=tf.constant(pixels))
    assert set(found) == {"probabilities", "labels", "scores"}
    assert found["probabilities"].numpy() == pytest.approx(expected, abs=1e-5)
    order = np.argsort(-expected, axis=1)[:, :5]
    names = [[CLASSES[n].encode() for n in row] for row in order]
    assert found["labels"].numpy().tolist() == names
    assert found["scores"].numpy() == pytest.approx(
        np.take_along_axis(expected, order, 1), abs=1e-5
    )
    features = each.features(clip=tf.constant(pixels))
    embedder = embedding_network(each.model, embedding_layer(each.model))
    assert features["features"].numpy() == pytest.approx(
        scores(embedder, pixels), rel=1e-4, abs=1e-4
    )
    # Without loss, so that they are the same pixels.
    gray = np.repeat(pixels[:, :, :1, :1], SIZE, 2).repeat(SIZE, 3)
    files = [[cv2.imencode(".jpg", f[..., ::-1])[1].tobytes() for f in clip] for clip in gray]
    decoded = [[cv2.imdecode(np.frombuffer(f, np.uint8), 1)[..., ::-1] for f in c] for c in files]
    found = each.jpeg(jpegs=tf.constant(files))["probabilities"].numpy()
    assert found == pytest.approx(scores(each.model, np.stack(decoded)), abs=1e-5)


def smooth_noise(height: int, width: int) -> np.ndarray:
    """Frames as of a camera: scaled in other ways, they differ by a gray level here and there."""
    pixels = cv2.GaussianBlur(noise(FRAMES, height, width).reshape(-1, width, 3), (0, 0), 2)
    return pixels.reshape(FRAMES, height, width, 3)


@pytest.mark.parametrize("shape", [(20, 20), (48, 64), (64, 48), (23, 31), (5, 7), (96, 200)])
def test_clips_of_any_size_are_cut_as_in_an_evaluation(one, shape):
    pixels = smooth_noise(*shape)
    uniform = dataclasses.replace(CLIPS, sampling=Uniform())
    (window,) = clips.windows(MemoryReader(pixels, uniform), VIDEO, uniform)
    found = one.serving_default(clip=tf.constant(pixels[np.newaxis]))["probabilities"].numpy()
    assert found == pytest.approx(scores(one.model, window.pixels), abs=2e-3)


@pytest.mark.parametrize("size", [(24, 40), (40, 24)])
@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (24, 40), (23, 31), (96, 200)])
def test_frames_are_cut_to_clips_that_are_not_square(size, shape):
    pixels = smooth_noise(*shape)
    wide = dataclasses.replace(CLIPS, size=size, short_side=None, sampling=Uniform())
    (window,) = clips.windows(MemoryReader(pixels, wide), VIDEO, wide)
    cut = signatures.cut_frames(tf.constant(pixels), wide).numpy()
    assert cut.shape == (FRAMES, *size, 3)
    assert np.abs(cut.astype(int) - window.pixels[0]).max() <= 2


def test_the_part_of_the_largest_crop_is_cut_of_what_is_not_cut_yet():
    part = dataclasses.replace(CLIPS, short_side=None, crop=MultiScale(center=0.75))
    pixels = smooth_noise(48, 64)
    (window,) = clips.windows(MemoryReader(pixels, part), VIDEO, part)
    cut = signatures.cut_frames(tf.constant(pixels), part).numpy()
    assert np.abs(cut.astype(int) - window.pixels[0]).max() <= 2
    ready = noise(FRAMES, SIZE, SIZE)
    assert np.array_equal(signatures.cut_frames(tf.constant(ready), part), ready)


def test_jpegs_of_a_batch_may_be_of_several_sizes(one):
    sizes = [(16, 16), (40, 30), (33, 64)]
    files = [[cv2.imencode(".jpg", f)[1].tobytes() for f in noise(FRAMES, *size)] for size in sizes]
    found = one.jpeg(jpegs=tf.constant(files))["probabilities"].numpy()
    for size, clip, row in zip(sizes, files, found, strict=True):
        frames = np.stack([tf.io.decode_jpeg(f, 3, dct_method="INTEGER_ACCURATE") for f in clip])
        opened = [cv2.imdecode(np.frombuffer(f, np.uint8), 1)[..., ::-1] for f in clip]
        assert (frames == np.stack(opened)).all()
        assert frames.shape[1:3] == size
        alone = one.serving_default(clip=tf.constant(frames[np.newaxis]))["probabilities"][0]
        assert row == pytest.approx(alone.numpy(), abs=1e-5)


@pytest.mark.slow
def test_logits_become_probabilities(tmp_path):
    own = served(network(classifier_activation=None), tmp_path / "1")
    pixels = noise(2, FRAMES, SIZE, SIZE)
    logits = scores(own.model, pixels)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    found = own.serving_default(clip=tf.constant(pixels))["probabilities"].numpy()
    assert found == pytest.approx(expected, abs=1e-5)
    assert not np.allclose(logits, expected, atol=0.01)


@pytest.mark.slow
def test_flow_has_no_jpegs(tmp_path):
    flow = dataclasses.replace(CLIPS, input="dis")
    own = served(network(in_channels=2), tmp_path / "1", flow)
    assert set(own.loaded.signatures) == {"serving_default", "features"}
    frames = smooth_noise(40, 30)[..., :2]
    uniform = dataclasses.replace(flow, sampling=Uniform())
    (window,) = clips.windows(MemoryReader(frames, uniform), VIDEO, uniform)
    found = own.serving_default(clip=tf.constant(frames[np.newaxis]))["probabilities"].numpy()
    assert found == pytest.approx(scores(own.model, window.pixels), abs=2e-3)


class Server:
    """Answers as a server does, which feeds what comes, whatever shape was declared."""

    def __init__(self, path: Path):
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            graph = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        self.signatures = graph.signature_def

    def ask(self, name: str, value) -> dict[str, np.ndarray]:
        signature = self.signatures[name]
        ((_, given),) = signature.inputs.items()
        # Python's own `run` would compare shapes first.
        names = {key: output.name for key, output in signature.outputs.items()}
        options = config_pb2.CallableOptions(feed=[given.name], fetch=list(names.values()))
        outputs = self.session._make_callable_from_options(options)(np.asarray(value))
        return dict(zip(names, outputs, strict=True))


@pytest.fixture(scope="module")
def server(one):
    server = Server(one.path)
    yield server
    server.session.close()


def jpegs(*changes: tuple[int, int, bytes]) -> list[list[bytes]]:
    whole = cv2.imencode(".jpg", noise(20, 30))[1].tobytes()
    files = [[whole] * FRAMES for _ in range(3)]
    for clip, frame, file in changes:
        files[clip][frame] = file or whole[:300]
    return files


OTHER = cv2.imencode(".jpg", noise(30, 20))[1].tobytes()
WRONG = {
    "7 frames": (
        "serving_default",
        noise(2, FRAMES - 1, SIZE, SIZE),
        "`clip` must be (batch, 8, height, width, 3), batch, height and width of at least 1. "
        "Received: [2 7 16 16 3]",
    ),
    "empty batch": ("features", noise(0, FRAMES, SIZE, SIZE), "Received: [0 8 16 16 3]"),
    "4 channels": ("serving_default", np.zeros((1, 8, 16, 16, 4), np.uint8), "[1 8 16 16 4]"),
    "no batch": ("serving_default", noise(FRAMES, SIZE, SIZE), "Received: [8 16 16 3]"),
    "no columns": ("serving_default", noise(1, FRAMES, SIZE, 0), "Received: [1 8 16 0 3]"),
    "no JPEGs": (
        "jpeg",
        np.empty((0, 8), object),
        "`jpegs` must be (batch, 8), batch of at least 1. Received: [0 8]",
    ),
    "7 JPEGs": ("jpeg", [[b""] * 7], "Received: [1 7]"),
    "no JPEG": (
        "jpeg",
        jpegs((1, 3, b"\x89PNG"), (2, 0, b"")),
        "`jpegs`: frame 3 of clip 1 (counted from 0) is not a JPEG: 4 bytes that do not begin with "
        "ff d8 ff.",
    ),
    "cut short": (
        "jpeg",
        jpegs((2, 7, b"")),
        "`jpegs`: frame 7 of clip 2 (counted from 0) is cut short: 300 bytes without the end "
        "marker ff d9.",
    ),
    "other size": (
        "jpeg",
        jpegs((0, 5, OTHER)),
        "`jpegs`: frame 5 of clip 0 (counted from 0) is of (height, width) [30 20], others of the "
        "clip are not: frames of a clip must be of one size.",
    ),
    "garbage": ("jpeg", jpegs((0, 0, b"\xff\xd8\xff\xe0 garbage \xff\xd9")), "Invalid JPEG data"),
    "floats": ("serving_default", np.zeros((1, 8, 16, 16, 3), np.float32), "uint8"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_server_says_what_is_wrong_and_goes_on(server, case):
    name, value, message = WRONG[case]
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(message)):
        server.ask(name, np.array(value, object) if name == "jpeg" else value)
    assert server.ask("serving_default", noise(1, 8, 16, 16))["probabilities"].shape == (1, 6)


def test_errors_survive_frozen_graphs(one):
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    frozen = convert_variables_to_constants_v2(one.loaded.signatures["serving_default"])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Received: \[0 8 16 16 3\]"):
        frozen(tf.constant(noise(0, FRAMES, SIZE, SIZE)))
