"""Reads clips out of labeled videos, however their frames are stored, and notes broken ones."""

import contextlib
import dataclasses
import functools
import math
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keras_r3d.data import annotations as lists
from keras_r3d.data.annotations import Problem, Video, parts
from keras_r3d.data.decoding.pixels import Frame, resize
from keras_r3d.data.sampling.cropping import Crop, Views, whole
from keras_r3d.data.sampling.temporal import Indices, loop
from keras_r3d.system import files
from keras_r3d.system.errors import DataError, VideoError
from keras_r3d.system.objects import inputs
from keras_r3d.system.objects.calls import is_url

Seconds = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Cut:
    """A clip to cut.

    Attributes:
        numbers: int64 `(frames,)`, counted from the first frame of the video or segment.
        crop_of: takes height and width of the frames, returns the crop.
        out: uint8 `(frames, height, width, channels)`, contiguous; is filled.
    """

    numbers: Indices
    crop_of: Callable[[int, int], Crop]
    out: Frame


@dataclasses.dataclass(frozen=True)
class Window:
    """A clip at a fixed place in a video.

    Attributes:
        pixels: uint8 `(views, frames, height, width, channels)`: crops of the same frames.
        frame_numbers: int64 `(frames,)`, counted from the first frame of the video or segment.
        start_seconds, end_seconds: when its first frame appears, and its last one disappears.
    """

    pixels: Frame
    frame_numbers: Indices
    start_seconds: float
    end_seconds: float


