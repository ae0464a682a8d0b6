"""Writing MP4 files, and seeing that all of it arrived."""

import os
from collections.abc import Iterable
from pathlib import Path

from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.system import files
from keras_r3d.system.errors import R3DError, VideoError
from keras_r3d.system.opencv import cv2

_NAMES = {"mp4v": "MPEG-4", "MJPG": "Motion JPEG"}


def write(
    path: Path, frames: Iterable[Frame], rate: float, otherwise: str = "", codec: str = "mp4v"
) -> None:
    """Writes a video.

    Args:
        frames: uint8 `(height, width, 3)`, BGR, of one size; at least one.
        rate: frames a second.
        otherwise: what else can be done where OpenCV has no encoder, for the error.
        codec: four letters; MPEG-4.

    Raises:
        WriteError: the folder cannot be written, or the disk is full.
        R3DError: OpenCV has no encoder.
    """
    writer, count = None, 0
    for frame in frames:
        if writer is None:
            fourcc = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), fourcc, rate, frame.shape[1::-1])
            if not writer.isOpened():
                if not os.access(path.parent, os.W_OK):
                    raise files.WriteError(
                        f"Could not write {path}: choose a folder you may write to, then run again."
                    )
                raise R3DError(
                    f"OpenCV cannot write {path}: this build has no {_NAMES.get(codec, codec)} "
                    f"encoder. Install opencv-python from PyPI{otherwise}."
                )
        writer.write(frame)
        count += 1
    assert writer is not None
    writer.release()  # which says nothing of a full disk
    try:
        written = len(VideoFile(str(path)).index().seconds)
    except VideoError:
        written = 0
    if written != count:
        raise files.WriteError(
            f"Could not write {path}: {written} of {count} frames arrived. Free some space there, "
            "then run again."
        )
