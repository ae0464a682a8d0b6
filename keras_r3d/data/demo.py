"""Renders the demo videos: six classes that only motion over time tells apart.

In every video one shape moves sideways, moves up and down and turns, all at once, in front of a
textured background. The class is the one motion that goes one way (and starts over); the other two
go back and forth. Both visit the same values equally often, so neither a single frame nor shuffled
frames reveal the class. Shapes and backgrounds of the splits differ.
"""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.random import Generator

from keras_r3d.data.decoding import video_writer
from keras_r3d.system import files
from keras_r3d.system.opencv import cv2

CLASSES = ("clockwise", "counterclockwise", "down", "left", "right", "up")
# The motion that goes one way, and its direction.
_ONE_WAY = {
    "left": ("sideways", -1),
    "right": ("sideways", 1),
    "up": ("vertical", -1),
    "down": ("vertical", 1),
    "clockwise": ("turn", 1),
    "counterclockwise": ("turn", -1),
}
VIDEOS_PER_CLASS = {"train": 128, "validation": 10, "test": 16}
SIDE, FRAMES, FPS = 96, 64, 32
_OTHERWISE = ", or pass videos of your own as `data`"  # where none can be written
PERIOD = 32  # frames in which a motion goes back and forth, or twice one way
WAY = 36  # length of the moves, in pixels
VERSION = "v1"  # changes with the pictures, so that an old cache is not used for them

# Corners of half an outline, in units of the shape's size; the other half is its point reflection,
# so a shape looks the same after half a turn. Training shapes are drawn at random.
_HALF_OUTLINES = {
    "validation": (
        ((-0.3, -1.1), (0.5, 0.0)),  # rhombus, leaning
        ((-0.45, -0.9), (0.45, -0.9)),  # rectangle
    ),
    "test": (
        ((0, -1.2), (0.4, -0.5), (0.4, 0.5)),  # hexagon
        ((-0.1, -1.1), (0.5, -1.1)),  # parallelogram
    ),
}


def render(cache: Path | None = None) -> Path:
    """Renders the demo videos, unless they exist already; returns their folder.

    They are `SPLIT/CLASS/NUMBER.mp4` in the cache: None is `$KERAS_R3D_CACHE`, else
    `~/.cache/keras_r3d`.
    """
    cache = files.cache() if cache is None else cache
    return files.made_once(cache / f"demo-{VERSION}", _render_all)


def _render_all(folder: Path) -> None:
    for split, count in VIDEOS_PER_CLASS.items():
        for label in CLASSES:
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                path = folder / split / label / f"{number:03}.mp4"
                video = frames(label, split, video_rng(label, split, number))
                video_writer.write(path, video, FPS, _OTHERWISE)


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a demo video shows."""

    background: np.ndarray  # uint8 `(SIDE, SIDE, 3)`
    color: np.ndarray  # of the shape, float64 `(3,)`
    corners: np.ndarray  # of the shape, int32 `(FRAMES, corners, 2)`, in 1/16 pixels


def frames(label: str, split: str, rng: Generator) -> np.ndarray:
    """Draws one demo video, uint8 `(FRAMES, SIDE, SIDE, 3)`, BGR."""
    scene = random_scene(label, split, rng)
    video = np.stack([scene.background] * FRAMES)
    for frame, corners in zip(video, scene.corners, strict=True):
        draw_shape(frame, corners, scene.color)
    return video


def draw_shape(frame: np.ndarray, corners: np.ndarray, color: np.ndarray) -> None:
    """Draws the shape of a scene into a frame, uint8 `(SIDE, SIDE[, 3])`, in place."""
    cv2.fillPoly(frame, [corners], color.tolist(), cv2.LINE_AA, shift=4)


def video_rng(label: str, split: str, number: int) -> Generator:
    """Returns the generator of a rendered video, `SPLIT/CLASS/NUMBER.mp4`."""
    return np.random.default_rng(
        [list(VIDEOS_PER_CLASS).index(split), CLASSES.index(label), number]
    )


def random_scene(label: str, split: str, rng: Generator) -> Scene:
    """Draws background, shape and motion of a demo video."""
    outline = _outline(split, rng)
    background = _texture(split, rng)
    # Bright shapes on dark backgrounds and the other way round.
    color = rng.uniform(170, 255, 3) if background.mean() < 128 else rng.uniform(0, 85, 3)
    center = rng.uniform(0.4, 0.6, 2) * SIDE - WAY / 2
    size = rng.uniform(0.2, 0.28) * SIDE
    motion = {name: _back_and_forth(rng) for name in ("sideways", "vertical", "turn")}
    name, direction = _ONE_WAY[label]
    motion[name] = _one_way(rng, direction)
    corners = []
    for sideways, vertical, turn in zip(*motion.values(), strict=True):
        angle = np.pi * turn
        cosine, sine = np.cos(angle), np.sin(angle)
        rotation = np.array([[cosine, sine], [-sine, cosine]], np.float32)
        place = center + WAY * np.array([sideways, vertical])
        corners.append(((outline @ rotation * size + place) * 16).round().astype(np.int32))
    return Scene(background, color, np.stack(corners))


def _outline(split: str, rng: Generator) -> np.ndarray:
    """Returns the corners of a shape, float32 `(corners, 2)`."""
    if split in _HALF_OUTLINES:
        choices = _HALF_OUTLINES[split]
        half = np.array(choices[rng.integers(len(choices))], np.float32)
    else:
        corners = int(rng.integers(2, 5))
        angles = np.pi * (np.arange(corners) + rng.uniform(-0.2, 0.2, corners)) / corners
        # One long diagonal, so that the turn is seen.
        radii = np.concatenate([[1.2], rng.uniform(0.25, 0.5, corners - 1)])
        half = radii[:, None] * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    return np.concatenate([half, -half]).astype(np.float32)


def _one_way(rng: Generator, direction: int) -> np.ndarray:
    """Goes from 0 to 1 twice a period, starting anywhere: float `(FRAMES,)` in [0, 1)."""
    return (rng.random() + direction * np.arange(FRAMES) * 2 / PERIOD) % 1


def _back_and_forth(rng: Generator) -> np.ndarray:
    """Goes from 0 to 1 and back once a period, starting anywhere: float `(FRAMES,)` in [0, 1]."""
    phase = (rng.random() + np.arange(FRAMES) / PERIOD) % 1
    return 1 - np.abs(2 * phase - 1)


def _texture(split: str, rng: Generator) -> np.ndarray:
    """Draws smooth color noise (training), stripes (validation) or patches (test)."""
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
