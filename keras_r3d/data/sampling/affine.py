"""How a clip is turned, slanted and moved: one affine change, alike in all frames of a clip."""

import math

import numpy as np
from numpy.typing import NDArray

from keras_r3d.system.opencv import cv2

Matrix = NDArray[np.float64]


def matrix(
    size: int, rotate_degrees: float, shear_degrees: float, right: float, down: float
) -> Matrix:
    """Composes a change about the centre of a square: slanted, then turned, then moved.

    Args:
        size: side of the square, in pixels.
        rotate_degrees: anticlockwise.
        shear_degrees: angle by which upright lines are slanted, their lower ends to the right.
        right, down: way, in pixels.

    Returns:
        float64 `(2, 3)`, takes `(x, y, 1)` to the new `(x, y)`, pixels counted from the top left.
    """
    angle, slant = math.radians(rotate_degrees), math.tan(math.radians(shear_degrees))
    # y points down, so this turns anticlockwise.
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return about_centre(size, turn @ np.array([[1.0, slant], [0.0, 1.0]]), right, down)


def about_centre(
    size: int, linear: NDArray[np.float64], right: float = 0, down: float = 0
) -> Matrix:
    """Composes a linear change `(2, 2)` that keeps the centre of a square with a move.

    Returns:
        float64 `(2, 3)`, as `matrix` does.
    """
    centre = np.full(2, (size - 1) / 2)
    return np.column_stack([linear, centre - linear @ centre + (right, down)])


def random_matrix(
    rng: np.random.Generator,
    size: int,
    rotate_degrees: float,
    shear_degrees: float,
    translate: float,
) -> Matrix:
    """Draws a change, each part of it uniformly.

    Args:
        size: side of the square, in pixels.
        rotate_degrees: most that it is turned, either way.
        shear_degrees: most that upright lines are slanted, either way.
        translate: most that it is moved along each axis, either way, as a share of `size`.

    Returns:
        float64 `(2, 3)`, as `matrix` does.
    """
    rotate, shear = rng.uniform(-1, 1, 2) * (rotate_degrees, shear_degrees)
    right, down = rng.uniform(-1, 1, 2) * translate * size
    return matrix(size, rotate, shear, right, down)


def apply(change: Matrix, clip: NDArray[np.uint8], fill: int | None = None) -> NDArray[np.uint8]:
    """Changes every frame of a clip, bilinear.

    Args:
        change: float64 `(2, 3)`, as `matrix` gives it.
        clip: uint8 `(frames, size, size, 3)`.
        fill: value of what comes in at the borders; None makes it a reflection.

    Returns:
        uint8 of the same shape.
    """
    changed = np.empty_like(clip)
    for frame, out in zip(clip, changed, strict=True):
        out[...] = cv2.warpAffine(
            frame,
            change,
            frame.shape[1::-1],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101 if fill is None else cv2.BORDER_CONSTANT,
            borderValue=(fill or 0,) * 3,
        )
    return changed
