"""Runs that are trained on a clip store, and evaluated on it or on the videos it was made of."""

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from conftest import write_classes
from prepared import prepare

from keras_r3d import run_folder
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.store import StoreReader
from keras_r3d.inference.evaluation import evaluating
from keras_r3d.system.devices import choose
from keras_r3d.training import checks, setup
from keras_r3d.training import run as training

pytestmark = pytest.mark.usefixtures("cheap_pictures")


@pytest.fixture(scope="module")
def places(tmp_path_factory, small, cheap_pictures) -> Path:
    """Videos, a store of them, and a run on each, untrained on the videos; not to be changed."""
    root = tmp_path_factory.mktemp("runs")
    write_classes(root / "videos", base=60)
    prepare(root / "videos", root / "store", 32, 16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "LEAST_TO_CHOOSE", 2)  # or none were held out for validation
        training.train_network(small, root / "store", root / "run-store", say=lambda line: None)
        ready = setup.prepare(small, root / "videos", choose(), say=lambda line: None)
        with contextlib.ExitStack() as stack:
            run = training.start_run(ready, root / "run-videos", False, print, stack)
        ready.kept.save(run.path / run_folder.BEST_MODEL)
    return root


def names(videos) -> list[str]:
    return sorted("/".join(Path(video.path).parts[-2:]) for video in videos)


def test_both_hold_out_the_same_videos(places):
    splits = []
    for name in ("videos", "store"):
        run = run_folder.open_run(places / f"run-{name}")
        assert run.trained == (name == "store")
        splits.append(
            {split: names(run.open_split(split)[0]) for split in ("train", "validation", "test")}
        )
    assert splits[0] == splits[1]
    assert {split: len(found) for split, found in splits[0].items()} == {
        "train": 8,
        "validation": 2,
        "test": 2,
    }


@pytest.mark.parametrize("trained_on", ["videos", "store"])
@pytest.mark.parametrize("evaluated_on", [None, "videos", "store"])
def test_its_own_videos_are_recognized_in_either_form(places, trained_on, evaluated_on):
    run = run_folder.open_run(places / f"run-{trained_on}")
    data_dir = evaluated_on and places / evaluated_on
    for split in ("train", "validation", "test"):
        found, reader = run.open_split(split, data_dir)
        assert names(found) == names(run.open_split(split)[0])
        read_from = evaluated_on or trained_on
        assert isinstance(reader, StoreReader if read_from == "store" else VideoReader)
        assert all(str(places / read_from) in video.path for video in found)
        assert [reader.count(video) for video in found] == [12] * len(found)


@pytest.mark.parametrize("trained_on", ["videos", "store"])
def test_a_run_is_evaluated_on_either_form(places, tmp_path, trained_on):
    scores = {}
    for evaluated_on, name in [
        (None, "evaluation.json"),
        ("videos", "evaluations/test-videos_*/evaluation.json"),
        ("store", "evaluations/test-store_*/evaluation.json"),
    ]:
        path = tmp_path / f"run-{evaluated_on}"
        shutil.copytree(places / f"run-{trained_on}", path)
        run = run_folder.open_run(path)
        data_dir = evaluated_on and str(places / evaluated_on)
        evaluating.evaluate_run(run, data=data_dir)
        (written,) = path.glob(name)
        result = json.loads(written.read_text())
        assert (result["videos"], result["errors"], result["windows"]) == (2, 0, 6)
        scores[evaluated_on] = {
            ("/".join(Path(record["video"]).parts[-2:]), top["label"]): top["score"]
            for record in result["records"]
            for top in record["top"]
        }
    assert scores[None] == pytest.approx(scores[trained_on], abs=1e-6)
    assert scores["videos"] == pytest.approx(scores["store"], abs=0.05)
    assert len(scores[None]) == 4


def test_a_store_that_moved_is_found_by_data_dir(places, tmp_path, small):
    shutil.copytree(places / "store", tmp_path / "moved")
    run = run_folder.open_run(places / "run-store")
    found, reader = run.open_split("test", tmp_path / "moved")
    assert names(found) == names(run.open_split("test")[0])
    assert [reader.count(video) for video in found] == [12, 12]


@pytest.mark.slow
def test_a_damaged_video_of_a_store_is_reported_by_the_run(places, tmp_path, small):
    store = tmp_path / "store"
    shutil.copytree(places / "store", store)
    with (store / "shards" / "00000.jpegs").open("r+b") as shard:
        shard.seek(700)
        shard.write(b"\0" * 100)
    experiment = dataclasses.replace(
        small, train=dataclasses.replace(small.train, epochs=1, clips_per_video=8)
    )
    said: list[str] = []
    run = training.train_network(experiment, store, tmp_path / "run", say=said.append)
    rows = (run.path / run_folder.PROBLEMS).read_text().splitlines()
    assert len(rows) == 2
    assert "green/0.avi,unreadable," in rows[1]
    assert "does not have its checksum" in rows[1]
    assert any("1 broken videos" in line for line in said)
