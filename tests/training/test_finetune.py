"""Starting from weights: what they decide, what stays frozen, what is new."""

import dataclasses
import re

import keras
import numpy as np
import pth
import pytest
from checkpoint_values import moved, state_dict

from keras_r3d import applications, recipe
from keras_r3d.applications import CheckpointError, WeightsError, networks
from keras_r3d.applications.weights import pytorch
from keras_r3d.system.errors import RecipeError
from keras_r3d.training import finetune

SHAPE = (4, 24, 24, 3)
CLIPS = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), dtype=np.uint8)
MEAN, STD = (90.0, 80.0, 70.0), (50.0, 60.0, 70.0)
CLASSES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_R3D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def original() -> keras.Model:
    return moved(applications.R3D10(width=0.125, shortcut="B", labels=CLASSES, mean=MEAN, std=STD))


@pytest.fixture
def run_file(tmp_path, original):
    """The best.keras of a run."""
    original.save(tmp_path / "best.keras")
    return str(tmp_path / "best.keras")


@pytest.fixture
def checkpoint(tmp_path, original):
    """A checkpoint that says nothing of its normalization and classes."""
    return str(pth.write_zip(tmp_path / "save_9.pth", {"state_dict": state_dict(original)}))


def part(**values) -> recipe.Model:
    """The [model] of a recipe: that of finetune, which leaves all to the weights."""
    model = recipe.load("finetune", ['model.weights="w.pth"']).model
    return dataclasses.replace(model, **values)


def values(model: keras.Model, *, but: str = "none") -> dict[str, np.ndarray]:
    return {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in model.layers
        for variable in layer.weights
        if layer.name != but
    }


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all((one[k] == other[k]).all() for k in one)


def test_all_is_as_the_weights_say(run_file, original, said):
    settled = finetune.settle(part(weights=run_file), said.append)
    assert settled == part(
        name="r3d10", shortcut="B", width=0.125, mean=MEAN, std=STD, weights=run_file
    )
    assert finetune.settle(settled, said.append) == settled
    model = finetune.build_model(part(weights=run_file), SHAPE, ("x", "y"), said.append)
    about = applications.read_metadata(model)
    assert (about.mean, about.std, about.labels) == (MEAN, STD, ("x", "y"))
    assert model.output_shape == (None, 2)
    assert same(values(model, but="predictions"), values(original, but="predictions"))
    assert said == [f"Weights: {run_file}, of r3d10; the classifier is new, for 2 classes"]


@pytest.mark.parametrize(
    ("classes", "kept"), [(CLASSES, True), (CLASSES[::-1], False), (("x", "y", "z"), False)]
)
def test_the_classifier_is_kept_for_the_same_classes_only(run_file, original, said, classes, kept):
    model = finetune.build_model(part(weights=run_file), SHAPE, classes, said.append)
    assert applications.read_metadata(model).labels == classes
    assert same(values(model), values(original)) is kept
    assert same(values(model, but="predictions"), values(original, but="predictions"))
    assert ("is kept" in said[0]) is kept


def test_as_many_classes_without_names_are_not_taken_for_the_same(checkpoint, original, said):
    model = finetune.build_model(part(weights=checkpoint), SHAPE, CLASSES, said.append)
    assert not same(values(model), values(original))
    assert same(values(model, but="predictions"), values(original, but="predictions"))


@pytest.mark.filterwarnings("error::UserWarning")
def test_an_assumed_normalization_is_said(checkpoint, said):
    settled = finetune.settle(part(weights=checkpoint), said.append)
    assert (settled.mean, settled.std) == networks.KINETICS_2017.to_bytes()
    assert said == [
        f"Note: {checkpoint} does not say how its input was normalized. Assumed for pixels of "
        "0-255: mean [114.7748, 107.7354, 99.475], std [1.0, 1.0, 1.0]. If that is wrong, set "
        "'model.mean' and 'model.std'."
    ]
    given = finetune.settle(part(weights=checkpoint, mean=MEAN, std=STD), said.append)
    assert (given.mean, given.std, len(said)) == (MEAN, STD, 1)
    finetune.build_model(settled, SHAPE, CLASSES, said.append)
    assert len(said) == 2


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("by", ["name", "path"])
def test_public_weights_bring_their_normalization(cache, by, said):
    cache.mkdir(parents=True)
    published = applications.R3D18(width=0.02, classes=700, shortcut="B")
    path = pth.write_zip(cache / "r3d18_K_200ep.pth", {"state_dict": state_dict(published)})
    chosen = {"name": {"name": "r3d18", "weights": "kinetics700"}, "path": {"weights": str(path)}}
    settled = finetune.settle(part(**chosen[by]), said.append)
    assert (settled.mean, settled.std) == networks.KINETICS_2020.to_bytes()
    assert settled.weights == chosen[by]["weights"]
    assert not said


