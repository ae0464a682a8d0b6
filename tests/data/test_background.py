"""Segments between labeled ones, of which no list says what they show."""

import math

import pytest

from keras_r3d.data.annotations import Video, read
from keras_r3d.data.annotations.background import between
from keras_r3d.data.opening import open_source
from keras_r3d.recipe import load, override
from keras_r3d.system.errors import DataError

LISTED = [
    Video("a.mp4", "dive", 4.0, 6.0, "g"),
    Video("a.mp4", "dive", 13.0, 15.0, "g"),
    Video("a.mp4", "run", 14.5, 16.0, "g"),  # overlaps
    Video("a.mp4", "run", 16.5, 18.0, "g"),  # half a second is no gap
    Video("b.mp4", "run"),  # the whole video
]


def test_gaps_become_segments_about_as_long_as_labeled_ones():
    """Gaps of 4 and 7 s; the median segment has 1.75 s, so they are 3 and 4 segments."""
    drawn = sorted(between(LISTED, 10.0, 0), key=lambda video: video.start_seconds)
    assert {(v.path, v.label, v.group) for v in drawn} == {("a.mp4", "background", "g")}
    starts = [v.start_seconds for v in drawn]
    assert starts == pytest.approx([0, 4 / 3, 8 / 3, 6, 7.75, 9.5, 11.25])
    assert [v.end_seconds for v in drawn] == pytest.approx([4 / 3, 8 / 3, 4, 7.75, 9.5, 11.25, 13])


@pytest.mark.parametrize(("share", "count"), [(0.5, 2), (1.0, 4), (0.01, 1), (100, 7)])
def test_as_many_are_drawn_as_the_share_says(share, count):
    drawn = between(LISTED, share, 3)
    assert len(set(drawn)) == len(drawn) == count
    assert drawn == between(LISTED[::-1], share, 3)


def test_of_videos_with_several_labels_they_have_none():
    listed = [Video("a.mp4", "x;y", 4.0, 6.0, several=True)]
    assert {(v.label, v.several, v.labels) for v in between(listed, 9.0, 0)} == {("", True, ())}


@pytest.mark.parametrize("listed", [[], [Video("a", "x")], [Video("a", "x", 0.5, 9.0)]])
def test_without_gaps_it_is_a_sentence(listed):
    with pytest.raises(DataError, match=r"videos.background = 0.5 .* no training video has a gap"):
        between(listed, 0.5, 0)


def test_a_recipe_asks_for_them(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.mp4").touch()
    rows = [f"{name}.mp4,{label},{s},{s + 2}" for name in "ab" for s, label in ((3, "x"), (9, "y"))]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(["path,label,start_seconds,end_seconds", *rows]) + "\n")
    recipe = override(load("few"), ["videos.background=0.5"])
    found = open_source(path, recipe.clips, recipe.videos, seed=1).annotations
    assert found.classes == ["background", "x", "y"]
    drawn = [video for video in found.splits["train"] if video.label == "background"]
    assert len(drawn) == 2
    assert all(video.end_seconds < math.inf for video in drawn)
    assert "2 training segments lie between labeled ones: background." in found.notes
    assert "background" not in read(path, "auto").classes
