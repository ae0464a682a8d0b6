"""Rendered motion: what moves is drawn, how it moves is what the class says."""

import dataclasses
import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from keras_r3d import recipe
from keras_r3d.data import clips, motion, opening, pipeline
from keras_r3d.data.annotations import Video
from keras_r3d.data.motion import MotionReader, figures, paths, rendering, textures
from keras_r3d.data.sampling import temporal
from keras_r3d.recipe.clips import Consecutive
from keras_r3d.system.errors import DataError, VideoError

DATA = dataclasses.replace(recipe.load("motion").clips, frames=4, size=16)
TIMES = np.linspace(0, 1, 41)
STANDING = (2, 19, 20)  # seeds of a camera that stands, with nothing else that moves


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def clip(name: str, seed: int = 0, frames: int = 4, size: int = 16) -> np.ndarray:
    return motion.render(name, rng(seed), frames, size)


@pytest.mark.parametrize("name", motion.CLASSES)
def test_every_class_renders(name):
    pixels = clip(name, seed=len(name))
    assert pixels.shape == (4, 16, 16, 3)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 5


@pytest.mark.parametrize(("frames", "size"), [(1, 64), (2, 16), (7, 33), (16, 64), (32, 112)])
@pytest.mark.parametrize("name", ["right", "push", "walk", "embrace"])
def test_clips_of_any_length_and_size(name, frames, size):
    for seed in range(5):
        assert clip(name, seed, frames, size).shape == (frames, size, size, 3)


def test_the_same_seed_gives_the_same_bytes_also_in_threads():
    wanted = list(itertools.product(motion.CLASSES[::4], range(3)))
    rendered = [clip(*one) for one in wanted]
    with ThreadPoolExecutor(8) as pool:
        for ours, theirs in zip(rendered, pool.map(lambda one: clip(*one), wanted), strict=True):
            assert (ours == theirs).all()


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("zigzag", "2d5e4a6453e07a45"),
        ("still", "c998ebd44d194d51"),
        ("circle_each_other", "f1941fb22b5097e7"),
        ("push", "f39a2c706985a176"),
        ("jump", "195aaf3d8d4d06f2"),
        ("walk", "8d263e2ab45a491a"),
        ("sit_down", "7c107f3429d626c8"),
        ("push_away", "e3437abc1c718a6a"),
        ("embrace", "3d440a07a2e7a7ed"),
        ("hit_with_arm", "8b4526d93a595c76"),
    ],
)
def test_clips_are_those_that_the_packaged_weights_were_trained_on(name, digest):
    rendered = np.stack([clip(name, seed, 8, 32) for seed in range(6)])
    assert hashlib.sha256(rendered.tobytes()).hexdigest()[:16] == digest


def test_seeds_and_classes_are_different_clips():
    rendered = {clip(name, seed).tobytes() for name in motion.CLASSES for seed in range(3)}
    assert len(rendered) == 3 * len(motion.CLASSES)


@pytest.fixture
def ideal_camera(monkeypatch):
    """Leaves out exposure and noise, which changes from frame to frame."""
    monkeypatch.setattr(rendering, "_as_camera", lambda video, _: video)


@pytest.mark.parametrize("seed", STANDING)
def test_all_but_one_class_move(ideal_camera, seed):
    still = clip("still", seed, 16, 64)
    assert (still == still[0]).all()
    for name in set(motion.CLASSES) - {"still"}:
        pixels = clip(name, seed, 16, 64)
        assert (pixels != pixels[0]).any(), name


def test_a_moving_camera_moves_all_of_the_picture(ideal_camera):
    changed = [(np.ptp(clip("still", seed, 16, 64), axis=0) > 0).mean() for seed in range(30)]
    assert sum(share == 0 for share in changed) >= 5
    assert sum(share > 0.7 for share in changed) >= 5


def test_a_standing_camera_has_noise_or_none():
    noisy = [bool(np.ptp(clip("still", seed), axis=0).any()) for seed in range(80)]
    assert not any(noisy[seed] for seed in STANDING)
    assert sum(noisy) > 20


