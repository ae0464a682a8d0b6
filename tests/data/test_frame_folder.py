"""Folders of numbered pictures are read as videos."""

import cv2
import numpy as np
import pytest
from video_files import moving

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.frame_folder import FrameFolder, open_pictures
from keras_r3d.data.decoding.reader import Cut
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.sampling import cropping
from keras_r3d.data.sampling.cropping import Views
from keras_r3d.system.errors import VideoError


def unpack(folder, pattern, pictures, first=1):
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures, start=first):
        cv2.imwrite(str(folder / pattern.format(number)), picture[..., ::-1])
    return folder


@pytest.mark.parametrize(
    ("pattern", "first"),
    [("image_{:05}.jpg", 1), ("{}.png", 0), ("img_{:05}.JPG", 1), ("v_{:06}.bmp", 7)],
)
def test_frames_are_numbered_in_order(tmp_path, pattern, first):
    pictures = moving(12)
    folder = unpack(tmp_path / "v", pattern, pictures, first)
    (folder / "._image_00001.jpg").write_bytes(b"not a picture")
    (folder / "thumb1.jpg").write_bytes((folder / pattern.format(first)).read_bytes())
    (folder / "n_frames").write_text("12")
    file = open_pictures(str(folder), rate=10)
    index = file.index()
    assert index.seconds == pytest.approx(np.arange(12) / 10)
    assert index.promised == 12
    frames = dict(file.frames(index))
    assert list(frames) == list(range(12))
    for number, frame in frames.items():
        assert np.abs(frame.rgb().astype(int) - pictures[number]).mean() < 4
    assert [number for number, _ in file.frames(index, np.array([3, 9]))] == [3, 9]


def test_clips_are_cut_as_from_files(tmp_path):
    source = Video(str(unpack(tmp_path / "v", "{:03}.png", moving(20))), "a")
    outs = np.empty((2, 4, 16, 16, 3), np.uint8)
    for cache_gib, out in enumerate(outs):
        reader = VideoReader(0, cache_gib)
        assert reader.count(source) == 20
        reader.cut(source, [Cut(np.array([0, 3, 3, 19]), cropping.center, out)])
        assert len(list(reader.windows(source, 8, 1, Views(1, (16, 16))))) == 3
        assert not reader.problems
    assert (outs[0] == outs[1]).all()
    expected = [
        cv2.resize(moving(20)[n][:, 8:56], (16, 16), interpolation=3) for n in (0, 3, 3, 19)
    ]
    assert np.abs(outs[0].astype(int) - expected).mean() < 2


def test_missing_pictures_are_told_and_replaced_by_the_one_before(tmp_path):
    folder = unpack(tmp_path / "v", "image_{:05}.jpg", moving(12))
    (folder / "n_frames").write_text("15\n")
    (folder / "image_00005.jpg").unlink()
    (folder / "image_00009.jpg").write_bytes(b"no picture")
    source = Video(str(folder), "a")
    reader = VideoReader(0, 0)
    assert reader.count(source) == 12
    assert "promises 15 frames, 12 decode" in reader.problems[0].detail
    out = np.empty((4, 16, 16, 3), np.uint8)
    reader.cut(source, [Cut(np.array([3, 4, 7, 8]), cropping.center, out)])
    assert (out[0] == out[1]).all()
    assert (out[2] == out[3]).all()
    assert (out[0] != out[2]).any()
    assert "promises 15 frames, 10 decode" in reader.problems[0].detail


def test_every_fifth_frame_is_as_good_as_all(tmp_path):
    folder = tmp_path / "v"
    folder.mkdir()
    for number, picture in enumerate(moving(6)):
        cv2.imwrite(str(folder / f"img_{5 * number:05}.png"), picture)
    reader = VideoReader(0, 0)
    assert reader.count(Video(str(folder), "a")) == 6
    assert not reader.problems


def test_large_pictures_are_shrunk(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    picture = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
    folder = unpack(tmp_path / "v", "{}.jpg", [picture] * 2)
    file = FrameFolder(str(folder), 112, 25)
    _, small = next(file.frames(file.index()))
    assert small.shape == (112, 149)
    exact = cv2.resize(picture, (149, 112), interpolation=cv2.INTER_AREA)
    assert np.abs(small.rgb().astype(int) - exact).mean() < 2


def test_pictures_of_another_size_are_scaled_to_the_first(tmp_path):
    pictures = [*moving(2), *moving(2, 30, 90), *moving(1, 96, 128)]
    folder = unpack(tmp_path / "v", "{}.png", pictures)
    file = FrameFolder(str(folder), 0, 25)
    assert {picture.rgb().shape for _, picture in file.frames(file.index())} == {(48, 64, 3)}


def test_folders_without_pictures_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "1.txt").write_text("x")
    for name in ("empty", "text"):
        with pytest.raises(VideoError, match=r"no numbered pictures, such as image_00001\.jpg"):
            open_pictures(str(tmp_path / name))
    (tmp_path / "text" / "1.jpg").write_text("x")
    with pytest.raises(VideoError, match=r"1\.jpg: it cannot be read as a picture"):
        open_pictures(str(tmp_path / "text"))


def test_flow_of_a_folder_is_that_of_its_pictures(tmp_path):
    source = Video(str(unpack(tmp_path / "v", "{}.png", moving(6))), "a")
    reader = VideoReader(0, 0, "dis")
    out = np.empty((6, 32, 32, 2), np.uint8)
    reader.cut(source, [Cut(np.arange(6), cropping.center, out)])
    assert (out[4] == out[5]).all()
    assert len(np.unique(out)) > 10


def test_thousands_of_pictures_are_one_video(tmp_path):
    folder = unpack(tmp_path / "v", "{:06}.jpg", moving(1))
    content = (folder / "000001.jpg").read_bytes()
    (folder / "content").write_bytes(content)
    for number in range(2, 3001):
        (folder / f"{number:06}.jpg").hardlink_to(folder / "content")
    reader = VideoReader(0, 0)
    source = Video(str(folder), "a")
    assert reader.count(source) == 3000
    out = np.empty((2, 8, 8, 3), np.uint8)
    reader.cut(source, [Cut(np.array([17, 2999]), cropping.center, out)])
    assert (out[0] == out[1]).all()
