"""Parts of a work: how items are divided into them."""

import dataclasses
import itertools

import pytest
from conftest import write_video
from prepared import prepare

from keras_r3d.data import Clips, Video
from keras_r3d.data.opening import file_reader, open_source
from keras_r3d.system.errors import DataError
from keras_r3d.system.work import Work


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
