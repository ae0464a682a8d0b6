"""Exporting a run: where it goes, how it is compared with Keras, what is written of it."""

import dataclasses
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import evaluations
import exports
import keras
import numpy as np
import pytest
from conftest import small_recipe, write_video
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d import VideoClassifier, run_folder
from keras_r3d.applications import R3D10
from keras_r3d.data import annotations
from keras_r3d.data.opening import open_source
from keras_r3d.export import exporting, parity
from keras_r3d.export.formats import FORMATS
from keras_r3d.export.saved_model import saved_model
from keras_r3d.export.tflite import tflite
from keras_r3d.inference.models import classifier, opening
from keras_r3d.inference.models.opening import Opened
from keras_r3d.system import files
from keras_r3d.system.errors import ExportError, R3DError

CLASSES = ("green", "red")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for number, split in itertools.product(range(3), ("train", "test")):
        write_video(root / split / "red" / f"{number}.avi", 9, tint=(1, 0.2, 0.2), base=60)
        write_video(root / split / "green" / f"{number}.avi", 12, tint=(0.2, 1, 0.2), base=60)
    (root / "test" / "red" / "broken.avi").write_bytes(b"no video")
    return root


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> run_folder.Run:
    """An untrained run whose scores are neither all equal nor all certain."""
    found = open_source(data, small_recipe().clips, seed=1).annotations
    keras.utils.set_random_seed(1)
    network = R3D10(input_shape=(4, 16, 16, 3), width=0.125, labels=CLASSES)
    rng = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, one.shape) for one in layer.get_weights()])
    last = network.layers[-1]
    last.set_weights([one / 50 for one in last.get_weights()])
    return exports.run_of(
        network,
        tmp_path_factory.mktemp("runs") / "run",
        CLASSES,
        videos=annotations.to_csv(found),
        data_dir=str(data),
    )


@pytest.fixture(scope="module")
def opened(run) -> Opened:
    figures = {"videos": 6, "split": "test", "video_top1": 0.75, "video_top1_interval": (0.5, 0.9)}
    evaluated = dataclasses.replace(run, summary=run.summary | {"evaluation": figures})
    return opening.of_run(evaluated)


@pytest.fixture
def unwritten(monkeypatch):
    """Exports whose writing ends with an error: so far, only the place is chosen."""
    for module in (tflite, saved_model):
        monkeypatch.setattr(module, "write", unwritten_place)


def unwritten_place(source, path, quantize):
    raise InterruptedError(str(path))


def place(opened: Opened, form: str, quantize: str = "none", output=None) -> str:
    """Returns where an export would go: the place it is written at has a name that tells."""
    with pytest.raises(R3DError) as info:
        exporting.export(opened, form, output, quantize=quantize, videos=1)
    text = re.search(r"Could not write (\S+)|$", str(info.value))[1]
    return str(Path(text).relative_to(opened.run.path if output is None else Path(output).parent))


def test_places_are_named_by_format_and_variant(opened, unwritten):
    assert place(opened, "saved_model") == "export/run/1"
    assert place(opened, "saved_model", "bfloat16") == "export/run-bfloat16/1"
    assert place(opened, "tflite") == "export/model.tflite"
    assert place(opened, "tflite", "int8") == "export/model-int8.tflite"


def test_a_saved_model_gets_the_next_version(opened, tmp_path, unwritten):
    # What is being written has no number as its name, so that no server takes it for a version.
    for name in ("notes", "7", ".partial-12-9"):
        (tmp_path / name).mkdir()
    assert place(opened, "saved_model", output=tmp_path) == f"{tmp_path.name}/8"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match="is a file; choose a folder"):
        exporting.export(opened, "saved_model", tmp_path / "file")
    with pytest.raises(ExportError, match=r"no ':'\. Received: 'a:b'"):
        exporting.export(opened, "saved_model", "a:b")


