"""`python -m keras_r3d.view`: a sheet of training clips."""

import dataclasses
from pathlib import Path

import commands
import cv2
import pytest
from conftest import write_video
from matplotlib.patches import Rectangle

from keras_r3d import view
from keras_r3d.data import motion, sheet, view_clips
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.system.errors import R3DError

SMALL = (
    "--recipe=demo",
    "--set=clips.size=24",
    "--set=clips.frames=4",
    "--set=clips.augment.color_jitter=",
)


@pytest.mark.filterwarnings("error:Glyph")
def test_a_sheet_shows_each_class_in_its_colors(class_folders, tmp_path):
    (class_folders / "red" / "bad.avi").write_text("nothing")
    (class_folders / "red").rename(class_folders / "𓀀")  # which few fonts have
    output = commands.output(view.main, class_folders, *SMALL, f"--output={tmp_path / 'a.png'}")
    assert "4 frames of 24x24 pixels, drawn with seed 1" in output
    picture = cv2.imread(str(tmp_path / "a.png"))[..., ::-1].astype(int)
    red = (picture[..., 0] > 2 * picture[..., 1] + 10).sum()
    green = (picture[..., 1] > 2 * picture[..., 0] + 10).sum()
    blue = (picture[..., 2] > 2 * picture[..., 1] + 10).sum()
    assert min(red, green) > 1000 > blue


@pytest.fixture
def data(small):
    return small.clips


def videos(folder: Path, classes: int, each: int) -> list[Video]:
    made = []
    for number in range(classes):
        path = write_video(folder / f"{number}.avi")
        for copy in range(each):
            link = folder / f"{number}-{copy}.avi"
            link.symlink_to(path)
            made.append(Video(str(link), f"class {number:02}"))
    return made


def titles(figure) -> list[str]:
    return [axes.get_title().partition("\n")[0] for axes in figure.axes]


def test_all_classes_come_over_pages_and_none_is_torn_apart(tmp_path, data):
    found = videos(tmp_path, 7, 4)
    found.append(Video(str(tmp_path / "gone.avi"), "class 06"))
    pages = [titles(figure) for figure in sheet.pages(VideoReader(0, 0), found, data, 1, 3)]
    assert [len(page) for page in pages] == [12, 9]
    shown = [title for page in pages for title in page]
    assert len(set(shown)) == 21  # different videos
    labels = [title.split(" · ")[0] for title in shown]
    assert labels == [f"class {number:02}" for number in range(7) for _ in range(3)]
    other = [titles(figure) for figure in sheet.pages(VideoReader(0, 0), found, data, 2, 3)]
    assert other != pages
    assert len(titles(sheet.training_sheet(VideoReader(0, 0), found, data, 1))) == 7


def test_the_crop_is_drawn_on_the_frame_it_is_cut_from(tmp_path, data):
    wide = Video(str(write_video(tmp_path / "wide.avi", height=32, width=64)), "a")
    figure = sheet.training_sheet(VideoReader(0, 0), [wide], data, 1)
    axes = figure.axes[0]
    strip, uncut = axes.images
    left, right, bottom, top = uncut.get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2)  # its shape
    assert strip.get_extent() == [0, 4, 1, 0]
    inside, size = axes.get_title().split("crop ")[1].split(" px")[0], (right - left) / 64
    width, height = map(int, inside.split("x"))
    place = axes.get_title().split("at (")[1].split(")")[0].split(",")
    for patch in (patch for patch in axes.patches if isinstance(patch, Rectangle)):
        assert patch.get_width() == pytest.approx(width * size)
        assert patch.get_height() == pytest.approx(height * size)
        assert patch.get_x() == pytest.approx(left + int(place[0]) * size)
        assert patch.get_y() == pytest.approx(top + int(place[1]) * size)
    assert len(axes.patches) == 2
    assert axes.get_xlim()[0] <= left


def test_clips_that_are_not_square_keep_their_shape(tmp_path, data):
    wide = Video(str(write_video(tmp_path / "wide.avi", height=32, width=64)), "a")
    clips = dataclasses.replace(data, size=(16, 40))
    strip, _ = sheet.training_sheet(VideoReader(0, 0), [wide], clips, 1).axes[0].images
    assert strip.get_extent() == [0, 4 * 40 / 16, 1, 0]
    assert strip.get_array().shape[:2] == (16, 4 * 40)


def test_rendered_motion_has_no_uncut_frame(data):
    found = motion.annotations().split("train")[:2]
    figure = sheet.training_sheet(motion.MotionReader(data.frames), found, data, 1)
    for axes in figure.axes:
        assert len(axes.images) == 1
        assert not axes.patches


def test_no_page_is_written_where_one_exists(class_folders, tmp_path):
    options = {"recipe": "demo", "overrides": [word.partition("=")[2] for word in SMALL[1:]]}
    (tmp_path / "n-2.png").write_bytes(b"mine")
    with pytest.raises(R3DError, match=r"n-2\.png already exists; choose another `output`\."):
        view_clips(class_folders, output=tmp_path / "n.png", per_class=15, **options)
    assert not (tmp_path / "n.png").exists()
    sheet = view_clips(class_folders, output=tmp_path / "m.png", per_class=15, **options)
    assert [path.name for path in sheet.paths] == ["m.png", "m-2.png"]
    assert {path.name for path in tmp_path.glob("*.png")} == {"n-2.png", "m.png", "m-2.png"}


def test_what_cannot_be_drawn_is_one_sentence(tmp_path):
    there = tmp_path / "there.png"
    there.write_bytes(b"mine")
    for options, message in [
        ({"output": str(there)}, "already exists; choose another"),
        ({"per_class": 16}, "`per_class` must be from 1 to 15. Received: 16"),
    ]:
        with pytest.raises(R3DError, match=message):
            view_clips(tmp_path, **options)
    assert there.read_bytes() == b"mine"
    for arguments, message in [
        ([tmp_path, "--output=clips.jpg"], "--output must end in .png. Received: clips.jpg"),
        ([], "Missing: DATA"),
    ]:
        assert message in commands.output(view.main, *arguments, code=1)
