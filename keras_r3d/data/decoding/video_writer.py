"""Writing MP4 files, and seeing that all of it arrived; small ones in memory, for pages."""

import fractions
import io
import os
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.system import files
from keras_r3d.system.errors import R3DError, VideoError
from keras_r3d.system.opencv import cv2

_CLOCK = 1000  # ticks a second
# No frames that wait for later ones: the first is shown at 0.
_H264 = {"crf": "28", "preset": "veryfast", "bf": "0", "g": "50"}
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


def encode(frames: Iterable[tuple[float, Frame]]) -> bytes:
    """Encodes a video for browsers, H.264 in MP4, each frame at its own time.

    Args:
        frames: seconds from the start, increasing, and uint8 `(height, width, 3)`, RGB, of one
            size; at least one.
    """
    file, stream = io.BytesIO(), None
    with av.open(file, "w", format="mp4") as container:
        for second, frame in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=_CLOCK, options=_H264)
                assert isinstance(stream, VideoStream)
                # Even, for the codec halves the sides of colors.
                stream.height, stream.width = (-(-side // 2) * 2 for side in frame.shape[:2])
                stream.pix_fmt, stream.time_base = "yuv420p", fractions.Fraction(1, _CLOCK)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = round(second * _CLOCK), fractions.Fraction(1, _CLOCK)
            container.mux(stream.encode(picture))
        assert stream is not None
        container.mux(stream.encode())
    return file.getvalue()