def test_torchvision_s_networks_are_known(tmp_path, said):
    theirs = applications.r3d_18(width=0.02, classes=2)
    path = pth.write_zip(tmp_path / "tv.pth", state_dict(theirs, pytorch.TORCHVISION))
    for name in (None, "r3d_18"):
        model = finetune.build_model(
            part(name=name, weights=str(path)), SHAPE, CLASSES, said.append
        )
        assert same(values(model, but="predictions"), values(theirs, but="predictions"))
        mean = applications.read_metadata(model).mean
        assert mean == networks.TORCHVISION.to_bytes()[0]


def test_a_home_folder_and_other_files(tmp_path, monkeypatch, original, said):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "w.weights.h5"
    original.save_weights(path)
    settled = finetune.settle(part(weights="~/w.weights.h5"), said.append)
    assert (settled.name, settled.weights) == ("r3d10", str(path))


def test_without_weights_all_is_random(said):
    demo = recipe.load("demo").model
    assert finetune.settle(demo, said.append) is demo
    model = finetune.build_model(demo, SHAPE, CLASSES, said.append)
    assert (model.name, model.output_shape, said) == ("r3d10", (None, 3), [])
    assert applications.read_metadata(model).mean == demo.mean


def test_a_rounded_mean_is_the_weights_mean(run_file, said):
    settled = finetune.settle(part(weights=run_file, mean=(90.04, 80, 70)), said.append)
    assert settled.mean == MEAN


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "r3d18"}, 'name is "r3d18", of the weights "r3d10"'),
        ({"shortcut": "A"}, 'shortcut is "A", of the weights "B"'),
        ({"width": 1.0}, "width is 1.0, of the weights 0.125"),
        (
            {"mean": (114.7748, 107.7354, 99.475)},
            "mean is [114.7748, 107.7354, 99.475], of the weights [90.0, 80.0, 70.0]",
        ),
        (
            {"name": "r3d50", "std": (1.0, 1.0, 1.0)},
            'name is "r3d50", of the weights "r3d10"; '
            "std is [1.0, 1.0, 1.0], of the weights [50.0, 60.0, 70.0]",
        ),
    ],
)
def test_a_recipe_that_says_otherwise_is_refused(run_file, said, asked, message):
    wrong = part(weights=run_file, **asked)
    with pytest.raises(RecipeError) as error:
        finetune.settle(wrong, said.append)
    text = str(error.value)
    beginning = f"The recipe's [model] and its weights {run_file} disagree: {message}. To take"
    assert text.startswith(beginning)
    # What it tells to do, helps.
    changes = text.split("`overrides` '")[1:]
    demo = recipe.load("demo", [change.partition("'")[0] for change in changes]).model
    mended = dataclasses.replace(wrong, **{key: getattr(demo, key) for key in asked})
    assert finetune.settle(mended, said.append).name == "r3d10"


def unreadable(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"<html>")
    return str(tmp_path / "w.pth")


def of_flow(tmp_path):
    applications.R3D10(width=0.02, classes=2, in_channels=2).save(tmp_path / "flow.keras")
    return str(tmp_path / "flow.keras")


