"""FrameNet: what it computes of frames, weights of its backbones, exports, and a whole training."""

import importlib.util
import json

import keras
import numpy as np
import pytest
from checkpoint_values import without_drawing
from conftest import small_recipe
from exports import source_of
from folded import output

from keras_r3d import VideoClassifier, applications, recipe
from keras_r3d.applications import FrameNet, WeightsError, embedding
from keras_r3d.applications.builders import frame_net
from keras_r3d.export import onnx, openvino
from keras_r3d.export.saved_model import saved_model
from keras_r3d.export.tflite import tflite
from keras_r3d.inference.models import runtimes
from keras_r3d.system.errors import RecipeError
from keras_r3d.training import finetune
from keras_r3d.training import run as training

SIZE = (32, 32)
RNG = np.random.default_rng(0)
CLIPS = RNG.integers(0, 256, (2, 3, *SIZE, 3), dtype=np.uint8)
SMALL = {"backbone": "MobileNet", "width": 0.25}


def moved(model: keras.Model, clips: np.ndarray = CLIPS) -> keras.Model:
    """Moves batch norms away from their start; moving statistics are those of the clips.

    Without that, random values fade to nothing from layer to layer: these networks are deep.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            gamma, beta, *moving = layer.get_weights()
            gamma, beta = (RNG.uniform(0.5, 1.5, w.shape) for w in (gamma, beta))
            layer.set_weights([gamma, beta, *moving])
    model(clips.astype(np.float32), training=True)
    return model


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    return moved(FrameNet(input_shape=CLIPS.shape[1:], labels=["a", "b", "c"], **SMALL))


@pytest.fixture(scope="module")
def file(network, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("frame_net") / "best.keras")
    network.save(path)
    return path


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("ResNet50", "resnet"),
        ("VGG16", "vgg16"),
        ("VGG19", "vgg19"),
        ("MobileNet", "mobilenet"),
        ("MobileNetV2", "mobilenet_v2"),
        ("ResNet50V2", "resnet_v2"),
        ("InceptionV3", "inception_v3"),
        ("Xception", "xception"),
        ("NASNetMobile", "nasnet"),
        ("DenseNet121", "densenet"),
    ],
)
def test_conventions_are_those_of_preprocess_input(name, module):
    mean, std = frame_net.BACKBONES[name].to_bytes()
    ours = (CLIPS[0] - np.array(mean)) / np.array(std)
    if name in ("ResNet50", "VGG16", "VGG19"):  # blue first
        ours = ours[..., ::-1]
    preprocess = getattr(keras.applications, module).preprocess_input
    assert ours == pytest.approx(preprocess(CLIPS[0].astype(np.float32)), abs=1e-4)


def test_backbones_are_all_of_keras_but_those_with_layers_of_their_own():
    there = {name for name in dir(keras.applications) if name[0].isupper()}
    own = {name for name in there if name.startswith(("ConvNeXt", "MobileNetV3"))}
    assert set(frame_net.BACKBONES) == there - own - {"InceptionResNetV2"}


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("MobileNet", "mobilenet"),
        ("VGG16", "vgg16"),
        pytest.param("ResNet50", "resnet", marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", "efficientnet_v2", marks=pytest.mark.slow),
    ],
)
def test_a_file_of_keras_computes_the_mean_of_what_keras_computes(name, module, tmp_path):
    path = str(tmp_path / "notop.h5")
    build = getattr(keras.applications, name)
    preprocess = getattr(keras.applications, module).preprocess_input
    frames = preprocess(CLIPS.reshape(-1, *SIZE, 3).astype(np.float32))
    backbone = moved(build(include_top=False, weights=None, input_shape=(*SIZE, 3)), frames)
    backbone.save(path)
    options = {"include_top": False, "pooling": "avg", "input_shape": CLIPS.shape[1:]}
    ours = FrameNet(backbone=name, weights=path, **options)
    assert applications.read_metadata(ours).weights == "notop.h5"
    counts = [sum(np.prod(w.shape) for w in model.trainable_weights) for model in (ours, backbone)]
    assert counts[0] == counts[1]
    expected = output(backbone, frames).mean((1, 2)).reshape(2, 3, -1).mean(1)
    assert output(ours, CLIPS) == pytest.approx(expected, abs=1e-4 * float(np.abs(expected).max()))


def test_scores_are_the_mean_of_the_frames_scores_before_the_softmax(network, file):
    logits = FrameNet(weights=file, input_shape=CLIPS.shape[1:], classifier_activation=None)
    single = FrameNet(weights=file, input_shape=(1, *SIZE, 3), classifier_activation=None)
    frames = output(single, CLIPS.reshape(-1, 1, *SIZE, 3)).reshape(2, 3, 3)
    assert np.ptp(frames, axis=1).max() > 1e-3  # else any frame would do
    assert output(logits, CLIPS) == pytest.approx(frames.mean(1), abs=1e-5)
    softmax = keras.ops.convert_to_numpy(keras.ops.softmax(frames.mean(1)))
    assert output(network, CLIPS) == pytest.approx(softmax, abs=1e-5)


def test_plain_keras_loads_it_and_it_says_what_it_is(network, file):
    loaded = keras.models.load_model(file)
    assert np.array_equal(output(loaded, CLIPS), output(network, CLIPS))
    assert all(type(layer).__module__.startswith("keras.") for layer in loaded.layers)
    again = FrameNet(weights=file, input_shape=CLIPS.shape[1:])
    assert np.array_equal(output(again, CLIPS), output(network, CLIPS))
    about = applications.read_metadata(again)
    assert (about.options, about.labels) == ({**SMALL, "stack": 1}, ("a", "b", "c"))


def test_conv1_of_flow_has_the_mean_over_red_green_and_blue(network, file):
    made_up = np.arange(np.prod(network.get_layer("conv1").kernel.shape), dtype=np.float32)
    conv1 = keras.models.load_model(file)
    conv1.get_layer("conv1").kernel.assign(made_up.reshape(conv1.get_layer("conv1").kernel.shape))
    path = file.replace("best", "made_up")
    conv1.save(path)
    flow = FrameNet(weights=path, input_shape=(10, *SIZE, 2), stack=5)
    kernel = keras.ops.convert_to_numpy(flow.get_layer("conv1").kernel)
    expected = made_up.reshape(3, 3, 3, -1).mean(axis=2)
    assert kernel.shape == (3, 3, 10, 8)
    for channel in range(10):
        assert kernel[:, :, channel] == pytest.approx(expected)


def test_a_stack_is_x_and_y_of_each_of_its_frames_in_turn():
    model = FrameNet(input_shape=(4, *SIZE, 2), stack=2, include_preprocessing=False, **SMALL)
    clip = RNG.normal(size=(1, 4, *SIZE, 2)).astype(np.float32)
    stacks = output(keras.Model(model.inputs, model.get_layer("stack").output), clip)
    assert np.array_equal(stacks[0, 1], np.concatenate([clip[0, 2], clip[0, 3]], axis=-1))
    assert stacks.shape == (1, 2, *SIZE, 4)


def test_names_of_layers_depend_neither_on_the_session_nor_on_the_size():
    with without_drawing():
        first, second = (
            FrameNet(backbone="Xception", input_shape=(1, *size, 3), include_top=False)
            for size in ((71, 71), (96, 80))
        )
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    assert first.get_layer("conv5_block14_sepconv2").output.shape[-1] == 2048


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"`backbone` must be one of \['ResNet50', .*backbone=None"),
        ({"backbone": "ResNet51"}, "`backbone` must be one of .*backbone=ResNet51"),
        ({"backbone": "ResNet50", "width": 0.5}, "`width` must be 1 for ResNet50: only MobileNet"),
        ({**SMALL, "width": 0}, "`width` must be a number above 0"),
        ({**SMALL, "stack": 2}, "`stack` must divide the frames of a clip, 3. Received: stack=2"),
        ({**SMALL, "stack": 0.5}, "`stack` must be an int"),
        ({**SMALL, "input_shape": (3, 16, 16, 3)}, "MobileNet takes no frames of 16x16: .*32x32"),
        ({**SMALL, "input_shape": (None, 32, 32, 3)}, "must have frames, height and width"),
        ({**SMALL, "weights": "none.h5"}, "there is no file none.h5"),
        ({**SMALL, "weights": "none.keras"}, "there is no file none.keras"),
        ({"weights": "imagenet"}, "`backbone` must say which network the weights imagenet are of"),
    ],
)
def test_arguments_that_are_wrong_are_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        FrameNet(**{"input_shape": (3, *SIZE, 3), **arguments})


def test_imagenet_is_passed_on_and_what_failed_is_said(monkeypatch):
    def build(**arguments):
        assert arguments["weights"] == "imagenet"
        assert arguments["alpha"] == 0.25
        raise OSError("URL fetch failure on https://x/mobilenet.h5:\nNone")

    monkeypatch.setattr(keras.applications, "MobileNet", build)
    with pytest.raises(WeightsError) as raised:
        FrameNet(weights="imagenet", **SMALL)
    assert str(raised.value) == (
        "`weights`: Keras cannot load imagenet for MobileNet: URL fetch failure on "
        "https://x/mobilenet.h5: None. Without the internet, get that file in another way and put "
        "it into ~/.keras/models, or pass its path as `weights`."
    )


def test_weights_of_others_are_refused_in_a_sentence(tmp_path, file):
    (tmp_path / "odd.h5").write_bytes(b"no HDF5")
    with pytest.raises(WeightsError, match=r"Keras cannot load .*odd.h5 for MobileNet: .*notop"):
        FrameNet(weights=str(tmp_path / "odd.h5"), **SMALL)
    path = str(tmp_path / "r3d.keras")
    applications.R3D10(width=0.0625, classes=2).save(path)
    with pytest.raises(WeightsError, match=r"r3d.keras is not of a FrameNet"):
        FrameNet(weights=path, **SMALL)
    with pytest.raises(WeightsError, match=r"best.keras does not fit .*framenet.*conv1/kernel"):
        FrameNet(weights=file, width=0.5)
    with pytest.raises(WeightsError, match=r"of another architecture|does not fit"):
        applications.R3D10(weights=file)


def test_multiply_adds_count_every_frame(network):
    counts = [
        applications.multiply_adds(FrameNet(input_shape=(n, *SIZE, 3), classes=3, **SMALL))
        for n in (1, 3)
    ]
    head = 3 * 256
    assert counts[1] - head == 3 * (counts[0] - head)
    with without_drawing():
        full = FrameNet(backbone="MobileNet", input_shape=(1, 224, 224, 3), classes=1000)
    # The paper's 569 million, and batch norm.
    assert applications.multiply_adds(full) / 1e6 == pytest.approx(569 + 5, abs=1)


def test_stages_are_embedded_by_their_last_maps(network):
    (embedder,) = embedding.join([network], ["conv4", "conv5"])
    parts = [
        output(keras.Model(network.inputs, network.get_layer(name).output), CLIPS)
        for name in ("conv4_conv_pw_11_relu", "conv5_conv_pw_13_relu")
    ]
    means = [part.reshape(2, -1, part.shape[-1]).mean(axis=1) for part in parts]
    assert output(embedder, CLIPS) == pytest.approx(np.concatenate(means, axis=1), abs=1e-5)


# Each export beside Keras


@pytest.fixture(scope="module", params=["rgb", "flow"])
def exported(request) -> tuple[keras.Model, np.ndarray]:
    keras.utils.set_random_seed(2)
    channels, stack, options = {
        "rgb": (3, 1, SMALL),
        "flow": (2, 2, {"backbone": "MobileNetV2", "width": 0.35}),
    }[request.param]
    shape = (4, 64, 64, channels)
    noise = RNG.integers(0, 256, (5, *shape)) * np.linspace(0.2, 1, 5)[:, None, None, None, None]
    clips = noise.astype(np.uint8)
    model = moved(FrameNet(input_shape=shape, stack=stack, classes=3, **options), clips)
    assert np.ptp(output(model, clips), axis=0).max() > 0.01  # else a mistake would not show
    return model, clips


@pytest.mark.parametrize(
    ("quantize", "most"), [("none", 1e-5), pytest.param("int8", 0.05, marks=pytest.mark.slow)]
)
def test_tflite(exported, tmp_path, quantize, most):
    model, clips = exported
    path = tmp_path / "model.tflite"
    tflite.write(source_of(model, "abc", clips=clips), path, quantize)
    score = runtimes.load_export(path).score(2)
    assert score(clips) == pytest.approx(output(model, clips), abs=most)


@pytest.mark.parametrize(
    ("quantize", "most"), [("none", 1e-5), pytest.param("float16", 5e-3, marks=pytest.mark.slow)]
)
def test_saved_model(exported, tmp_path, quantize, most):
    model, clips = exported
    flow = model.input_shape[-1] == 2
    experiment = recipe.override(
        small_recipe(),
        ["clips.size=64", "clips.augment="]
        + flow * ["clips.input=dis", "model.mean=[128, 128]", "model.std=[1, 1]"],
    )
    path = tmp_path / "model" / "1"
    path.parent.mkdir()
    saved_model.write(source_of(model, "abc", experiment), path, quantize)
    score = runtimes.load_export(path).score(2)
    assert score(clips) == pytest.approx(output(model, clips), abs=most)


@pytest.mark.skipif(importlib.util.find_spec("tf2onnx") is None, reason="needs keras_r3d[onnx]")
def test_onnx(exported, tmp_path):
    import onnxruntime

    model, clips = exported
    onnx.write(source_of(model, "abc"), tmp_path / "model.onnx", "none")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    for count in (1, 5):
        scores = session.run(None, {"clip": clips[:count]})[0]
        assert scores == pytest.approx(output(model, clips)[:count], abs=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs [openvino]")
def test_openvino(exported, tmp_path):
    from openvino import Core

    model, clips = exported
    openvino.write(source_of(model, "abc"), tmp_path / "model", "none")
    compiled = Core().compile_model(
        tmp_path / "model" / openvino.MODEL, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for count in (1, 5):
        scores = compiled(clips[:count])["probabilities"]
        assert scores == pytest.approx(output(model, clips)[:count], abs=1e-5)


# Recipes

OF_FRAMES = [
    *("model.name=framenet", "model.shortcut=", "model.backbone=MobileNet", "model.width=0.25"),
    *("clips.size=32", "clips.sampling.kind=segments"),
]


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("cheap_pictures")
def test_a_training_from_recipe_to_explanation(class_folders, tmp_path, precision):
    experiment = recipe.override(
        small_recipe(), [*OF_FRAMES, "train.epochs=1", f"train.precision={precision}"]
    )
    run = training.train_network(experiment, class_folders, tmp_path / "run", say=[].append)
    assert json.loads((run.path / "summary.json").read_text())["status"] == "trained"
    classifier = VideoClassifier(run.path)
    video = str(next(class_folders.rglob("*.avi")))
    assert sum(classifier.predict(video).scores) == pytest.approx(1, abs=1e-5)
    assert classifier.explain(video).heats["Grad-CAM"].shape == (4, 32, 32)
    assert classifier.embed(video).embedding.shape[-1] == 256
    # It goes on from there, with stages frozen.
    weights = [f'model.weights="{run.model_path()}"', "model.freeze=conv1..conv4"]
    experiment = recipe.override(experiment, weights)
    again = training.train_network(experiment, class_folders, tmp_path / "again", say=[].append)
    first, second = (keras.models.load_model(r.model_path()) for r in (run, again))
    for name in ("conv1", "conv4_conv_pw_11"):
        pair = [model.get_layer(name).get_weights()[0] for model in (first, second)]
        assert np.array_equal(*pair)
    pair = [model.get_layer("conv5_conv_pw_13").get_weights()[0] for model in (first, second)]
    assert not np.array_equal(*pair)


def test_recipes_that_make_no_sense_are_said():
    for changes, message in (
        (["model.backbone="], "'model.weights' is absent, but the recipe leaves .'backbone'"),
        (["model.shortcut=A"], "'model.shortcut' must be absent: .* no shortcuts"),
        (["model.stack=2"], "'clips.sampling.snippet' must be a multiple of `model.stack`, 2"),
        (["clips.frames=5", "clips.sampling.snippet=2"], "'clips.frames' must be a multiple of"),
    ):
        with pytest.raises(RecipeError, match=message):
            recipe.override(small_recipe(), [*OF_FRAMES, *changes])
    with pytest.raises(RecipeError, match=r"'model.stack' must be absent: .* has no stacks"):
        recipe.override(small_recipe(), ["model.stack=2"])
    experiment = recipe.override(small_recipe(), [*OF_FRAMES, "model.backbone=Mobile"])
    with pytest.raises(RecipeError, match=r"'model.backbone' must be one of .*'Mobile'"):
        finetune.settle(experiment.model)


def test_weights_that_do_not_say_their_backbone_need_it(network, tmp_path):
    path = str(tmp_path / "best.weights.h5")
    network.save_weights(path)
    part = recipe.load("finetune", [f'model.weights="{path}"']).model
    with pytest.raises(RecipeError, match=r"'model.backbone' is absent, and .*best.weights.h5"):
        finetune.settle(part)
    again = FrameNet(weights=path, input_shape=CLIPS.shape[1:], mean=[127.5] * 3, **SMALL)
    assert np.array_equal(output(again, CLIPS), output(network, CLIPS))


def test_weights_decide_what_a_recipe_leaves_out(file):
    said: list[str] = []
    model = recipe.load("finetune", [f'model.weights="{file}"']).model
    settled = finetune.settle(model, said.append)
    decided = (settled.name, settled.backbone, settled.width, settled.stack, settled.mean)
    assert decided == ("framenet", "MobileNet", 0.25, None, (127.5, 127.5, 127.5))
    flow = recipe.override(
        recipe.load("frames2d_flow"), [f'model.weights="{file}"', "model.width=0.25"]
    ).model
    built = finetune.build_model(flow, (10, *SIZE, 2), ["x", "y"], said.append)
    assert built.get_layer("conv1").kernel.shape[2] == 10
    assert "for each of 10 channels" in " ".join(said)
