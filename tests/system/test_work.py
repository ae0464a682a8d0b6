"""Parts of a work: how items are divided into them, which are made again, and calls to share."""

import dataclasses
import functools
import itertools
import pickle
import sys

import numpy as np
import pytest
from conftest import write_video
from prepared import prepare

from keras_r3d import VideoClassifier, applications
from keras_r3d.data import Clips, Video, scan
from keras_r3d.data.opening import file_reader, open_source
from keras_r3d.system.errors import ArgumentError, DataError
from keras_r3d.system.objects import outputs
from keras_r3d.system.work import PartMaker, Spread, Work


def sizes(folder, lengths: list[float]) -> list[int]:
    """Returns the number of items of each part of a new plan, and that it is kept."""
    names = [str(number) for number in range(len(lengths))]
    work = Work(folder / "parts", "plan.json", {}, DataError, names, length=lengths.__getitem__)
    with work.open() as starts:
        pass
    with work.open(lambda: pytest.fail("it is divided again")) as kept:
        assert kept == starts
    return [end - start for start, end in itertools.pairwise([*starts, len(lengths)])]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([0.0] * 5, [1] * 5),  # not known: by number; of a short list little is lost
        ([0.0] * 150, [2] * 75),
        ([0.0] * 10_000, [64] * 156 + [16]),
        ([10.0] * 10_000, [64] * 156 + [16]),  # as many as memory holds, however short
        ([60.0] * 2_000, [20] * 100),  # 20 minutes of video each
        ([3600.0] * 70, [1] * 70),
        ([10.0] * 40 + [7200.0] + [10.0] * 200, [15, 15, 10, 1, *[15] * 13, 5]),
        ([400.0] * 300 + [0.0] * 192, [3] * 100 + [64] * 3),
    ],
)
def test_parts_are_about_as_long(lengths, expected, tmp_path):
    assert sizes(tmp_path, lengths) == expected


def test_lengths_are_those_of_a_list_or_a_store(tmp_path):
    for label in "ab":
        write_video(tmp_path / "videos" / label / "0.avi", 26)
    reader = file_reader([], Clips())
    whole = Video(str(tmp_path / "videos" / "a" / "0.avi"), "a")
    assert reader.length(whole) == 0, "nothing is opened to know it"
    assert reader.length(dataclasses.replace(whole, start_seconds=2.0, end_seconds=5.5)) == 3.5
    prepare(tmp_path / "videos", tmp_path / "store")
    source = open_source(tmp_path / "store", Clips())
    for video in source.annotations.split("train"):
        assert source.reader.length(video) == pytest.approx(2.5)
    assert source.reader.length(whole) == 0


def test_a_part_that_a_killed_process_had_begun_is_counted(tmp_path):
    spread = Spread(shard_index=0, shard_count=2)
    names = [str(number) for number in range(6)]
    work = Work(tmp_path / "parts", "plan.json", {}, DataError, names, spread=spread)
    maker = PartMaker(
        lambda numbers, _: (pair for pair in [*zip(numbers, numbers, strict=True)]),
        lambda number, results: (list(results), {}),
    )
    work.scratch.mkdir(parents=True)  # as a process leaves it that is killed
    (work.scratch / "2.begun").touch()
    with work.open() as starts:
        assert list(work.make(starts, maker, lambda done, total: None)) == [0, 2, 4]
    share = work.share()
    assert str(share) == "3 of 6 parts are made, 1 of them again; 3 are missing."
    assert not any(work.folder.glob("*.begun"))


def test_a_plan_that_another_share_writes_meanwhile_is_taken(tmp_path, monkeypatch):
    """However the folder and the plan are looked at: the other writes after the first look."""
    names = [str(number) for number in range(6)]
    first, second = (
        Work(tmp_path / "p", "plan.json", {}, DataError, names, spread=Spread(number, 2))
        for number in (0, 1)
    )
    looks, real = [], {name: getattr(outputs, name) for name in ("fetch", "sizes")}

    def look(name, path):
        looks.append(name)
        if len(looks) == 2:
            with first.open():
                np.savez(tmp_path / "p" / "00000.npz")
        return real[name](path)

    for name in real:
        monkeypatch.setattr(outputs, name, functools.partial(look, name))
    with second.open() as starts:
        assert starts == list(range(6))
    (tmp_path / "p" / "plan.json").unlink()
    with pytest.raises(DataError, match="p is not empty and is left as it is"), second.open():
        pass


def test_a_cluster_stands_alone_and_needs_ray(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    options = {"json": str(tmp_path / "s.json"), "cluster": "auto"}
    with pytest.raises(ArgumentError, match=r"`cluster` needs Ray .*keras_r3d\[cluster\]"):
        scan(tmp_path, **options)
    for other in ({"finish": True}, {"shard_index": 0, "shard_count": 2}):
        with pytest.raises(ArgumentError, match="`cluster` stands alone: pass no `shard_index`"):
            scan(tmp_path, **options, **other)


def test_a_classifier_is_pickled_as_what_it_was_opened_by(tmp_path):
    shape = {"input_shape": (4, 32, 32, 3), "classes": 2, "labels": ["a", "b"]}
    network = applications.R3D10(width=0.0625, **shape)
    clips = Clips(frames=4, size=32)
    network.save(tmp_path / "m.keras")
    for model in (tmp_path / "m.keras", network):
        opened = VideoClassifier(model, clips=clips, protocol="2x1")
        again = pickle.loads(pickle.dumps(opened))
        pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), np.uint8)
        expected = opened.model.predict(pixels, verbose=0)
        np.testing.assert_array_equal(again.model.predict(pixels, verbose=0), expected)
        assert str(again) == str(opened)
        assert again.classes == ["a", "b"]
