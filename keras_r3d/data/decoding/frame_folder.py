"""Videos that are folders of numbered pictures, as published code unpacks them."""

import functools
import os
from collections.abc import Iterator

import av
import numpy as np

from keras_r3d.data.annotations import FRAME_RATE, picture_names
from keras_r3d.data.decoding.picture import FAILURES, Frame, Picture, Taker, shown_shape
from keras_r3d.data.decoding.video_file import Index, VideoFile, no_frame
from keras_r3d.data.sampling.temporal import Indices
from keras_r3d.system.errors import VideoError

_COUNT = "n_frames"  # a file of the authors' tools that says how many there are
_CODECS = {".jpg": "mjpeg", ".jpeg": "mjpeg"}  # the others are called like their suffix
_NONE = np.zeros(0, np.int64)


class _Decoder:
    """Decodes pictures of one format; for one thread."""

    def __init__(self, suffix: str):
        suffix = suffix.lower()
        self._context = av.CodecContext.create(_CODECS.get(suffix, suffix[1:]), "r")
        self._context.thread_type = "NONE"

    def read(self, path: str) -> av.VideoFrame | None:
        """Returns the picture in a file, None if it cannot be read."""
        try:
            with open(path, "rb") as file:
                packet = av.Packet(file.read())
            packet.is_keyframe = True  # or a PNG is taken for a change of the one before
            frames = self._context.decode(packet)
        except (*FAILURES, ValueError):
            return None
        return frames[0] if frames else None


@functools.lru_cache(maxsize=1024)
def _size(path: str, modified: int) -> tuple[int, int] | None:
    """Returns height and width of a picture, None if it cannot be read."""
    frame = _Decoder(os.path.splitext(path)[1]).read(path)
    return None if frame is None else (frame.height, frame.width)


class FrameFolder:
    """A video whose frames are numbered pictures in a folder; for one thread.

    Pictures that are missing between others, or cannot be read, are frames that do not decode.

    Args:
        short_side: larger frames are shrunk to this short side in pixels; 0 keeps them.
        rate: frames a second.

    Raises:
        VideoError: there is no numbered picture in it, or the first cannot be read.
    """

    def __init__(self, path: str, short_side: int, rate: float):
        self.path, self.rate = path, rate
        self._names = picture_names(path)
        if not self._names:
            raise VideoError(
                f"{path}: it has no numbered pictures, such as image_00001.jpg or 1.png."
            )
        first, last = min(self._names), max(self._names)
        dense = last - first < 2 * len(self._names)  # or every n-th frame was kept
        self._numbers = range(first, last + 1) if dense else sorted(self._names)
        example = os.path.join(path, self._names[first])
        size = _size(example, os.stat(example).st_mtime_ns)
        if size is None:
            raise VideoError(f"{example}: it cannot be read as a picture.")
        self._shape = shown_shape(*size, None, 0, short_side)
        self._decoder = _Decoder(os.path.splitext(example)[1])
        self._taker = Taker()

    def index(self) -> Index:
        count = len(self._numbers)
        return Index(
            np.arange(count) / self.rate, max(count, self._promised()), None, _NONE, _NONE, _NONE
        )

    def frames(self, index: Index, numbers: Indices | None = None) -> Iterator[tuple[int, Picture]]:
        """Reads chosen frames, as `VideoFile.frames`."""
        for number in range(len(self._numbers)) if numbers is None else numbers.tolist():
            if (picture := self._read(self._numbers[number])) is not None:
                yield number, picture

    def close(self) -> None:
        pass

    def _read(self, number: int) -> Picture | None:
        name = self._names.get(number)
        frame = self._decoder.read(os.path.join(self.path, name)) if name else None
        if frame is None:
            return None
        return self._taker.take(frame, (frame.height, frame.width), self._shape)

    def _promised(self) -> int:
        try:
            with open(os.path.join(self.path, _COUNT), encoding="utf-8") as file:
                return int(float(file.read()))
        except (OSError, ValueError):
            return 0


def open_pictures(
    path: str, short_side: int = 0, rate: float = FRAME_RATE
) -> VideoFile | FrameFolder:
    """Opens a video: a file, or a folder of pictures.

    Args:
        short_side: as in `VideoFile`.
        rate: of a folder, in frames a second.

    Raises:
        VideoError: as `VideoFile` and `FrameFolder`.
    """
    folder = os.path.isdir(path)
    return FrameFolder(path, short_side, rate) if folder else VideoFile(path, short_side)


def timed_frames(
    path: str,
    start_seconds: float = 0.0,
    end_seconds: float = np.inf,
    rate: float = FRAME_RATE,
) -> Iterator[tuple[float, Frame]]:
    """Decodes the frames of a video shown in a range, as far as they decode.

    Yields:
        Time in seconds, and uint8 `(height, width, 3)`, RGB.

    Raises:
        VideoError: as `open_pictures`; or none is shown there, or decodes.
    """
    file = open_pictures(path, rate=rate)
    index = file.index()
    number = None
    for number, picture in file.frames(index, index.shown(start_seconds, end_seconds, path)):
        yield float(index.seconds[number]), picture.rgb()
    file.close()
    if number is None:
        raise VideoError(no_frame(path))
