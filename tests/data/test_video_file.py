"""Frames, times, shapes and colors are those of the file, whatever its codec and container."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_files import encode, moving, without_decoder

from keras_r3d.data.decoding.picture import Cutter
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.sampling.cropping import Crop
from keras_r3d.system.errors import VideoError

B_FRAMES = {"bf": "3", "g": "12", "x264-params": "open-gop=1:scenecut=0"}
CODECS = {
    "h264.mp4": ("libx264", B_FRAMES),
    "h264.mkv": ("libx264", B_FRAMES),
    "h264.ts": ("libx264", B_FRAMES),
    "h265.mp4": ("libx265", {"x265-params": "keyint=12:bframes=3:log-level=none"}),
    "mpeg4.avi": ("mpeg4", {"g": "12"}),
    "mpeg4_b.avi": ("mpeg4", {"g": "12", "bf": "2"}),
    "mpeg4.mov": ("mpeg4", {"g": "12", "bf": "2"}),
    "mpeg2.mpg": ("mpeg2video", {"g": "12", "bf": "2"}),
    "mjpeg.avi": ("mjpeg", {}),
    "vp8.webm": ("libvpx", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "av1.mp4": ("libsvtav1", {"g": "12", "preset": "12", "svtav1-params": "lp=1"}),
}


def decoded(path, short_side=0):
    """All frames in order, by FFmpeg itself, and ours."""
    with av.open(str(path)) as container:
        count = sum(1 for _ in container.decode(video=0))
    file = VideoFile(str(path), short_side)
    index = file.index()
    return count, index, {number: picture.rgb() for number, picture in file.frames(index)}


@pytest.mark.parametrize("name", CODECS)
def test_packets_tell_the_frames_and_any_of_them_is_found(tmp_path, name):
    codec, options = CODECS[name]
    path = encode(
        tmp_path / name,
        moving(60),
        codec,
        "yuvj420p" if codec == "mjpeg" else "yuv420p",
        options=options,
        full_range=codec == "mjpeg",
    )
    count, index, whole = decoded(path)
    assert len(index.seconds) == index.promised == count == len(whole) == 60
    first = index.seconds[0]
    assert 0 <= first < 0.1
    assert index.seconds - first == pytest.approx(np.arange(60) / 25, abs=2e-3)
    for number, picture in zip(range(60), moving(60), strict=True):
        assert np.abs(whole[number].astype(int) - picture).mean() < 12
    for chosen in ([0], [59], [13, 14, 15], [11, 12], [3, 30, 58], *([n] for n in range(1, 59, 4))):
        found = VideoFile(str(path)).frames(index, np.array(chosen))
        found = {number: picture.rgb() for number, picture in found}
        assert list(found) == chosen
        assert all((found[number] == whole[number]).all() for number in chosen)


def test_decoding_begins_at_the_key_frame_before(tmp_path, monkeypatch):
    path = encode(tmp_path / "v.mp4", moving(60), options=B_FRAMES | {"x264-params": "scenecut=0"})
    index = VideoFile(str(path)).index()
    assert index.keys.tolist() == [0, 12, 24, 36, 48]
    read = []
    demuxed = VideoFile._demuxed
    monkeypatch.setattr(
        VideoFile, "_demuxed", lambda file: (read.append(p) or p for p in demuxed(file))
    )
    (found,) = VideoFile(str(path)).frames(index, np.array([50]))
    assert found[0] == 50
    assert len(read) < 24  # B-frames come late
    read.clear()
    assert [number for number, _ in VideoFile(str(path)).frames(index, np.array([2, 50]))] == [
        2,
        50,
    ]
    assert len(read) < 40  # what lies between is skipped


def test_a_seek_to_another_place_is_noticed(tmp_path):
    path = encode(tmp_path / "v.mp4", moving(60), options={"g": "12"})
    _, index, whole = decoded(path)
    index.sizes[:] += 1  # no packet is the one expected
    ((number, picture),) = VideoFile(str(path)).frames(index, np.array([50]))
    assert number == 50
    assert (picture.rgb() == whole[50]).all()


def test_times_are_those_shown(tmp_path):
    uneven = np.cumsum([0, 0.04, 0.4, 0.04, 1.3, 0.04, 0.08, 2.0])
    for name, codec in (("v.mkv", "libx264"), ("v.mp4", "libx264"), ("v.webm", "libvpx-vp9")):
        path = encode(tmp_path / name, moving(8), codec, seconds=uneven)
        assert VideoFile(str(path)).index().seconds == pytest.approx(uneven, abs=2e-3)
    # Players begin with the first frame, whatever its time stamp.
    path = encode(tmp_path / "late.mkv", moving(8), seconds=uneven + 7)
    assert VideoFile(str(path)).index().seconds == pytest.approx(uneven, abs=2e-3)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.5, 1.0, [5, 6, 7, 8, 9]),
        (0.51, 0.58, [5]),  # shorter than a frame: the one shown then
        (0.0, 0.001, [0]),
        (1.95, 9.0, [19]),
        (0.55, np.inf, list(range(6, 20))),
    ],
)
def test_a_segment_has_the_frames_shown_in_it(tmp_path, start, end, expected):
    index = VideoFile(str(encode(tmp_path / "v.mkv", moving(20), rate=10))).index()
    assert index.shown(start, end, "v").tolist() == expected
    with pytest.raises(VideoError, match=r"^v: the segment begins at 2\.01 s, .* ends at 2 s\.$"):
        index.shown(2.01, end + 3, "v")


@pytest.mark.parametrize("name", ["v.webm", "v.mp4", "v.mkv"])
def test_sound_longer_than_the_video_promises_no_frames(tmp_path, name):
    codec = "libvpx" if name == "v.webm" else "libx264"
    path = encode(tmp_path / name, moving(20), codec, audio_seconds=5)
    count, index, whole = decoded(path)
    assert count == index.promised == len(whole) == 20


def test_a_codec_without_decoder_is_named(tmp_path):
    for fourcc, name in ((b"lcev", "lcev"), (b"evc1", "evc")):
        path = without_decoder(tmp_path / f"{name}.mp4", fourcc)
        with pytest.raises(VideoError) as caught:
            VideoFile(str(path))
        assert str(caught.value) == (
            f"{path}: its codec '{name}' has no decoder here: convert it to H.264 with a program "
            "that plays it."
        )
        assert caught.value.status == "codec"


def test_a_cover_picture_is_no_video(tmp_path):
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        cover = container.add_stream("png", rate=1)
        cover.width = cover.height = 32
        cover.pix_fmt = "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = container.add_stream("aac", rate=48000)
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        container.mux(cover.encode(frame))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), "s16")
        silence.sample_rate = 48000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with pytest.raises(VideoError, match="only audio, pictures or text"):
        VideoFile(str(tmp_path / "song.mp4"))


PATCHES = {"red": (200, 30, 40), "green": (40, 180, 60), "blue": (50, 70, 210), "gray": (120,) * 3}


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 9], ids=["bt709", "bt601", "bt2020"])
def test_colors_are_right(tmp_path, matrix, full_range, pixel_format):
    pictures = np.array([np.full((32, 48, 3), color, np.uint8) for color in PATCHES.values()])
    path = encode(
        tmp_path / "v.mp4",
        pictures,
        "libx265" if pixel_format.endswith("10le") else "libx264",
        pixel_format,
        options={"qp": "1", "x265-params": "qp=1:log-level=none"},
        matrix=matrix,
        full_range=full_range,
    )
    file = VideoFile(str(path))
    for number, picture in file.frames(file.index()):
        assert np.abs(picture.rgb().mean(axis=(0, 1)) - pictures[number, 0, 0]).max() <= 2
        half = np.empty((8, 8, 3), np.uint8)
        Cutter()(half, picture, Crop(3, 5, 16, 16))
        assert np.abs(half.mean(axis=(0, 1)) - pictures[number, 0, 0]).max() <= 2
    file = VideoFile(str(path), 16)
    for number, picture in file.frames(file.index()):
        assert picture.shape == (16, 24)
        assert np.abs(picture.rgb().mean(axis=(0, 1)) - pictures[number, 0, 0]).max() <= 2


def quarters(height=48, width=64):
    """A picture of four colors: red, green, blue, and gray at the bottom right."""
    picture = np.empty((height, width, 3), np.uint8)
    halves = (slice(0, height // 2), slice(height // 2, height))
    for number, color in enumerate(PATCHES.values()):
        across = slice(0, width // 2) if number % 2 == 0 else slice(width // 2, width)
        picture[halves[number // 2], across] = color
    return picture


@pytest.mark.parametrize("short_side", [0, 24])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_frames_are_upright_and_crops_are_cut_from_what_is_shown(tmp_path, rotation, short_side):
    upright = quarters()
    coded = np.rot90(upright, rotation // 90)  # counterclockwise; playing turns it back
    path = encode(tmp_path / "v.mp4", [coded] * 3, options={"qp": "1"}, rotation=rotation)
    file = VideoFile(str(path), short_side)
    (_, picture), *_ = file.frames(file.index())
    height, width = (24, 32) if short_side else (48, 64)
    assert picture.shape == (height, width)
    assert np.abs(picture.rgb().astype(int) - quarters(height, width)).mean() < 6
    for flip in (False, True):
        for number, color in enumerate(PATCHES.values()):
            top, left = number // 2 * height // 2, number % 2 * width // 2
            out = np.empty((8, 8, 3), np.uint8)
            Cutter()(out, picture, Crop(top + 2, left + 2, height // 2 - 4, width // 2 - 4, flip))
            assert np.abs(out.astype(int) - color).mean() < 6
    out = np.empty((12, 16, 3), np.uint8)
    Cutter()(out, picture, Crop(0, 0, height, width, flip=True))
    assert np.abs(out.astype(int) - quarters(12, 16)[:, ::-1]).mean() < 8
    gray = np.empty((12, 16), np.uint8)
    Cutter()(gray, picture, Crop(0, 0, height, width))
    luma = quarters(12, 16) @ (0.299, 0.587, 0.114)
    assert np.abs(gray - luma).mean() < 6


@pytest.mark.parametrize(
    ("aspect", "rotation", "shape"),
    [
        (Fraction(2), 0, (48, 128)),
        (Fraction(16, 15), 0, (48, 68)),
        (Fraction(1, 2), 0, (48, 32)),
        (Fraction(2), 90, (128, 48)),
    ],
)
def test_pixels_that_are_not_square_are_shown_as_they_should_be(tmp_path, aspect, rotation, shape):
    coded = quarters()
    path = encode(
        tmp_path / "v.mp4", [coded] * 2, options={"qp": "1"}, aspect=aspect, rotation=rotation
    )
    file = VideoFile(str(path))
    (_, picture), *_ = file.frames(file.index())
    assert picture.shape == shape
    stretched = quarters(*(shape[::-1] if rotation else shape))
    expected = np.rot90(stretched, -rotation // 90)
    assert np.abs(picture.rgb().astype(int) - expected).mean() < 6
    # A square of the shown picture is a rectangle of the coded one.
    out = np.empty((8, 8, 3), np.uint8)
    side = min(shape) // 2
    Cutter()(out, picture, Crop(0, 0, side, side))
    assert np.abs(out.astype(int) - expected[2, 2]).mean() < 8


def test_a_crop_is_that_of_the_whole_picture(tmp_path):
    path = encode(tmp_path / "v.mp4", moving(2), pixel_format="yuv444p", options={"qp": "1"})
    file = VideoFile(str(path))
    (_, picture), *_ = file.frames(file.index())
    whole = picture.rgb()
    for crop in (Crop(0, 0, 48, 64), Crop(7, 13, 21, 34), Crop(47, 63, 1, 1)):
        out = np.empty((crop.height, crop.width, 3), np.uint8)
        Cutter()(out, picture, crop)
        part = whole[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
        assert np.abs(out.astype(int) - part).max() <= 2


def test_a_playlist_reads_no_other_address(tmp_path):
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError, match="cannot be opened as a video"):
        VideoFile(str(playlist)).index()


@pytest.mark.slow
def test_memory_of_open_videos_does_not_grow_with_their_length(tmp_path):
    (picture,), each = moving(1, 720, 1280), []
    for count in (50, 1000):
        frames = (np.roll(picture, 3 * number, 1) for number in range(count))
        path = encode(tmp_path / f"{count}.mp4", frames, options={"preset": "ultrafast"})
        command = [sys.executable, "-m", "benchmarks", "memory", "--data", path]
        command += ["--json", tmp_path / f"{count}.json"]
        subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
        each.append(json.loads((tmp_path / f"{count}.json").read_text())["megabytes_each"])
    decoded = 1.5 * picture[..., 0].size / 1e6
    assert 2 * decoded < each[0] < 12 * decoded
    assert each[1] < 1.2 * each[0]