class Reader(ABC):
    """Reads videos, from several threads at once. Each broken one is noted once, with the reason.

    Attributes:
        threads: number that makes reading fastest.
        channels: of its clips: 3 (RGB) or 2 (optical flow, as `flow.encode`).
    """

    threads: int
    channels: int = 3

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._problems: dict[str, Problem] = {}

    @property
    def problems(self) -> list[Problem]:
        """The broken videos so far, by name."""
        return [self._problems[name] for name in sorted(self._problems)]

    @property
    def broken(self) -> int:
        """Number of videos so far that gave no clip."""
        return sum(problem.status != "short" for problem in self._problems.values())

    @abstractmethod
    def count(self, video: Video) -> int:
        """Returns the exact number of frames of a video.

        Raises:
            VideoError: the video gives no frames.
        """

    @abstractmethod
    def cut(self, video: Video, cuts: Sequence[Cut]) -> list[Crop]:
        """Cuts clips out of a video, all in one pass; returns their crops.

        Raises:
            VideoError: the video gives no frames, or fewer than before.
        """

    @abstractmethod
    def seconds(self, video: Video) -> Seconds:
        """Returns when each frame of a video is shown, float64 `(count,)`, increasing.

        Raises:
            VideoError: the video gives no frames.
        """

    def state(self, video: Video) -> str:
        """Returns a text that changes with the files of a video; "" if unknown."""
        if is_url(video.path):
            known = inputs.about(video.path)
            return f"{known.size} bytes of {known.version}" if known else ""
        try:
            stats = [os.stat(part) for part in parts(video.path)]
        except OSError:
            return ""
        rate = f" at {video.frame_rate:g}/s" if len(stats) > 1 else ""
        newest = max(stat.st_mtime_ns for stat in stats)
        return f"{sum(stat.st_size for stat in stats)} bytes of {newest}{rate}"

    def length(self, video: Video) -> float:
        """Returns the seconds of a video that a list or an index knows; 0 without opening it."""
        seconds = video.end_seconds - video.start_seconds
        return seconds if math.isfinite(seconds) else 0.0

    def fingerprint(self, video: Video, thorough: bool) -> tuple[int, str]:
        """Returns what a copy of a video has, too: the bytes of its file (of a folder the number of
        pictures), and if `thorough` the SHA-256 of all; 0 and "" if it is gone."""
        path = Path(video.path)
        try:
            if is_url(video.path):
                return lists.size(video.path), lists.sha256(video.path) if thorough else ""
            parts = sorted(path.iterdir()) if path.is_dir() else [path]
            size = len(parts) if path.is_dir() else path.stat().st_size
            return size, files.sha256_of(map(Path.read_bytes, parts)) if thorough else ""
        except OSError:
            return 0, ""

    def windows(
        self, video: Video, frames: int, frame_stride: int, views: Views
    ) -> Iterator[Window]:
        """Yields all of a video in consecutive clips; the last loops its own frames.

        Args:
            views: crops of each frame.

        Raises:
            VideoError: the video gives no frames.
        """
        span = frames * frame_stride
        for start in range(0, self.count(video), span):

            def following(count: int, start: int = start) -> list[Indices]:
                return [loop(np.arange(start, min(start + span, count), frame_stride), frames)]

            yield from self.chosen(video, following, views)

    def chosen(
        self, video: Video, choose: Callable[[int], list[Indices]], views: Views
    ) -> Iterator[Window]:
        """Yields clips whose places depend on the length of the video, cut in one pass.

        Args:
            choose: takes the number of frames, returns the frame numbers of each clip.
            views: as in `windows`.

        Raises:
            VideoError: the video gives no frames.
        """
        seconds = self.seconds(video)
        windows = [
            Window(
                np.empty((views.count, len(numbers), *views.size, self.channels), np.uint8),
                numbers,
                *span_seconds(numbers, seconds),
            )
            for numbers in choose(len(seconds))
        ]
        cuts = [
            Cut(window.frame_numbers, functools.partial(views.crop, view), out)
            for window in windows
            for view, out in enumerate(window.pixels)
        ]
        self.cut(video, cuts)
        yield from windows

    def uncut(
        self, video: Video, numbers: Indices, height: int
    ) -> tuple[Frame, tuple[int, int] | None]:
        """Returns whole frames in their own shape, scaled to a height.

        They are uint8 `(len(numbers), height, width, channels)`, of an even width of four heights
        at most. Beside them is the height and width that they had, in pixels; None of rendered
        ones, which are of any size.

        Raises:
            VideoError: the video gives no frames.
        """
        shapes: list[tuple[int, int]] = []

        def noted(rows: int, columns: int) -> Crop:
            shapes.append((rows, columns))
            return whole(rows, columns)

        out = np.empty((len(numbers), 2 * height, 2 * height, self.channels), np.uint8)
        self.cut(video, [Cut(np.asarray(numbers), noted, out)])
        shape = shapes[0] if shapes else None
        aspect = min(4.0, shape[1] / shape[0]) if shape else 1.0
        width = max(2, 2 * round(height * aspect / 2))
        return np.stack([resize(frame, height, width) for frame in out]), shape

    def problem(self, video: Video) -> Problem | None:
        """Returns what was noted about a video."""
        return self._problems.get(video.name)

    def require_readable(self, videos: Sequence[Video], split: str) -> None:
        """Raises DataError if none of the videos of a split can be read."""
        for video in videos:
            with contextlib.suppress(VideoError):  # noted by `check`
                self.check(video)
                return
        reasons = "\n".join(f"  {self._problems[video.name].detail}" for video in videos[:5])
        raise DataError(
            f"None of the {len(videos)} videos of split '{split}' can be read. The first:\n"
            f"{reasons}"
        )

    @abstractmethod
    def check(self, video: Video) -> None:
        """Raises VideoError if the first frame of a video cannot be read."""

    @contextlib.contextmanager
    def _noting(self, video: Video) -> Iterator[None]:
        """Notes a video that is unreadable."""
        try:
            yield
        except VideoError as error:
            self.note(Problem(video.name, error.status, str(error)))
            raise

    def note(self, problem: Problem) -> None:
        """Notes what is wrong with a video."""
        with self._lock:
            self._problems[problem.name] = problem


def span_seconds(numbers: Indices, seconds: Seconds) -> tuple[float, float]:
    """Returns when the first of some frames appears, and the last of them disappears.

    A frame is shown until the next; the last of a video as long as the others on average.

    Args:
        numbers: int64 `(n,)`.
        seconds: of all frames of the video, float64 `(count,)`, increasing.
    """
    last = int(numbers.max())
    if last + 1 < len(seconds):
        end = seconds[last + 1]
    else:
        end = seconds[-1] + (seconds[-1] - seconds[0]) / max(1, len(seconds) - 1)
    return float(seconds[numbers.min()]), float(end)
