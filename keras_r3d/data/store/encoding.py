"""One video as frames of a store: decoded, scaled to each level, encoded with restart markers."""

import contextlib
import dataclasses
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keras_r3d.data.annotations import Video, sha256, size
from keras_r3d.data.decoding import pixels
from keras_r3d.data.decoding.frame_folder import open_pictures
from keras_r3d.data.decoding.picture import Cutter, Frame, Picture
from keras_r3d.data.decoding.video_file import no_frame
from keras_r3d.data.sampling.cropping import whole
from keras_r3d.data.store import jpeg
from keras_r3d.data.store.levels import Levels
from keras_r3d.system import files
from keras_r3d.system.errors import VideoError
from keras_r3d.system.opencv import cv2

# A marker every 16 pixels costs bytes: on larger frames they may stand further apart.
_LARGE = 224  # pixels of the short side
_MOST_INTERVAL = 4
_MOST_BYTES = 2**32 - 1  # of a level: frame_end is of 32 bits


@dataclasses.dataclass(frozen=True)
class StoreSettings:
    """How videos become frames."""

    levels: Levels
    quality: int
    fps: float  # frames a second to resample to; 0 keeps all


@dataclasses.dataclass(frozen=True)
class Part:
    """An encoded video, in a folder of its own."""

    folder: Path
    sizes: NDArray[np.uint16]  # (levels, 2), height and width
    ends: NDArray[np.uint32]  # (levels, frames), counted from the level's first frame
    crc32: NDArray[np.uint32]  # (levels, frames)
    seconds: NDArray[np.float64]  # (frames,)
    sha256: str  # of the levels' bytes, one after the other
    source_bytes: int
    source_sha256: str
    short: str  # what is wrong with a video that is cut short; "" of others

    def level(self, number: int) -> Path:
        """Returns the file of a level."""
        return self.folder / f"{number}.jpegs"


def encode(source: Video, settings: StoreSettings, folder: Path) -> Part:
    """Encodes a video into a new folder; VideoError says that it gives no frames, or too many."""
    try:
        identity = size(source.path), sha256(source.path)
    except OSError as error:
        raise VideoError(f"{source.path}: cannot be read ({error.strerror}).") from error
    pixels.keep_buffers()
    try:
        folder.mkdir(parents=True)
        return _encode(source, settings, folder, identity)
    except OSError as error:
        raise files.WriteError(files.explain(folder, error)) from error


def _encode(
    source: Video, settings: StoreSettings, folder: Path, identity: tuple[int, str]
) -> Part:
    sizes: list[tuple[int, int]] = []
    intervals: list[int] = []
    seconds: list[float] = []
    lengths: list[list[int]] = [[] for _ in settings.levels.sizes]
    checksums: list[list[int]] = [[] for _ in settings.levels.sizes]
    most = 0  # bytes of a level
    short: list[str] = []
    paths = [folder / f"{number}.jpegs" for number in range(len(settings.levels.sizes))]
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(path.open("wb")) for path in paths]
        cutter = Cutter()
        for time, picture in _pictures(source, settings.fps, short):
            if not sizes:
                sizes = settings.levels.of(*picture.shape)
                limits = [1 if min(size) <= _LARGE else _MOST_INTERVAL for size in sizes]
                intervals = [
                    jpeg.best_interval(width, limit)
                    for (_, width), limit in zip(sizes, limits, strict=True)
                ]
            seconds.append(time)
            encoded = b""
            for level, (height, width) in enumerate(sizes):
                if level == 0 or sizes[level - 1] != (height, width):
                    # From the source: from level to level a little sharpness would go each time.
                    scaled = np.empty((height, width, 3), np.uint8)
                    cutter(scaled, picture, whole(*picture.shape))
                    encoded = _jpeg(source, scaled, settings.quality, intervals[level])
                most = max(most, outputs[level].tell() + len(encoded))
                outputs[level].write(encoded)
                lengths[level].append(len(encoded))
                checksums[level].append(zlib.crc32(encoded))
            if most > _MOST_BYTES:  # at once: a damaged time may ask for frames without end
                raise VideoError(
                    f"{source.name}: its first {len(seconds)} frames take {most / 2**30:.1f} GiB "
                    "at one level; 4 are the limit. List it in several segments (start_seconds, "
                    "end_seconds)."
                )
    return Part(
        folder,
        np.array(sizes, np.uint16),
        np.cumsum(lengths, axis=1).astype(np.uint32),
        np.array(checksums, np.uint32),
        np.array(seconds),
        files.sha256(*paths),
        *identity,
        "".join(short),
    )


def _jpeg(source: Video, frame: Frame, quality: int, interval: int) -> bytes:
    try:
        return jpeg.encode(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality, interval)
    except jpeg.JpegError as error:
        height, width = frame.shape[:2]
        raise VideoError(f"{source.name}: a frame of {width}x{height} {error}") from error


def _pictures(source: Video, fps: float, short: list[str]) -> Iterator[tuple[float, Picture]]:
    """Yields times and pictures of a video as far as it decodes; `short` gets what is missing."""
    file = open_pictures(source.path, rate=source.frame_rate)
    index = file.index()
    numbers, seconds = index.sampled(source, fps)
    distinct = np.unique(numbers)
    decoded = 0
    for number, picture in file.frames(index, distinct):
        for place in range(*np.searchsorted(numbers, [number, number + 1])):
            yield float(seconds[place]), picture
        decoded += 1
    file.close()
    if not decoded:
        raise VideoError(no_frame(source.path))
    if problem := index.shortage(source.path, len(distinct), decoded):
        short.append(problem)
