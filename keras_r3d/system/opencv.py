"""Loads OpenCV, or says in one sentence how to make it load."""

import os

from keras_r3d.system.errors import R3DError

# FFmpeg writes its own complaints about broken files to stderr; ours name the file.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")


class OpenCVError(R3DError, ImportError):
    """OpenCV is installed but a system library it needs is missing, or it is not installed."""


try:
    import cv2
except ModuleNotFoundError as error:
    if error.name != "cv2":
        raise
    raise OpenCVError(
        "OpenCV is not installed: `pip install 'opencv-python>=4.11,<4.12'`."
    ) from error
except ImportError as error:
    raise OpenCVError(
        f"OpenCV could not be loaded ({error}): install the system libraries it needs with "
        "`apt-get install libgl1 libglib2.0-0`, or use the build that needs none with "
        "`pip uninstall -y opencv-python && pip install 'opencv-python-headless>=4.11,<4.12'`."
    ) from error

__all__ = ["cv2"]
