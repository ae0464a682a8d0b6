"""Clip stores: clips out of them against clips out of the videos, and stores that are bad."""

import dataclasses
import hashlib
import itertools
import json
import os
import re
import shutil
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import frame_numbers, read, write_video
from prepared import content, prepare
from video_files import encode, moving

from keras_r3d.data import annotations, clips, pipeline
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.frame_folder import timed_frames
from keras_r3d.data.decoding.reader import Cut
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.opening import open_source, open_videos
from keras_r3d.data.sampling import cropping, temporal
from keras_r3d.data.store import Store, StoreReader, encoding, format, is_store, jpeg
from keras_r3d.data.store.encoding import StoreSettings
from keras_r3d.data.store.levels import Levels
from keras_r3d.recipe.clips import Consecutive, MultiScale, RandomResized, Segments, Uniform
from keras_r3d.system.errors import DataError, R3DError, StoreError, VideoError

MANIFEST = """path,label,split,start_seconds,end_seconds
train/wide.avi,a,train,,
train/tall.avi,b,train,,
train/small.avi,a,train,,
train/long.avi,a,train,0.5,1.5
train/long.avi,b,train,2.0,
other/one.avi,a,validation,,
other/two.avi,b,validation,,
"""


def write_scene(path: Path, frames: int, height: int, width: int, seed: int = 0) -> Path:
    """Writes soft blobs, no two places and no two frames alike."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    assert writer.isOpened()
    blobs = rng.uniform(30, 225, (2, 6, 6, 1)) + rng.uniform(-20, 20, (2, 6, 6, 3))
    for number in range(frames):
        mixed = blobs[0] + (blobs[1] - blobs[0]) * number / frames
        frame = cv2.resize(mixed, (width, height), interpolation=cv2.INTER_CUBIC)
        writer.write(np.clip(frame, 0, 255).astype(np.uint8))
    writer.release()
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Seven videos and segments, in two splits, of several shapes."""
    root = tmp_path_factory.mktemp("source")
    write_scene(root / "train/wide.avi", 20, 96, 144, 1)
    write_scene(root / "train/tall.avi", 12, 150, 90, 2)
    write_scene(root / "train/small.avi", 12, 32, 40, 3)
    write_video(root / "train/long.avi", 40, 64, 80)
    write_video(root / "other/one.avi", 5, 64, 96)
    write_video(root / "other/two.avi", 9, 72, 64, base=30)
    (root / "manifest.csv").write_text(MANIFEST)
    return root


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory) -> Path:
    """A store of them, in shards of a video or two; not to be changed."""
    store = tmp_path_factory.mktemp("prepared") / "store"
    prepare(source, store, 64, 48, 32, shard_bytes=100_000)
    return store


@pytest.fixture
def opened(prepared) -> StoreReader:
    return StoreReader(Store(prepared))


@pytest.fixture
def copy(prepared, tmp_path) -> Path:
    """A store to spoil."""
    return Path(shutil.copytree(prepared, tmp_path / "store"))


def named(store: Store, name: str, start: float = 0.0) -> Video:
    return next(v for v in store.videos if v.path.endswith(name) and v.start_seconds == start)


def named_in(source: Path, video: Video, name: str) -> Video:
    return dataclasses.replace(video, path=f"{source}/train/{name}")


# What is in a store -------------------------------------------------------------------------------


def test_a_store_is_few_files(prepared):
    store = Store(prepared)
    assert set(content(prepared)) == {
        *("store.json", "classes.txt", "videos.csv"),
        *(format.column_name(column) for column in format.COLUMNS),
        *(file.name for file in store.description.files if file.name.startswith("shards/")),
    }
    shards = sorted((prepared / "shards").iterdir())
    assert [path.name for path in shards][:2] == ["00000.jpegs", "00001.jpegs"]
    assert 2 < len(shards) < len(store.videos)
    assert (prepared / "classes.txt").read_text() == "a\nb\n"
    assert is_store(prepared)
    assert is_store(str(prepared))


def test_splits_labels_and_segments_are_those_of_the_source(source, prepared):
    store, original = Store(prepared), annotations.read(source, "auto")
    assert {name: len(found) for name, found in store.splits.items()} == {
        "train": 5,
        "validation": 2,
    }
    for split, found in original.splits.items():
        moved = {
            dataclasses.replace(v, path=v.path.replace(str(source), str(prepared))) for v in found
        }
        assert moved == set(store.splits[split])
    reader = VideoReader(0, 0)
    for number, video in enumerate(store.videos):
        of_source = dataclasses.replace(video, path=f"{source}/{store.names[number]}")
        assert store.frames(number) == reader.count(of_source)
        times = [time for time, _ in _timed(of_source)]
        assert store.seconds(number) == pytest.approx(times, abs=1e-9)


