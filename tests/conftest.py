"""Small videos whose brightness encodes the frame number, and a recipe to go with them."""

import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
if "PYTEST_XDIST_WORKER" in os.environ:  # a core each, or threads wait for each other
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings
from matplotlib.figure import Figure

from keras_r3d import recipe
from keras_r3d.data.decoding.reader import Cut, Reader
from keras_r3d.data.sampling import cropping

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what is in the background so; but commands that tests start are interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing where others use the same cores.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

STEP = 6  # levels of brightness from one frame to the next


def write_video(
    path: Path, frames: int = 20, height: int = 32, width: int = 48, tint=(1.0, 1.0, 1.0), base=0
) -> Path:
    """Writes a Motion-JPEG AVI; frame i has the value `base + STEP * i`, times `tint` (RGB)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    assert writer.isOpened()
    for number in range(frames):
        color = np.array(tint)[::-1] * (base + STEP * number)
        writer.write(np.broadcast_to(color.astype(np.uint8), (height, width, 3)))
    writer.release()
    return path


def write_noise(path: Path, frames: int, random: np.random.Generator) -> None:
    """Writes a Motion-JPEG AVI of 320x240 pixels of noise, which makes large frames."""
    path.parent.mkdir(exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    for _ in range(frames):
        writer.write(random.integers(0, 256, (240, 320, 3), np.uint8))
    writer.release()


def write_classes(folder: Path, count: int = 6, frames: int = 12, base: int = 0) -> Path:
    """Writes so many videos of each of two classes, red and green: FOLDER/CLASS/NUMBER.avi."""
    for number in range(count):
        for label, tint in (("red", (1, 0.2, 0.2)), ("green", (0.2, 1, 0.2))):
            write_video(folder / label / f"{number}.avi", frames, tint=tint, base=base)
    return folder


def frame_numbers(clip: np.ndarray) -> list[int]:
    """Reads the frame numbers back from a clip `(frames, height, width, 3)`."""
    return np.rint(clip.mean(axis=(1, 2, 3)) / STEP).astype(int).tolist()


def read(reader: Reader, video, numbers, size: int = 32) -> np.ndarray:
    """Reads frames of a video: the center crop, scaled to `size`."""
    out = np.empty((len(numbers), size, size, 3), np.uint8)
    reader.cut(video, [Cut(np.array(numbers), cropping.center, out)])
    return out


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "video.avi")


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """Two classes, red and green, with six videos each, in `tmp_path/data`."""
    return write_classes(tmp_path / "data")


@pytest.fixture(scope="module")
def cheap_pictures():
    """Saves all figures as one black pixel: drawing takes a third of a small training."""
    pixel = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()

    def save(self, target, **_) -> None:
        if hasattr(target, "write"):
            target.write(pixel)
        else:
            Path(target).write_bytes(pixel)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        yield


@pytest.fixture(scope="session")
def small() -> recipe.Recipe:
    return small_recipe()


def small_recipe() -> recipe.Recipe:
    """A recipe that trains in seconds."""
    return recipe.load(
        "demo",
        [
            "model.width=0.0625",
            "videos.rendered=",
            "videos.broken_share=0.5",
            "videos.hold_out={validation=0.2, test=0.2}",
            "clips.frames=4",
            "clips.size=16",
            "clips.sampling.stride=1",
            "clips.augment=",
            "train.epochs=2",
            "train.clips_per_video=2",
            "train.batch_size=4",
            # Quicker to trace than AdamW.
            "train.optimizer={kind='sgd', learning_rate=0.003, momentum=0.9, weight_decay=0}",
            "train.schedule.warmup_epochs=",
            "eval.batch_size=4",
        ],
    )
