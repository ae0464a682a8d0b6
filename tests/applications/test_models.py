"""The list of networks, the table in docs/models.md, class names and what a model file carries."""

import json
import re
import subprocess
import sys
import typing
from pathlib import Path

import keras
import numpy as np
import pytest
from checkpoint_values import without_drawing

from keras_r3d import VideoClassifier, applications, recipe
from keras_r3d.applications import Metadata, networks
from keras_r3d.applications.labels import read_labels
from keras_r3d.applications.weights import pretrained
from keras_r3d.data import Clips
from keras_r3d.system.errors import ModelError

ROOT = Path(__file__).parents[2]
CLIP = np.random.default_rng(0).integers(0, 256, (1, 8, 32, 32, 3), dtype=np.uint8)


def table(heading: str) -> list[list[str]]:
    """Rows of the first table under a heading of docs/models.md."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (section,) = [part for part in section if part.startswith(heading)]
    first = re.search(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)
    rows = [line.strip("|").split("|") for line in first[0].splitlines()]
    return [[cell.strip(" `") for cell in row] for row in rows[2:]]


NETWORKS = table("Networks")


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


# Thousand million multiply-adds without batch norm, computed from the papers' tables by other code.
WITHOUT_BATCH_NORM = {
    ("preresnet18", "A"): 8.30,
    ("preresnet18", "B"): 8.31,
    ("preresnet34", "A"): 12.69,
    ("preresnet34", "B"): 12.70,
    ("preresnet50", "B"): 10.07,
    ("preresnet101", "B"): 13.89,
    ("preresnet152", "B"): 18.61,
    ("preresnet200", "B"): 25.81,
    ("wideresnet50", "B"): 26.24,
    ("resnext50", "B"): 7.45,
    ("resnext101", "B"): 9.57,
    ("resnext152", "B"): 12.18,
    ("densenet121", ""): 10.40,
    ("densenet169", ""): 10.68,
    ("densenet201", ""): 11.24,
    ("densenet264", ""): 12.00,
    ("r2p1d18", "B"): 8.48,
    ("r2p1d34", "B"): 12.87,
    ("r2p1d50", "B"): 10.52,
    ("r2p1d101", "B"): 14.35,
}


def is_deep(name: str) -> bool:
    """Whether it has a hundred layers and more, which take seconds to build."""
    return bool(re.search(r"[a-z][12]\d\d$", name)) and name != "densenet121"


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=[pytest.mark.slow] * is_deep(row[0]), id="-".join(row[:2]))
        for row in NETWORKS
    ],
)
def test_parameters_and_multiply_adds_are_those_of_the_table(row):
    name, variant, parameters, gmac, _ = row
    options = {
        "A": {"shortcut": "A"},
        "B": {"shortcut": "B"},
        "": {},
        "MobileNet": {"backbone": variant},
    }[variant]
    with without_drawing():
        model = applications.get_model(name, input_shape=(16, 112, 112, 3), **options)
    assert model.name == name
    assert f"{trainable(model):,}" == parameters
    total = applications.multiply_adds(model)
    assert f"{total / 1e9:.2f}" == gmac
    norms = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    total -= sum(int(np.prod(norm.output.shape[1:])) for norm in norms)
    if (name, variant) in WITHOUT_BATCH_NORM:
        assert total / 1e9 == pytest.approx(WITHOUT_BATCH_NORM[name, variant], abs=0.011)


def test_the_table_has_every_network_in_its_default_form():
    assert {row[0] for row in NETWORKS} == set(applications.list_models())
    for name, network in networks.NETWORKS.items():
        assert (network.shortcut or "") in [row[1] for row in NETWORKS if row[0] == name]


def test_the_table_has_every_public_checkpoint():
    rows = {(row[0], row[1]): row for row in table("Public weights")}
    published = [row for row in pretrained.PRETRAINED if not row.packaged]
    assert set(rows) == {(row.network, row.name) for row in published}
    for one in published:
        _, _, file, classes, names, year, _ = rows[one.network, one.name]
        assert (file, int(classes)) == (one.file, one.classes)
        assert (names == "yes") == (one.labels is not None)
        known = {
            "2017": networks.KINETICS_2017,
            "2020": networks.KINETICS_2020,
            "torchvision": networks.TORCHVISION,
            "Sports-1M": networks.SPORTS1M,
            "mmaction2": networks.MMACTION_C3D,
            "I3D": networks.INCEPTION,
            "I3D, flow": networks.INCEPTION_FLOW,
        }
        assert known[year] == one.conventions


def test_recipes_know_all_networks():
    options = typing.get_args(typing.get_type_hints(recipe.Model)["name"])
    names = [name for option in options for name in typing.get_args(option)]
    assert sorted(names) == sorted(applications.list_models())


def test_networks_are_found_by_name():
    assert applications.list_models()[:3] == ["r3d10", "r3d18", "r3d34"]
    model = applications.get_model("R3D10", width=0.125, classes=3, name="mine")
    assert (model.name, model.output_shape) == ("mine", (None, 3))
    with pytest.raises(ValueError, match=r"`name` must be one of \['r3d10', .*name=r3d20"):
        applications.get_model("r3d20")
    assert applications.list_weights("r3d34") == [
        "kinetics400",
        "kinetics700",
        "kinetics700_moments",
    ]
    assert applications.list_weights("c3d_bn") == []


def test_c3d_has_the_shapes_of_the_published_network():
    model = applications.C3D(width=0.125)
    shapes = {
        "conv1": (16, 112, 112, 8),
        "pool1": (16, 56, 56, 8),
        "pool2": (8, 28, 28, 16),
        "conv3b": (8, 28, 28, 32),
        "pool4": (2, 7, 7, 64),
        "pool5": (1, 4, 4, 64),
        "fc6": (512,),
        "fc7": (512,),
    }
    assert {n: model.get_layer(n).output.shape[1:] for n in shapes} == shapes
    maps = applications.C3D(width=0.125, include_top=False, pooling="avg")
    assert maps(CLIP).shape == (1, 64)
    with pytest.raises(ValueError, match="frames of at least 8, height of at least 16"):
        applications.C3D(width=0.125, input_shape=(4, 112, 112, 3))
    with pytest.raises(ValueError, match="c3d with its top takes clips of one size"):
        applications.C3D(width=0.125, input_shape=(None, 112, 112, 3))


@pytest.mark.parametrize(
    ("name", "frames", "shape", "gmac"),
    [
        pytest.param("resnext101", 64, (4, 4, 4, 2048), 38.27, marks=pytest.mark.slow),
        ("densenet121", 64, (4, 3, 3, 1024), 41.62),
    ],
)
def test_64_frames(name, frames, shape, gmac):
    with without_drawing():
        model = applications.get_model(name, input_shape=(frames, 112, 112, 3))
    assert model.get_layer("avg_pool").input.shape[1:] == shape
    assert applications.multiply_adds(model) / 1e9 == pytest.approx(gmac, rel=5e-3)


def test_densenet_refuses_clips_that_its_transitions_leave_nothing_of():
    for options, shape, message in (
        ({}, (14, 112, 112, 3), "frames of at least 15, height of at least 29, width"),
        ({}, (16, 112, 28, 3), "width of at least 29"),
        ({"max_pool": False}, (7, 15, 15, 3), "frames of at least 8, height of at least 15"),
        ({"conv1_t_stride": 2}, (28, 29, 29, 3), "frames of at least 29"),
    ):
        with pytest.raises(ValueError, match=rf"{message}.*input_shape=\({shape[0]}, "):
            applications.DenseNet121(width=0.0625, input_shape=shape, **options)
    with without_drawing():
        model = applications.DenseNet121(width=0.0625, input_shape=(15, 29, 29, 3))
    assert model.get_layer("conv5_relu").output.shape[1:4] == (1, 1, 1)
    open_model = applications.DenseNet121(width=0.0625, labels=["a", "b"])
    with pytest.raises(
        ModelError, match=r"cannot take clips of \(8, 32, 32, 3\).*too small for it"
    ):
        VideoClassifier(open_model, clips=Clips(frames=8, size=32))
    with pytest.raises(ValueError, match=r"`shortcut` must be one of \[None\].*shortcut=A"):
        applications.DenseNet121(shortcut="A")


def test_multiply_adds_want_a_whole_shape():
    small = applications.R3D10(width=0.125)
    with pytest.raises(ValueError, match=r"full `input_shape`.*\(None, None, None, 3\)"):
        applications.multiply_adds(small)
    with pytest.raises(ValueError, match="has the model r3d10 inside"):
        applications.multiply_adds(keras.Sequential([keras.Input((8, 32, 32, 3)), small]))


def test_a_saved_model_carries_names_and_conventions_through_plain_keras(tmp_path):
    names = ["clap", 'wave "both" hands', "Ärger, laut"]
    model = applications.R3D10(width=0.125, labels=names, mean=(1, 2, 3), std=(4, 5, 6))
    expected = Metadata(tuple(names), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), True, None)
    assert applications.read_metadata(model) == expected
    model.save(tmp_path / "first.keras")
    np.save(tmp_path / "clip.npy", CLIP)
    np.save(tmp_path / "scores.npy", keras.ops.convert_to_numpy(model(CLIP)))
    script = (
        "import sys, keras, numpy as np\n"
        "model = keras.models.load_model('first.keras')\n"
        "difference = abs(np.array(model(np.load('clip.npy'))) - np.load('scores.npy')).max()\n"
        "assert difference < 1e-6, difference\n"
        "keras.models.clone_model(model).save('second.keras')\n"
        "assert 'keras_r3d' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    again = keras.models.load_model(tmp_path / "second.keras")
    assert applications.read_metadata(again) == expected
    scores = np.array([[0.2, 0.5, 0.3]])
    assert applications.decode_predictions(scores, top=2, model=again) == [
        [(1, names[1], 0.5), (2, names[2], 0.3)]
    ]
    features = applications.R3D10(width=0.125, labels=names, include_top=False)
    assert applications.read_metadata(features).labels is None
    assert applications.read_metadata(keras.Sequential([keras.layers.Dense(2)])) is None


def test_a_layer_of_the_same_name_is_not_mistaken():
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dropout(0.5, seed=3, name="metadata")(x))
    assert applications.read_metadata(model) is None


def test_preprocess_input_is_what_the_model_does_not_do():
    options = {"width": 0.125, "classes": 3, "mean": (90, 100, 110), "std": (50, 60, 70)}
    inside = applications.R3D10(**options)
    outside = applications.R3D10(**options, include_preprocessing=False)
    outside.set_weights(inside.get_weights())
    assert applications.preprocess_input(CLIP) is CLIP
    assert applications.preprocess_input(CLIP, inside) is CLIP
    clips = applications.preprocess_input(CLIP, outside)
    assert keras.ops.convert_to_numpy(outside(clips)) == pytest.approx(
        keras.ops.convert_to_numpy(inside(CLIP)), abs=1e-6
    )
    with pytest.raises(ValueError, match="does not say how its input is normalized"):
        applications.preprocess_input(CLIP, keras.Sequential(name="other"))


def test_kinetics_400_has_its_400_names_in_alphabetical_order():
    names = read_labels("kinetics400")
    assert len(names) == len(set(names)) == 400
    assert list(names) == sorted(names)
    assert (names[0], names[-1]) == ("abseiling", "zumba")
    scores = np.eye(400)[[5, 399]]
    decoded = applications.decode_predictions(scores, top=1, labels="kinetics400")
    assert [one[0][:2] for one in decoded] == [(5, names[5]), (399, "zumba")]


def test_names_come_from_lists_and_files(tmp_path):
    names = ("b", "a c", "ü")
    (tmp_path / "names.txt").write_text("b\na c\n\nü\n", encoding="utf-8")
    (tmp_path / "windows.txt").write_text("b\r\na c\r\nü\r\n", encoding="utf-8-sig")
    forms = {"list": list(names), "authors": {"labels": list(names), "database": {}}}
    forms["numbers"] = {"a c": 1, "ü": 2, "b": 0}
    for form, value in forms.items():
        (tmp_path / f"{form}.json").write_text(json.dumps(value))
    for file in tmp_path.iterdir():
        assert read_labels(file) == names, file
    assert read_labels(names) == read_labels(np.array(names)) == names


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("nowhere.txt", "there is no file nowhere"),
        ({"a": 1, "b": 0}, "`labels` must be a list of class names"),
        ({"a", "b"}, "`labels` must be a list of class names"),
        (5, "`labels` must be a list of class names"),
        ([], "`labels` must be a list of class names"),
        (["a", 1], "`labels` must be a list of class names"),
        (["a", ""], "`labels` must be a list of class names"),
        ("gap.json", r"the numbers in .*gap\.json are not 0 to 1"),
        ("number.json", "`labels` must be a list of class names"),
        ("broken.json", "cannot be read"),
    ],
)
def test_odd_names_are_refused(tmp_path, monkeypatch, labels, message):
    monkeypatch.chdir(tmp_path)
    Path("gap.json").write_text('{"a": 0, "b": 2}')
    Path("number.json").write_text("3")
    Path("broken.json").write_text("{")
    with pytest.raises(ValueError, match=message):
        applications.R3D10(width=0.125, labels=labels)


def test_integer_scores_are_ranked():
    for dtype in (np.uint8, np.int8, bool):
        scores = np.array([[0, 1, 0]], dtype)
        best = applications.decode_predictions(scores, top=np.int64(1), labels=["a", "b", "c"])
        assert best == [[(1, "b", 1.0)]]


def test_names_are_not_guessed():
    model = applications.R3D10(width=0.125)
    with pytest.raises(ValueError, match=r"The model r3d10 does not say what .* pass `labels`"):
        applications.decode_predictions(np.zeros((1, 400)), model=model)
    with pytest.raises(ValueError, match="Neither model nor labels say what"):
        applications.decode_predictions(np.zeros((1, 400)))
    with pytest.raises(ValueError, match="There are 2 class names, but 3 classes"):
        applications.decode_predictions(np.zeros((1, 3)), labels=["a", "b"])
    with pytest.raises(ValueError, match=r"`predictions` must be \(batch, classes\)"):
        applications.decode_predictions(np.zeros(3), labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="`top` must be an int"):
        applications.decode_predictions(np.zeros((1, 2)), top=0, labels=["a", "b"])
    with pytest.raises(ValueError, match="`labels` has 2 names, but the classifier 3 classes"):
        applications.R3D10(width=0.125, classes=3, labels=["a", "b"])
    assert applications.R3D10(width=0.125, labels=["a", "b"]).output_shape == (None, 2)
