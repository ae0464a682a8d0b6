"""The harness of the benchmarks: the same clips for all, and nobody dropped silently."""

import json
import os

import numpy as np
import pytest
from conftest import STEP, frame_numbers, write_video

from benchmarks import few
from benchmarks.clips import draws, motion, pipeline
from benchmarks.clips.authors import AuthorsLoader
from benchmarks.clips.contenders import ClipByClip, DecodingAlone, FromVideos, Task
from benchmarks.clips.peers import Decord, PyAV, TorchCodec
from keras_r3d import recipe
from keras_r3d.applications import R3D10
from keras_r3d.data import annotations
from keras_r3d.data import pipeline as data_pipeline
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.system.errors import R3DError

SET = ["clips.frames=4", "clips.size=16", "clips.short_side="]


class NotInstalled(ClipByClip):
    name = "not installed"
    modules = ("keras_r3d_has_no_such_module",)

    def __init__(self, task):
        pass

    def clip(self, draw):
        return None


class Fails(NotInstalled):
    name = "fails"
    modules = ()

    def clip(self, draw):
        raise ValueError("as it was told to\nat length")


class Crashes(NotInstalled):
    name = "crashes"
    modules = ()

    def clip(self, draw):
        os._exit(7)


class Late(NotInstalled):
    """Gives the frame after the one asked for."""

    name = "one frame late"
    modules = ()

    def __init__(self, task):
        self.size = task.clips.size

    def clip(self, draw):
        values = STEP * (draw.numbers + 1)
        shape = (len(values), self.size, self.size, 3)
        return np.broadcast_to(values[:, None, None, None], shape).astype(np.uint8)


@pytest.mark.slow
def test_everyone_is_measured_or_named(class_folders, tmp_path):
    broken = class_folders / "red" / "broken.mp4"
    broken.write_bytes(b"no video")
    lines: list[str] = []
    figures = pipeline.run(
        str(class_folders),
        recipe.load("kinetics34", SET),
        clips=13,
        rounds=1,
        most_cores=None,
        gpu_clips_per_second=[],
        json=str(tmp_path / "p.json"),
        contenders=(FromVideos, DecodingAlone, NotInstalled, Fails, Crashes, Late),
        say=lines.append,
    )
    assert json.loads((tmp_path / "p.json").read_text()) == json.loads(json.dumps(figures))
    output = "\n".join(lines)
    assert f"Left out: {broken}: OpenCV cannot open it" in output
    assert "not importable: ModuleNotFoundError: No module named 'keras_r3d_has" in output
    assert "failed: ValueError: as it was told to\n" in output
    assert "crashed: its process ended with code 7" in output
    assert "Rates of GPUs are assumed" in output
    assert figures["videos"] == 12
    found = figures["contenders"]
    assert found["keras_r3d, from videos"]["against_ours"] == 1
    assert found["decoding alone, OpenCV"]["clips_per_second"] > 0
    assert found["one frame late"]["same_frames"] is False
    assert found["fails"]["clips_per_second"] is None
    assert set(figures["clips_per_second_by_cores"]) >= {1, len(os.sched_getaffinity(0))}


@pytest.mark.parametrize("contender", [PyAV, Decord, TorchCodec, AuthorsLoader])
def test_other_loaders_make_the_clip_asked_for(tmp_path, contender):
    for label in ("a", "b"):
        for number in range(3):  # decord fails where a width is no multiple of 32
            write_video(tmp_path / "data" / label / f"{number}.avi", 12, 64, 96)
    data = recipe.load("kinetics34", SET).clips
    found = annotations.read(tmp_path / "data", "folders")
    sources, _ = draws.count(found.split("train"), 3, 1)
    (tmp_path / "scratch").mkdir()
    task = Task(sources, found.classes, data, 3, 1, str(tmp_path / "scratch"))
    turns = [draws.plan(sources, data, 1, range(3)) for _ in range(2)]
    result = pipeline.on_one_core([contender], task, {1: turns}, min(os.sched_getaffinity(0)))[
        contender
    ]
    if result.problem and result.problem.startswith("not importable"):
        pytest.skip(result.problem)
    assert result.problem is None
    assert result.same_frames
    assert result.levels_off < STEP / 2


