"""Optical flow: its bytes, computing it in the pipeline, and storing it ahead."""

import dataclasses
import json
import os
from pathlib import Path

import commands
import cv2
import numpy as np
import pytest
from conftest import write_video
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib.figure import Figure
from prepared import content

from keras_r3d import flow as flow_command
from keras_r3d import recipe, run_folder
from keras_r3d.data import annotations, clips, opening, pipeline, stores
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import flow, flow_folder
from keras_r3d.data.decoding.flow_folder import FlowSettings
from keras_r3d.data.decoding.flow_video import FlowVideo, StoredFlow, packed, unpacked
from keras_r3d.data.decoding.reader import Cut
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.opening import open_source
from keras_r3d.data.sampling import cropping
from keras_r3d.data.sampling.cropping import Views
from keras_r3d.data.sheet import training_sheet
from keras_r3d.pictures import flow_key
from keras_r3d.recipe.schema import HoldOut, VideoList
from keras_r3d.system.errors import DataError, RecipeError, VideoError

ZERO = flow.ZERO
ALGORITHMS = [
    "farneback",
    "dis",
    pytest.param("tvl1", marks=pytest.mark.skipif(not hasattr(cv2, "optflow"), reason="contrib")),
]


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(height, width))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def write_moving(path: Path, frames: int = 12, right: int = 2, seed: int = 0) -> Path:
    """Writes a video, 64x48, of a texture that moves to the right; its speed grows by the frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    picture = texture(48, 400, seed)
    left = 300
    for number in range(frames):
        part = picture[:, left : left + 64]
        writer.write(cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_GRAY2BGR))
        left -= right + (number % 3 if right else 0)
    writer.release()
    return path


@pytest.fixture
def moving(tmp_path) -> Video:
    return Video(str(write_moving(tmp_path / "video.avi")), "a")


@pytest.fixture
def data(small) -> recipe.Clips:
    return flow_data(small.clips)


def flow_data(data: recipe.Clips, **changes) -> recipe.Clips:
    return dataclasses.replace(data, **{"input": "dis", "short_side": 32, "flip": True} | changes)


def every_frame(video: Video, short_side: int = 0) -> np.ndarray:
    file = FlowVideo(video.path, "dis", short_side)
    return np.stack([frame for _, frame in file.frames(file.index())])


# Bytes


@given(arrays.arrays(np.float32, (3, 4, 2), elements=st.floats(-30, 30, width=32)))
def test_bytes_stand_for_pixels(pixels):
    encoded = flow.encode(pixels)
    assert encoded.min() >= 1
    error = np.abs(flow.decode(encoded) - np.clip(pixels, -flow.BOUND, flow.BOUND))
    assert error.max() <= flow.BOUND / 127 / 2 + 1e-5


@given(arrays.arrays(np.uint8, (3, 4, 2), elements=st.integers(1, 255)))
def test_turning_back_negates_x_alone(encoded):
    turned = encoded.copy()
    flow.turn_back(turned)
    before, after = flow.decode(encoded), flow.decode(turned)
    assert (after[..., 0] == -before[..., 0]).all()
    assert (after[..., 1] == before[..., 1]).all()


def test_no_motion_is_128():
    assert (flow.encode(np.zeros((2, 2, 2), np.float32)) == 128).all()


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 20), st.just(2))),
    st.floats(0, 1e7),
)
def test_a_stored_frame_is_what_it_was(frame, seconds):
    image = packed(frame, seconds)
    assert not any(side % 2 for side in image.shape)
    received, when = unpacked(image, "x.mkv")
    assert when == seconds
    assert (received == frame).all()


def test_other_pictures_are_not_taken_for_flow():
    for image in (np.full((34, 32), 77, np.uint8), np.zeros((3, 3), np.uint8)):
        with pytest.raises(VideoError, match="is not a file of flow"):
            unpacked(image, "x.mkv")


def test_colors_tell_directions():
    arrows = flow.encode(np.array([[[2, 0], [0, 2], [-2, 0], [0, -2], [0, 0]]], np.float32))
    red, green, cyan, violet, none = flow.colors(arrows)[0].astype(int)
    assert (red == (255, 0, 0)).all()
    assert green.argmax() == 1
    assert (cyan == (0, 255, 255)).all()
    assert violet.argmax() == 2
    assert (none == 255).all()


def test_the_key_has_the_colors_of_what_moves_there():
    disc = flow_key.wheel(65)
    arrows = flow.encode(np.array([[[20, 0], [0, 20], [-20, 0], [0, -20]]], np.float32))
    expected = flow.colors(arrows)[0].astype(int)
    for place, color in zip([(32, 61), (61, 32), (32, 3), (3, 32)], expected, strict=True):
        assert np.abs(disc[place] - color).max() < 40
    assert (disc[32, 32] == 255).all()
    assert (disc[0, 0] == 255).all()


def test_the_key_lies_below_what_it_explains():
    figure = Figure(figsize=(6, 2), layout="constrained")
    axes = figure.subplots(1, 2)
    flow_key.add(figure)
    figure.draw_without_rendering()
    assert figure.get_size_inches()[1] > 2.5
    key = figure.axes[-1].get_tightbbox()
    (text,) = figure.texts
    for one in axes:
        drawn = one.get_tightbbox()
        assert drawn.y0 >= max(key.y1, text.get_window_extent().y1) - 1
    assert text.get_window_extent().x0 > key.x1


# Algorithms


@pytest.mark.parametrize("name", ALGORITHMS)
def test_flow_leads_from_a_frame_to_the_next(name):
    picture = texture(100, 130)
    first, second = (np.ascontiguousarray(picture[y : y + 60, x : x + 80]) for y, x in MOVES)
    found = flow.decode(flow.algorithm(name)(first, second))
    assert found.shape == (60, 80, 2)
    np.testing.assert_allclose(found[16:-16, 16:-16].mean((0, 1)), (3, -2), atol=0.2)


MOVES = ((20, 20), (22, 17))  # the picture moves 3 to the right and 2 up


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("size", [(1, 1), (2, 40), (40, 3), (13, 64), (8, 8)])
def test_tiny_frames_crash_nothing(name, size):
    pair = np.random.default_rng(0).integers(0, 256, (2, *size), np.uint8)
    assert flow.algorithm(name)(*pair).shape == (*size, 2)
    still = flow.algorithm(name)(pair[0], pair[0]).astype(int)
    assert np.abs(still - ZERO).max() <= 1


def test_flow_does_not_depend_on_the_number_of_threads():
    pair = texture(120, 160, 1), texture(120, 160, 2)
    threads = cv2.getNumThreads()
    try:
        found = []
        for count in (1, 4):
            cv2.setNumThreads(count)
            found.append(flow.algorithm("dis")(*pair))
    finally:
        cv2.setNumThreads(threads)
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("size", [(32, 43), (32, 44), (60, 80)])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_flow_does_not_depend_on_what_was_computed_before(name, size):
    pairs = [(texture(*size, seed), texture(*size, seed + 1)) for seed in range(3)]
    compute = flow.algorithm(name)
    for pair in (*pairs, *pairs):
        assert (compute(*pair) == flow.algorithm(name)(*pair)).all()


@pytest.mark.skipif(hasattr(cv2, "optflow"), reason="OpenCV has it")
def test_tvl1_needs_contrib():
    with pytest.raises(DataError, match="opencv-contrib-python"):
        VideoReader(0, 0, "tvl1")


# Videos


def test_flow_is_between_neighbors_and_the_last_repeats(moving):
    frames = every_frame(moving)
    assert frames.shape == (12, 48, 64, 2)
    right = flow.decode(frames)[:, 16:-16, 16:-16, 0].mean((1, 2))
    np.testing.assert_allclose(right[:-1], [2, 3, 4] * 3 + [2, 3], atol=0.3)
    assert (frames[-1] == frames[-2]).all()


def test_a_single_frame_has_no_motion(tmp_path):
    video = Video(str(write_moving(tmp_path / "one.avi", 1)), "a")
    assert (every_frame(video) == ZERO).all()
    out = np.empty((3, 16, 16, 2), np.uint8)
    VideoReader(0, 0, "dis").cut(video, [Cut(np.zeros(3, np.int64), cropping.center, out)])
    assert (out == ZERO).all()


def test_flow_is_in_pixels_of_the_shrunk_frames(moving):
    full, half = (flow.decode(every_frame(moving, side))[..., 0].mean() for side in (0, 24))
    assert half == pytest.approx(full / 2, rel=0.15)


def test_the_size_of_a_crop_does_not_scale_the_vectors(moving):
    means = []
    for size in (16, 48):
        out = np.empty((1, size, size, 2), np.uint8)
        VideoReader(0, 0, "dis").cut(moving, [Cut(np.array([4]), cropping.center, out)])
        means.append(flow.decode(out)[..., 0].mean())
    assert means[0] == pytest.approx(means[1], rel=0.05)


@pytest.mark.parametrize("cache_gib", [0.0, 1.0])
def test_all_ways_to_a_clip_agree(moving, cache_gib):
    frames = every_frame(moving)[:, :, 8:56]  # the center crop, as large as it comes
    reader = VideoReader(0, cache_gib, "dis")
    assert reader.channels == 2
    assert reader.count(moving) == 12
    for numbers in ([0, 5, 11], [11], [10, 11], [3, 3, 3]):
        out = np.empty((len(numbers), 48, 48, 2), np.uint8)
        reader.cut(moving, [Cut(np.array(numbers), cropping.center, out)])
        assert (out == frames[numbers]).all(), numbers
    for fresh in (reader, VideoReader(0, cache_gib, "dis")):
        for length, stride in ((4, 1), (4, 3), (2, 11)):
            for window in fresh.windows(moving, length, stride, Views(1, (48, 48))):
                assert (window.pixels[0] == frames[window.frame_numbers]).all()
        assert not fresh.problems
    chosen = [np.array([2, 7, 11])]
    window = next(VideoReader(0, 0, "dis").chosen(moving, lambda _: chosen, Views(1, (48, 48))))
    assert (window.pixels[0] == frames[chosen[0]]).all()


def test_a_far_clip_is_sought(tmp_path):
    video = Video(str(write_moving(tmp_path / "long.avi", 90, 1)), "a")
    frames = every_frame(video)[:, :, 8:56]
    out = np.empty((3, 48, 48, 2), np.uint8)
    VideoReader(0, 0, "dis").cut(video, [Cut(np.array([80, 83, 89]), cropping.center, out)])
    assert (out == frames[[80, 83, 89]]).all()


def test_the_flow_of_a_segment_leads_out_of_it(moving):
    frames = every_frame(moving)[:, :, 8:56]
    segment = Video(moving.path, "a", 0.3, 0.7)
    for cache_gib in (0.0, 1.0):
        reader = VideoReader(0, cache_gib, "dis")
        (window,) = VideoReader(0, cache_gib, "dis").windows(segment, 4, 1, Views(1, (48, 48)))
        out = np.empty((4, 48, 48, 2), np.uint8)
        reader.cut(segment, [Cut(np.arange(4), cropping.center, out)])
        assert (out == frames[3:7]).all()
        assert (window.pixels[0] == frames[3:7]).all()


def test_a_mirrored_clip_moves_the_other_way(moving):
    def read(flip: bool) -> np.ndarray:
        out = np.empty((4, 48, 48, 2), np.uint8)
        cut = Cut(np.arange(4), lambda h, w: cropping.place(h, w, 1.0, "center", flip), out)
        VideoReader(0, 0, "dis").cut(moving, [cut])
        return flow.decode(out)

    plain, mirrored = read(False), read(True)
    assert (mirrored == plain[:, :, ::-1] * (-1, 1)).all()
    assert mirrored[..., 0].mean() < -1


def test_flow_of_chosen_frames_is_that_of_all(moving):
    whole = every_frame(moving)
    file = FlowVideo(moving.path, "dis", 0)
    index = file.index()
    last = len(whole) - 1
    assert (whole[last] == whole[last - 1]).all()
    for numbers in ([0], [last], [last - 1, last], [1, 2, 5], [0, 3, last]):
        found = dict(FlowVideo(moving.path, "dis", 0).frames(index, np.array(numbers)))
        assert list(found) == numbers
        assert all((found[number] == whole[number]).all() for number in numbers)


def test_what_does_not_decode_has_no_flow_and_neither_has_the_frame_before(moving, monkeypatch):
    whole = every_frame(moving)
    frames = VideoFile.frames

    def broken(file, index, numbers=None):
        return (item for item in frames(file, index, numbers) if item[0] != 5)

    monkeypatch.setattr(VideoFile, "frames", broken)
    file = FlowVideo(moving.path, "dis", 0)
    found = dict(file.frames(file.index()))
    assert set(range(len(whole))) - set(found) == {4, 5}
    reader = VideoReader(0, 0, "dis")
    out = np.empty((2, 16, 16, 2), np.uint8)
    before = np.empty((1, 16, 16, 2), np.uint8)
    reader.cut(moving, [Cut(np.array([4, 5]), cropping.center, out)])
    reader.cut(moving, [Cut(np.array([3]), cropping.center, before)])
    assert (out == before).all()
    assert reader.problem(moving).status == "short"


# Clips


def test_training_clips_have_two_channels(moving, data, tmp_path):
    videos = [moving, Video(str(write_moving(tmp_path / "b.avi", right=0)), "b")]
    reader = VideoReader(data.short_side or 0, 0, "dis")
    pixels, _ = next(
        iter(pipeline.training_clips(reader, videos, ["a", "b"], data, batch_size=4, seed=1))
    )
    assert pixels.shape == (4, 4, 16, 16, 2)
    pixels, labels = next(
        iter(pipeline.validation_clips(reader, videos, ["a", "b"], data, batch_size=2))
    )
    still, goes = pixels[labels == 1].numpy(), pixels[labels == 0].numpy()
    assert np.abs(flow.decode(still)).mean() < 0.2
    assert flow.decode(goes)[..., 0].mean() > 1
    figure = training_sheet(reader, videos, dataclasses.replace(data, flip=False), 1)
    goes, still, key = (axes.images[0].get_array().mean((0, 1)) for axes in figure.axes)
    assert np.allclose(key, flow_key.wheel(128).mean((0, 1)))
    assert goes.argmax() == 0  # to the right is red
    assert still.min() > 230


AUGMENTED = (
    "'clips.augment' changes colors or turns pictures, which is wrong for `input` 'dis', optical "
    "flow: leave it out."
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["clips.augment.color_jitter=0.4"], AUGMENTED),
        (["clips.augment.rotate_degrees=5"], AUGMENTED),
        (["clips.augment.shear_degrees=5"], AUGMENTED),
        (["clips.augment.translate=0.1"], AUGMENTED),
        (["clips.augment.randaugment={ops=2, magnitude=9.0}"], AUGMENTED),
        (["model.mean=[1, 2, 3]"], "'model.mean' must hold 2 numbers (x, y: clips.input is 'dis')"),
        (["clips.input='lk'"], "'clips.input' must be one of ['rgb', 'farneback', 'dis', 'tvl1']"),
    ],
)
def test_recipes_for_flow(changes, message):
    assert recipe.load("gestures_flow").clips.channels == 2
    with pytest.raises(RecipeError) as error:
        recipe.load("gestures_flow", changes)
    assert message in str(error.value)


def test_gestures_flow_is_gestures_but_for_the_input():
    one, other = recipe.load("gestures_flow"), recipe.load("gestures")
    same = {"input": "rgb", "augment": other.clips.augment}
    assert dataclasses.replace(one.clips, **same) == other.clips
    assert one.videos == other.videos
    same = {"mean": other.model.mean, "std": other.model.std}
    assert dataclasses.replace(one.model, **same) == other.model
    assert (one.train, one.eval) == (other.train, other.eval)


# Stored ahead


@pytest.fixture
def videos(tmp_path) -> Path:
    """Two classes of two moving videos, and a broken one."""
    for number in range(2):
        write_moving(tmp_path / "data" / "a" / f"{number}.avi", 12, 2, number)
        write_moving(tmp_path / "data" / "b" / f"{number}.mp4.avi", 9, -2, number)
    (tmp_path / "data" / "b" / "broken.mp4").write_bytes(b"no video")
    return tmp_path / "data"


def stored(videos: Path, folder: Path, root: Path | None = None, **changes) -> list[str]:
    """Stores flow; returns the names of what is broken."""
    calls = []
    problems = flow_folder.write(
        annotations.read(videos, "auto"),
        str(root or videos),
        folder,
        FlowSettings(**{"input": "dis", "short_side": 32} | changes),
        processes=2,
        limit_seconds=60,
        progress=lambda done, of: calls.append((done, of)),
    )
    assert not calls or calls[-1][0] == calls[-1][1]
    return [Path(problem.name).name for problem in problems]


def test_stored_flow_trains_as_computed_flow(videos, tmp_path, data):
    assert stored(videos, tmp_path / "flow") == ["broken.mp4"]
    listed = VideoList("auto", 0.5, hold_out=HoldOut(validation=0.5))
    opened = [open_source(one, data, listed, seed=1) for one in (videos, tmp_path / "flow")]
    splits = [
        {s: [Path(v.path).name for v in own] for s, own in one.annotations.splits.items()}
        for one in opened
    ]
    assert splits[0] == splits[1]
    batches = []
    for one in opened:
        found = one.annotations
        stream = pipeline.training_clips(
            one.reader,
            found.split("train"),
            found.classes,
            data,
            batch_size=6,
            seed=3,
            broken_share=0.5,
        )
        drawn = [pixels.numpy().copy() for pixels, _ in stream.take(2)]
        windows = [
            (window.pixels, window.start_seconds, window.end_seconds)
            for video in found.split("validation")
            if not video.path.endswith("broken.mp4")
            for window in clips.windows(one.reader, video, data)
        ]
        batches.append((drawn, windows))
    (drawn, windows), (drawn_stored, windows_stored) = batches
    assert (np.array(drawn) == np.array(drawn_stored)).all()
    for (pixels, *times), (pixels_stored, *times_stored) in zip(
        windows, windows_stored, strict=True
    ):
        assert (pixels == pixels_stored).all()
        assert times == times_stored


def test_a_broken_video_is_in_the_same_split_with_the_same_reason(videos, tmp_path, data):
    stored(videos, tmp_path / "flow")
    listed = VideoList("auto", 0.5, hold_out=HoldOut(0.4, 0.4))
    for seed in range(4):
        opened = [open_source(one, data, listed, seed=seed) for one in (videos, tmp_path / "flow")]
        splits = [
            {s: [Path(v.path).name for v in own] for s, own in one.annotations.splits.items()}
            for one in opened
        ]
        assert splits[0] == splits[1]
        assert any("broken.mp4" in own for own in splits[0].values())
    for one in opened:
        (broken,) = (
            video
            for own in one.annotations.splits.values()
            for video in own
            if video.path.endswith("broken.mp4")
        )
        with pytest.raises(VideoError, match=r"broken.mp4: it cannot be opened as a video"):
            one.reader.count(broken)
        problem = one.reader.problem(broken)
        assert problem.status == "unreadable"
        assert one.reader.broken == 1
    write_moving(videos / "b" / "mended.avi", 9)
    (videos / "b" / "mended.avi").rename(videos / "b" / "broken.mp4")
    assert stored(videos, tmp_path / "flow") == []
    assert open_source(tmp_path / "flow", data).reader.count(broken) == 9


def test_a_run_on_stored_flow_finds_it_again(videos, tmp_path, small, data):
    stored(videos, tmp_path / "flow")
    listed = VideoList("lists/mine.csv", 0.5, hold_out=HoldOut(validation=0.2))
    opened = open_source(tmp_path / "flow", data, listed, seed=1)
    experiment = dataclasses.replace(
        small,
        clips=data,
        videos=listed,
        model=dataclasses.replace(small.model, mean=(128.0, 128.0), std=(3.0, 3.0)),
    )
    run = run_folder.create(
        tmp_path / "run",
        experiment,
        opened.annotations.classes,
        annotations.to_csv(opened.annotations),
        {"data_dir": opened.path, "video_root": opened.root},
    )
    (video, *_), reader = run_folder.open_run(run.path).open_split("train")
    window = next(clips.windows(reader, video, data))
    of_videos = VideoReader(data.short_side or 0, 0, "dis")
    original = Video(str(videos / Path(video.path).relative_to(opened.root)), video.label)
    assert (window.pixels == next(clips.windows(of_videos, original, data)).pixels).all()


def test_a_clip_store_has_no_flow(tmp_path, data, monkeypatch):
    monkeypatch.setattr("keras_r3d.data.opening.is_store", lambda path: True)
    with pytest.raises(DataError, match="pass the folder of videos, or the flow of them"):
        open_source(tmp_path, data)


def test_segments_and_times_are_kept(moving, tmp_path):
    output = tmp_path / "out.mkv"
    flow_folder.store((moving, FlowSettings("dis", 0), output))
    segment = {"start_seconds": 0.3, "end_seconds": 0.7}
    ones = [
        next(
            VideoReader(0, 0, "dis", stored=one != moving.path).windows(
                video, 4, 1, Views(1, (48, 48))
            )
        )
        for one in (moving.path, str(output))
        for video in [Video(one, "a", **segment)]
    ]
    assert (ones[0].pixels == ones[1].pixels).all()
    assert (ones[0].start_seconds, ones[0].end_seconds) == (
        ones[1].start_seconds,
        ones[1].end_seconds,
    )


def test_storing_goes_on_where_it_was_left(videos, tmp_path):
    folder = tmp_path / "flow"
    stored(videos, folder)
    (folder / "manifest.csv").unlink()
    (folder / "a" / "0.avi").unlink()
    (folder / ".parts" / ".partial-0-of-1").mkdir(parents=True)
    (folder / ".parts" / ".partial-0-of-1" / "0.mkv").write_bytes(b"left over")
    kept = folder / "a" / "1.avi"
    before = kept.stat().st_mtime_ns
    with pytest.raises(DataError, match="is unfinished"):
        flow_folder.check(folder, "dis", 32)
    stored(videos, folder)
    assert kept.stat().st_mtime_ns == before
    assert sorted(path.name for path in (folder / "a").iterdir()) == ["0.avi", "1.avi"]
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
        *("flow.json", "manifest.csv", "problems.csv"),
    ]
    assert not (folder / ".parts").exists()
    assert "broken.mp4: it cannot be opened" in (folder / "b" / "broken.mp4").read_text()
    flow_folder.check(folder, "dis", 32)
    rows = (folder / "manifest.csv").read_text().splitlines()
    assert rows == [
        "path,label,split",
        *("a/0.avi,a,train", "a/1.avi,a,train"),
        *("b/0.mp4.avi,b,train", "b/1.mp4.avi,b,train", "b/broken.mp4,b,train"),
    ]
    assert "broken.mp4" in (folder / "problems.csv").read_text()
    with pytest.raises(DataError, match="left as it is:\n  short_side: 32 then, 16 now"):
        stored(videos, folder, short_side=16)


def test_shares_store_the_same_flow(videos, tmp_path):
    options = {"input": "dis", "short_side": 32, "processes": 1}
    whole = stores.store_flow(videos, tmp_path / "whole", **options)
    with pytest.raises(DataError, match="has no parts yet"):
        stores.store_flow(videos, tmp_path / "shared", **options, finish=True)
    for index, made in ((1, 2), (0, 5)):
        share = {"shard_index": index, "shard_count": 2}
        shared = stores.store_flow(videos, tmp_path / "shared", **options, **share)
        assert (shared.parts, shared.parts - len(shared.missing)) == (5, made)
        with pytest.raises(DataError, match="is unfinished"):
            flow_folder.check(tmp_path / "shared", "dis", 32)
    joined = stores.store_flow(videos, tmp_path / "shared", **options, finish=True)
    assert joined.problems == whole.problems
    contents = [content(tmp_path / name) for name in ("shared", "whole")]
    assert contents[0].keys() == contents[1].keys()
    for name in contents[0]:
        if name.startswith(("a/", "b/0", "b/1")):  # Matroska has a random number
            films = [StoredFlow(str(tmp_path / place / name)) for place in ("shared", "whole")]
            frames = [[frame for _, frame in film.frames(film.index())] for film in films]
            assert np.array_equal(*map(np.stack, frames))
        else:
            assert contents[0][name] == contents[1][name]


def test_flow_and_recipe_must_agree(tmp_path, data, small):
    folder = tmp_path / "flow"
    folder.mkdir()
    settings = dataclasses.asdict(FlowSettings("dis", 32))
    (folder / "flow.json").write_text(json.dumps(settings))
    (folder / "manifest.csv").write_text("")
    for wrong, message in (
        (small.clips, "holds optical flow .dis., but the recipe's clips.input is 'rgb'"),
        (flow_data(small.clips, input="farneback"), "input is 'dis', asked for was 'farneback'"),
        (flow_data(small.clips, short_side=16), "short_side is 32, asked for was 16"),
    ):
        with pytest.raises(DataError, match=message):
            open_source(folder, wrong)
    (folder / "flow.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        open_source(folder, data)


def test_other_folders_are_left_alone(videos, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty and is left as it is"):
        stored(videos, tmp_path / "mine")
    with pytest.raises(DataError, match="lies outside of"):
        stored(videos, tmp_path / "flow", root=videos / "a")


def test_a_damaged_file_of_flow_is_noted(moving, tmp_path):
    path = tmp_path / "flow.mkv"
    write_video(tmp_path / "other.avi", 4)
    (tmp_path / "other.avi").rename(path)
    reader = VideoReader(0, 0, "dis", stored=True)
    with pytest.raises(VideoError, match="is not a file of flow"):
        reader.count(Video(str(path), "a"))
    assert reader.broken == 1


def test_stored_frames_come_in_order(moving, tmp_path):
    flow_folder.store((moving, FlowSettings("dis", 0), tmp_path / "out.mkv"))
    stored = StoredFlow(str(tmp_path / "out.mkv"))
    index = stored.index()
    assert (index.seconds == VideoFile(moving.path).index().seconds).all()
    frames = [frame for _, frame in stored.frames(index)]
    assert (np.stack(frames) == every_frame(moving)).all()


def command(*words, code: int) -> str:
    return commands.output(flow_command.main, *words, code=code)


def test_the_command_stores_flow_and_names_what_is_broken(videos, tmp_path):
    output = command(videos, "--output", tmp_path / "f", "--recipe", "gestures_flow", code=1)
    assert "1 videos gave no flow" in output
    assert "broken.mp4: it cannot be opened" in output
    assert flow_folder.read_settings(tmp_path / "f") == FlowSettings("dis", 80)
    assert (tmp_path / "f" / "b" / "1.mp4.avi").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "--input (or clips.input of the --recipe) must be one of ['farneback', 'dis'",
        ),
        (["--input", "dis"], "--short_side is missing"),
        (["--recipe", "gestures"], "must be one of ['farneback', 'dis', 'tvl1']. Received: rgb"),
        (["--input", "dis", "--short_side", "32"], "--output is missing"),
        (["--input", "dis", "--short_side", "32", "--output", "INSIDE"], "lies in"),
    ],
)
def test_what_the_command_refuses(videos, arguments, message):
    arguments = [one.replace("INSIDE", str(videos / "flow")) for one in arguments]
    assert message in command(videos, *arguments, code=1)


@pytest.mark.real
@pytest.mark.timeout(1200)
def test_odd_files_have_as_much_flow_as_frames():
    folder = Path(os.environ["KERAS_R3D_REAL_DATA"]) / "robustness"
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        counts = []
        for name in ("rgb", "dis"):
            reader, video = VideoReader(80, 0, name), Video(str(path), "a")
            try:
                counts.append(
                    [len(w.frame_numbers) for w in reader.windows(video, 16, 1, Views(1, (64, 64)))]
                )
            except VideoError:
                counts.append([-1])
            counts[-1].append(getattr(reader.problem(video), "status", ""))
        assert counts[0] == counts[1], path
    assert len(paths) > 100


def test_stored_flow_is_recognized_by_the_file(tmp_path):
    data = dataclasses.replace(recipe.load("gestures_flow").clips, short_side=24)
    folder = tmp_path / "flow"
    (folder / "a").mkdir(parents=True)
    (folder / flow_folder.MARKER).write_text(
        json.dumps(dataclasses.asdict(flow_folder.FlowSettings(data.input, 24)))
    )
    (folder / annotations.MANIFEST).write_text("path,label,split\n")
    stored, other = str(folder / "a" / "1.mkv"), str(tmp_path / "1.mp4")
    assert opening.file_reader([Video(stored, "")], data)._stored
    assert not opening.file_reader([Video(other, "")], data)._stored
    with pytest.raises(DataError, match="name them in two calls"):
        opening.file_reader([Video(stored, ""), Video(other, "")], data)
    with pytest.raises(DataError, match="rgb"):
        opening.file_reader([Video(stored, "")], recipe.load("gestures").clips)
