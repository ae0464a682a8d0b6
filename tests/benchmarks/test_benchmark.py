"""The harness of the benchmarks: the same clips for all, and nobody dropped silently."""

import json
import os

import numpy as np
import pytest
from conftest import STEP, write_video

from benchmarks import few, scale
from benchmarks.clips import draws, motion, pipeline
from benchmarks.clips.contenders import FROM_VIDEOS
from benchmarks.options import Options
from benchmarks.turns import Contender, Result, Worker, one_by_one, report
from keras_r3d import recipe
from keras_r3d.applications import R3D10
from keras_r3d.data import annotations
from keras_r3d.data import pipeline as data_pipeline
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.sampling import cropping
from keras_r3d.system.errors import R3DError

SET = ["clips.frames=4", "clips.size=16", "clips.short_side="]


def _start_nothing(task):
    return one_by_one(lambda draw: None)


def _start_failing(task):
    def clip(draw):
        raise ValueError("as it was told to\nat length")

    return Worker(one_by_one(clip).run)


def _start_crashing(task):
    return one_by_one(lambda draw: os._exit(7))


def _start_late(task):
    """Gives the frame after the one asked for."""
    size = task.recipe.clips.size

    def clip(draw):
        values = STEP * (draw.numbers + 1)
        shape = (len(values), size, size, 3)
        return np.broadcast_to(values[:, None, None, None], shape).astype(np.uint8)

    return one_by_one(clip)


NOT_INSTALLED = Contender("not installed", _start_nothing, ("keras_r3d_has_no_such_module",))
FAILS = Contender("fails", _start_failing)
CRASHES = Contender("crashes", _start_crashing)
LATE = Contender("one frame late", _start_late)


@pytest.mark.slow
def test_everyone_is_measured_or_named(class_folders, capsys):
    broken = class_folders / "red" / "broken.mp4"
    broken.write_bytes(b"no video")
    figures = pipeline.run(
        Options(data=str(class_folders), overrides=SET, clips=13, rounds=1),
        contenders=(*FROM_VIDEOS[:2], NOT_INSTALLED, FAILS, CRASHES, LATE),
    )
    json.dumps(figures, allow_nan=False)
    output = capsys.readouterr().out
    assert f"Left out: {broken}: it cannot be opened" in output
    assert "not importable: ModuleNotFoundError: No module named 'keras_r3d_has" in output
    assert "failed: ValueError: as it was told to\n" in output
    assert "crashed: its process ended with code 7" in output
    assert "Rates of GPUs are assumed" in output
    assert figures["videos"] == 12
    found = figures["contenders"]
    assert found["keras_r3d, from videos"]["of ours"] == 1
    assert found["decoding alone, PyAV"]["of floor"] == 1
    assert found["decoding alone, PyAV"]["rate"] > 0
    assert found["one frame late"]["same"] is False
    assert found["fails"]["problem"]
    assert "rate" not in found["fails"]
    cores = len(os.sched_getaffinity(0))
    assert set(figures["by_cores"]) >= {f"on {count} of {cores} cores" for count in (1, cores)}


PEERS = FROM_VIDEOS[3:]


@pytest.mark.parametrize("contender", PEERS, ids=[contender.name for contender in PEERS])
def test_other_loaders_make_the_clip_asked_for(tmp_path, contender):
    for label in ("a", "b"):
        for number in range(3):  # decord fails where a width is no multiple of 32
            write_video(tmp_path / "data" / label / f"{number}.avi", 12, 64, 96)
    experiment = recipe.load("kinetics34", SET)
    found = annotations.read(tmp_path / "data", "folders")
    sources, _ = draws.count(found.split("train"), 3, 1)
    (tmp_path / "scratch").mkdir()
    task = draws.Task(sources, found.classes, experiment, 3, str(tmp_path / "scratch"))
    plan = pipeline.planner(task, 3, 1)
    ((result,), (alike,)) = (d.values() for d in pipeline.on_one_core([contender], task, plan))
    if result.problem.startswith("not importable"):
        pytest.skip(result.problem)
    assert not result.problem
    assert alike["same"]
    assert alike["off by"] < STEP / 2


