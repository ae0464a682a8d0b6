import dataclasses
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from conftest import STEP, frame_numbers, write_video
from memory_reader import VIDEO, MemoryReader

from keras_r3d.data import clips, pipeline
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.sampling import order
from keras_r3d.data.sheet import training_sheet
from keras_r3d.recipe.clips import (
    Augment,
    Consecutive,
    MultiScale,
    RandomResized,
    Segments,
    Uniform,
)
from keras_r3d.system.errors import DataError

CLASSES = ["a", "b"]
BASE = 100


@pytest.fixture
def data(small):
    return small.clips


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list[Video]:
    """Ten videos of 20 frames; the tint tells them apart."""
    folder = tmp_path_factory.mktemp("videos")
    return [
        Video(str(write_video(folder / f"{i}.avi", tint=(1, i / 10, 0), base=BASE)), label)
        for i, label in enumerate(CLASSES * 5)
    ]


@pytest.fixture(scope="module")
def reader() -> VideoReader:
    """Decodes each of the videos once for all tests."""
    return VideoReader(0, 1.0)


def which(clip: np.ndarray) -> int:
    red, green, _ = clip.reshape(-1, 3).mean(axis=0)
    return round(10 * green / red)


def numbers(clip: np.ndarray) -> list[int]:
    """Reads the frame numbers back from the red channel."""
    return np.rint((clip[..., 0].mean(axis=(1, 2)) - BASE) / STEP).astype(int).tolist()


def take(dataset, batches: int):
    return [tuple(x.numpy() for x in batch) for batch in dataset.take(batches)]


def test_training_clip_is_consecutive_and_cropped(videos, data):
    crop = MultiScale(scales=(0.5,), positions=("bottom_right",))
    data = dataclasses.replace(data, sampling=Consecutive(2), crop=crop)
    reader = VideoReader(0, 0)
    clip = clips.training_clip(reader, videos[0], data, np.random.default_rng(3))
    assert clip.pixels.shape == (4, 16, 16, 3)
    assert clip.pixels.dtype == np.uint8
    assert np.diff(clip.frame_numbers).tolist() == [2, 2, 2]
    assert numbers(clip.pixels) == clip.frame_numbers.tolist()
    crop = clip.crop
    assert (crop.top, crop.left, crop.height, crop.width) == (16, 32, 16, 16)


def test_the_stride_is_drawn_for_training_only(videos, data):
    data = dataclasses.replace(data, sampling=Consecutive(2, 4))
    reader = VideoReader(0, 1.0)
    drawn = Counter()
    for seed in range(100):
        clip = clips.training_clip(reader, videos[0], data, np.random.default_rng(seed))
        (stride,) = set(np.diff(clip.frame_numbers).tolist())
        assert numbers(clip.pixels) == clip.frame_numbers.tolist()
        drawn[stride] += 1
    assert set(drawn) == {2, 3, 4}
    assert min(drawn.values()) > 15
    assert clips.middle_clip(reader, videos[0], data).frame_numbers.tolist() == [6, 8, 10, 12]
    assert [numbers(w.pixels[0])[0] for w in clips.windows(reader, videos[0], data)] == [0, 8, 16]


def test_flip_mirrors(data):
    frames = np.full((20, 32, 48, 3), 200, np.uint8)
    frames[:, :, :24] = 0
    reader, source = MemoryReader(frames, data), VIDEO
    data = dataclasses.replace(data, crop=MultiScale((1.0,), ("center",)), flip=True)
    seen = set()
    for seed in range(20):
        clip = clips.training_clip(reader, source, data, np.random.default_rng(seed))
        dark = "left" if clip.pixels[-1, :, :8].mean() < clip.pixels[-1, :, 8:].mean() else "right"
        assert dark == ("right" if clip.crop.flip else "left")
        seen.add(dark)
    assert seen == {"left", "right"}


@pytest.mark.parametrize("cache_gib", [0.0, 1.0])
def test_windows_do_not_overlap_and_the_last_is_looped(tmp_path, data, cache_gib):
    source = Video(str(write_video(tmp_path / "v.avi", 20)), "a")
    data = dataclasses.replace(data, frames=3, sampling=Consecutive(2))
    reader = VideoReader(0, cache_gib)
    if cache_gib:
        reader.count(source)
    found = [frame_numbers(w.pixels[0]) for w in clips.windows(reader, source, data)]
    assert found == [[0, 2, 4], [6, 8, 10], [12, 14, 16], [18, 18, 18]]