@pytest.mark.parametrize(
    ("name", "x", "y"), [("right", 1, 0), ("left", -1, 0), ("up_right", 1, -1), ("down", 0, 1)]
)
def test_a_thing_is_drawn_where_its_path_is(name, x, y):
    """The middle of what is lit moves as the name says."""
    for seed in range(5):
        video = np.zeros((2, 64, 64, 3), np.uint8)
        track = paths.ONE[name](np.array([0.3, 0.7]), rng(seed))
        rendering._draw_one(video, track, rng(seed))
        lit = video.max(axis=-1) > 0
        first, last = (np.argwhere(frame).mean(axis=0) for frame in lit)
        assert np.abs(last - first) == pytest.approx(np.abs([y, x]) * np.abs(last - first), abs=1)
        assert np.sign(np.round(last - first, 0)).tolist() == [y, x]


def test_a_thing_that_grows_covers_more():
    video = np.zeros((2, 64, 64, 3), np.uint8)
    rendering._draw_one(video, paths.ONE["grow"](np.array([0.0, 1.0]), rng()), rng())
    small, large = (video.max(axis=-1) > 0).sum(axis=(1, 2))
    assert large > 3 * small > 0


@pytest.mark.parametrize("name", paths.ONE)
def test_paths_of_one_thing_stay_inside_the_unit_square(name):
    for seed in range(20):
        track = paths.ONE[name](TIMES, rng(seed))
        assert all(value.shape == TIMES.shape for value in dataclasses.astuple(track))
        assert max(np.abs(track.x).max(), np.abs(track.y).max()) <= 0.5
        assert track.scale.min() > 0.5
        assert track.scale.max() < 1.5


@pytest.mark.parametrize("name", paths.TWO)
def test_paths_of_two_things_stay_inside_the_unit_circle(name):
    for seed in range(20):
        for track in paths.TWO[name](TIMES, rng(seed)):
            assert np.hypot(track.x, track.y).max() <= 0.5 + 1e-9


def places(name: str, seed: int = 0) -> np.ndarray:
    track = paths.ONE[name](TIMES, rng(seed))
    return np.stack([track.x, track.y], axis=1)


SIDED = [name for name in paths.ONE if "left" in name or "right" in name]
UPRIGHT = [name for name in paths.ONE if "up" in name or "down" in name]


@pytest.mark.parametrize(
    ("names", "one", "other", "axis"),
    [(SIDED, "left", "right", 0), (UPRIGHT, "up", "down", 1)],
    ids=["sides", "upright"],
)
def test_mirrored_paths_have_mirrored_names(names, one, other, axis):
    assert len(names) >= 20
    for name in names:
        mirrored = name.replace(one, "?").replace(other, one).replace("?", other)
        expected = places(name)
        expected[:, axis] *= -1
        assert places(mirrored) == pytest.approx(expected), name


def test_what_ends_where_it_begins():
    for name in ("square_clockwise", "square_counterclockwise", "left_and_back", "up_and_back"):
        assert places(name)[0] == pytest.approx(places(name)[-1])
    for name in ("circle_clockwise", "circle_counterclockwise"):
        assert places(name)[0] == pytest.approx(places(name)[-1])
    assert places("zigzag")[0] != pytest.approx(places("zigzag")[-1])


@pytest.mark.parametrize(
    ("kind", "sides"),
    [("circle", 40), ("square", 40), ("turn", 0)],
    ids=["circle", "square", "turn"],
)
def test_clockwise_is_clockwise_where_y_points_down(kind, sides):
    for direction, sign in (("clockwise", 1), ("counterclockwise", -1)):
        track = paths.ONE[f"{kind}_{direction}"](TIMES, rng(3))
        if not sides:
            assert (np.sign(np.diff(track.angle)) == sign).all()
            continue
        turned = track.x[:-1] * track.y[1:] - track.x[1:] * track.y[:-1]
        assert (np.sign(turned) == sign).all()