def test_the_draws_are_those_of_training(tmp_path):
    videos = [Video(str(write_video(tmp_path / f"{n}.avi", 10 + n)), "a") for n in range(3)]
    videos[2] = Video(videos[2].path, "a", start_seconds=0.5, end_seconds=1.0)
    sources, problems = draws.count(videos, 5, 0)
    assert not problems
    experiment = recipe.load("kinetics34", [*SET, "train.seed=0"])
    data = experiment.clips
    plan = draws.plan(sources, experiment, range(300))
    assert len(plan) == 300
    for source in sources:
        own = [draw for draw in plan if draw.source is source]
        assert len(own) == 100
        first = {int(draw.numbers[0]) for draw in own}
        assert first == set(range(source.first, source.first + source.count - 3))
    assert {draw.crop(64, 96) for draw in plan} == {
        cropping.place(64, 96, scale, position, flip)
        for scale in data.crop.scales
        for position in data.crop.positions
        for flip in (False, True)
    }
    (segment,) = [one for one in sources if one.video.end_seconds == 1.0]
    assert (segment.first, segment.count, segment.frames_in_file) == (5, 5, 12)


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["videos.balanced=true", "clips.sampling.max_stride=3"],
        ["clips.crop={kind='random_resized', area=[0.3, 1], aspect=[0.7, 1.4]}"],
        ["clips.size=[16, 24]"],
    ],
)
def test_the_draws_give_the_clips_of_training(class_folders, more):
    experiment = recipe.load("kinetics34", [*SET, "train.seed=3", *more])
    data, balanced = experiment.clips, experiment.videos.balanced
    found = annotations.read(class_folders, "folders")
    sources, _ = draws.count(found.split("train"), 5, 3)
    videos = [source.video for source in sources]
    stream = data_pipeline.training_clips(
        VideoReader(0, 0.0), videos, found.classes, data, batch_size=13, seed=3, balanced=balanced
    )
    ((pixels, _),) = stream.take(1)
    plan = draws.plan(sources, experiment, range(13))
    clips = [draw.cut(draws.read_frames(draw.source.video.path, draw.numbers)) for draw in plan]
    np.testing.assert_array_equal(pixels, clips)


def test_a_report_has_medians_ratios_and_who_dropped_out(capsys):
    results = {
        "slow": Result("1.2", "", [0.5, 0.25, 1.0], [0.25, 0.25, 0.25], 7.0),
        "fast": Result("", "", [0.25, 0.25, 0.25], [0.125, 0.25, 0.125]),
        "gone": Result(problem="crashed"),
    }
    more = {"fast": {"same": True, "off": 1e-6}}
    rows = report("Two", results, "clips", scale=3, against={"of slow": "slow"}, more=more)
    assert (rows["slow"]["rate"], rows["slow"]["lowest"], rows["slow"]["highest"]) == (6, 3, 12)
    assert (rows["fast"]["of slow"], rows["fast"]["cpu rate"]) == (2, 24)
    assert rows["gone"] == {"version": "", "problem": "crashed", "of slow": None}
    by_cpu = report("Two", results, "clips", against={"of slow": "slow"}, by="cpu rate")
    assert by_cpu["fast"]["of slow"] == 2
    title, head, slow, fast, gone = capsys.readouterr().out.splitlines()[:5]
    assert title == "Two"
    assert head.split()[-1] == "off"
    assert head.startswith("  clips a second, median of 3 turns")
    assert slow.split() == ["slow", "(1.2)", "6.00", "3.00", "12.00", "12.00", "7.00", "1.00"]
    assert fast.split() == ["fast", "12.00", "12.00", "12.00", "24.00", "2.00", "True", "1.0e-06"]
    assert gone.split() == ["gone", "crashed"]


def test_cores_needed():
    assert pipeline.cores_needed(100, {1: 10.0}) == 10
    assert pipeline.cores_needed(100, {1: 10.0, 4: 32.0}) == 13


