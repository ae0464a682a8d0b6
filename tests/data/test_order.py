"""The demo's claim: only the order of frames tells its classes apart."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from shuffling import video_top1

from keras_r3d import recipe, run_folder
from keras_r3d.data import demo
from keras_r3d.data.decoding.frame_folder import timed_frames
from keras_r3d.training import run as training

CHANCE = 1 / len(demo.CLASSES)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return demo.render(tmp_path_factory.mktemp("cache"))


def train(data_dir: Path, workdir: Path, epochs: int) -> run_folder.Run:
    short = recipe.load("demo", [f"train.epochs={epochs}"])
    return training.train_network(short, data_dir, workdir, say=lambda line: None)


@pytest.mark.slow
def test_a_model_of_the_demo_is_near_chance_on_shuffled_frames(videos, tmp_path):
    """A third of the demo's epochs: far above chance in order, at chance out of order."""
    run = train(videos, tmp_path / "run", 8)
    assert video_top1(run, shuffle=False) > 0.6
    assert video_top1(run, shuffle=True) < CHANCE + 0.15


def rewrite(source: Path, target: Path, order) -> None:
    """Writes the demo videos again, with `order(frames)` as the frame numbers of each."""
    for path in sorted(source.rglob("*.mp4")):
        frames = [frame for _, frame in timed_frames(str(path))]
        out = target / path.relative_to(source)
        out.parent.mkdir(parents=True, exist_ok=True)
        size = frames[0].shape[1::-1]
        writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), demo.FPS, size)
        for number in order(len(frames)):
            writer.write(frames[number])
        writer.release()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["shuffled", "still"])
def test_training_without_order_learns_nothing(videos, tmp_path, kind):
    """Trained and tested on the same videos with the frames shuffled, or one frame repeated."""
    rng = np.random.default_rng(0)
    order = rng.permutation if kind == "shuffled" else lambda n: np.full(n, rng.integers(n))
    rewrite(videos, tmp_path / "data", order)
    run = train(tmp_path / "data", tmp_path / "run", 12)
    assert video_top1(run, shuffle=False) < CHANCE + 0.15


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_demo_reaches_95_percent(videos, tmp_path):
    run = train(videos, tmp_path / "run", recipe.load("demo").train.epochs)
    assert video_top1(run, shuffle=False) >= 0.95