def test_a_polyline_goes_at_an_even_speed():
    steps = np.hypot(*np.diff(places("square_clockwise"), axis=0).T)
    assert steps == pytest.approx(4 / 40)
    assert np.ptp(places("square_clockwise"), axis=0) == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("approach", 1.0, 0.2),
        ("part", 0.2, 1.0),
        ("pass", 1.0, 1.0),
        ("follow", 0.4, 0.4),
        ("push", 0.5, 0.4),
        ("touch_and_back", 0.55, 0.55),
        ("exchange", 0.6, 0.6),
    ],
)
def test_two_things_are_as_far_from_each_other_as_they_shall(name, first, last):
    one, other = paths.TWO[name](TIMES, rng(1))
    apart = np.hypot(one.x - other.x, one.y - other.y)
    assert (apart[0], apart[-1]) == pytest.approx((first, last))


def test_two_things_that_exchange_are_where_the_other_was():
    one, other = paths.TWO["exchange"](TIMES, rng(1))
    assert (one.x[-1], one.y[-1]) == pytest.approx((other.x[0], other.y[0]))
    one, _ = paths.TWO["circle_each_other"](TIMES, rng(1))
    assert (one.x[-1], one.y[-1]) == pytest.approx((one.x[0], one.y[0]))


def joints(facing: float = 1.0, **values) -> dict[str, list[float]]:
    """Returns where the joints of somebody who stands still are, at one time."""
    straight = {"lean": 0, "arm": 0, "arm2": 0, "elbow": 0, "elbow2": 0, "leg": 0, "leg2": 0}
    pose = figures.pose(np.zeros(1), rng(), **straight | values)
    return {name: where[0].tolist() for name, where in figures.joints(pose, facing).items()}


def test_arms_and_legs_hang_down():
    at = joints()
    assert {round(x, 9) for x, _ in at.values()} == {0}
    heights = [at[name][1] for name in ("head", "neck", "elbow0", "hand0")]
    assert heights == sorted(heights)
    assert [at[name][1] for name in ("neck", "hand0", "hip", "foot0")] == pytest.approx(
        [-0.3, 0.04, 0, 0.48]
    )


@pytest.mark.parametrize("facing", [1.0, -1.0])
def test_an_arm_of_a_right_angle_points_forwards_and_a_knee_bends_backwards(facing):
    at = joints(facing, arm=np.pi / 2, knee=np.pi / 2)
    assert at["hand0"] == pytest.approx([facing * 0.34, -0.3])
    assert at["hand1"] == pytest.approx([0, 0.04])
    assert at["knee0"] == pytest.approx([0, 0.24])
    assert at["foot0"] == pytest.approx([-facing * 0.24, 0.24])
    bent = joints(facing, lean=np.pi / 2)
    assert bent["neck"] == pytest.approx([facing * 0.3, 0])


@pytest.mark.parametrize(
    ("name", "joint", "axis", "sign"),
    [
        ("raise_arm", "hand0", 1, -1),
        ("lower_arm", "hand0", 1, 1),
        ("bend_down", "head", 1, 1),
        ("straighten_up", "head", 1, -1),
        ("sit_down", "hip", 1, 1),
        ("stand_up", "hip", 1, -1),
        ("walk", "hip", 0, 1),
    ],
)
def test_figures_do_what_they_are_said_to_do(name, joint, axis, sign):
    for seed in range(10):
        (pose,) = figures.ONE[name](TIMES, rng(seed))
        moved = figures.joints(pose, 1.0)[joint][[0, -1], axis]
        assert sign * np.diff(moved) > 0.15


@pytest.mark.parametrize("name", figures.TWO)
def test_two_figures_face_each_other(name):
    for seed in range(10):
        one, other = figures.TWO[name](TIMES, rng(seed))
        left, right = figures.joints(one, 1.0), figures.joints(other, -1.0)
        assert (left["hip"][:, 0] < right["hip"][:, 0]).all()
        assert all(np.abs(at).max() < 2 for at in (*left.values(), *right.values()))


@pytest.mark.parametrize(("name", "joint"), [("hit_with_arm", "hand0"), ("hit_with_leg", "foot0")])
def test_who_hits_reaches_the_other(name, joint):
    for seed in range(10):
        one, other = figures.TWO[name](TIMES, rng(seed))
        apart = figures.joints(other, -1.0)["hip"][:, 0] - figures.joints(one, 1.0)[joint][:, 0]
        assert apart.min() < 0.2 < apart[0]