def test_a_saved_model_has_the_name_of_its_folder(opened, tmp_path, monkeypatch, unwritten):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    with pytest.raises(R3DError, match=re.escape(f"write {tmp_path / 'in' / '1'} ")):
        exporting.export(opened, "saved_model", "", videos=1)
    with pytest.raises(R3DError, match=re.escape(f"write {tmp_path / '1'} ")):
        exporting.export(opened, "saved_model", "..", videos=1)
    (opened.run.path / "state").mkdir(exist_ok=True)
    around = dataclasses.replace(opened.run, path=opened.run.path / "state" / "..")
    assert place(dataclasses.replace(opened, run=around), "saved_model") == "export/run/1"


@pytest.mark.parametrize("name", ["m.v2.tflite", "m.v2.tflite.export.json", "m.v2.tflite.md"])
def test_existing_files_are_left_alone(opened, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ExportError, match=f"{name} already exists; choose another `output`"):
        exporting.export(opened, "tflite", tmp_path / "m.v2.tflite")
    with pytest.raises(ExportError, match=r"must end in \.tflite\. Received: .*/model"):
        exporting.export(opened, "tflite", tmp_path / "model")


STEPS = {
    "written": (tflite, "write"),
    "written as a folder": (saved_model, "write"),
    "loaded": (exporting.runtimes, "load_export"),
    "compared": (parity, "measure"),
    "described": (files, "write_json"),
    "put in place": (os, "replace"),
    "configured": (saved_model, "write_beside"),
}


