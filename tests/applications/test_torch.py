"""Against PyTorch itself, where there is one: `make test-torch`.

PyTorch and TensorFlow do not live well in one process, so torch_networks.py runs in another, with
the Python of `KERAS_R3D_TORCH_PYTHON` (an environment of its own) or this one's.
"""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.exports import export
from keras_r3d import applications, recipe
from keras_r3d.applications import networks
from keras_r3d.applications.labels import read_labels
from keras_r3d.applications.weights import checkpoints, pretrained, pytorch
from keras_r3d.system import devices
from keras_r3d.training.optimization.step import Steps

INSTALLED = importlib.util.find_spec("torch")
NAMED = os.environ.get("KERAS_R3D_TORCH_PYTHON")
PYTHON = os.path.abspath(NAMED) if NAMED else sys.executable if INSTALLED else None
# torchvision's operators are missing beside a PyTorch that it was not built for.
WITH_TORCHVISION = pytest.mark.skipif(
    not PYTHON
    or subprocess.run([PYTHON, "-c", "import torchvision"], capture_output=True).returncode != 0,
    reason="torchvision cannot be imported beside this PyTorch",
)
pytestmark = pytest.mark.skipif(not PYTHON, reason="PyTorch is not installed: make test-torch")

CONTAINERS = ("zip", "legacy")
AUTHORS = [
    f"authors-{depth}-{shortcut}-{container}"
    for depth, shortcut in [(18, "A"), (34, "B"), (50, "A"), (50, "B")]
    for container in CONTAINERS
]
FAMILIES = ["preresnet18", "preresnet50", "wideresnet50", "resnext50", "r2p1d18", "r2p1d50"]
FAMILIES = [*(f"{name}-narrow" for name in FAMILIES), "densenet121-narrow", "densenet121-dotted"]
# Those that the authors publish files of.
PUBLISHED = ["preresnet200", "wideresnet50", "resnext101", "densenet121", "densenet201"]
PUBLISHED += ["r2p1d18", "r2p1d34"]
ODD = [f"odd-{frames}-{size}" for frames, size in [(5, 33), (9, 50), (17, 31)]]
TORCHVISION = [
    f"torchvision-{name}-{container}"
    for name in ("r3d_18", "mc3_18", "r2plus1d_18")
    for container in CONTAINERS
]
TRAINING = [
    f"training-{s}-{container}" for s in ("multistep", "plateau") for container in CONTAINERS
]
STEPS = [f"steps-{s}-{schedule}" for s in ("A", "B") for schedule in ("constant", "drop")]
TYPES = [
    f"types-{dtype}-{container}"
    for dtype in ("float16", "bfloat16", "float32", "float64", "int64", "uint8", "bool")
    for container in CONTAINERS
]


def write(folder: Path, *cases: str) -> Path:
    script = Path(__file__).parents[1] / "helpers" / "torch_networks.py"
    done = subprocess.run(
        [PYTHON, script, folder, *cases], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("torch")
    return write(folder, *AUTHORS, *ODD, *TRAINING, *STEPS, *TYPES, "module")


@pytest.fixture(scope="module")
def of_torchvision(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("torchvision"), *TORCHVISION, "facts")


def our_outputs(model: keras.Model, clip: np.ndarray) -> dict[str, np.ndarray]:
    """Logits, and the mean of each channel behind each of the four stages."""
    names = [layer.name for layer in model.layers if layer.name.endswith("_out")]
    last = {s: [n for n in names if n.startswith(f"conv{s}_")][-1] for s in (2, 3, 4, 5)}
    outputs = {f"stage{s}": model.get_layer(name).output for s, name in last.items()}
    parts = keras.Model(model.input, {"logits": model.output, **outputs})
    values = {name: keras.ops.convert_to_numpy(out) for name, out in parts(clip).items()}
    return {n: v if n == "logits" else v.mean((1, 2, 3)) for n, v in values.items()}


def assert_equal(folder: Path, case: str, network: str, **options) -> None:
    theirs = np.load(folder / f"{case}.npz")
    model = applications.get_model(
        network,
        weights=folder / f"{case}.pth",
        include_preprocessing=False,
        classifier_activation=None,
        **options,
    )
    ours = our_outputs(model, theirs["clip"])
    worst = {n: abs(v - theirs[n]).max() / abs(theirs[n]).max() for n, v in ours.items()}
    print(case, {name: f"{value:.1e}" for name, value in worst.items()})
    assert max(worst.values()) <= 1e-4, worst


@pytest.mark.parametrize("case", AUTHORS)
def test_the_authors_networks(cases, case):
    assert_equal(cases, case, f"r3d{case.split('-')[1]}")


@pytest.mark.parametrize("case", ODD)
def test_odd_sizes_and_options(cases, case):
    assert_equal(cases, case, "r3d18", conv1_t_stride=2)


@WITH_TORCHVISION
@pytest.mark.parametrize("case", TORCHVISION)
def test_torchvision_s_networks(of_torchvision, case):
    assert_equal(of_torchvision, case, case.split("-")[1])


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152, 200])
def test_full_width(tmp_path, depth):
    assert_equal(write(tmp_path, f"full-{depth}"), f"full-{depth}", f"r3d{depth}")