def of_others(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    return str(tmp_path / "other.keras")


@pytest.mark.parametrize(
    ("weights", "name", "error", "message"),
    [
        ("nowhere.pth", None, WeightsError, "must be a file, as 'model.name' is absent. There is"),
        ("nowhere.pth", "r3d18", WeightsError, "there is no file nowhere.pth"),
        ("imagenet", "r3d18", WeightsError, "one of ['kinetics400', "),
        ("kinetics400", None, RecipeError, "set 'model.name' to one of ['r3d18', 'r3d34', "),
        ("kinetics400", "r3d34", WeightsError, "Download it in a browser and put it at "),
        (str, None, WeightsError, "is a folder; name a file in it"),
        (unreadable, None, CheckpointError, "is a web page"),
        (of_flow, None, WeightsError, "is of a network for 2 channels; clips have 3"),
        (of_others, None, WeightsError, "is of another architecture than ['r3d10', "),
        (of_others, "r3d18", WeightsError, "is of another architecture than ['r3d10', "),
    ],
)
def test_weights_that_cannot_be_had_are_one_sentence(tmp_path, said, weights, name, error, message):
    if not isinstance(weights, str):
        weights = weights(tmp_path)
    with pytest.raises(error) as raised:
        finetune.settle(part(name=name, weights=weights), said.append)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_clips_too_short_for_the_network_are_a_sentence(said):
    options = {"width": 0.0625, "mean": (1, 2, 3), "std": (1, 1, 1)}
    model = recipe.Model(name="densenet121", **options)
    with pytest.raises(
        RecipeError, match=r"\[clips\] do not suit densenet121: .*at least 15, .*\(8,"
    ):
        finetune.build_model(model, (8, 32, 32, 3), ["a", "b"], said.append)


@pytest.mark.parametrize(
    "name",
    [
        # Of each family the smallest; slow, the deeper ones.
        pytest.param(
            name, marks=[pytest.mark.slow] * bool(re.search(r"(2p1d|r3d|preresnet)[35]", name))
        )
        for name in applications.list_models()
        if re.search(r"\D(10|18|34|50|121)$|c3d", name)
    ],
)
def test_stages_are_those_of_the_layers(name):
    small = {"width": 0.02, "classes": 2}
    if name == networks.FRAME_NET:
        small = {"width": 0.25, "classes": 2, "backbone": "MobileNet"}
    model = applications.get_model(name, **small)
    assert finetune.freeze(model, "") == []
    assert all(layer.trainable for layer in model.layers)
    there = finetune.stages(name)
    assert finetune.freeze(model, f"{there[0]}..{there[-1]}") == there
    assert [v.path for v in model.trainable_variables] == [v.path for v in finetune.head(model)]
    assert len(finetune.head(model)) == 2
    # Half of it: what is left is of the later stages.
    for layer in model.layers:
        layer.trainable = True
    assert finetune.freeze(model, "conv1..conv4") == ["conv1", "conv2", "conv3", "conv4"]
    head = {v.path for v in finetune.head(model)}
    left = {
        v.path.split("/")[-2].removesuffix("_bn")[:5]
        for v in model.trainable_variables
        if v.path not in head
    }
    assert left == ({"conv5", "fc6", "fc7"} if name.startswith("c3d") else {"conv5"})


@pytest.mark.parametrize(
    ("model", "text"),
    [("R3D10", "conv6"), ("R3D10", "conv4..conv1"), ("R3D10", "conv1..fc6"), ("R3D10", "1-4")],
)
def test_stages_that_are_not_there_are_named(run_file, said, model, text):
    message = (
        "Recipe key 'model.freeze' must be a stage of r3d10, ['conv1', 'conv2', 'conv3', 'conv4', "
        f"'conv5'], the first and the last of several ('conv1..conv4'). Received: '{text}'"
    )
    with pytest.raises(RecipeError) as error:
        finetune.settle(part(weights=run_file, freeze=text), said.append)
    assert str(error.value) == message
    with pytest.raises(RecipeError) as error:
        finetune.freeze(getattr(applications, model)(width=0.02, classes=2), text)
    assert str(error.value) == message


@pytest.mark.parametrize("suffix", ["keras", "pth"])
def test_frozen_stages_do_not_move_in_training(run_file, checkpoint, said, suffix):
    weights = run_file if suffix == "keras" else checkpoint
    model = finetune.build_model(part(weights=weights), SHAPE, ("x", "y"), said.append)
    frozen = finetune.freeze(model, "conv1..conv4")
    before = values(model)
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    model.fit(CLIPS, np.array([0, 1, 0, 1]), epochs=2, verbose=0)
    moving = {name for name, value in values(model).items() if (value != before[name]).any()}
    of_frozen = {name for name in before if name[:5] in frozen}
    assert {"conv1_bn/moving_mean", "conv4_1_bn2/moving_variance"} < of_frozen
    learning = {name for name in before if name.startswith(("conv5", "predictions"))}
    assert moving == learning
    assert len(model.trainable_variables) == len(
        [name for name in learning if "moving" not in name]
    )


def test_what_was_frozen_learns_again_in_the_next_run(run_file, tmp_path, said):
    model = finetune.build_model(part(weights=run_file), SHAPE, CLASSES, said.append)
    finetune.freeze(model, "conv1..conv4")
    model.save(tmp_path / "second.keras")
    third = finetune.build_model(
        part(weights=str(tmp_path / "second.keras")), SHAPE, CLASSES, said.append
    )
    assert all(layer.trainable for layer in third.layers)
    assert same(values(third), values(model))


# C3D, and optical flow


@pytest.fixture(scope="module")
def c3d_file(tmp_path_factory):
    """The best.keras of a run of C3D with batch norm."""
    path = tmp_path_factory.mktemp("c3d") / "best.keras"
    network = applications.C3D(
        width=0.0625,
        with_batch_norm=True,
        labels=CLASSES,
        input_shape=(8, 16, 16, 3),
        mean=MEAN,
        std=STD,
    )
    moved(network).save(path)
    return str(path)


def test_c3d_is_as_its_weights_say(c3d_file, said):
    settled = finetune.settle(part(weights=c3d_file), said.append)
    assert settled == part(
        name="c3d_bn", shortcut=None, width=0.0625, mean=MEAN, std=STD, weights=c3d_file
    )
    assert finetune.settle(settled, said.append) == settled
    model = finetune.build_model(settled, (8, 16, 16, 3), ("x", "y"), said.append)
    theirs = values(keras.models.load_model(c3d_file, compile=False), but="predictions")
    assert same(values(model, but="predictions"), theirs)
    assert said == [f"Weights: {c3d_file}, of c3d_bn; the classifier is new, for 2 classes"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "r3d18"}, 'name is "r3d18", of the weights "c3d_bn"'),
        ({"name": "c3d"}, 'name is "c3d", of the weights "c3d_bn"'),
        ({"shortcut": "A"}, 'shortcut is "A", of the weights none'),
        ({"width": 0.25}, "width is 0.25, of the weights 0.0625"),
        ({"freeze": "fc8"}, r"must be a stage of c3d_bn, \['conv1', .*, 'conv5', 'fc6', 'fc7'\]"),
    ],
)
def test_c3d_and_its_weights_must_agree(c3d_file, changes, message):
    with pytest.raises(RecipeError, match=message):
        finetune.settle(part(weights=c3d_file, **changes))


