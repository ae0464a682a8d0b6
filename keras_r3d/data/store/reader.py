"""Clips out of a store: read by ranges, cut while they are compressed, decoded by the window."""

import functools
import itertools
import os
import zlib
from collections.abc import Sequence

import numpy as np

from keras_r3d.data.annotations import Problem, Video
from keras_r3d.data.decoding import pixels
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.decoding.reader import Cut, Reader, Seconds
from keras_r3d.data.sampling.cropping import Crop, center
from keras_r3d.data.sampling.temporal import Indices, at_rate
from keras_r3d.data.store import jpeg, levels
from keras_r3d.data.store.jpeg import JpegError
from keras_r3d.data.store.opened import Store
from keras_r3d.system.errors import StoreError, VideoError

_REMOTE_THREADS = 32  # requests under way, so that none is waited for alone
_UNDER_THE_LOCK = 5 * 1024  # bytes, as zlib has it
_GAP = 2**16  # bytes between frames that cost less to read than another request


class StoreReader(Reader):
    """Reads clips of a store's videos; errors are VideoError.

    Args:
        fps: as of `VideoReader`.
    """

    def __init__(self, store: Store, fps: float | None = None):
        super().__init__()
        pixels.keep_buffers()
        cores = len(os.sched_getaffinity(0))
        self.threads = max(_REMOTE_THREADS, cores) if store.storage.remote else cores
        self.store = store

        @functools.lru_cache(64)
        def frames(number: int) -> tuple[Indices, Seconds]:
            """Returns frames by their numbers in the store, and their times."""
            video = store.videos[number]
            with self._noting(video):
                return at_rate(store.seconds(number), fps, video.name)

        self._frames = frames

    def count(self, video: Video) -> int:
        """Returns the number of frames of a video."""
        return len(self._frames(self._number(video))[0])

    def state(self, video: Video) -> str:
        """Returns the SHA-256 of a video's frames."""
        return self.store.sha256[self._number(video)]

    def length(self, video: Video) -> float:
        """Returns the seconds from the first frame of a video to the last; 0 of one not there."""
        number = self.store.numbers.get(video)
        return 0.0 if number is None else float(np.ptp(self.store.seconds(number)))

    def fingerprint(self, video: Video, thorough: bool) -> tuple[int, str]:
        """Returns the frames of a video, and the SHA-256 of them, which the index has."""
        return self.count(video), self.state(video)

    def seconds(self, video: Video) -> Seconds:
        """Returns when each frame of a video was shown in its source, float64 `(count,)`."""
        return self._frames(self._number(video))[1]

    def check(self, video: Video) -> None:
        """Raises VideoError if the first frame of a video cannot be had."""
        out = np.empty((1, 16, 16, 3), np.uint8)
        self.cut(video, [Cut(np.zeros(1, np.int64), center, out)])

    def cut(self, video: Video, cuts: Sequence[Cut]) -> list[Crop]:
        """Cuts clips out of a video, each from the smallest level that serves."""
        with self._noting(video):
            number = self._number(video)
            try:
                sizes = self.store.sizes(number)
                crops = [cut.crop_of(*sizes[0]) for cut in cuts]
                stored, _ = self._frames(number)
                for cut, crop in zip(cuts, crops, strict=True):
                    self._cut(number, sizes, stored[cut.numbers], cut.out, crop)
            except (JpegError, StoreError) as error:
                raise VideoError(f"{video.name}: {error}") from error
        return crops

    def _number(self, video: Video) -> int:
        number = self.store.numbers.get(video)
        if number is None:
            raise VideoError(f"{video.name}: is not in the store {self.store.root}.")
        if number in self.store.short and self.problem(video) is None:
            self.note(Problem(video.name, "short", self.store.short[number]))
        return number

    def _cut(
        self, number: int, sizes: list[levels.Size], asked: Indices, out: Frame, crop: Crop
    ) -> None:
        """Cuts frames of a video, by their numbers in the store, and fills `out`."""
        place = levels.choose(crop, sizes, out.shape[1:3])
        numbers, copies = asked, np.arange(len(asked))
        if not (np.diff(numbers) > 0).all():
            numbers, copies = np.unique(asked, return_inverse=True)
        windows = compressed(self.store, number, numbers, place, sizes[place.level])
        frames = jpeg.decode(windows, place.height, place.width, place.shrink)
        height, width = frames.shape[1:3]
        if frames.shape == out.shape and numbers is asked:
            out[...] = frames
            if crop.flip:
                pixels.flip(out)
            return
        for copy, frame in zip(copies.tolist(), out, strict=True):
            pixels.fill(frame, frames[copy], 0, 0, height, width, crop.flip)


def compressed(
    store: Store, number: int, frames: Indices, place: levels.LevelCut, size: levels.Size
) -> list[jpeg.Window]:
    """Reads frames (in increasing order) of a video and cuts a window out of them, not decoded.

    `size` is that of the frames at the level. StoreError and JpegError say that they are damaged.
    """
    data, ends = _read(store, number, place.level, frames)
    return jpeg.cut(data, ends, size, place.top, place.left, place.height, place.width)


def _read(store: Store, number: int, level: int, frames: Indices) -> tuple[jpeg.Bytes, Indices]:
    """Returns the bytes of frames, one after the other, and where each ends."""
    span = store.span(number, level)
    ends = span.ends[frames]
    starts = np.where(frames > 0, span.ends[frames - 1], 0)
    if (ends <= starts).any():
        raise StoreError(f"the index of the store {store.root} is damaged.")
    # Frames that lie near each other come in one piece.
    breaks = np.flatnonzero(starts[1:] - ends[:-1] > _GAP) + 1
    pieces: list[memoryview] = []
    for first, stop in itertools.pairwise((0, *breaks.tolist(), len(frames))):
        group = slice(first, stop)
        data = memoryview(store.read(span, int(frames[first]), int(frames[stop - 1])))
        begin = starts[first]
        if (starts[group][1:] == ends[group][:-1]).all():
            pieces.append(data)
        else:
            places = zip(starts[group] - begin, ends[group] - begin, strict=True)
            pieces += [data[start:end] for start, end in places]
    joined = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
    sums = np.cumsum(ends - starts)
    begin = 0
    checksums = span.crc32[frames].tolist()
    for frame, end, checksum in zip(frames.tolist(), sums.tolist(), checksums, strict=True):
        if _crc32(joined[begin:end]) != checksum:
            raise StoreError(f"frame {frame} of level {level} does not have its checksum.")
        begin = end
    return np.frombuffer(joined, np.uint8), sums


def _crc32(data: memoryview) -> int:
    """Computes a CRC-32 without giving up Python's lock.

    Of more than 5 kB at once zlib does give it up, and has to wait until another thread does
    likewise: sixteen times a clip that costs more than it brings.
    """
    value = 0
    for start in range(0, len(data), _UNDER_THE_LOCK):
        value = zlib.crc32(data[start : start + _UNDER_THE_LOCK], value)
    return value