def _timed(video: Video):
    return timed_frames(video.path, video.start_seconds, video.end_seconds)


def test_sizes_never_grow(prepared):
    store = Store(prepared)
    sizes = {Path(name).stem: store.sizes(number) for number, name in enumerate(store.names)}
    assert sizes["wide"] == [(64, 96), (48, 72), (32, 48)]
    assert sizes["tall"] == [(107, 64), (80, 48), (53, 32)]
    assert sizes["small"] == [(32, 40)] * 3


def test_every_frame_is_a_jpeg_of_its_level(prepared):
    store = Store(prepared)
    for number, name in enumerate(store.names):
        for level, size in enumerate(store.sizes(number)):
            span = store.span(number, level)
            shard = (prepared / span.shard).read_bytes()
            starts = [0, *span.ends[:-1].tolist()]
            for start, end, crc32 in zip(starts, span.ends.tolist(), span.crc32, strict=True):
                data = shard[span.offset + start : span.offset + end]
                assert zlib.crc32(data) == crc32
                assert data[:2] == b"\xff\xd8", name
                assert data[-2:] == b"\xff\xd9"
                assert cv2.imdecode(np.frombuffer(data, np.uint8), -1).shape == (*size, 3)


def test_shards_hold_the_frames_and_nothing_else(prepared):
    store = Store(prepared)
    spans = [
        (span.shard, span.offset, span.offset + int(span.ends[-1]))
        for number in range(len(store.videos))
        for span in (store.span(number, level) for level in range(3))
    ]
    ends: dict[str, int] = {}
    for shard, start, end in spans:
        assert start == ends.get(shard, 0)
        ends[shard] = end
    assert ends == {
        f"shards/{path.name}": path.stat().st_size for path in (prepared / "shards").iterdir()
    }


# Clips --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "numbers",
    [
        [0],
        [39],
        range(8, 24),
        range(0, 40, 5),
        temporal.loop(np.arange(36, 40), 16),
        temporal.spread(40, 7),
        temporal.spread(3, 16),
        [7, 7, 2, 39, 0, 7],
    ],
)
@pytest.mark.parametrize("size", [16, 32, 50, 64, 100])
def test_frames_are_those_asked_for(tmp_path_factory, numbers, size, long_store):
    reader = StoreReader(Store(long_store))
    video = named(reader.store, "0.avi")
    assert reader.count(video) == 40
    assert frame_numbers(read(reader, video, list(numbers), size)) == list(numbers)