@pytest.mark.parametrize("sampling", [Uniform(), Segments()])
def test_spread_sampling_has_one_window_over_the_video(tmp_path, data, sampling):
    source = Video(str(write_video(tmp_path / "v.avi", 20)), "a")
    data = dataclasses.replace(data, sampling=sampling)
    reader = VideoReader(0, 0)
    found = [frame_numbers(w.pixels[0]) for w in clips.windows(reader, source, data)]
    assert found == [[2, 7, 12, 17]]
    assert clips.middle_clip(reader, source, data).frame_numbers.tolist() == [2, 7, 12, 17]


def test_training_on_segments_draws_frames_and_on_uniform_takes_the_middles(tmp_path, data):
    source = Video(str(write_video(tmp_path / "v.avi", 20)), "a")
    reader = VideoReader(0, 1.0)
    drawn = {}
    for sampling in (Uniform(), Segments()):
        cut = dataclasses.replace(data, sampling=sampling)
        drawn[sampling.kind] = {
            tuple(frame_numbers(clips.training_clip(reader, source, cut, rng).pixels))
            for rng in map(np.random.default_rng, range(10))
        }
    assert drawn["uniform"] == {(2, 7, 12, 17)}
    assert len(drawn["segments"]) > 5


def test_a_random_resized_crop_is_cut_as_it_was_drawn(data):
    # Every pixel holds its row and its column.
    frames = np.zeros((20, 32, 48, 3), np.uint8)
    frames[..., 0] = 5 * np.arange(32)[:, None]
    frames[..., 1] = 5 * np.arange(48)
    reader = MemoryReader(frames, data)
    data = dataclasses.replace(data, crop=RandomResized((0.2, 0.9), (0.5, 2.0)))
    shapes = set()
    for seed in range(20):
        clip = clips.training_clip(reader, VIDEO, data, np.random.default_rng(seed))
        crop, pixels = clip.crop, clip.pixels.astype(float)
        assert pixels.shape == (4, 16, 16, 3)
        row, column = pixels[..., 0].mean() / 5, pixels[..., 1].mean() / 5
        assert row == pytest.approx(crop.top + (crop.height - 1) / 2, abs=0.5)
        assert column == pytest.approx(crop.left + (crop.width - 1) / 2, abs=0.5)
        assert np.ptp(pixels[..., 0]) / 5 == pytest.approx(crop.height, abs=3)
        assert np.ptp(pixels[..., 1]) / 5 == pytest.approx(crop.width, abs=3)
        shapes.add((crop.height, crop.width))
    assert len(shapes) > 15


@pytest.mark.parametrize("key", ["rotate_degrees", "shear_degrees", "translate"])
def test_affine_changes_are_alike_in_all_frames_of_a_clip(data, key):
    frame = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    reader = MemoryReader(np.stack([frame] * 20), data)
    plain = clips.training_clip(reader, VIDEO, data, np.random.default_rng(1)).pixels
    data = dataclasses.replace(data, augment=Augment(**{key: 0.3}))
    changed = clips.training_clip(reader, VIDEO, data, np.random.default_rng(1)).pixels
    assert (changed != plain).any()
    assert (changed == changed[:1]).all()


def test_a_short_video_is_looped(tmp_path, data):
    source = Video(str(write_video(tmp_path / "v.avi", 3)), "a")
    reader = VideoReader(0, 0)
    windows = clips.windows(reader, source, data)
    assert [frame_numbers(window.pixels[0]) for window in windows] == [[0, 1, 2, 0]]
    clip = clips.training_clip(reader, source, data, np.random.default_rng(0))
    assert frame_numbers(clip.pixels) == [0, 1, 2, 0]