def test_stages_of_c3d_freeze(c3d_file, said):
    settled = finetune.settle(part(weights=c3d_file), said.append)
    model = finetune.build_model(settled, (8, 16, 16, 3), CLASSES, said.append)
    frozen = finetune.freeze(model, "conv1..fc6")
    assert frozen == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6"]
    trained = {variable.path.partition("/")[0] for variable in model.trainable_variables}
    assert trained == {"fc7", "fc7_bn", "predictions"}


def test_other_weights_do_not_fit_c3d(run_file):
    with pytest.raises(RecipeError, match='name is "c3d", of the weights "r3d10"'):
        finetune.settle(part(name="c3d", weights=run_file))


@pytest.mark.parametrize(("name", "dropouts"), [("c3d", 2), ("c3d_bn", 2)])
def test_c3d_of_a_recipe(name, dropouts, said):
    model = dataclasses.replace(recipe.load("c3d").model, name=name, width=0.0625)
    for channels in (2, 3):
        values = {"mean": (128.0,) * channels, "std": (1.0,) * channels}
        built = finetune.build_model(
            dataclasses.replace(model, **values), (8, 16, 16, channels), CLASSES, said.append
        )
        assert built.name == name
        assert built.input_shape == (None, 8, 16, 16, channels)
        names = [layer.name for layer in built.layers]
        assert ("conv1_bn" in names) is (name == "c3d_bn")
        assert sum("_dropout" in layer for layer in names) == dropouts
    assert finetune.stages(name)[-2:] == ["fc6", "fc7"]


@pytest.mark.parametrize("kind", ["r3d", "c3d"])
def test_rgb_weights_start_flow(run_file, c3d_file, kind, said):
    path, shape = (run_file, (4, 24, 24, 2)) if kind == "r3d" else (c3d_file, (8, 16, 16, 2))
    with pytest.raises(RecipeError, match=r"must hold 2 numbers: the weights .* RGB network"):
        finetune.settle(part(weights=path), said.append, in_channels=2)
    flow = part(weights=path, mean=(128.0, 128.0), std=(3.0, 3.0))
    settled = finetune.settle(flow, said.append, in_channels=2)
    assert (settled.mean, settled.std) == (flow.mean, flow.std)
    assert not said
    model = finetune.build_model(settled, shape, CLASSES, said.append)
    assert said[1] == (
        "These weights are of an RGB network: conv1 has the mean over red, green and blue for each "
        "of 2 channels."
    )
    original = keras.models.load_model(path, compile=False).get_layer("conv1").kernel.numpy()
    kernel = model.get_layer("conv1").kernel.numpy()
    for channel in range(2):
        np.testing.assert_allclose(kernel[..., channel, :], original.mean(axis=3), rtol=1e-6)
    assert applications.read_metadata(model).mean == (128.0, 128.0)


def test_weights_for_flow_start_flow_alone(tmp_path, said):
    path = str(tmp_path / "flow.keras")
    applications.R3D10(width=0.02, classes=2, in_channels=2, std=(3.0, 3.0)).save(path)
    settled = finetune.settle(part(weights=path), said.append, in_channels=2)
    assert (settled.mean, settled.std) == ((128.0, 128.0), (3.0, 3.0))
    with pytest.raises(WeightsError, match=r"2 channels; clips have 3 \(clips.input\)"):
        finetune.settle(part(weights=path), said.append)
