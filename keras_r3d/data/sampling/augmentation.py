"""Random changes of a training clip, alike in all its frames: geometry, color, RandAugment.

Reference:
    Cubuk et al., RandAugment: Practical automated data augmentation with a reduced search space,
    2019. https://arxiv.org/abs/1909.13719
    Ranges are those of torchvision's RandAugment. Ours differs in four points: a clip is changed as
    one picture, statistics included, so that it does not flicker; shears keep the center in place;
    borders are filled with gray, as in AutoAugment, for a reflection would show motion mirrored; at
    magnitude 0 nothing is solarized.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from keras_r3d.system.opencv import cv2

Pixels = NDArray[np.uint8]  # a clip: (frames, height, width, 3), RGB
Matrix = NDArray[np.float64]
Size = Sequence[int]  # height, width, in pixels
Operation = Callable[[Pixels, float], Pixels]

_MOST_MAGNITUDE = 30
_FILL = 128
_LEVELS = np.arange(256.0)
_LUMA = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601, as gray is defined in PIL
_SOFT = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13  # PIL's SMOOTH


def affine_matrix(
    size: Size, rotate_degrees: float, shear_degrees: float, right: float, down: float
) -> Matrix:
    """Composes a change about the center of a frame: sheared, then rotated, then translated.

    It is rotated counterclockwise; vertical lines are slanted, their lower ends to the right;
    distances are in pixels. float64 `(2, 3)`: maps `(x, y, 1)` to the new `(x, y)`.
    """
    angle, slant = math.radians(rotate_degrees), math.tan(math.radians(shear_degrees))
    # y points down, so this turns counterclockwise.
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return _about_center(size, turn @ np.array([[1.0, slant], [0.0, 1.0]]), right, down)


def _about_center(size: Size, linear: Matrix, right: float = 0, down: float = 0) -> Matrix:
    center = (np.array(size[::-1]) - 1) / 2
    return np.column_stack([linear, center - linear @ center + (right, down)])


def random_matrix(
    rng: Generator, size: Size, rotate_degrees: float, shear_degrees: float, translate: float
) -> Matrix:
    """Draws an affine change, each part of it uniformly, up to a largest value either way.

    `translate` is a share of width and height; the rest is as in `affine_matrix`.
    """
    rotate, shear = rng.uniform(-1, 1, 2) * (rotate_degrees, shear_degrees)
    right, down = rng.uniform(-1, 1, 2) * translate * size[::-1]
    return affine_matrix(size, rotate, shear, right, down)


def warp(matrix: Matrix, clip: Pixels, fill: int | None = None) -> Pixels:
    """Applies an affine change to every frame of a clip, with bilinear interpolation.

    `fill` is the value beyond the borders; None reflects the frame there.
    """
    border = cv2.BORDER_REFLECT_101 if fill is None else cv2.BORDER_CONSTANT
    warped = np.empty_like(clip)
    for frame, out in zip(clip, warped, strict=True):
        out[...] = cv2.warpAffine(
            frame, matrix, frame.shape[1::-1], borderMode=border, borderValue=(fill or 0,) * 3
        )
    return warped


def random_table(rng: Generator, strength: float) -> Pixels:
    """Draws new values of all values of each channel, uint8 `(256, 3)`.

    Contrast is multiplied by 1 ± `strength`; brightness, and each channel for itself, move by up to
    80 `strength` levels.
    """
    contrast = rng.uniform(1 - strength, 1 + strength)
    shift = 80 * strength * (rng.uniform(-1, 1) + rng.uniform(-1, 1, 3))
    return _whole((_LEVELS[:, None] - 128) * contrast + 128 + shift)


def look_up(table: Pixels, clip: Pixels) -> Pixels:
    """Replaces every value of a clip by that in a table, uint8 `(256,)`, or `(256, 3)`."""
    return cv2.LUT(_tall(clip), table.reshape(1, 256, -1)).reshape(clip.shape)


def _whole(levels: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def _tall(clip: Pixels) -> Pixels:
    """Puts the frames of a clip below each other, as one picture for OpenCV."""
    return clip.reshape(-1, *clip.shape[2:])


def random_operations(rng: Generator, count: int, magnitude: float) -> list[tuple[str, float]]:
    """Draws `OPERATIONS`, all equally likely, and strengths: ± `magnitude` / 30."""
    names = list(OPERATIONS)
    drawn = [names[number] for number in rng.integers(len(names), size=count)]
    strengths = rng.choice([-1, 1], count) * magnitude / _MOST_MAGNITUDE
    return list(zip(drawn, strengths.tolist(), strict=True))


def apply_operations(operations: Sequence[tuple[str, float]], clip: Pixels) -> Pixels:
    """Changes a clip by one operation after the other; returns itself where nothing changes."""
    for name, strength in operations:
        clip = OPERATIONS[name](clip, strength)
    return clip


def _rotate(clip: Pixels, strength: float) -> Pixels:
    return warp(affine_matrix(clip.shape[1:3], 30 * strength, 0, 0, 0), clip, _FILL)


def _shear(clip: Pixels, x: float = 0.0, y: float = 0.0) -> Pixels:
    linear = np.array([[1, 0.3 * x], [0.3 * y, 1]])
    return warp(_about_center(clip.shape[1:3], linear), clip, _FILL)


def _translate(clip: Pixels, x: float = 0.0, y: float = 0.0) -> Pixels:
    height, width = clip.shape[1:3]
    # The paper's 150 pixels were of 331.
    right, down = round(150 / 331 * width * x), round(150 / 331 * height * y)
    return warp(_about_center((height, width), np.eye(2), right, down), clip, _FILL)


def _brightness(clip: Pixels, strength: float) -> Pixels:
    return look_up(_whole(_LEVELS * (1 + 0.9 * strength)), clip)


def _contrast(clip: Pixels, strength: float) -> Pixels:
    gray = cv2.mean(_tall(clip))[:3] @ _LUMA
    return look_up(_whole(gray + (_LEVELS - gray) * (1 + 0.9 * strength)), clip)


def _color(clip: Pixels, strength: float) -> Pixels:
    factor = 1 + 0.9 * strength
    blend = factor * np.eye(3) + (1 - factor) * np.tile(_LUMA, (3, 1))
    return cv2.transform(_tall(clip), blend).reshape(clip.shape)


def _sharpness(clip: Pixels, strength: float) -> Pixels:
    factor = 1 + 0.9 * strength
    kernel = (1 - factor) * _SOFT
    kernel[1, 1] += factor
    return np.stack([cv2.filter2D(frame, -1, kernel) for frame in clip])


def _posterize(clip: Pixels, strength: float) -> Pixels:
    dropped_bits = round(4 * abs(strength))
    return clip & np.uint8(256 - 2**dropped_bits)


def _solarize(clip: Pixels, strength: float) -> Pixels:
    threshold = 256 * (1 - abs(strength))
    return look_up(_whole(np.where(threshold <= _LEVELS, 255 - _LEVELS, _LEVELS)), clip)


def _autocontrast(clip: Pixels, strength: float) -> Pixels:
    """Spreads the values of each channel from 0 to 255, whatever the strength."""
    present = _counts(clip) > 0
    low, high = present.argmax(axis=0), 255 - present[::-1].argmax(axis=0)
    spread = (_LEVELS[:, None] - low) * 255 / np.maximum(1, high - low)
    return look_up(_whole(np.where(low < high, spread, _LEVELS[:, None])), clip)


def _equalize(clip: Pixels, strength: float) -> Pixels:
    """Makes all values of each channel about equally frequent, whatever the strength."""
    counts = _counts(clip)
    darker = np.cumsum(counts, axis=0) - counts
    most = np.where(counts, darker, 0).max(axis=0)
    levels = np.where(most, 255 * darker / np.maximum(1, most), _LEVELS[:, None])
    return look_up(_whole(levels), clip)


def _counts(clip: Pixels) -> NDArray[np.float64]:
    """Counts each value of each channel, `(256, 3)`."""
    tall = _tall(clip)
    channels = [cv2.calcHist([tall], [channel], None, [256], [0, 256]) for channel in range(3)]
    return np.concatenate(channels, axis=1).astype(np.float64)


OPERATIONS: dict[str, Operation] = {
    "identity": lambda clip, strength: clip,
    "rotate": _rotate,
    "shear_x": lambda clip, strength: _shear(clip, x=strength),
    "shear_y": lambda clip, strength: _shear(clip, y=strength),
    "translate_x": lambda clip, strength: _translate(clip, x=strength),
    "translate_y": lambda clip, strength: _translate(clip, y=strength),
    "brightness": _brightness,
    "contrast": _contrast,
    "color": _color,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
