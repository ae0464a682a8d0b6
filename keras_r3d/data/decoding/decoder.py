"""Opens and decodes video files: the only place that does so with OpenCV.

Frames are counted by decoding, in order, because containers state wrong numbers. For the same
reason the result of a seek is compared with what decoding in order gave. Rotation metadata is
applied, so frames are upright.
"""

import dataclasses
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from keras_r3d.system.errors import VideoError
from keras_r3d.system.opencv import cv2

Frame = NDArray[np.uint8]

LANDMARK_EVERY = 16  # frames
_LEAST_SEEK = 2 * LANDMARK_EVERY  # frames from the start that are decoded faster than sought
_ROWS_SKIPPED = 4  # of a frame, in its checksum
_NEARLY_ALL = 1.4  # factor of shrinking a side, below which bilinear leaves hardly a pixel out


@dataclasses.dataclass
class Landmarks:
    """Checksums of pairs of neighboring frames, by which a seek can be checked.

    Both frames of a pair must match, and pairs of two equal frames are not used: where nothing
    moves, a frame equals the one before.

    Attributes:
        numbers: int64 `(n,)`, of the first frame of each pair, increasing.
        checksums: uint32 `(n, 2)`.
        trusted: no seek has missed so far; after a miss this video is sought no more.
    """

    numbers: NDArray[np.int64]
    checksums: NDArray[np.uint32]
    trusted: bool = True

    @classmethod
    def of_frames(cls, checksums: dict[int, int]) -> "Landmarks":
        """Makes landmarks of the checksums of frames, by frame number, increasing."""
        pairs = [
            (number, checksum, checksums[number + 1])
            for number, checksum in checksums.items()
            if checksums.get(number + 1, checksum) != checksum
        ]
        table = np.array(pairs, np.int64).reshape(-1, 3)
        return cls(table[:, 0].copy(), table[:, 1:].astype(np.uint32))

    def before(self, number: int) -> tuple[int, tuple[int, int]] | None:
        """Returns the last pair that ends before a frame; None if seeking it does not pay."""
        place = int(np.searchsorted(self.numbers, number - 1)) - 1
        if not self.trusted or place < 0 or self.numbers[place] < _LEAST_SEEK:
            return None
        first, second = self.checksums[place].tolist()
        return int(self.numbers[place]), (first, second)


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What decoding a video to its end shows.

    Attributes:
        frame_count: frames that decode.
        header_count, header_rate: frames, and frames per second, that the container states (often
            wrong).
        seconds: float64 `(frame_count,)`, presentation times, increasing.
        width, height: of the upright frames, as the container states, in pixels.
        rotation: by the metadata, in degrees.
        landmarks: where seeks can be checked.
    """

    frame_count: int
    header_count: int
    header_rate: float
    seconds: NDArray[np.float64]
    width: int
    height: int
    rotation: int
    landmarks: Landmarks


def falls_short(promised: int, decoded: int) -> bool:
    """Tells whether enough frames are missing for the file to be truncated.

    Containers that overstate by a frame or two are the rule, not a fault.
    """
    return promised - decoded > max(2, 0.05 * decoded)


def probe(path: str, decoder: "Decoder | None" = None) -> VideoInfo:
    """Decodes a video to its end without keeping any frame.

    Args:
        decoder: of the file, before its first frame; None makes one.

    Raises:
        VideoError: the file does not exist, is no video, or no frame of it decodes.
    """
    decoder = decoder or Decoder(path)
    seconds: list[float] = []
    checksums: dict[int, int] = {}
    for number, _ in enumerate(decoder):
        seconds.append(decoder.seconds)
        if number % LANDMARK_EVERY < 2 and (checksum := decoder.checksum()) is not None:
            checksums[number] = checksum
    return VideoInfo(
        len(seconds),
        decoder.header_count,
        decoder.header_rate,
        np.array(seconds),
        decoder.width,
        decoder.height,
        decoder.rotation,
        Landmarks.of_frames(checksums),
    )


def selected(
    path: str,
    indices: NDArray[np.int64],
    short_side: int = 0,
    landmarks: Landmarks | None = None,
    open_frames: "Callable[[str], Frames] | None" = None,
) -> Iterator[tuple[int, Frame]]:
    """Decodes chosen frames of a video in one pass that ends with the last of them.

    Args:
        indices: int64 `(n,)`, frame numbers counted from 0, increasing.
        short_side: frames are shrunk, never enlarged, to this short side in pixels; 0 keeps them.
        landmarks: of this video, to begin at one of them; None decodes from the start.
        open_frames: takes the path, returns frames of another kind; None is those of `Decoder`.

    Yields:
        Place in `indices` and frame, uint8 `(height, width, 3)`, BGR; all of the first one's size.

    Raises:
        VideoError: the file cannot be opened, or ends before the last index.
    """
    open_frames = open_frames or Decoder
    decoder = open_frames(path)
    landmark = landmarks.before(int(indices[0])) if landmarks is not None else None
    if landmarks is not None and landmark is not None and not decoder.seek(*landmark):
        landmarks.trusted = False
        decoder = open_frames(path)
    place = 0
    size = None
    for _ in decoder:
        if decoder.count - 1 == indices[place]:
            frame = decoder.frame()
            size = size or shrunk(frame, short_side)
            yield place, resize(frame, *size)
            place += 1
            if place == len(indices):
                return
    raise VideoError(f"{path}: frame {indices[-1]} was asked for, but only {decoder.count} decode.")


def fill(
    out: Frame, frame: Frame, top: int, left: int, height: int, width: int, flip: bool
) -> None:
    """Cuts a rectangle out of a frame and scales it to fill `out`.

    It is scaled as `resize` does, but faster where it shrinks by less than two a side: to twice the
    size of `out`, bilinearly, then averaged over squares of 2x2. That takes half the time of
    OpenCV's average over areas of fractions of pixels, and differs by a gray level at most. Where
    it shrinks by less than 1.4, bilinear is as close.

    Args:
        out: uint8 `(size, size, 3)`, contiguous.
        flip: mirrors it left to right.
    """
    rows, columns = out.shape[:2]
    part = frame[top : top + height, left : left + width]
    factor = max(height / rows, width / columns)
    if factor < _NEARLY_ALL:
        part = _bilinear(part, rows, columns)
    else:
        if factor < 2:
            part = _bilinear(part, 2 * rows, 2 * columns)
        part = resize(part, rows, columns)
    if flip:
        cv2.flip(part, 1, dst=out)
    else:
        out[...] = part


def flip(clip: Frame) -> None:
    """Mirrors the frames of a clip left to right, in place.

    Args:
        clip: uint8 `(frames, height, width, 3)`, contiguous.
    """
    rows = clip.reshape(-1, *clip.shape[2:])
    cv2.flip(rows, 1, dst=rows)


def to_rgb(clip: Frame) -> None:
    """Converts the frames of a clip from BGR to RGB, in place."""
    for frame in clip:
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=frame)


def shrunk(frame: Frame, short_side: int) -> tuple[int, int]:
    """Returns height and width of a frame shrunk to `short_side`, with its aspect ratio."""
    height, width = frame.shape[:2]
    scale = short_side / min(height, width) if short_side else 1.0
    if scale >= 1:
        return height, width
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(frame: Frame, height: int, width: int) -> Frame:
    """Scales a frame: area average where it shrinks, bilinear where a side grows."""
    if frame.shape[:2] == (height, width):
        return frame
    if height <= frame.shape[0] and width <= frame.shape[1]:
        # INTER_AREA averages what a shrunk pixel covers; bilinear would alias.
        return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return _bilinear(frame, height, width)


def _bilinear(frame: Frame, height: int, width: int) -> Frame:
    if frame.shape[:2] == (height, width):
        return frame
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)


class Frames(ABC):
    """The frames of a video file, one after the other.

    Iterating moves from frame to frame; `seconds` and `frame` describe the current one.

    Attributes:
        path: of the file.
        header_count: frames the container states.
        count: frames of the video up to the current one.
        seconds: presentation time of the current frame.
        ended: the end of the file was reached.
    """

    path: str
    header_count: int
    count: int
    seconds: float
    ended: bool

    @abstractmethod
    def __iter__(self) -> Iterator[None]:
        """Moves through the frames.

        Raises:
            VideoError: no frame decodes.
        """

    @abstractmethod
    def frame(self) -> Frame:
        """Returns the current frame, uint8 `(height, width, channels)`.

        Raises:
            VideoError: it cannot be converted.
        """

    @abstractmethod
    def seek(self, number: int, checksums: tuple[int, int]) -> bool:
        """Moves to the second of two neighboring frames, if their checksums match.

        Returns:
            Whether they do. If not, the decoder cannot be used any more.
        """

    def shown(self, start_seconds: float = 0.0, end_seconds: float = np.inf) -> Iterator[float]:
        """Moves through the frames shown from `start_seconds` to before `end_seconds`, in order.

        Yields:
            Time in seconds of the current frame.

        Raises:
            VideoError: no frame decodes, or none is shown in the range.
        """
        empty = True
        for _ in self:
            if self.seconds < start_seconds:
                continue
            if self.seconds >= end_seconds:
                break
            empty = False
            yield self.seconds
        if empty:
            raise VideoError(
                f"{self.path}: no frame is shown from {start_seconds:g} to {end_seconds:g} s; the "
                f"last decoded is shown at {self.seconds:g} s."
            )

    def timed(
        self, start_seconds: float = 0.0, end_seconds: float = np.inf
    ) -> Iterator[tuple[float, Frame]]:
        """Decodes the frames of `shown`.

        Yields:
            Time in seconds, and frame as `frame` returns it.

        Raises:
            VideoError: as `shown`, or a frame cannot be converted.
        """
        for second in self.shown(start_seconds, end_seconds):
            yield second, self.frame()


class Decoder(Frames):
    """The pictures of a video file; frames are uint8 `(height, width, 3)`, BGR.

    Attributes:
        header_rate, width, height, rotation: as in `VideoInfo`.

    Raises:
        VideoError: the file does not exist or is no video; when iterating, no frame of it decodes.
    """

    def __init__(self, path: str):
        if not path.isascii():
            try:
                path.encode()
            except UnicodeEncodeError:
                shown = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
                raise VideoError(f"{shown}: the file name is not UTF-8: rename the file.") from None
        if not os.path.isfile(path):
            raise VideoError(f"{path}: there is no such file.")
        if os.path.getsize(path) == 0:
            raise VideoError(f"{path}: the file is empty.")
        # Absolute, or FFmpeg takes the part before a colon for a protocol. One thread each: the
        # pipeline decodes several videos at a time.
        self._capture = cv2.VideoCapture(
            os.path.abspath(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]
        )
        if not self._capture.isOpened():
            raise VideoError(
                f"{path}: OpenCV cannot open it as a video (truncated, audio only, or no video)."
            )
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        self.path = path
        self.header_count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.header_rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.rotation = int(self._capture.get(cv2.CAP_PROP_ORIENTATION_META))
        self._frame_seconds = 1 / self.header_rate if 0 < self.header_rate < 1000 else 1 / 25
        self.count, self.seconds, self.ended = 0, -self._frame_seconds, False

    def __iter__(self) -> Iterator[None]:
        while self._capture.grab():
            seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            # Some containers have no time for a frame (AVI, for the last one): it is then shown
            # one nominal frame after the one before.
            later = seconds > self.seconds
            self.seconds = seconds if later else self.seconds + self._frame_seconds
            self.count += 1
            yield
        self.ended = True
        self._capture.release()
        if self.count == 0:
            raise VideoError(
                f"{self.path}: it opens as a video, but no frame of it decodes "
                "(encrypted, damaged, or a codec that OpenCV lacks)."
            )

    def seek(self, number: int, checksums: tuple[int, int]) -> bool:
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        for checksum in checksums:
            if not self._capture.grab() or self.checksum() != checksum:
                self._capture.release()
                return False
        self.count = number + len(checksums)
        self.seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return True

    def checksum(self) -> int | None:
        """Returns the CRC-32 of some rows of the current picture; None if it does not convert."""
        try:
            return zlib.crc32(self.image()[::_ROWS_SKIPPED].tobytes())
        except VideoError:
            return None

    def frame(self) -> Frame:
        return self.image()

    def image(self) -> Frame:
        """Returns the current picture, uint8 `(height, width, 3)`, BGR.

        Raises:
            VideoError: it cannot be converted.
        """
        try:
            ok, bgr = self._capture.retrieve()
            if ok:
                return bgr
            reason = ""
        except cv2.error as error:
            reason = f" ({error})"
        raise VideoError(
            f"{self.path}: the frame at {self.seconds:g} s cannot be converted{reason}."
        )