@pytest.fixture(scope="module")
def long_store(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("long")
    for label in "ab":
        write_video(root / "videos" / label / "0.avi", 40, 100, 150)
    prepare(root / "videos", root / "store", 64, 32)
    return root / "store"


def test_segments_begin_where_they_should(opened):
    long = named(opened.store, "long.avi", 0.5)
    assert opened.count(long) == 10
    assert frame_numbers(read(opened, long, range(10))) == list(range(5, 15))
    rest = named(opened.store, "long.avi", 2.0)
    assert opened.count(rest) == 20
    assert frame_numbers(read(opened, rest, [0, 19, 4])) == [20, 39, 24]


CROPS = [
    cropping.center,
    *(
        lambda height, width, s=scale, p=position, f=flip: cropping.place(height, width, s, p, f)
        for scale in (1.0, 0.75, 0.5)
        for position in cropping.POSITIONS
        for flip in (False, True)
    ),
    lambda height, width: cropping.Crop(3, 5, height // 2, width // 3),
    lambda height, width: cropping.Crop(height // 3, 0, height // 2, width, True),
]


@pytest.mark.parametrize("name", ["wide.avi", "tall.avi", "small.avi"])
@pytest.mark.parametrize("size", [24, 32, 48])
def test_clips_are_those_of_the_videos(source, opened, name, size):
    video = named(opened.store, name)
    of_source = dataclasses.replace(video, path=f"{source}/train/{name}")
    reader = VideoReader(64, 1.0)
    for numbers in (np.arange(2, 9), np.array([1, 11, 5, 5])):
        ours, theirs = (np.empty((len(CROPS), len(numbers), size, size, 3), np.uint8) for _ in "12")
        crops = opened.cut(video, [Cut(numbers, c, o) for c, o in zip(CROPS, ours, strict=True)])
        assert crops == reader.cut(
            of_source, [Cut(numbers, c, o) for c, o in zip(CROPS, theirs, strict=True)]
        )
        off = np.abs(ours.astype(int) - theirs).mean(axis=(1, 2, 3, 4))
        assert off.max() < 4
        # Which a wrong flip, frame or place would not be.
        assert np.abs(ours[0, 0].astype(int) - theirs[0, 0, :, ::-1]).mean() > 12
        moved = np.roll(theirs, size // 8, axis=3)[:, :, :, size // 8 :]
        assert np.abs(ours[:, :, :, size // 8 :].astype(int) - moved).mean() > 6


def test_several_clips_of_one_video(opened):
    video = named(opened.store, "long.avi", 2.0)
    outs = np.empty((3, 4, 32, 32, 3), np.uint8)
    starts = (9, 2, 4)
    crops = opened.cut(
        video,
        [Cut(np.arange(s, s + 4), cropping.center, o) for s, o in zip(starts, outs, strict=True)],
    )
    assert [frame_numbers(out)[0] - 20 for out in outs] == list(starts)
    assert crops == [cropping.center(64, 80)] * 3


@pytest.mark.parametrize(("frames", "stride"), [(4, 1), (3, 2), (16, 1), (7, 3)])
def test_windows_are_those_of_the_video(source, opened, small, frames, stride):
    data = dataclasses.replace(small.clips, frames=frames, sampling=Consecutive(stride), size=32)
    for name, start in [("wide.avi", 0.0), ("long.avi", 2.0), ("long.avi", 0.5)]:
        video = named(opened.store, name, start)
        of_source = dataclasses.replace(video, path=f"{source}/train/{name}")
        ours = np.stack([w.pixels[0] for w in clips.windows(opened, video, data)])
        theirs = np.stack([w.pixels[0] for w in clips.windows(VideoReader(64, 0), of_source, data)])
        assert ours.shape == theirs.shape
        assert np.abs(ours.astype(int) - theirs).mean(axis=(2, 3, 4)).max() < 4


@pytest.mark.parametrize("fps", [3, 10, 25])
def test_clips_at_a_rate_are_those_of_the_files(source, prepared, small, fps):
    for sampling in (Consecutive(2, fps=fps), Uniform((1, 0.5), fps=fps), Segments(fps=fps)):
        data = dataclasses.replace(small.clips, frames=6, sampling=sampling, size=32, short_side=64)
        stored, of_files = open_source(prepared, data).reader, open_source(source, data).reader

        def cut(reader, video, data=data):
            yield from clips.windows(reader, video, data)
            yield clips.middle_clip(reader, video, data)
            yield clips.training_clip(reader, video, data, np.random.default_rng(7))

        for name, video in zip(stored.store.names, stored.store.videos, strict=True):
            original = dataclasses.replace(video, path=f"{source}/{name}")
            assert (stored.seconds(video) == of_files.seconds(original)).all()
            assert np.diff(stored.seconds(video)) == pytest.approx(1 / fps)
            assert stored.count(video) == of_files.count(original) == len(stored.seconds(video))
            for ours, theirs in zip(cut(stored, video), cut(of_files, original), strict=True):
                assert (ours.frame_numbers == theirs.frame_numbers).all()
                assert np.abs(ours.pixels.astype(int) - theirs.pixels).mean() < 4


@pytest.mark.parametrize("size", [(24, 48), (48, 20)])
def test_clips_that_are_not_square_are_those_of_the_files(source, opened, small, size):
    for crop in (small.clips.crop, MultiScale(), RandomResized()):
        data = dataclasses.replace(small.clips, size=size, crop=crop, short_side=64)
        for name in ("wide.avi", "tall.avi", "small.avi"):
            video = named(opened.store, name)
            readers = (opened, video), (VideoReader(64, 0), named_in(source, video, name))
            for cut in (
                lambda *one: clips.middle_clip(*one, data),  # noqa: B023
                lambda *one: clips.training_clip(*one, data, np.random.default_rng(5)),  # noqa: B023
                lambda *one: next(clips.windows(*one, data, views=10)),  # noqa: B023
            ):
                ours, theirs = (cut(*one).pixels for one in readers)
                assert ours.shape == theirs.shape
                assert ours.shape[-3:-1] == size
                assert np.abs(ours.astype(int) - theirs).mean() < 4


def test_a_store_of_fewer_frames_than_are_asked_for_is_refused(source, tmp_path, small):
    prepare(source, tmp_path / "store", 32, fps=5.0)
    data = dataclasses.replace(small.clips, sampling=Consecutive(fps=5))
    assert open_source(tmp_path / "store", data).reader.threads
    wanted = (
        r"store holds 5 frames a second of each video, and the recipe's clips\.sampling\.fps is "
        r"25: pass the folder of videos, or prepare them again with --fps 25 or all of their "
        r"frames\."
    )
    with pytest.raises(DataError, match=wanted):
        open_source(tmp_path / "store", dataclasses.replace(data, sampling=Consecutive(fps=25)))
    found = open_videos(tmp_path / "store")
    with pytest.raises(DataError, match=wanted):
        found.dataset("train", dataclasses.replace(data, sampling=Consecutive(fps=25)), 2)


def test_the_pipeline_gives_what_is_cut_by_hand(prepared, small):
    data = dataclasses.replace(small.clips, size=32)
    opened = open_source(prepared, data)
    found = opened.annotations.splits["train"]
    dataset = pipeline.training_clips(
        opened.reader, found, opened.annotations.classes, data, batch_size=5, seed=3
    )
    for epoch, (pixels, labels) in enumerate(dataset.take(2)):
        order = np.random.default_rng([3, epoch]).permutation(5)
        for place, number in enumerate(order):
            rng = np.random.default_rng([3, epoch, place])
            clip = clips.training_clip(opened.reader, found[number], data, rng)
            assert (pixels[place].numpy() == clip.pixels).all()
            assert "ab"[int(labels[place])] == found[number].label


def test_clips_of_all_kinds_of_sampling(prepared, opened, small):
    video = named(opened.store, "long.avi", 2.0)
    for sampling in (Consecutive(), Uniform(), Segments()):
        data = dataclasses.replace(small.clips, size=32, sampling=sampling)
        for clip in (
            clips.middle_clip(opened, video, data),
            clips.training_clip(opened, video, data, np.random.default_rng(1)),
        ):
            assert frame_numbers(clip.pixels) == (clip.frame_numbers + 20).tolist()


def test_many_threads_read_one_store(opened):
    from concurrent.futures import ThreadPoolExecutor

    video = named(opened.store, "long.avi", 2.0)
    expected = read(opened, video, range(20))
    with ThreadPoolExecutor(8) as pool:
        for numbers, clip in pool.map(
            lambda first: (range(first, 20, 3), read(opened, video, range(first, 20, 3))),
            [n % 17 for n in range(100)],
        ):
            assert (clip == expected[list(numbers)]).all()


# How videos become frames -------------------------------------------------------------------------


def encoded(path: Path, folder: Path, sizes=(64,), fps=0.0, **segment) -> encoding.Part:
    settings = StoreSettings(Levels("short_side", sizes), 90, fps)
    return encoding.encode(Video(str(path), "a", **segment), settings, folder)


def decoded(part: encoding.Part, level: int = 0) -> np.ndarray:
    data = part.level(level).read_bytes()
    starts = [0, *part.ends[level].tolist()]
    return np.stack(
        [
            cv2.imdecode(np.frombuffer(data[a:b], np.uint8), cv2.IMREAD_COLOR_RGB)
            for a, b in itertools.pairwise(starts)
        ]
    )


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (10, list(range(20))),
        (5, list(range(0, 20, 2))),
        (20, [n // 2 for n in range(39)]),
        (4, [0, 2, 5, 7, 10, 12, 15, 17]),
        (0.1, [0]),
    ],
)
def test_resampling_takes_the_frame_shown_at_a_time(tmp_path, video, fps, expected):
    part = encoded(video, tmp_path / "part", fps=fps)
    assert frame_numbers(decoded(part)) == expected
    assert part.seconds == pytest.approx(np.arange(len(expected)) / fps)


def test_resampling_of_uneven_times(tmp_path):
    times = [1.0, 1.1, 1.2, 1.9, 1.95, 2.0]

    pictures = [np.full((16, 16, 3), 6 * number, np.uint8) for number in range(6)]
    path = encode(tmp_path / "v.mkv", pictures, options={"qp": "1"}, seconds=times)
    part = encoded(path, tmp_path / "part", (16,), fps=10)
    assert frame_numbers(decoded(part)) == [0, 1, 2, 2, 2, 2, 3, 3, 3, 3, 5]
    assert part.seconds == pytest.approx(np.arange(11) / 10)


def test_resampling_of_a_segment_starts_with_its_first_frame(tmp_path, video):
    part = encoded(video, tmp_path / "part", fps=5, start_seconds=0.5, end_seconds=1.45)
    assert frame_numbers(decoded(part)) == [5, 7, 9, 11, 13]


def test_damaged_times_of_a_store_are_named(tmp_path, small):
    for label in "ab":
        (tmp_path / "videos" / label).mkdir(parents=True)
        encode(tmp_path / "videos" / label / "v.mkv", moving(8), seconds=[*range(7), 4e7])
    prepare(tmp_path / "videos", tmp_path / "store", 16)
    data = dataclasses.replace(small.clips, sampling=Consecutive(fps=25))
    reader = open_source(tmp_path / "store", data).reader
    for _ in range(2):
        with pytest.raises(VideoError, match=r"v\.mkv: its 8 frames span 40000000 s"):
            reader.count(reader.store.videos[0])
    assert reader.broken == 1


def test_the_part_is_described(tmp_path, video):
    part = encoded(video, tmp_path / "part", (24, 16))
    assert part.sizes.tolist() == [[24, 36], [16, 24]]
    assert part.source_bytes == video.stat().st_size
    levels = part.level(0).read_bytes() + part.level(1).read_bytes()
    assert part.sha256 == hashlib.sha256(levels).hexdigest()
    assert part.short == ""


def test_a_level_that_grows_too_large_is_an_error_at_once(tmp_path, video, monkeypatch):
    monkeypatch.setattr(encoding, "_MOST_BYTES", 5000)
    with pytest.raises(
        VideoError, match=r"its first \d frames take .* List it in several segments"
    ):
        encoded(video, tmp_path / "part")


def test_a_frame_that_jpeg_refuses_is_a_video_error(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.avi", 2, 64, 64)
    monkeypatch.setattr(jpeg, "_LONGEST", 40)
    with pytest.raises(VideoError, match=r"v\.avi: a frame of 64x64 has more segments"):
        encoded(path, tmp_path / "part")


@pytest.mark.parametrize("missing", [True, False])
def test_a_source_that_cannot_be_read_is_a_video_error(tmp_path, missing):
    if not missing:
        (tmp_path / "v.avi").mkdir()
    with pytest.raises(VideoError, match=r"v\.avi: cannot be read"):
        encoded(tmp_path / "v.avi", tmp_path / "part")


def test_frames_stand_upright(tmp_path):
    """A phone held upright says so in the metadata of the film."""
    path = tmp_path / "phone.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    for _ in range(5):
        frame = np.zeros((64, 96, 3), np.uint8)
        frame[:, 48:] = 200
        writer.write(frame)
    writer.release()
    data = path.read_bytes()
    one = (1 << 16).to_bytes(4, "big")
    minus_one = (-(1 << 16)).to_bytes(4, "big", signed=True)
    zero, last = bytes(4), (1 << 30).to_bytes(4, "big")
    upright = one + zero * 3 + one + zero * 3 + last
    turned = zero + one + zero + minus_one + zero * 4 + last
    place = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:place] + turned + data[place + len(turned) :])
    part = encoded(path, tmp_path / "part", (48,))
    assert part.sizes.tolist() == [[72, 48]]
    frame = decoded(part)[0]
    assert frame[:30].mean() < 20
    assert frame[42:].mean() > 180


def natural(frames: int, height: int, width: int) -> list[np.ndarray]:
    """Texture with the spectrum of natural pictures, moving."""
    rng = np.random.default_rng(0)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    power = 1 / np.maximum(np.hypot(rows, columns), 1 / width)
    gray = np.stack(
        [np.fft.ifft2(np.fft.fft2(rng.normal(size=(height, width))) * power).real for _ in "rgb"],
        axis=2,
    )
    gray = gray[..., :1] * 0.85 + 0.15 * gray  # the colors of nature differ little
    gray = 127 + 30 * gray / gray.std()
    return [
        np.clip(np.roll(gray, (number, 2 * number), (0, 1)), 0, 255).astype(np.uint8)
        for number in range(frames)
    ]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((one.astype(np.float64) - other) ** 2))


def worst_psnr(source: Path, folder: Path) -> float:
    """Compares clips of the paper's levels with frames scaled in floating point."""
    sizes = (224, 188, 158, 133, 112)
    part = encoded(source, folder, sizes)
    found = []
    stream = (frame for _, frame in timed_frames(str(source)))
    levels = [decoded(part, level) for level in range(len(sizes))]
    for number, frame in enumerate(stream):
        if number % 5:
            continue
        exact = frame.astype(np.float32)
        for (height, width), level in zip(part.sizes.tolist(), levels, strict=True):
            scaled = cv2.resize(exact, (width, height), interpolation=cv2.INTER_AREA)
            for down, right in cropping.POSITIONS.values():
                top, left = int((height - 112) * down), int((width - 112) * right)
                crop = np.s_[top : top + 112, left : left + 112]
                found.append(psnr(level[number][crop], scaled[crop]))
    return min(found)


def test_the_quality_of_clips(tmp_path):
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 360))
    for frame in natural(6, 360, 640):
        writer.write(frame)
    writer.release()
    assert worst_psnr(path, tmp_path / "part") > 35


@pytest.mark.real
def test_the_quality_of_real_clips(tmp_path):
    folder = os.environ.get("KERAS_R3D_REAL_DATA")
    if not folder:
        pytest.skip("KERAS_R3D_REAL_DATA is unset")
    found = annotations.contents(f"{folder}/gestures")[0][::12]
    assert len(found) > 5
    qualities = [worst_psnr(Path(path), tmp_path / str(n)) for n, path in enumerate(found)]
    # What the worst loses is color, kept for 2x2 pixels: 30 dB, where 4:4:4 would give 34.
    assert np.median(qualities) > 38, qualities
    assert min(qualities) > 29, qualities


# Stores that are bad ------------------------------------------------------------------------------


def test_what_is_no_store_is_said(tmp_path, prepared):
    assert not is_store(tmp_path)
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(StoreError, match=r"is no clip store: it has no store\.json"):
            Store(path)
    (tmp_path / "prepare.json").write_text("{}")
    assert is_store(tmp_path)
    with pytest.raises(StoreError, match=r"is not finished: run the same .* again"):
        Store(tmp_path)


def test_the_description_survives_a_round_trip(prepared):
    text = (prepared / "store.json").read_text()
    assert format.loads(text, "x").dumps() == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is damaged or not of a clip store"),
        ("{", "is damaged or not of a clip store"),
        ("[]", "is damaged or not of a clip store"),
        ("7", "is damaged or not of a clip store"),
        ("{}", "is damaged or not of a clip store"),
        ('{"format": "other", "version": 1}', "must describe a 'keras_r3d clip store'.*'other'"),
        (
            '{"format": "keras_r3d clip store", "version": 2}',
            "reads version 1 of the clip store. Received: version 2. Prepare it anew",
        ),
        ('{"format": "keras_r3d clip store", "version": 1}', "is damaged"),
    ],
)
def test_another_description_is_refused(copy, text, said):
    (copy / "store.json").write_text(text)
    with pytest.raises(StoreError, match=rf"{re.escape(str(copy))}/store\.json.*{said}"):
        Store(copy)


