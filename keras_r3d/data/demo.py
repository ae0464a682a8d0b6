"""Renders the demo videos: six classes that only motion over time tells apart.

In every video one shape slides, turns and grows at once, before a textured background. The class is
the one of the three motions that goes one way (and starts over); the two others go there and back.
Both visit the same values equally often, so neither a single frame nor the frames in shuffled order
say which class it is. Shapes and backgrounds of the three splits differ.
"""

import os
from pathlib import Path

import numpy as np

from keras_r3d import files
from keras_r3d._opencv import cv2
from keras_r3d.errors import R3DError

CLASSES = ("approaching", "clockwise", "counterclockwise", "left", "receding", "right")
# Motion that goes one way, and its direction.
_ONE_WAY = {
    "left": ("slide", -1),
    "right": ("slide", 1),
    "clockwise": ("turn", 1),
    "counterclockwise": ("turn", -1),
    "approaching": ("grow", 1),
    "receding": ("grow", -1),
}
_MOTIONS = ("slide", "turn", "grow")
VIDEOS_PER_CLASS = {"train": 48, "validation": 10, "test": 16}
SIDE, FRAMES, FPS = 96, 32, 16
# Changes when the pictures do, so that an old cache is not mistaken for the new videos.
VERSION = "v1"

# Outlines in units of the shape's size. None looks the same when turned by less than a full turn.
_SHAPES = {
    "train": (
        ((0, -1.2), (0.7, 0.9), (0, 0.5), (-0.7, 0.9)),  # arrow head
        ((-0.5, -1), (0.1, -1), (0.1, 0.4), (0.9, 0.4), (0.9, 1), (-0.5, 1)),  # L
        ((0, -1.2), (0.8, 0.8), (-0.4, 0.8)),  # leaning triangle
    ),
    "validation": (
        ((-0.3, -1.1), (0.3, -1.1), (0.9, 0.9), (-0.9, 0.9)),  # trapezium
        ((0, -1.3), (0.5, 0), (0.3, 1), (-0.3, 1), (-0.5, 0)),  # pencil
    ),
    "test": (
        ((-0.4, -1.1), (0.9, -0.7), (0.2, -0.3), (0.2, 1), (-0.4, 1)),  # flag
        ((0, -1.2), (0.9, 0), (0.35, 0), (0.35, 1), (-0.35, 1), (-0.35, 0), (-0.9, 0)),  # arrow
    ),
}


def render(cache: Path | None = None) -> Path:
    """Renders the demo videos, unless they are there already.

    Args:
        cache: folder for them; None is `$KERAS_R3D_CACHE`, else `~/.cache/keras_r3d`.

    Returns:
        The data folder: `SPLIT/CLASS/NUMBER.mp4`.

    Raises:
        WriteError: the folder cannot be written.
        R3DError: OpenCV cannot write videos.
    """
    if cache is None:
        default = Path.home() / ".cache" / "keras_r3d"
        cache = Path(os.environ.get("KERAS_R3D_CACHE") or default)
    folder = cache / f"demo-{VERSION}"
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.WriteError(files.explain(cache, error)) from error
    with files.atomic(folder) as temporary:
        for split_number, (split, count) in enumerate(VIDEOS_PER_CLASS.items()):
            for class_number, label in enumerate(CLASSES):
                (temporary / split / label).mkdir(parents=True)
                for number in range(count):
                    rng = np.random.default_rng([split_number, class_number, number])
                    path = temporary / split / label / f"{number:03}.mp4"
                    _write(path, frames(label, split, rng))
    return folder


def frames(label: str, split: str, rng: np.random.Generator) -> np.ndarray:
    """Draws one demo video.

    Returns:
        uint8 `(FRAMES, SIDE, SIDE, 3)`, BGR.
    """
    outline = np.array(_SHAPES[split][rng.integers(len(_SHAPES[split]))], np.float32)
    background = _texture(split, rng)
    # Bright shapes on dark backgrounds and the other way round.
    colour = rng.uniform(170, 255, 3) if background.mean() < 128 else rng.uniform(0, 85, 3)
    top = rng.uniform(0.4, 0.6) * SIDE
    motion = {name: _there_and_back(rng) for name in _MOTIONS}
    name, direction = _ONE_WAY[label]
    motion[name] = _one_way(rng, direction)
    video = np.empty((FRAMES, SIDE, SIDE, 3), np.uint8)
    for number in range(FRAMES):
        slide, turn, grow = (motion[name][number] for name in _MOTIONS)
        size = SIDE * 0.09 * 2.2**grow
        left = SIDE * (-0.1 + 1.2 * slide)
        video[number] = _draw(background, outline, colour, left, top, size, 2 * np.pi * turn)
    return video


def _one_way(rng: np.random.Generator, direction: int) -> np.ndarray:
    """From 0 to 1 twice over the video, starting anywhere: float `(FRAMES,)` in [0, 1)."""
    return (rng.random() + direction * np.arange(FRAMES) * 2 / FRAMES) % 1


def _there_and_back(rng: np.random.Generator) -> np.ndarray:
    """From 0 to 1 and back once over the video, starting anywhere: float `(FRAMES,)` in [0, 1]."""
    phase = (rng.random() + np.arange(FRAMES) / FRAMES) % 1
    return 1 - np.abs(2 * phase - 1)


def _texture(split: str, rng: np.random.Generator) -> np.ndarray:
    """Smooth colour noise (training), stripes (validation) or patches (test), light or dark."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    if split == "validation":
        angle, period = rng.uniform(0, np.pi), rng.uniform(8, 20)
        wave = np.sin(2 * np.pi * (rows * np.sin(angle) + columns * np.cos(angle)) / period)
        pattern = wave[..., None] * rng.uniform(-1, 1, 3)
    else:
        cells = int(rng.integers(4, 9))
        noise = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        smooth = cv2.INTER_CUBIC if split == "train" else cv2.INTER_NEAREST
        pattern = cv2.resize(noise, (SIDE, SIDE), interpolation=smooth)
    level = rng.choice([60, 195])
    return np.clip(level + 35 * pattern, 0, 255).astype(np.uint8)


def _draw(background, outline, colour, left, top, size, angle) -> np.ndarray:
    frame = background.copy()
    turned = outline @ np.array(
        [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32
    )
    points = turned * size + np.array([left, top], np.float32)
    # 4 bits of sub-pixel position.
    cv2.fillPoly(frame, [(points * 16).round().astype(np.int32)], colour, cv2.LINE_AA, shift=4)
    return frame


def _write(path: Path, video: np.ndarray) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (SIDE, SIDE))
    if not writer.isOpened():
        raise R3DError(
            f"OpenCV cannot write {path}: this build has no MPEG-4 encoder. Install opencv-python "
            "from PyPI, or pass --data_dir with videos of your own."
        )
    for frame in video:
        writer.write(frame)
    writer.release()

