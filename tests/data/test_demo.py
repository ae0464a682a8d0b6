import cv2
import numpy as np
import pytest

from keras_r3d.data import annotations, demo
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.system.errors import R3DError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "VIDEOS_PER_CLASS", {"train": 4, "validation": 1, "test": 2})
        yield demo.render(tmp_path_factory.mktemp("cache"))


def test_the_videos_are_ordinary_files_in_class_folders(folder):
    found = annotations.read(folder, "folders", validation_fraction=0, test_fraction=0, seed=1)
    assert found.classes == list(demo.CLASSES)
    counts = {split: len(videos) for split, videos in found.splits.items()}
    assert counts == {s: n * len(demo.CLASSES) for s, n in demo.VIDEOS_PER_CLASS.items()}
    assert len(VideoFile(found.split("test")[0].path).index().seconds) == demo.FRAMES


def test_they_are_rendered_once(folder):
    before = (folder / "test" / "left" / "000.mp4").stat().st_mtime_ns
    assert demo.render(folder.parent) == folder
    assert (folder / "test" / "left" / "000.mp4").stat().st_mtime_ns == before


def test_both_kinds_of_motion_visit_the_same_values():
    """So the frames of a clip, without their order, do not say which motion goes one way."""
    clip = slice(0, demo.PERIOD)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        one_way = demo._one_way(rng, 1)[clip]
        back = demo._one_way(rng, -1)[clip]
        back_and_forth = demo._back_and_forth(rng)[clip]
        # A grid of 1/16, moved by the random start, every value twice.
        for values in (one_way, back, back_and_forth):
            cells = np.bincount((values * 8 * (1 - 1e-9)).astype(int), minlength=8)
            assert cells.tolist() == [4] * 8 or abs(cells - 4).max() <= 1
        assert np.count_nonzero(np.diff(one_way) < 0) <= 2
        assert np.count_nonzero(np.diff(back) > 0) <= 2
        assert 10 < np.count_nonzero(np.diff(back_and_forth) > 0) < 22


def test_the_object_moves_as_its_class_says():
    def track(label):
        """Centers of the shape, `(frames, 2)`, x and y: what differs from the median frame."""
        video = demo.frames(label, "test", np.random.default_rng(7)).astype(float)
        moved = np.abs(video - np.median(video, axis=0)).sum(axis=-1) > 120
        rows, columns = np.mgrid[0 : demo.SIDE, 0 : demo.SIDE]
        return np.array(
            [[(columns * m).sum() / m.sum(), (rows * m).sum() / m.sum()] for m in moved]
        )

    for label, axis, sign in (("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)):
        steps = np.diff(track(label)[:, axis])
        assert np.median(np.sign(steps)) == sign
        other = np.diff(track(label)[:, 1 - axis])
        assert abs(np.mean(np.sign(other))) < 0.5


def test_splits_differ_in_shapes_and_backgrounds():
    outlines = {
        split: {
            demo._outline(split, np.random.default_rng(seed)).round(3).tobytes()
            for seed in range(30)
        }
        for split in demo.VIDEOS_PER_CLASS
    }
    assert not outlines["train"] & outlines["test"]
    assert not outlines["validation"] & outlines["test"]
    assert len(outlines["train"]) == 30


def test_a_build_without_encoder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2.VideoWriter, "fourcc", lambda *a: 0)
    with pytest.raises(R3DError, match="has no MPEG-4 encoder"):
        demo.render(tmp_path)
    assert not list(tmp_path.iterdir())
