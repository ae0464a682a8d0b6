"""Cutting clips out of labelled videos, wherever their frames lie, and the book of broken ones."""

import contextlib
import dataclasses
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_r3d.data.annotations import AnnotationError, Problem, Video
from keras_r3d.data.cropping import Crop
from keras_r3d.data.sampling import Indices, loop
from keras_r3d.data.video import Frame, VideoError


@dataclasses.dataclass(frozen=True)
class Cut:
    """A clip to be cut.

    Attributes:
        numbers: int64 `(frames,)`, counted from the first frame of the video or segment.
        crop_of: takes height and width of the frames, gives the crop.
        out: uint8 `(frames, size, size, 3)`, contiguous; is filled, RGB.
    """

    numbers: Indices
    crop_of: Callable[[int, int], Crop]
    out: Frame


class Reader(ABC):
    """Reads videos, from several threads at once. Each broken one is noted once, with the reason.

    Attributes:
        threads: how many are worth their while.
    """

    threads: int

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._problems: dict[str, Problem] = {}

    @property
    def problems(self) -> list[Problem]:
        """The broken videos met so far, by name."""
        return [self._problems[name] for name in sorted(self._problems)]

    @property
    def broken(self) -> int:
        """Number of videos met so far that gave no clip."""
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
            VideoError: the video gives no frames, or fewer than it did before.
        """

    def windows(
        self,
        video: Video,
        frames: int,
        frame_stride: int,
        crop_of: Callable[[int, int], Crop],
        size: int,
    ) -> Iterator[Frame]:
        """Yields all of a video in clips one after the other; the last loops its own frames.

        Yields:
            uint8 `(frames, size, size, 3)`, RGB.

        Raises:
            VideoError: the video gives no frames.
        """
        count, span = self.count(video), frames * frame_stride
        for start in range(0, count, span):
            numbers = loop(np.arange(start, min(start + span, count), frame_stride), frames)
            out = np.empty((frames, size, size, 3), np.uint8)
            self.cut(video, [Cut(numbers, crop_of, out)])
            yield out

    def require_readable(self, videos: Sequence[Video], split: str) -> None:
        """Raises AnnotationError if none of the videos of a split can be read."""
        for video in videos:
            try:
                self.check(video)
            except VideoError:  # noted by `check`
                continue
            return
        reasons = "\n".join(f"  {self._problems[video.name].detail}" for video in videos[:5])
        raise AnnotationError(
            f"None of the {len(videos)} videos of split '{split}' can be read. The first:\n"
            f"{reasons}"
        )

    @abstractmethod
    def check(self, video: Video) -> None:
        """Raises VideoError if the first frame of a video cannot be had."""

    @contextlib.contextmanager
    def _noting(self, video: Video) -> Iterator[None]:
        """Notes a video that turns out to be unreadable."""
        try:
            yield
        except VideoError as error:
            self._note(video, "unreadable", str(error))
            raise

    def _note(self, video: Video, status: str, detail: str) -> None:
        with self._lock:
            self._problems[video.name] = Problem(video.name, status, detail)
