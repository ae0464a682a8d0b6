"""Videos as cameras and phones make them, and OpenCV's writer does not."""

import struct
from pathlib import Path

import cv2
import numpy as np


def write_rotated(path: Path, frames: int = 12) -> Path:
    """Writes an MP4 of 96x64 pixels, to be turned clockwise by 90 degrees.

    Upright it is 64 wide and 96 high; its upper half is red, its lower half blue.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:, :48, 2] = frame[:, 48:, 0] = 200  # BGR
    for _ in range(frames):
        writer.write(frame)
    writer.release()
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2
    unit = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", 0, unit, 0, -unit, 0, 0, 64 * unit, 0, 1 << 30)
    path.write_bytes(data)
    return path


def write_jpegs(path: Path, images: list[np.ndarray]) -> Path:
    """Writes JPEGs one after the other, a video of any sizes and colors (`.mjpeg`)."""
    path.write_bytes(b"".join(cv2.imencode(".jpg", image)[1].tobytes() for image in images))
    return path