def test_the_draws_are_those_of_training(tmp_path):
    videos = [Video(str(write_video(tmp_path / f"{n}.avi", 10 + n)), "a") for n in range(3)]
    videos[2] = Video(videos[2].path, "a", start_seconds=0.5, end_seconds=1.0)
    sources, problems = draws.count(videos, 5, 0)
    assert not problems
    data = recipe.load("kinetics34", SET).clips
    plan = draws.plan(sources, data, 0, range(300))
    assert len(plan) == 300
    for source in sources:
        own = [draw for draw in plan if draw.source is source]
        assert len(own) == 100
        first = {int(draw.numbers[0]) for draw in own}
        assert first == set(range(source.first, source.first + source.count - 3))
    assert {(draw.scale, draw.position, draw.flip) for draw in plan} == {
        (scale, position, flip)
        for scale in data.crop.scales
        for position in data.crop.positions
        for flip in (False, True)
    }
    (segment,) = [one for one in sources if one.video.end_seconds == 1.0]
    assert (segment.first, segment.count, segment.frames_in_file) == (5, 5, 12)


@pytest.mark.parametrize("more", [[], ["videos.balanced=true", "clips.sampling.max_stride=3"]])
def test_the_draws_give_the_clips_of_training(class_folders, more):
    experiment = recipe.load("kinetics34", [*SET, *more])
    data, balanced = experiment.clips, experiment.videos.balanced
    found = annotations.read(class_folders, "folders")
    sources, _ = draws.count(found.split("train"), 5, 3)
    videos = [source.video for source in sources]
    stream = data_pipeline.training_clips(
        VideoReader(0, 0.0), videos, found.classes, data, batch_size=13, seed=3, balanced=balanced
    )
    ((pixels, _),) = stream.take(1)
    plan = draws.plan(sources, data, 3, range(13), balanced)
    clips = [
        draw.cut(draws.read_frames(draw.source.video.path, draw.numbers), data.size)
        for draw in plan
    ]
    np.testing.assert_array_equal(pixels, clips)


def test_a_draw_is_cut_as_training_cuts(tmp_path):
    one = Video(str(write_video(tmp_path / "v.avi", 10, 40, 60)), "a")
    (source,), _ = draws.count([one], 1, 0)
    draw = draws.Draw(source, np.arange(3, 7), 0.5, "bottom_right", False)
    crop = draw.crop(40, 60)
    assert (crop.top, crop.left, crop.height, crop.width) == (20, 40, 20, 20)
    frames = np.zeros((4, 40, 60, 3), np.uint8)
    frames[:, 20:, 40:] = STEP * np.arange(3, 7).reshape(4, 1, 1, 1)
    assert frame_numbers(draw.cut(frames, 8)) == [3, 4, 5, 6]


def test_cores_needed():
    assert pipeline.cores_needed(100, {1: 10.0}) == 10
    assert pipeline.cores_needed(100, {1: 10.0, 4: 32.0}) == 13


def test_a_wrong_call_is_one_sentence(class_folders):
    given = {"clips": 1, "rounds": 1, "gpu_clips_per_second": [], "json": None}
    with pytest.raises(R3DError, match="--cores must be at most"):
        pipeline.run(str(class_folders), recipe.load("kinetics34"), most_cores=10**6, **given)
    with pytest.raises(R3DError, match="'fails' failed: ValueError"):
        pipeline.run(
            str(class_folders),
            recipe.load("kinetics34", SET),
            most_cores=1,
            contenders=(Fails, DecodingAlone),
            **given,
        )


def test_rendering_motion_is_measured(tmp_path, capsys):
    figures = motion.run(clips=2, rounds=1, json=str(tmp_path / "m.json"), sizes=(16,))
    assert json.loads((tmp_path / "m.json").read_text()) == figures
    assert set(figures["clips_per_second"]) == {"16x16x16, one thread", "16x16x16, tf.data"}
    for rates in figures["clips_per_second"].values():
        assert 0 < rates["lowest"] <= rates["median"] <= rates["highest"]
        assert rates["per_cpu_second"] > 0
    assert "16x16x16, one thread" in capsys.readouterr().out


@pytest.mark.slow
def test_training_on_few_videos_is_measured(class_folders, tmp_path, capsys):
    network = R3D10(input_shape=(4, 16, 16, 3), width=0.125, labels=["a", "b"])
    network.save(tmp_path / "weights.keras")
    figures = few.run(
        str(class_folders),
        recipe.load("few", [*SET, "few.stages=['conv5']"]),
        str(tmp_path / "weights.keras"),
        rounds=1,
        json=str(tmp_path / "f.json"),
    )
    assert json.loads((tmp_path / "f.json").read_text()) == figures
    assert figures["videos"] == 12
    assert figures["clips"] == 12 * 6 * 2  # six windows, two views
    rates = figures["videos_per_second"]
    assert set(rates) == {"decoding alone", "network alone", "embedding"}
    assert figures["most_videos_per_second"] < min(rates["decoding alone"], rates["network alone"])
    first, again = figures["trainings"].values()
    assert set(first) == set(again) >= {"embedded", "fitted", "all"}
    assert figures["peak_megabytes"] >= figures["megabytes_before"]
    assert "Whole training, again: embedded" in capsys.readouterr().out