@pytest.mark.parametrize(
    ("step", "form"),
    [
        *((step, "tflite") for step in ("written", "loaded", "compared", "described")),
        *((step, "saved_model") for step in ("written as a folder", "put in place", "configured")),
        pytest.param("put in place", "tflite", marks=pytest.mark.slow),
        *(
            pytest.param(step, "saved_model", marks=pytest.mark.slow)
            for step in ("loaded", "compared", "described")
        ),
    ],
)
def test_an_interrupt_leaves_nothing_behind(opened, tmp_path, monkeypatch, form, step):
    """Whenever it comes: each step ends with one."""
    place, name = STEPS[step]
    original, calls = getattr(place, name), []

    def interrupted(*arguments, **options):
        calls.append(original(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(place, name, interrupted)
    mine = tmp_path / "mine" / "old.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    output = tmp_path / "mine" / "new" / "deep" / ("m.tflite" if form == "tflite" else "m")
    with pytest.raises(KeyboardInterrupt):
        exporting.export(opened, form, output, videos=1)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "old.txt"]
    assert len(calls) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("form", "name", "needed"),
    [
        ("tflite", "m.tflite", "tensorflow"),
        ("saved_model", "m", "tensorflow"),
        ("onnx", "m.onnx", "tf2onnx"),
        ("openvino", "m", "openvino"),
    ],
)
def test_ctrl_c_ends_an_export_at_any_time(run, tmp_path, form, name, needed):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs {needed}")
    (tmp_path / "temporary").mkdir()

    def start() -> subprocess.Popen:
        words = ["-m", "keras_r3d.export", "--model", run.path, "--format", form]
        words += ["--output", tmp_path / "out" / name]
        return subprocess.Popen(
            [sys.executable, *map(str, words)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    started = time.monotonic()
    text, _ = start().communicate()
    seconds = time.monotonic() - started
    assert "Written" in text
    shutil.rmtree(tmp_path / "out")
    ended = []
    for tenths in range(1, 10):
        process = start()
        time.sleep(seconds * tenths / 10)
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate()
        if process.returncode == 0:  # it was done
            shutil.rmtree(tmp_path / "out")
            continue
        # Python ends by the signal itself if it came while compiled code ran a module of its own.
        assert process.returncode in (130, -signal.SIGINT), text
        assert "Interrupted." in text, text
        assert "Traceback" not in text, text
        assert not (tmp_path / "out").exists()
        ended.append(process.returncode)
    assert len(ended) >= 5
    left = {path.name for path in (tmp_path / "temporary").iterdir()}
    assert left <= {".ses"}  # ONNX Runtime's own, of its telemetry, whatever becomes of the export


def test_two_evaluations_are_compared():
    before = evaluations.make(CLASSES, [0, 1], [[(0.9, 0.1), (0.6, 0.4)], [(0.2, 0.8)]])
    after = evaluations.make(CLASSES, [0, 1], [[(0.9, 0.1), (0.3, 0.7)], [(0.6, 0.4)]])
    found = parity.compare(before, after)
    assert (found.videos, found.same_videos) == (2, 1)
    assert (found.windows, found.same_windows) == (3, 1)
    assert found.agreement == pytest.approx(1 / 3)
    assert found.largest_difference == pytest.approx(0.4)
    assert found.keras == {"video_top1": 1.0, "clip_top1": 1.0}
    assert found.export == {"video_top1": 0.5, "clip_top1": pytest.approx(1 / 3)}
    assert "Same class in 1 of 2 videos and 1 of 3 windows" in str(found)
    with pytest.raises(ExportError, match="Keras scored 3 windows of the videos, the export 2"):
        parity.compare(before, evaluations.make(CLASSES, [0, 1], [[(1, 0)], [(0, 1)]]))
    nothing = evaluations.make(CLASSES, [0], [[]], errors={0: "x.mp4 is broken"})
    with pytest.raises(ExportError, match=r"could be scored: x\.mp4 is broken"):
        parity.compare(nothing, nothing)


@given(st.integers(1, 50), st.integers(0, 60))
def test_videos_are_chosen_evenly(count, most):
    chosen = parity.choose_evenly(range(count), most)
    assert len(chosen) == (min(most, count) if most else count)
    assert chosen == sorted(set(chosen))
    steps = np.diff([-1, *chosen, count])
    assert steps.max() <= -(-count // len(chosen)) + 1


def everything(root) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("form", ["saved_model", "tflite"])
def test_an_export_is_described_and_scores_like_keras(opened, tmp_path, form):
    output, counts = tmp_path / ("m.tflite" if form == "tflite" else "m"), []
    exported = exporting.export(opened, form, output, progress=lambda *done: counts.append(done))
    found, run = exported.parity, opened.run
    assert (found.videos, found.windows) == (6, 3 * 3 + 3 * 3)
    assert counts == [(count + 1, 14) for count in range(14)]
    assert found.same_windows == found.windows
    assert found.largest_difference < 1e-5
    assert "Same class in 6 of 6 videos" in str(exported)
    written, page = exported.described
    record = json.loads(written.read_text())
    assert record == json.loads(json.dumps(exported.record))
    assert record["source"]["run"] == "run"
    assert record["source"]["model_sha256"] == files.sha256(run.path / run_folder.BEST_MODEL)
    assert record["parity"]["agreement"] == 1.0
    assert record["signatures"]
    for name, said in record["files"].items():
        one = exported.path / name
        assert (said["bytes"], said["sha256"]) == (one.stat().st_size, files.sha256(one))
    text = page.read_text()
    assert "2 classes" in text
    assert "4 frames of 16×16" in text
    assert "green, red" in text
    assert "| video top-1 | 75.0% | 50.0% – 90.0% |" in text
    shares = (f"{model['video_top1']:.1%}" for model in (found.keras, found.export))
    assert f"| video top-1 | {' | '.join(shares)} |" in text
    again = classifier.of_file(exported.path)
    assert again.clips == run.recipe.clips
    assert not [name for name in everything(tmp_path) if "partial" in name]


@pytest.fixture
def wrong(monkeypatch):
    """Makes TFLite files be of a network whose weights a function has changed."""
    write = tflite.write

    def change(how) -> None:
        def write_wrong(source, path, quantize):
            network = keras.models.clone_model(source.network)
            network.set_weights(how(source.network.get_weights()))
            write(dataclasses.replace(source, network=network), path, quantize)

        monkeypatch.setattr(tflite, "write", write_wrong)

    return change


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            lambda weights: [*weights[:-2], weights[-2][:, ::-1], weights[-1]],
            "in 0.0% of the windows, and must in 99.0%",
        ),
        (lambda weights: [*weights[:-1], weights[-1] + (0.01, 0)], "differs from Keras's by more"),
        (lambda weights: [*weights[:-1], weights[-1] * np.nan], "scores that are not finite"),
    ],
    ids=["swapped", "off", "nan"],
)
def test_an_export_that_differs_is_not_kept(opened, tmp_path, wrong, how, said):
    wrong(how)
    with pytest.raises(R3DError, match=re.escape(said)):
        exporting.export(opened, "tflite", tmp_path / "m.tflite", videos=3)
    assert not list(tmp_path.iterdir())