def test_textures_and_outlines_are_what_they_say():
    assert textures.textures().shape[1:] == (textures.SIDE, textures.SIDE, 3)
    outlines = textures.outlines()
    assert outlines.dtype == np.float32
    assert outlines.min() >= 0
    assert outlines.max() <= 1
    assert outlines.max(axis=(1, 2)).min() > 0.5  # none is empty


def test_splits_have_all_classes_and_share_no_video():
    found = motion.annotations()
    assert found.classes == list(motion.CLASSES) == sorted(motion.CLASSES)
    counts = {split: len(videos) / len(motion.CLASSES) for split, videos in found.splits.items()}
    assert counts == {"train": 1, "validation": 5, "test": 30}
    assert all({v.label for v in videos} == set(found.classes) for videos in found.splits.values())
    paths_ = [video.path for videos in found.splits.values() for video in videos]
    assert len(set(paths_)) == len(paths_) == 36 * len(motion.CLASSES)


def test_a_training_video_never_ends_and_others_are_one_clip():
    reader, found = MotionReader(4), motion.annotations()
    assert reader.count(found.split("train")[0]) > 10**12
    assert reader.count(found.split("test")[0]) == 4
    assert reader.seconds(found.split("test")[0]).tolist() == [0, 1 / 16, 2 / 16, 3 / 16]
    with pytest.raises(VideoError, match="rendered without end: take the split 'validation'"):
        next(clips.windows(reader, found.split("train")[0], DATA))


def test_motion_is_opened_as_any_other_data():
    opened = opening.open_source(motion.URL, DATA, seed=1)
    assert isinstance(opened.reader, MotionReader)
    assert opened.annotations == motion.annotations()
    assert opened.path == motion.URL
    for change in ({"sampling": Consecutive(fps=25)}, {"size": (32, 48)}, {"input": "dis"}):
        with pytest.raises(DataError, match=r"motion:// renders square RGB clips at no frame rate"):
            opening.open_source(motion.URL, dataclasses.replace(DATA, **change))


def batches(count: int, start: int = 0, seed: int = 1):
    videos = motion.annotations().split("train")
    stream = pipeline.training_clips(
        MotionReader(4), videos, motion.CLASSES, DATA, batch_size=67, seed=seed, start=start
    )
    return [(pixels.numpy(), labels.numpy()) for pixels, labels in stream.take(count)]


def test_training_clips_are_new_ones_every_epoch_and_the_same_again():
    """67 videos are an epoch: the second has other clips of the same classes."""
    (first, labels), (second, others) = batches(2)
    assert sorted(labels) == sorted(others) == list(range(67))
    assert not {one.tobytes() for one in first} & {one.tobytes() for one in second}
    ((again, same),) = batches(1, start=1)
    assert (again == second).all()
    assert (same == others).all()
    assert (batches(1, seed=2)[0][0] != first).any()


def test_a_training_clip_is_of_its_video_and_the_number_of_its_first_frame():
    video = Video(f"{motion.URL}train/jump", "jump")
    pixels = [clips.training_clip(MotionReader(4), video, DATA, rng(n)).pixels for n in (5, 5, 6)]
    assert (pixels[0] == pixels[1]).all()
    assert (pixels[0] != pixels[2]).any()


def test_a_test_video_has_one_window_which_is_the_same_always():
    video = motion.annotations().split("test")[7]
    one, again = (list(clips.windows(MotionReader(4), video, DATA)) for _ in range(2))
    assert len(one) == 1
    assert one[0].frame_numbers.tolist() == [0, 1, 2, 3]
    assert one[0].pixels.shape == (1, 4, 16, 16, 3)
    assert (one[0].pixels == again[0].pixels).all()
    other = Video(video.path + "1", video.label)
    (window,) = clips.windows(MotionReader(4), other, DATA)
    assert (window.pixels != one[0].pixels).any()
    assert (clips.middle_clip(MotionReader(4), video, DATA).pixels == one[0].pixels[0]).all()


def test_a_clip_of_an_endless_video_is_drawn_at_once():
    starts = {int(temporal.random_window(rng(n), 2**40, 16, 1)[0]) for n in range(50)}
    assert len(starts) == 50
    assert max(starts) > 2**38
