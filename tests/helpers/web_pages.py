"""Rendered videos that browsers play, and the two pages."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import HTML
from video_files import encode

from keras_r3d import VideoClassifier
from keras_r3d.applications import metadata
from keras_r3d.data import motion
from keras_r3d.export.web import teaching

MOTIONS = {"up": "up", "left": "left", "circle_clockwise": "circle_clockwise", "wave_arm": HTML}
SEEDS = 1, 3  # of clear cases


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """Two H.264 videos of each of some motions: CLASS/SEED.mp4, the video of a class HTML."""
    folder = tmp_path_factory.mktemp("videos")
    for motion_name, label in MOTIONS.items():
        (folder / label).mkdir()
        for seed in SEEDS:
            frames = motion.render(motion_name, np.random.default_rng(seed), 48, 128)
            encode(folder / label / f"{seed}.mp4", frames, rate=24, options={"crf": "12"})
    return folder


@pytest.fixture(scope="session")
def classifier() -> VideoClassifier:
    """Names the motions of the weights "motion", one as HTML."""
    network = VideoClassifier("motion").model
    about = metadata.read_metadata(network)
    labels = [MOTIONS.get(label, label) for label in about.labels]
    metadata.record(network, labels=labels)
    return VideoClassifier(network, recipe="few")


@pytest.fixture(scope="session")
def page(classifier, videos, tmp_path_factory) -> Path:
    """The folder of its page."""
    folder = tmp_path_factory.mktemp("page") / "page"
    return classifier.export("web", folder, quantize="none", data=videos).path


@pytest.fixture
def changed(page, tmp_path) -> Path:
    """A copy of the page, to be changed."""
    return shutil.copytree(page, tmp_path / "page")


@pytest.fixture(scope="session")
def teach() -> Path:
    """The folder of the page in which movements are taught."""
    return teaching.open_page(None, lambda *_: None)
