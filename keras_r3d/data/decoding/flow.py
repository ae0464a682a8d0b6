"""Optical flow between neighboring frames, stored as bytes.

A byte of 128 is no motion, and 127 levels stand for 20 pixels: x to the right, y down. So zero is
exact, also after a clip is mirrored.

Reference:
    Simonyan & Zisserman, Two-Stream Convolutional Networks for Action Recognition in Videos, NIPS
    2014, https://arxiv.org/abs/1406.2199, store flow as bytes; the bound of 20 pixels is that of
    Wang et al., Temporal Segment Networks, ECCV 2016, https://arxiv.org/abs/1608.00859, as in
    their code. We shrink the frames first, so that the bound spans a larger share of them, and
    keep the motion of the camera.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from keras_r3d.system.errors import DataError
from keras_r3d.system.opencv import cv2

Bytes = NDArray[np.uint8]
Compute = Callable[[Bytes, Bytes], Bytes]

ALGORITHMS = ("farneback", "dis", "tvl1")
CHANNELS = 2
ZERO = 128  # the byte of no motion
BOUND = 20.0  # pixels; longer displacements are cut to it, in x and y each
_LEVELS = 127 / BOUND

# Frames are padded to this side: DIS crashes the process on less than 16 pixels.
_LEAST_SIDE = 32

# Of Farneback: half the size from one of 3 levels to the next, windows of 15 pixels, 3 iterations a
# level, polynomials over 5 pixels smoothed by 1.2: the values of OpenCV's own example.
_FARNEBACK = (0.5, 3, 15, 3, 5, 1.2, 0)


def algorithm(name: str) -> Compute:
    """Returns a function that computes flow, for one thread.

    Args:
        name: one of `ALGORITHMS`. DIS uses its medium preset: on eleven videos of gestures of 80
            pixels it explains 27 % of the difference between frames in 0.9 ms, its fast presets 4
            and 10 %, Farneback 25 % in 1.7 ms. (TV-L1: 44 % in 170 ms, on two of them.)

    Returns:
        Takes two gray frames, uint8 `(height, width)`, and returns the displacement from the first
        to the second, uint8 `(height, width, 2)`, as `encode`.

    Raises:
        DataError: OpenCV lacks it.
    """
    if name == "farneback":

        def flow(first: Bytes, second: Bytes) -> NDArray[np.float32]:
            return cv2.calcOpticalFlowFarneback(first, second, None, *_FARNEBACK)

    elif name == "dis":

        def flow(first: Bytes, second: Bytes) -> NDArray[np.float32]:
            # A new one each time: for small frames its second result differs from the first.
            dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
            return dis.calc(first, second, None)

    elif (contrib := getattr(cv2, "optflow", None)) is None:
        raise DataError(
            "TV-L1 flow is in OpenCV's contrib modules, which are not installed: `pip uninstall -y "
            "opencv-python && pip install 'opencv-contrib-python>=4.11,<4.12'`, or choose "
            "clips.input = 'dis' or 'farneback'."
        )
    else:

        def flow(first: Bytes, second: Bytes) -> NDArray[np.float32]:
            return contrib.DualTVL1OpticalFlow_create().calc(first, second, None)

    def compute(first: Bytes, second: Bytes) -> Bytes:
        height, width = first.shape
        return encode(flow(_padded(first), _padded(second))[:height, :width])

    return compute


def _padded(gray: Bytes) -> Bytes:
    below, right = (max(0, _LEAST_SIDE - side) for side in gray.shape)
    return cv2.copyMakeBorder(gray, 0, below, 0, right, cv2.BORDER_REPLICATE)


def encode(flow: NDArray[np.float32]) -> Bytes:
    """Returns flow as bytes of 1 to 255.

    Args:
        flow: float32 `(…, 2)`, x and y in pixels.
    """
    return np.clip(np.rint(ZERO + flow * _LEVELS), 1, 255).astype(np.uint8)


def decode(flow: Bytes) -> NDArray[np.float32]:
    """Returns the displacements in pixels, float32 `(…, 2)`, that bytes stand for."""
    return (flow.astype(np.float32) - ZERO) / _LEVELS


def turn_back(flow: Bytes) -> None:
    """Negates x in place, for flow that was mirrored left to right."""
    np.negative(flow[..., 0], out=flow[..., 0])  # of a byte, 256 - x


def colors(flow: Bytes) -> Bytes:
    """Draws flow: hue is its direction (right is red, down is green), saturation its length.

    White is no motion. The longest vector of the array is saturated, but not below 2 pixels.

    Args:
        flow: uint8 `(…, height, width, 2)`.

    Returns:
        uint8 `(…, height, width, 3)`, RGB.
    """
    x, y = np.moveaxis(decode(flow), -1, 0)
    length = np.hypot(x, y)
    hue = np.degrees(np.arctan2(y, x)) % 360
    shape = (*x.shape, 3)
    hsv = np.ones(shape, np.float32)
    hsv[..., 0], hsv[..., 1] = hue, length / max(2.0, float(length.max()))
    rgb = cv2.cvtColor(hsv.reshape(1, -1, 3), cv2.COLOR_HSV2RGB)
    return np.rint(255 * rgb).astype(np.uint8).reshape(shape)
