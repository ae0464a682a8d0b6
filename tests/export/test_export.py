"""Exporting a run: where it goes, how it is compared with Keras, what is written of it."""

import dataclasses
import functools
import itertools
import json
import re
import shutil
from pathlib import Path

import evaluations
import exports
import keras
import numpy as np
import pytest
from absl import flags as absl_flags
from conftest import small_recipe, write_video
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d import run_folder
from keras_r3d.applications import R3D10
from keras_r3d.data import annotations
from keras_r3d.data.opening import open_source
from keras_r3d.export import __main__ as command
from keras_r3d.export import card, destinations, exporting, parity, source
from keras_r3d.export.exporting import Request
from keras_r3d.export.formats import FORMATS, Format
from keras_r3d.inference.models import classifier
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
    found = open_source(data, small_recipe().data, seed=1).annotations
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


def test_places_are_named_by_format_and_variant(run, tmp_path):
    def chosen(form: str, quantize: str = "none", output=None):
        place = destinations.choose(run, FORMATS[form], quantize, output)
        return place.path.relative_to(run.path).as_posix()

    assert chosen("saved_model") == "export/run/1"
    assert chosen("saved_model", "bfloat16") == "export/run-bfloat16/1"
    assert chosen("tflite") == "export/model.tflite"
    assert chosen("tflite", "int8") == "export/model-int8.tflite"
    assert chosen("onnx") == "export/model.onnx"
    assert chosen("openvino") == "export/openvino"


def test_a_saved_model_gets_the_next_version(run, tmp_path):
    # What is being written has no number as its name, so that no server takes it for a version.
    for name in ("notes", "7", ".partial-12-9"):
        (tmp_path / name).mkdir()
    place = destinations.choose(run, FORMATS["saved_model"], "none", tmp_path)
    assert place.path == tmp_path / "8"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match="is a file: choose a folder"):
        destinations.choose(run, FORMATS["saved_model"], "none", tmp_path / "file")


def test_files_of_several_formats_have_room_beside_each_other(run):
    places = [destinations.choose(run, FORMATS[form], "none", None) for form in ("tflite", "onnx")]
    names = [one(place.path) for place in places for one in (place.record, place.card)]
    assert len({*names, *(place.path for place in places)}) == 6


def test_a_saved_model_has_the_name_of_its_folder(run, tmp_path, monkeypatch):
    def chosen(run, output=None):
        return destinations.choose(run, FORMATS["saved_model"], "none", output)

    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    assert chosen(run, Path()).path == tmp_path / "in" / "1"
    assert chosen(run, Path("..")).name == f"{tmp_path.name}/1"
    around = dataclasses.replace(run, path=run.path / "state" / "..")
    assert chosen(around).name == "run/1"
    with pytest.raises(ExportError, match=r"no ':'\. Received: 'a:b'"):
        chosen(run, Path("a:b"))


@pytest.mark.parametrize("name", ["m.v2.tflite", "m.v2.tflite.export.json", "m.v2.tflite.md"])
def test_existing_files_are_left_alone(run, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ExportError, match=f"{name} exists and is left as it is"):
        destinations.choose(run, FORMATS["tflite"], "none", tmp_path / "m.v2.tflite")
    with pytest.raises(ExportError, match=r"must end in \.tflite\. Received: .*/model"):
        destinations.choose(run, FORMATS["tflite"], "none", tmp_path / "model")


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
    chosen = parity.evenly(range(count), most)
    assert len(chosen) == (min(most, count) if most else count)
    assert chosen == sorted(set(chosen))
    steps = np.diff([-1, *chosen, count])
    assert steps.max() <= -(-count // len(chosen)) + 1


def everything(root) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("form", ["saved_model", "tflite"])
def test_an_export_is_described_and_scores_like_keras(run, data, tmp_path, form):
    output = tmp_path / ("m.tflite" if form == "tflite" else "m")
    exported = exporting.export(run, FORMATS[form], Request(output=output))
    found = exported.parity
    assert (found.videos, found.windows) == (6, 3 * 3 + 3 * 3)
    assert found.same_windows == found.windows
    assert found.largest_difference < 1e-5
    written, page = exported.described
    record = json.loads(written.read_text())
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
    opened = classifier.of_file(exported.path)
    assert opened.data == run.recipe.data
    assert not [name for name in everything(tmp_path) if "partial" in name]


def wrong(form: Format, how) -> Format:
    """A format whose exports are of a network that `how` has changed."""

    def write(source, path, quantize):
        network = keras.models.clone_model(source.network)
        network.set_weights(how(source.network.get_weights()))
        form.write(dataclasses.replace(source, network=network), path, quantize)

    return dataclasses.replace(form, write=write)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda weights: [*weights[:-2], weights[-2][:, ::-1], weights[-1]], "in 0.0% of the win"),
        (lambda weights: [*weights[:-1], weights[-1] + (0.01, 0)], "differs from Keras's by more"),
        (lambda weights: [*weights[:-1], weights[-1] * np.nan], "scores that are not finite"),
    ],
    ids=["swapped", "off", "nan"],
)
def test_an_export_that_differs_is_not_kept(run, tmp_path, how, said):
    request = Request(output=tmp_path / "m.tflite")
    with pytest.raises(R3DError, match=said):
        exporting.export(run, wrong(FORMATS["tflite"], how), request)
    assert not list(tmp_path.iterdir())