def test_a_wrong_call_is_one_sentence(class_folders):
    data = str(class_folders)
    with pytest.raises(R3DError, match="`cores` must be at most"):
        pipeline.run(Options(data=data, clips=1, rounds=1, cores=10**6))
    options = Options(data=data, overrides=SET, clips=1, rounds=1, cores=1)
    flow = ["clips.input=dis", "model.mean=[128, 128]", "model.std=[1, 1]"]
    for changes in (["clips.sampling.fps=10"], flow):
        with pytest.raises(R3DError, match="makes clips of all frames"):
            pipeline.run(Options(data=data, clips=1, rounds=1, overrides=changes))
    with pytest.raises(R3DError, match="'fails' failed: ValueError"):
        pipeline.run(options, contenders=(FAILS, FROM_VIDEOS[1]))


@pytest.mark.slow
def test_rendering_motion_is_measured(capsys):
    figures = motion.run(Options(clips=2, rounds=1), sizes=(16,))
    assert json.loads(json.dumps(figures)) == figures
    assert set(figures["contenders"]) == {"16x16x16, one thread", "16x16x16, tf.data"}
    for row in figures["contenders"].values():
        assert 0 < row["lowest"] <= row["rate"] <= row["highest"]
        assert row["cpu rate"] > 0
    assert "16x16x16, one thread" in capsys.readouterr().out


def test_planning_and_joining_are_measured(capsys):
    figures = scale.run(Options(clips=640))
    assert figures["files"] == 65, "a plan and parts of 10 videos"
    assert all(value > 0 for value in figures.values())
    assert "join_seconds" in capsys.readouterr().out


@pytest.mark.slow
def test_training_on_few_videos_is_measured(class_folders, tmp_path, capsys):
    network = R3D10(input_shape=(4, 16, 16, 3), width=0.125, labels=["a", "b"])
    network.save(tmp_path / "weights.keras")
    options = Options(
        data=str(class_folders),
        recipe="few",
        overrides=[*SET, "few.stages=['conv5']"],
        weights=str(tmp_path / "weights.keras"),
        rounds=1,
    )
    figures = few.run(options)
    assert json.loads(json.dumps(figures)) == figures
    assert figures["videos"] == 12
    assert figures["clips"] == 12 * 6 * 2  # six windows, two views
    rates = {name: row["rate"] for name, row in figures["contenders"].items()}
    assert set(rates) == {"decoding alone", "network alone", "embedding"}
    assert figures["most_videos_per_second"] < min(rates["decoding alone"], rates["network alone"])
    first, again = figures["trainings"].values()
    assert set(first) == set(again) >= {"embedded", "fitted", "all"}
    assert figures["peak_megabytes"] >= figures["megabytes_before"]
    assert "Whole training, again: embedded" in capsys.readouterr().out


@pytest.mark.slow
def test_accuracy_by_the_number_of_videos_is_measured(class_folders, tmp_path, capsys):
    network = R3D10(input_shape=(4, 16, 16, 3), width=0.125, labels=["a", "b"])
    network.save(tmp_path / "weights.keras")
    rows = [
        f"{class_folders / label / f'{number}.avi'},{label},{'test' if number > 3 else 'train'}"
        for label in ("red", "green")
        for number in range(6)
    ]
    listed = tmp_path / "videos.csv"
    listed.write_text("\n".join(["path,label,split", *rows]))
    options = Options(
        data=str(listed),
        recipe="few",
        overrides=[*SET, "few.stages=['conv5']"],
        weights=str(tmp_path / "weights.keras"),
        per_class=[1, 3],
        draws=2,
        picture=str(tmp_path / "curves.png"),
    )
    figures = few.run_shots(options)
    assert json.loads(json.dumps(figures)) == figures
    assert [point["per_class"] for point in figures["points"]] == [1, 3]
    assert all(len(point["accuracies"]) == 2 for point in figures["points"])
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert "few             3 a class: " in capsys.readouterr().out