@pytest.mark.parametrize("case", FAMILIES)
def test_the_authors_later_networks(tmp_path, case):
    assert_equal(write(tmp_path, f"family-{case}"), f"family-{case}", case.split("-")[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_later_networks_of_full_width(tmp_path, name):
    assert_equal(write(tmp_path, f"family-{name}-full"), f"family-{name}-full", name)


def our_losses(model: keras.Model, theirs) -> list[float]:
    """Trains on their batches, at their rates; the loss of each step."""
    clips, labels = theirs["clips"], theirs["labels"]
    sgd = {name: float(theirs[name]) for name in ("momentum", "dampening", "weight_decay")}
    settings = recipe.load("kinetics18").train
    optimizer = dataclasses.replace(settings.optimizer, **sgd)
    settings = dataclasses.replace(settings, optimizer=optimizer)
    classes = model.output_shape[1]
    steps = Steps(model, settings, devices.choose("all"), classes=classes)
    losses = []
    for step, rate in enumerate(theirs["rates"]):
        steps.optimizer.learning_rate = float(rate)
        batch = step % len(clips)
        given = tf.constant(clips[batch]), tf.constant(labels[batch], tf.int32)
        sums = steps.train(given, tf.constant(step), tf.constant(0.0))
        losses.append(float(sums[0]) / len(clips[batch]))
    return losses


@pytest.mark.parametrize("case", STEPS)
def test_training_steps_are_pytorch_s(cases, case):
    model = applications.R3D18(
        weights=cases / f"{case}.pth", include_preprocessing=False, classifier_activation=None
    )
    before = {v.path: v.numpy() for v in model.variables}
    with np.load(cases / f"{case}.npz") as archive:
        theirs = dict(archive)
    losses = our_losses(model, theirs)
    worst = {"loss": max(abs(np.array(losses) / theirs["losses"] - 1))}
    kept = 0.9 ** len(losses)  # share of the first statistics in running averages of rate 0.1
    for variable in model.variables:
        name = pytorch.tensor(pytorch.AUTHORS, variable.path)
        module, _, kind = name.rpartition(".")
        ours, expected = variable.numpy(), theirs[f"after/{name}"]
        expected = expected.transpose(pytorch.axes_from_pytorch(expected.ndim))
        if kind == "running_var":
            # PyTorch averages the unbiased variance, we the biased one that both normalize with.
            first, count = kept * before[variable.path], theirs[f"count/{module}"]
            expected = first + (expected - first) * (count - 1) / count
        group = kind if kind.startswith("running") else "weights"
        change = abs(expected - before[variable.path]).max()
        error = abs(ours - expected).max() / change
        worst[group] = max(worst.get(group, 0), error)
    print(case, {name: f"{value:.1e}" for name, value in worst.items()})
    assert worst["loss"] <= 1e-3, list(zip(losses, theirs["losses"], strict=True))
    assert max(worst["running_mean"], worst["running_var"]) <= 1e-3, worst
    assert worst["weights"] <= 5e-2, worst  # of the largest change in a tensor


@pytest.mark.parametrize("case", [*TRAINING, *TYPES])
def test_tensors_are_read_as_they_were_saved(cases, case):
    theirs = np.load(cases / f"{case}.npz")
    ours = checkpoints.read_checkpoint(cases / f"{case}.pth").tensors
    assert list(ours) == theirs.files
    for name in theirs.files:
        assert (ours[name].numpy() == theirs[name]).all(), name


def test_a_whole_module_is_refused_by_name(cases):
    with pytest.raises(applications.CheckpointError, match=r"asks for '__main__\.Authors'"):
        checkpoints.read_checkpoint(cases / "module.pth")


@WITH_TORCHVISION
def test_what_torchvision_says_of_its_weights_is_what_we_say(of_torchvision):
    facts = np.load(of_torchvision / "facts.npz")
    assert tuple(facts["labels"]) == read_labels("kinetics400")
    assert tuple(facts["mean"]) == networks.TORCHVISION.mean
    assert tuple(facts["std"]) == networks.TORCHVISION.std
    names = ("r3d_18", "mc3_18", "r2plus1d_18")
    assert [pretrained.find(name, "DEFAULT").url for name in names] == list(facts["urls"])
    for name, parameters in zip(names, facts["parameters"], strict=True):
        variables = applications.get_model(name).trainable_variables
        assert sum(int(np.prod(v.shape)) for v in variables) == parameters


@pytest.mark.parametrize(("name", "frames", "size"), [("r3d10", 8, 64), ("i3d", 17, 45)])
def test_benchmark_networks_compute_what_ours_do(tmp_path, name, frames, size):
    """Of the same weights, in both layouts: what is timed is the same network."""
    model = applications.get_model(name, input_shape=(frames, size, size, 3), classes=7)
    clips = export.draw_clips(4, frames, size)
    export.move_weights(model, clips)
    export.write_weights(model, tmp_path / "weights.npz")
    np.save(tmp_path / "clips.npy", clips)
    script = (
        "import numpy as np, torch; from benchmarks.torch_network import Network\n"
        "clips, weights = torch.from_numpy(np.load('clips.npy')), dict(np.load('weights.npz'))\n"
        "name = str(weights.pop('name'))\n"
        "for last in (True, False):\n"
        "    logits = Network(name, weights, channels_last=last)(clips)\n"
        "    np.save(f'{last}.npy', logits.softmax(1).numpy())"
    )
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [PYTHON, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = model.predict_on_batch(clips.astype(np.float32))
    for last in (True, False):
        assert np.abs(np.load(tmp_path / f"{last}.npy") - expected).max() < 1e-3
