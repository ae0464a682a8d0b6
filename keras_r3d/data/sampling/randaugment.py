"""RandAugment for clips: a few operations drawn at random, alike in all frames of a clip.

Reference:
    Cubuk et al., RandAugment: Practical automated data augmentation with a reduced search space,
    2019. https://arxiv.org/abs/1909.13719
    Ranges are those of torchvision's RandAugment. Ours differ so: a clip is changed as one picture,
    statistics included, so that it does not flicker; shears keep the centre in its place; borders
    are filled with grey, as in AutoAugment, for a reflection would show motion mirrored; at
    magnitude 0 nothing is solarized.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.data.sampling import affine
from keras_r3d.system.opencv import cv2

Pixels = NDArray[np.uint8]
Operation = Callable[[Pixels, float], Pixels]

_MOST_MAGNITUDE = 30
_FILL = 128
_LEVELS = np.arange(256.0)
_LUMA = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601, as grey is defined in PIL
_SOFT = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13  # PIL's SMOOTH


def random_operations(
    rng: np.random.Generator, count: int, magnitude: float
) -> list[tuple[str, float]]:
    """Draws operations, each as likely every time, and in which direction they go.

    Args:
        magnitude: 0 to 30.

    Returns:
        Names of `OPERATIONS`, with strengths of `magnitude` / 30 or its negative.
    """
    names = list(OPERATIONS)
    drawn = rng.integers(len(names), size=count)
    strengths = rng.choice([-1, 1], count) * magnitude / _MOST_MAGNITUDE
    return [(names[number], float(by)) for number, by in zip(drawn, strengths, strict=True)]


def apply(operations: Sequence[tuple[str, float]], clip: Pixels) -> Pixels:
    """Changes a clip by one operation after the other.

    Args:
        operations: as `random_operations` gives them.
        clip: uint8 `(frames, size, size, 3)`, RGB.

    Returns:
        uint8 of the same shape; `clip` itself where nothing changes.
    """
    for name, strength in operations:
        clip = OPERATIONS[name](clip, strength)
    return clip


def _rotate(clip: Pixels, strength: float) -> Pixels:
    change = affine.matrix(clip.shape[1], 30 * strength, 0, 0, 0)
    return affine.apply(change, clip, _FILL)


def _shear_x(clip: Pixels, strength: float) -> Pixels:
    linear = np.array([[1, 0.3 * strength], [0, 1]])
    return affine.apply(affine.about_centre(clip.shape[1], linear), clip, _FILL)


def _shear_y(clip: Pixels, strength: float) -> Pixels:
    linear = np.array([[1, 0], [0.3 * strength, 1]])
    return affine.apply(affine.about_centre(clip.shape[1], linear), clip, _FILL)


def _translate_x(clip: Pixels, strength: float) -> Pixels:
    size = clip.shape[1]
    return affine.apply(affine.matrix(size, 0, 0, _way(size, strength), 0), clip, _FILL)


def _translate_y(clip: Pixels, strength: float) -> Pixels:
    size = clip.shape[1]
    return affine.apply(affine.matrix(size, 0, 0, 0, _way(size, strength)), clip, _FILL)


def _way(size: int, strength: float) -> int:
    return round(150 / 331 * size * strength)  # the paper's 150 pixels were of 331


def _brightness(clip: Pixels, strength: float) -> Pixels:
    return _look_up(_LEVELS * (1 + 0.9 * strength), clip)


def _contrast(clip: Pixels, strength: float) -> Pixels:
    grey = cv2.mean(_tall(clip))[:3] @ _LUMA
    return _look_up(grey + (_LEVELS - grey) * (1 + 0.9 * strength), clip)


def _colour(clip: Pixels, strength: float) -> Pixels:
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
    return _look_up(np.where(threshold <= _LEVELS, 255 - _LEVELS, _LEVELS), clip)


def _autocontrast(clip: Pixels, strength: float) -> Pixels:
    """Spreads the values of each channel from 0 to 255, whatever the strength."""
    present = _counts(clip) > 0
    low, high = present.argmax(axis=0), 255 - present[::-1].argmax(axis=0)
    spread = (_LEVELS[:, None] - low) * 255 / np.maximum(1, high - low)
    return _look_up(np.where(low < high, spread, _LEVELS[:, None]), clip)


def _equalize(clip: Pixels, strength: float) -> Pixels:
    """Makes all values of each channel about as frequent, whatever the strength."""
    counts = _counts(clip)
    darker = np.cumsum(counts, axis=0) - counts
    most = np.where(counts, darker, 0).max(axis=0)
    return _look_up(np.where(most, 255 * darker / np.maximum(1, most), _LEVELS[:, None]), clip)


def _counts(clip: Pixels) -> NDArray[np.float64]:
    """Counts each value of each channel, `(256, 3)`."""
    tall = _tall(clip)
    channels = [cv2.calcHist([tall], [channel], None, [256], [0, 256]) for channel in range(3)]
    return np.concatenate(channels, axis=1).astype(np.float64)


def _look_up(table: NDArray[np.float64], clip: Pixels) -> Pixels:
    """Replaces every value by that of a table `(256,)`, or of one for each channel `(256, 3)`."""
    whole = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return cv2.LUT(_tall(clip), whole.reshape(1, 256, -1)).reshape(clip.shape)


def _tall(clip: Pixels) -> Pixels:
    """Puts the frames of a clip one below the other, as OpenCV takes a picture."""
    return clip.reshape(-1, *clip.shape[2:])


OPERATIONS: dict[str, Operation] = {
    "identity": lambda clip, strength: clip,
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "brightness": _brightness,
    "contrast": _contrast,
    "colour": _colour,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