def test_what_is_asked_for_may_be_less(run, tmp_path):
    swapped = wrong(FORMATS["tflite"], lambda weights: [*weights[:-2], -weights[-2], weights[-1]])
    request = Request("int8", tmp_path / "m.tflite", min_agreement=0.0, videos=2)
    exported = exporting.export(run, swapped, request)
    assert exported.parity.videos == 2
    assert exported.parity.agreement < 0.95
    with pytest.raises(ExportError, match=r"and must in 95\.0% \(--min_agreement\)"):
        exporting.export(run, swapped, Request("int8", tmp_path / "n.tflite"))


def test_the_card_fits_many_classes_and_an_evaluation(run, tmp_path):
    exported = exporting.export(run, FORMATS["tflite"], Request(output=tmp_path / "m.tflite"))
    summary = {"evaluation": {"videos": 6, "split": "test", "video_top1": 0.75}}
    summary["evaluation"]["video_top1_interval"] = (0.5, 0.9)
    example = np.zeros((4, 16, 16, 3), np.uint8)
    of_run = source.of_run(dataclasses.replace(run, summary=summary), example, None)
    names = [f"class {number}" for number in range(400)]
    of_run = dataclasses.replace(
        of_run, manifest=dataclasses.replace(of_run.manifest, classes=names)
    )
    text = card.text(of_run, exported.record, "m.tflite")
    assert "| video top-1 | 75.0% | 50.0% – 90.0% |" in text
    assert "class 59, … and 340 more" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--workdir is missing"),
        (["--workdir", "RUN"], "--format must be one of ['saved_model', 'tflite', 'onnx', 'openv"),
        (["--workdir", "RUN", "--format", "pb"], "Received: pb"),
        (["--workdir", "RUN", "--format", "tflite", "--quantize", "int4"], "Received: int4"),
        (["--workdir", "RUN", "--format", "saved_model", "--quantize", "int8"], "'bfloat16', 'flo"),
        (["--workdir", "RUN", "--format", "tflite", "--output", "m.pb"], "must end in .tflite"),
        (
            ["--workdir", "RUN", "--format", "tflite", "--output", "FILE/m.tflite"],
            "Could not write",
        ),
        (["--workdir", "RUN", "--format", "tflite", "--data_dir", "nowhere"], "nowhere"),
        (["--workdir", "BARE", "--format", "tflite"], "has no best.keras: the training stopped"),
        (["--workdir", "nowhere", "--format", "tflite"], "nowhere does not exist"),
    ],
)
def test_what_cannot_be_exported_is_said(run, tmp_path, monkeypatch, words, said):
    (tmp_path / "file").write_text("mine")
    run_folder.create(tmp_path / "bare", small_recipe(), CLASSES, "path,label,split\n", {})
    places = {"RUN": run.path, "FILE": tmp_path / "file", "BARE": tmp_path / "bare"}
    for name, place in places.items():
        words = [word.replace(name, str(place)) for word in words]
    flags = absl_flags.FlagValues()
    monkeypatch.setattr(absl_flags, "FLAGS", flags)
    for name in ("DEFINE_string", "DEFINE_float", "DEFINE_integer"):
        bound = functools.partial(getattr(absl_flags, name), flag_values=flags)
        monkeypatch.setattr(absl_flags, name, bound)
    command._define_flags()
    flags(["export", *words])
    with pytest.raises(R3DError, match=re.escape(said)):
        command._main()


def test_a_folder_that_cannot_be_written_is_said_before_any_work(run):
    request = Request(output=Path("/proc/m.tflite"), data_dir="nowhere")
    with pytest.raises(files.WriteError, match=r"^Could not write /proc \("):
        exporting.export(run, FORMATS["tflite"], request)


def test_calibrating_without_clips_is_an_error(run, tmp_path):
    videos = (run.path / run_folder.VIDEOS).read_text().splitlines()
    left = [line for line in videos if ",train," not in line]
    copy = shutil.copytree(run.path, tmp_path / "run")
    (copy / run_folder.VIDEOS).write_text("\n".join(left) + "\n")
    request = Request("int8", tmp_path / "m.tflite")
    with pytest.raises(R3DError, match="train"):
        exporting.export(run_folder.open_run(copy), FORMATS["tflite"], request)
    assert not list(tmp_path.glob("*.tflite"))