def test_a_lower_agreement_may_be_allowed(opened, tmp_path, wrong):
    wrong(lambda weights: [*weights[:-2], -weights[-2], weights[-1]])
    exported = exporting.export(
        opened, "tflite", tmp_path / "m.tflite", quantize="int8", min_agreement=0.0, videos=2
    )
    assert exported.parity.videos == 2
    assert exported.parity.agreement < FORMATS["tflite"].quantize["int8"] == 0.95


def test_a_model_of_no_run_is_compared_on_other_videos(data, tmp_path):
    names = tuple(f"class {number}" for number in range(98))
    network = R3D10(input_shape=(4, 16, 16, 3), width=0.0625, labels=(*CLASSES, *names))
    own = classifier.of_network(network, small_recipe())
    opened = Opened(own, None)
    with pytest.raises(ExportError, match="is of no run: pass `data`"):
        exporting.export(opened, "tflite", tmp_path / "m.tflite")
    exported = exporting.export(opened, "tflite", tmp_path / "m.tflite", data=data, videos=3)
    assert exported.record["source"] == {
        "run": None,
        "model": network.name,
        "model_sha256": None,
        "model_bytes": 4 * network.count_params(),
    }
    again = classifier.of_file(exported.path)
    assert (again.clips, again.eval, again.classes) == (own.clips, own.eval, own.classes)
    text = exported.described[1].read_text()
    assert "class 57, … and 40 more" in text
    assert "The model was not evaluated" in text


@pytest.mark.parametrize(
    ("model", "form", "options", "said"),
    [
        (
            "RUN",
            "pb",
            {},
            "one of ['saved_model', 'tflite', 'onnx', 'openvino', 'web']. Received: pb",
        ),
        ("RUN", "tflite", {"quantize": "int4"}, "Received: int4"),
        ("RUN", "saved_model", {"quantize": "int8"}, "one of ['none', 'bfloat16', 'float16'] with"),
        ("RUN", "tflite", {"output": "m.pb"}, "must end in .tflite"),
        ("RUN", "tflite", {"output": "FILE/m.tflite"}, "Could not write"),
        ("RUN", "tflite", {"data": "nowhere"}, "nowhere"),
        ("RUN", "tflite", {"split": "validation"}, "'validation'"),
        ("BARE", "tflite", {}, "has no best.keras: the training stopped"),
        ("nowhere", "tflite", {}, "nowhere"),
    ],
)
def test_what_cannot_be_exported_is_said(run, tmp_path, model, form, options, said):
    (tmp_path / "file").write_text("mine")
    run_folder.create(tmp_path / "bare", small_recipe(), CLASSES, "path,label,split\n", {})
    places = {"RUN": run.path, "BARE": tmp_path / "bare"}
    options = {key: text.replace("FILE", str(tmp_path / "file")) for key, text in options.items()}
    with pytest.raises(R3DError, match=re.escape(said)):
        VideoClassifier(places.get(model, model)).export(form, **options)
    assert not (run.path / run_folder.EXPORT / "model.tflite").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(opened):
    with pytest.raises(files.WriteError, match=r"^Could not write /proc \("):
        exporting.export(opened, "tflite", "/proc/m.tflite", data="nowhere")


def test_calibrating_without_clips_is_an_error(run, tmp_path):
    videos = (run.path / run_folder.VIDEOS).read_text().splitlines()
    left = [line for line in videos if ",train," not in line]
    copy = shutil.copytree(run.path, tmp_path / "run")
    (copy / run_folder.VIDEOS).write_text("\n".join(left) + "\n")
    opened = opening.of_run(run_folder.open_run(copy))
    with pytest.raises(R3DError, match="train"):
        exporting.export(opened, "tflite", tmp_path / "m.tflite", quantize="int8")
    assert not list(tmp_path.glob("*.tflite"))
