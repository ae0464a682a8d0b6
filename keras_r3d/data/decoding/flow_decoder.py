"""Videos whose frames are optical flow: computed from a video, or stored beforehand."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_r3d.data.decoding import decoder, flow
from keras_r3d.data.decoding.decoder import Decoder, Frame, Frames
from keras_r3d.system import files
from keras_r3d.system.errors import VideoError
from keras_r3d.system.opencv import cv2

_SIDES = struct.Struct("<dHH")  # of a stored frame: time in seconds, height and width
_ROWS = 2  # above the flow, the first of them begins with it
_LEAST_WIDTH = 16  # of a row that has place for it
_NO_FLOW = "keras_r3d: no flow: "  # begins a file that stands for a video without any


class FlowDecoder(Frames):
    """The flow of a video, which has as many frames as the video.

    A frame is the flow to the next frame of the video, also if a clip skips that one; the last
    repeats the one before. A video of one frame has no motion.

    Args:
        algorithm: one of `flow.ALGORITHMS`.
        short_side: frames are shrunk to this short side first, in pixels; 0 keeps them.
        sparse: the last frame is never used, so skipped frames need no conversion.

    Raises:
        VideoError: as `Decoder`.
        DataError: OpenCV lacks the algorithm.
    """

    def __init__(self, path: str, algorithm: str, short_side: int, *, sparse: bool = False):
        self._compute = flow.algorithm(algorithm)
        self._images = Decoder(path)
        self._moves = iter(self._images)
        self._short_side, self._sparse = short_side, sparse
        self._size: tuple[int, int] | None = None
        self._before: Frame | None = None  # gray frames: the one before, this one, the next
        self._here: Frame | None = None
        self._next: Frame | None = None
        self._looked_ahead = False
        self._flow: Frame | None = None
        self.path, self.header_count = path, self._images.header_count
        self.count, self.seconds, self.ended = 0, self._images.seconds, False

    def __iter__(self) -> Iterator[None]:
        while True:
            if self._here is None and self.count and not self._sparse and not self._looked_ahead:
                self._here = self._gray()
            if not self._looked_ahead and next(self._moves, self) is self:
                self.ended = True
                return
            self._before, self._here, self._next = self._here, self._next, None
            self._looked_ahead, self._flow = False, None
            self.count, self.seconds = self._images.count, self._images.seconds
            yield

    def frame(self) -> Frame:
        """Returns the flow to the next frame, uint8 `(height, width, 2)`, as `flow.encode`."""
        if self._flow is None:
            self._flow = self._computed()
        return self._flow

    def seek(self, number: int, checksums: tuple[int, int]) -> bool:
        """Moves as `Decoder.seek` does; before the first frame only."""
        matched = self._images.seek(number, checksums)
        self.count, self.seconds = self._images.count, self._images.seconds
        return matched

    def _computed(self) -> Frame:
        here = self._here = self._image() if self._here is None else self._here
        if next(self._moves, self) is not self:
            self._looked_ahead, self._next = True, self._gray()
        if self._next is not None:
            return self._compute(here, self._next)
        if self._before is not None:
            return self._compute(self._before, here)
        if self.count > 1:
            raise VideoError(
                f"{self.path}: the frame after {self.seconds:g} s, which its flow needs, cannot be "
                "converted."
            )
        return np.full((*here.shape, flow.CHANNELS), flow.ZERO, np.uint8)

    def _gray(self) -> Frame | None:
        try:
            return self._image()
        except VideoError:  # raised again when this frame is used
            return None

    def _image(self) -> Frame:
        image = self._images.frame()
        self._size = self._size or decoder.shrunk(image, self._short_side)
        return cv2.cvtColor(decoder.resize(image, *self._size), cv2.COLOR_BGR2GRAY)


class StoredFlowDecoder(Decoder):
    """Flow that was stored by `packed`, with the times of the video it was computed from.

    Raises:
        VideoError: as `Decoder`; or the video has no flow, with the reason.
    """

    def __init__(self, path: str):
        if (why := reason(path)) is not None:
            raise VideoError(why)
        super().__init__(path)
        self._unpacked: Frame | None = None

    def __iter__(self) -> Iterator[None]:
        for _ in super().__iter__():
            self._unpacked, self.seconds = unpacked(self.image(), self.path)
            yield

    def frame(self) -> Frame:
        assert self._unpacked is not None
        return self._unpacked


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
        image: uint8 `(rows, columns, 3)`, all channels equal.
        path: of its file, for the message.

    Raises:
        VideoError: it holds no flow.
    """
    rows, columns = image.shape[:2]
    seconds, height, width = np.nan, 0, 0
    if columns >= _LEAST_WIDTH:
        seconds, height, width = _SIDES.unpack(image[0, : _SIDES.size, 0].tobytes())
    if rows != _ROWS + 2 * height or not 0 < width <= columns or not np.isfinite(seconds):
        raise VideoError(
            f"{path} is not a file of flow, as `python -m keras_r3d.flow` writes them: write it "
            "again."
        )
    both = image[_ROWS:, :width, 0].reshape(2, height, width)
    return np.ascontiguousarray(both.transpose(1, 2, 0)), seconds