def test_every_video_comes_once_an_epoch_and_the_order_is_the_seed_s(videos, data, reader):
    def stream(seed):
        dataset = pipeline.training_clips(reader, videos, CLASSES, data, batch_size=5, seed=seed)
        return take(dataset, 6)

    first, again, other = stream(1), stream(1), stream(2)
    for x, y in zip(first, again, strict=True):
        assert (x[0] == y[0]).all()
        assert (x[1] == y[1]).all()
    order = [which(clip) for batch in first for clip in batch[0]]
    for epoch in range(3):
        assert sorted(order[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert order[:10] != order[10:20]
    assert order != [which(clip) for batch in other for clip in batch[0]]
    labels = [label for batch in first for label in batch[1]]
    assert labels == [number % 2 for number in order]


def test_tf_data_gives_what_eager_cutting_gives(videos, data, reader):
    dataset = pipeline.training_clips(reader, videos, CLASSES, data, batch_size=10, seed=5)
    ((batch, _),) = take(dataset, 1)
    reader = VideoReader(0, 0)
    order = np.random.default_rng([5, 0]).permutation(10)
    for place, clip in enumerate(batch):
        rng = np.random.default_rng([5, 0, place])
        expected = clips.training_clip(reader, videos[order[place]], data, rng)
        assert (clip == expected.pixels).all()


def test_a_broken_video_is_replaced_and_named(videos, data, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    videos = [*videos[:3], Video(str(broken), "b")]
    reader = VideoReader(0, 1.0)
    dataset = pipeline.training_clips(
        reader, videos, CLASSES, data, batch_size=4, seed=1, broken_share=0.25
    )
    for batch, labels in take(dataset, 5):
        assert batch.shape == (4, 4, 16, 16, 3)
        assert list(labels) == [which(clip) % 2 for clip in batch]
    assert [(p.name, p.status) for p in reader.problems] == [(str(broken), "unreadable")]


def test_too_many_broken_videos_stop_the_stream(videos, data, tmp_path):
    missing = [Video(str(tmp_path / f"missing{i}.mp4"), "b") for i in range(3)]
    dataset = pipeline.training_clips(
        VideoReader(0, 1.0),
        [*videos, *missing],
        CLASSES,
        data,
        batch_size=13,
        seed=1,
        broken_share=0.2,
    )
    with pytest.raises(tf.errors.UnknownError, match=r"3 of 13 training videos are broken, more"):
        take(dataset, 2)


@pytest.mark.parametrize("clips_per_pass", [1, 4])
def test_a_stream_resumes_where_it_was_left(videos, data, reader, clips_per_pass):

    def stream(start, batches):
        dataset = pipeline.training_clips(
            reader,
            videos,
            CLASSES,
            data,
            batch_size=7,
            seed=3,
            start=start,
            clips_per_pass=clips_per_pass,
        )
        return take(dataset, batches)

    for x, y in zip(stream(0, 6)[4:], stream(4, 2), strict=True):
        assert (x[0] == y[0]).all()
        assert (x[1] == y[1]).all()


@pytest.mark.parametrize("clips_per_pass", [1, 4])
def test_workers_share_the_videos(videos, data, reader, clips_per_pass):
    seen = []
    for worker in range(2):
        dataset = pipeline.training_clips(
            reader,
            videos[:8],
            CLASSES,
            data,
            batch_size=4,
            seed=3,
            shard=(worker, 2),
            clips_per_pass=clips_per_pass,
        )
        seen += [which(clip) for batch in take(dataset, 2 * 64) for clip in batch[0]]
    assert Counter(seen) == Counter(dict.fromkeys(range(8), 128))


@pytest.fixture(scope="module")
def relabeled(videos) -> list[Video]:
    labels = ["a"] * 8 + ["b"] * 2
    return [
        dataclasses.replace(video, label=label) for video, label in zip(videos, labels, strict=True)
    ]


@pytest.mark.parametrize("shard", [(0, 1), (1, 2)])
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(
    ("clips_per_pass", "batch_size"), [(1, 7), (3, 7), (16, 64), (100, 90), (256, 300)]
)
def test_the_videos_of_a_batch_are_those_of_the_pipeline(
    relabeled, data, reader, clips_per_pass, batch_size, balanced, shard
):
    labels = [video.label for video in relabeled]
    place = {"batch_size": batch_size, "seed": 3, "shard": shard}
    place |= {"balanced": balanced, "clips_per_pass": clips_per_pass}
    for start, count in ((0, 5), (9, 2)):
        dataset = pipeline.training_clips(reader, relabeled, CLASSES, data, start=start, **place)
        for batch, (pixels, of_clips) in enumerate(take(dataset, count), start):
            found = order.batch_videos(batch, labels, **place)
            assert found.dtype == np.int64
            assert found.tolist() == [which(clip) for clip in pixels]
            assert [labels[number] for number in found] == [CLASSES[label] for label in of_clips]


def test_a_broken_video_is_replaced_in_balance(videos, data, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    labels = ["a"] * 8 + ["b"]
    videos = [
        dataclasses.replace(video, label=label)
        for video, label in zip(videos[:9], labels, strict=True)
    ]
    videos.append(Video(str(broken), "b"))
    dataset = pipeline.training_clips(
        VideoReader(0, 1.0), videos, CLASSES, data, batch_size=100, seed=2, balanced=True
    )
    ofs = np.concatenate([of_clips for _, of_clips in take(dataset, 6)])
    # A quarter of the places is the broken one's; of the others, "b" has a quarter, "a" a half.
    assert np.mean(ofs == 1) == pytest.approx(1 / 4 + 1 / 4 * 1 / 3, abs=0.04)


def test_several_clips_of_a_pass_are_shuffled(videos, data, reader):
    dataset = pipeline.training_clips(
        reader, videos, CLASSES, data, batch_size=16, seed=3, clips_per_pass=16
    )
    batches = take(dataset, 80)  # 5 blocks of 16 videos, which are 8 passes
    order = [which(clip) for batch in batches for clip in batch[0]]
    assert Counter(order) == Counter(dict.fromkeys(range(10), 128))
    assert all(len(set(order[i : i + 16])) > 4 for i in range(0, 1280, 16))
    labels = [label for batch in batches for label in batch[1]]
    assert labels == [number % 2 for number in order]
    starts = {(which(clip), numbers(clip)[0]) for batch in batches for clip in batch[0]}
    assert len(starts) == 10 * 17


def test_validation_takes_the_middle_once_and_leaves_broken_videos_out(videos, data, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    reader = VideoReader(0, 0)
    dataset = pipeline.validation_clips(
        reader, [*videos[:5], Video(str(broken), "a"), *videos[5:]], CLASSES, data, batch_size=4
    )
    batches = take(dataset, 10)
    assert [len(labels) for _, labels in batches] == [4, 3, 3]
    assert [which(clip) for batch, _ in batches for clip in batch] == list(range(10))
    assert numbers(batches[0][0][0]) == [8, 9, 10, 11]
    assert len(reader.problems) == 1


def test_the_sheet_names_width_and_height_of_a_crop(data, videos):
    data = dataclasses.replace(data, crop=RandomResized((1, 1), (2, 2)))
    figure = training_sheet(VideoReader(0, 0), videos, data, 1)
    for axes in figure.axes:
        assert " · crop 48x24 px (scale 0.75) at (0, 4)" in axes.get_title()


def test_the_sheet_needs_one_readable_video(tmp_path, data, videos):
    broken = Video(str(tmp_path / "broken.mp4"), "a")
    figure = training_sheet(VideoReader(0, 0), [broken, *videos], data, 1)
    titles = [axes.get_title() for axes in figure.axes]
    assert [title.split(" · ")[0] for title in titles] == ["a", "b"]
    with pytest.raises(DataError, match=r"None of the 1 videos of split 'train' .*\n.*no such"):
        training_sheet(VideoReader(0, 0), [broken], data, 1)


def test_a_batch_that_is_held_is_not_overwritten(videos, data, reader):
    dataset = pipeline.training_clips(reader, videos, CLASSES, data, batch_size=4, seed=3)
    held = [pixels for pixels, _ in dataset.take(20)]  # tensors in the memory of the pipeline
    copies = [pixels for pixels, _ in take(dataset, 20)]
    for pixels, copy in zip(held, copies, strict=True):
        assert (pixels.numpy() == copy).all()


ENDING = """
import sys, threading, time
from unittest.mock import MagicMock
sys.modules["tensorflow"] = MagicMock()  # not needed here, and slow to import
from keras_r3d.data import pipeline

def slow():
    time.sleep(0.6)
    print("the call under way ended", flush=True)

def again():
    call = pipeline.guarded(lambda: time.sleep(0.01))
    try:
        while True:
            call()
    except pipeline.EndingError:
        print("a new call is refused", flush=True)

for function in (pipeline.guarded(slow), again):
    threading.Thread(target=function, daemon=True).start()
time.sleep(0.2)
sys.exit(3)
"""


def test_calls_under_way_are_waited_for_and_none_begins_as_python_ends():
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, timeout=60)
    assert done.returncode == 3, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert lines == ["a new call is refused", "the call under way ended"]