def keys(content, path=()):
    """Yields the way to each value."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, dict | list) and key != "source":
            yield from keys(value, (*path, key))


def test_each_key_of_the_description_is_checked(copy):
    sound = (copy / "store.json").read_text()
    ways = list(keys(json.loads(sound)))
    assert ("levels", "sizes", 1) in ways
    assert ("files", 3, "sha256") in ways
    for way in ways:
        for value in (None, "x", -1, 1.5, True, [], {}, [1], {"a": 1}, "gone"):
            content = json.loads(sound)
            place = content
            for key in way[:-1]:
                place = place[key]
            before = place[way[-1]]
            if value == "gone":
                if way[0] == "files" and len(way) > 1 and (len(way) == 2 or way[-1] == "sha256"):
                    continue  # some have none, and not all are needed
                del place[way[-1]]
            elif value == before or (way == ("fps",) and value in (1.5, -1)):
                continue  # true is 1 to Python, too
            elif value != -1 and type(value) is type(before):
                continue
            else:
                place[way[-1]] = value
            (copy / "store.json").write_text(json.dumps(content))
            with pytest.raises(StoreError, match=r"store\.json"):
                Store(copy)


@pytest.mark.parametrize("column", format.COLUMNS)
@pytest.mark.parametrize("change", ["short", "long", "gone"])
def test_a_column_of_another_size_is_named(copy, column, change):
    path = copy / format.column_name(column)
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-4] if change == "short" else bytes(100_000))
    with pytest.raises(R3DError, match=re.escape(str(path))):
        Store(copy)


def change(store: Path, column: str, function) -> None:
    """Changes the numbers of a column of the index."""
    path = store / format.column_name(column)
    numbers = np.fromfile(path, format.column_type(column))
    function(numbers)
    numbers.tofile(path)


def put(place, value):
    def function(numbers):
        numbers[place] = value

    return function


def empty(numbers):
    numbers[:2] = 0, sum(numbers[:2])


@pytest.mark.parametrize(
    ("column", "function", "said"),
    [
        ("video_frames", put(0, 10**6), "the index counts .* frames, store.json 88"),
        ("video_shard", put(0, 99), "the index names shards/00099"),
        (
            "video_frames",
            lambda numbers: numbers.__setitem__(slice(2), (0, sum(numbers[:2]))),
            "0 frames",
        ),
    ],
)
def test_an_index_that_does_not_fit_is_said(copy, column, function, said):
    change(copy, column, function)
    with pytest.raises(StoreError, match=said + ".*it is damaged"):
        Store(copy)


def swap(numbers):
    numbers[[0, 1]] = numbers[[1, 0]] + (1, -1)


@pytest.mark.parametrize(
    ("column", "function"),
    [
        ("level_offset", put(slice(None), 2**64 - 1)),
        ("level_offset", put(slice(None), 2**40)),
        ("level_offset", put(slice(None), 3)),
        ("frame_end", put(slice(None), 2**32 - 1)),
        ("frame_end", put(slice(None), 0)),
        ("frame_end", lambda numbers: numbers[:].__iadd__(1)),
        ("frame_end", lambda numbers: numbers.__setitem__(slice(None), numbers[::-1].copy())),
        ("frame_crc32", put(slice(None), 7)),
        ("level_size", put(slice(None), 5000)),
        ("level_size", put(slice(None), 0)),
        ("level_size", put(slice(None), 33)),
        ("video_frames", swap),
        ("video_shard", put(slice(None), 1)),
    ],
)
def test_an_index_that_points_elsewhere_breaks_its_videos_only(copy, column, function):
    change(copy, column, function)
    reader = StoreReader(Store(copy))
    failed = 0
    for video in reader.store.videos:
        try:
            read(reader, video, range(reader.count(video)))
        except VideoError:
            failed += 1
    assert failed
    assert len(reader.problems) == reader.broken == failed
    for problem in reader.problems:
        assert problem.name.split(" [")[0] in problem.detail


def test_a_shard_that_is_cut_short_breaks_the_videos_behind(copy):
    store = Store(copy)
    reader = StoreReader(store)
    last = len(store.videos) - 1
    shard = copy / store.span(last, 0).shard
    with shard.open("r+b") as file:
        file.truncate(store.span(last, 0).offset + 1000)
    broken = store.videos[last]
    for attempt in (lambda: reader.check(broken), lambda: read(reader, broken, [0, 3])):
        with pytest.raises(VideoError, match=rf"{re.escape(broken.name)}: .*ends at byte") as error:
            attempt()
        assert str(shard) in str(error.value)
    for video in store.videos[:last]:
        read(reader, video, [0])
    (problem,) = reader.problems
    assert (problem.name, problem.status) == (broken.name, "unreadable")


def test_a_changed_byte_is_noticed(copy):
    store = Store(copy)
    number = next(n for n, name in enumerate(store.names) if name.endswith("wide.avi"))
    span = store.span(number, 2)
    flip(copy / span.shard, span.offset + int(span.ends[6]) + 600)
    reader = StoreReader(store)
    video = store.videos[number]
    read(reader, video, [6, 8])
    with pytest.raises(VideoError, match=r"wide\.avi: frame 7 of level 2 does not have its"):
        read(reader, video, [6, 7, 8])
    read(reader, video, range(20), size=40)  # of another level


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(data)


def test_a_shard_that_is_gone_breaks_its_videos(copy):
    (copy / "shards" / "00001.jpegs").unlink()
    store = Store(copy)
    reader = StoreReader(store)
    for number, video in enumerate(store.videos):
        if store.span(number, 0).shard == "shards/00001.jpegs":
            with pytest.raises(VideoError, match=r"00001\.jpegs.*check the path"):
                reader.check(video)
        else:
            reader.check(video)
    assert reader.problems


def test_training_goes_on_without_a_broken_video(copy, small):
    store = Store(copy)
    number = next(n for n, name in enumerate(store.names) if name.endswith("tall.avi"))
    first, end = 3 * store._first[number : number + 2]
    change(copy, "frame_crc32", put(slice(first, end), 0))
    opened = open_source(copy, small.clips)
    found = opened.annotations
    dataset = pipeline.training_clips(
        opened.reader,
        found.splits["train"],
        found.classes,
        small.clips,
        batch_size=5,
        seed=0,
        broken_share=0.5,
    )
    for _ in dataset.take(3):
        pass
    assert [Path(p.name).name for p in opened.reader.problems] == ["tall.avi"]


@pytest.mark.parametrize(
    ("change_text", "said"),
    [
        (lambda text: text.replace("path,", "file,"), "its columns must be path,label,split"),
        (lambda text: text.replace(",a,", ",a,b,"), "is damaged"),
        (lambda text: text.replace(",0.5,", ",half,"), "is damaged"),
        (lambda text: "", "its columns must be"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "must list 7 videos. Received: 6"),
        (lambda text: text.replace("train/wide", "train/\udcffide"), "is damaged"),
        (lambda text: text.replace("train/wide", '"train/wide'), "is damaged|must list 7"),
    ],
)
def test_a_damaged_list_of_videos_is_said(copy, change_text, said):
    path = copy / "videos.csv"
    text = change_text(path.read_text()).encode(errors="surrogateescape")
    path.write_bytes(text)
    described = json.loads((copy / "store.json").read_text())
    described["files"][0]["bytes"] = len(text)
    (copy / "store.json").write_text(json.dumps(described))
    with pytest.raises(StoreError, match=rf"videos\.csv.*({said})"):
        Store(copy)


def test_a_video_of_elsewhere_is_named(opened):
    stranger = Video("/elsewhere/one.avi", "a")
    for attempt in (lambda: opened.count(stranger), lambda: opened.check(stranger)):
        with pytest.raises(VideoError, match=r"/elsewhere/one\.avi: is not in the store"):
            attempt()


# Large stores -------------------------------------------------------------------------------------


def write_index(folder: Path, count: int, frames: int, sizes: tuple[int, ...]) -> None:
    """Writes a store without pixels: all that is opened, and an empty shard."""
    (folder / "index").mkdir(parents=True)
    (folder / "shards").mkdir()
    levels = len(sizes)
    columns = {
        "video_frames": np.full(count, frames),
        "video_shard": np.zeros(count),
        "level_offset": np.arange(count * levels) * 1000 * frames,
        "level_size": np.array([(size, size * 4 // 3) for size in sizes] * count),
        "frame_end": np.tile(1000 * np.arange(1, frames + 1), count * levels),
        "frame_crc32": np.zeros(count * levels * frames),
        "frame_seconds": np.tile(np.arange(frames) / 25, count),
    }
    described = []
    for column, numbers in columns.items():
        path = folder / format.column_name(column)
        numbers.astype(format.column_type(column)).tofile(path)
        described.append(format.File(format.column_name(column), path.stat().st_size))
    rows = "".join(
        f"train/class {n % 400}/{n:09d}.mp4,class {n % 400},train,0.0,,{frames},0,{n:064d},0,"
        f"{n:064d}\n"
        for n in range(count)
    )
    (folder / "videos.csv").write_text(f"{','.join(format.VIDEO_COLUMNS)}\n{rows}")
    (folder / "shards" / "00000.jpegs").write_bytes(b"")
    for name in ("videos.csv", "shards/00000.jpegs"):
        described.append(format.File(name, (folder / name).stat().st_size))
    description = format.Description(
        Levels("short_side", sizes), count, count * frames, 90, 0.0, tuple(described), {}
    )
    (folder / "store.json").write_text(description.dumps())


def test_opening_takes_memory_for_videos_not_for_frames(tmp_path):
    write_index(tmp_path / "few", 2000, 10, (64, 32))
    write_index(tmp_path / "many", 2000, 200, (64, 32))
    write_index(tmp_path / "more", 4000, 10, (64, 32))
    peaks = []
    for name in ("few", "many", "more"):
        tracemalloc.start()
        reader = StoreReader(Store(tmp_path / name))
        assert reader.count(reader.store.videos[-1]) in (10, 200)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    few, many, more = peaks
    assert few < 2000 * 1500
    assert many < few * 1.05
    assert more < few * 2.2
