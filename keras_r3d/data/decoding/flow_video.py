"""Videos whose frames are optical flow: computed from a video, or stored beforehand."""

import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_r3d.data.annotations import FRAME_RATE
from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.frame_folder import open_pictures
from keras_r3d.data.decoding.picture import Cutter, Frame
from keras_r3d.data.decoding.video_file import Index, VideoFile
from keras_r3d.data.sampling.cropping import whole
from keras_r3d.data.sampling.temporal import Indices
from keras_r3d.system import files
from keras_r3d.system.errors import VideoError

_SIDES = struct.Struct("<dHH")  # of a stored frame: time in seconds, height and width
_ROWS = 2  # above the flow, the first of them begins with it
_LEAST_WIDTH = 16  # of a row that has place for it
_NO_FLOW = "keras_r3d: no flow: "  # begins a file that stands for a video without any


class FlowVideo:
    """The flow of a video, which has as many frames as the video.

    A frame is the flow to the next frame of the video, also if a clip skips that one; the last
    repeats the one before. A video of one frame has no motion.

    Args:
        algorithm: one of `flow.ALGORITHMS`.
        short_side: frames are shrunk to this short side first, in pixels; 0 keeps them.
        rate: of a folder of pictures, in frames a second.

    Raises:
        VideoError: as `open_pictures`.
        DataError: OpenCV lacks the algorithm.
    """

    def __init__(self, path: str, algorithm: str, short_side: int, rate: float = FRAME_RATE):
        self._compute = flow.algorithm(algorithm)
        self._file = open_pictures(path, short_side, rate)

    def index(self) -> Index:
        return self._file.index()

    def frames(self, index: Index, numbers: Indices | None = None) -> Iterator[tuple[int, Frame]]:
        """Yields number and flow of chosen frames, as `VideoFile.frames`, as `flow.encode`."""
        last = len(index.seconds) - 1
        numbers = np.arange(last + 1) if numbers is None else numbers
        # The last two frames give the flow of both.
        pairs = np.concatenate(
            [numbers, np.minimum(numbers + 1, last), numbers[numbers == last] - 1]
        )
        wanted = set(numbers.tolist())
        cutter = Cutter()
        before: tuple[int, Frame] | None = None
        for number, picture in self._file.frames(index, np.unique(np.maximum(pairs, 0))):
            gray = np.empty(picture.shape, np.uint8)
            cutter(gray, picture, whole(*picture.shape))
            if last == 0:
                yield 0, np.full((*gray.shape, flow.CHANNELS), flow.ZERO, np.uint8)
            elif before is not None and before[0] == number - 1:
                ends = [number - 1, number] if number == last else [number - 1]
                if ends := [end for end in ends if end in wanted]:
                    motion = self._compute(before[1], gray)
                    yield from ((end, motion) for end in ends)
            before = number, gray

    def close(self) -> None:
        self._file.close()


class StoredFlow:
    """Flow that was stored by `packed`, with the times of the video it was computed from.

    Raises:
        VideoError: as `VideoFile`; or the video has no flow, with the reason.
    """

    def __init__(self, path: str):
        if (why := reason(path)) is not None:
            raise VideoError(why)
        self._file = VideoFile(path)

    def index(self) -> Index:
        index = self._file.index()
        times = dict(enumerate(index.seconds))
        for number, image in self._images(index, None):
            times[number] = unpacked(image, self._file.path)[1]
        return dataclasses.replace(index, seconds=np.array(list(times.values())))

    def frames(self, index: Index, numbers: Indices | None = None) -> Iterator[tuple[int, Frame]]:
        for number, image in self._images(index, numbers):
            yield number, unpacked(image, self._file.path)[0]

    def close(self) -> None:
        self._file.close()

    def _images(self, index: Index, numbers: Indices | None) -> Iterator[tuple[int, Frame]]:
        for number, picture in self._file.frames(index, numbers):
            plane = picture.frame.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            yield number, rows[: picture.frame.height, : picture.frame.width]


def write_reason(path: Path, why: str) -> None:
    """Writes a file that says why a video has no flow, in place of the flow.

    Raises:
        WriteError: the disk is full, …
    """
    files.write_text(path, f"{_NO_FLOW}{why}\n")


def reason(path: str) -> str | None:
    """Returns the reason in a file of `write_reason`; None for all other files."""
    try:
        with open(path, "rb") as file:
            if file.read(len(_NO_FLOW)).decode(errors="replace") != _NO_FLOW:
                return None
            return file.read().decode(errors="replace").strip()
    except OSError:  # the decoder reports it
        return None


def packed(frame: Frame, seconds: float) -> Frame:
    """Puts a frame of flow into a gray image that video files can hold without loss.

    OpenCV writes only images of even sides, and rounds times to milliseconds. So two extra rows at
    the top begin with time, height and width; below them come x, then y.

    Args:
        frame: uint8 `(height, width, 2)`.
        seconds: when the frame is shown.

    Returns:
        uint8 `(2 + 2 * height, width or more)`, both even.
    """
    height, width = frame.shape[:2]
    columns = max(_LEAST_WIDTH, width + width % 2)
    image = np.zeros((_ROWS + 2 * height, columns), np.uint8)
    image[0, : _SIDES.size] = np.frombuffer(_SIDES.pack(seconds, height, width), np.uint8)
    image[_ROWS:, :width] = np.concatenate([frame[..., 0], frame[..., 1]])
    return image


def unpacked(image: Frame, path: str) -> tuple[Frame, float]:
    """Returns the frame and its time from an image of `packed`.

    Args:
        image: uint8 `(rows, columns)`.
        path: of its file, for the message.

    Raises:
        VideoError: it holds no flow.
    """
    rows, columns = image.shape
    seconds, height, width = np.nan, 0, 0
    if columns >= _LEAST_WIDTH:
        seconds, height, width = _SIDES.unpack(image[0, : _SIDES.size].tobytes())
    if rows != _ROWS + 2 * height or not 0 < width <= columns or not np.isfinite(seconds):
        raise VideoError(
            f"{path} is not a file of flow, as `python -m keras_r3d.flow` writes them: write it "
            "again."
        )
    both = image[_ROWS:, :width].reshape(2, height, width)
    return np.ascontiguousarray(both.transpose(1, 2, 0)), seconds
