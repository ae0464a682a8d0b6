"""Frames of labelled videos by number: counted exactly, kept in memory where it allows.

The reader also keeps the book of broken videos: each is named once, with the reason.
"""

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.data.annotations import AnnotationError, Problem, Video
from keras_r3d.data.video import Decoder, Frame, VideoError, falls_short, probe, read_frames


@dataclasses.dataclass(frozen=True)
class _Known:
    """What the first pass over a video found: its frames, or where they are in the file."""

    first: int
    count: int
    frames: Frame | None


class VideoReader:
    """Reads frames of videos, from several threads at once.

    Args:
        short_side: frames are shrunk to this short side in pixels; 0 keeps them.
        cache_gib: memory for decoded frames. Videos are kept whole, first come, first kept;
            the others are decoded again each time they are read.
    """

    def __init__(self, short_side: int, cache_gib: float):
        self._short_side = short_side
        self._bytes_left = int(cache_gib * 2**30)
        self._known: dict[Video, _Known | str] = {}
        self._locks: dict[Video, threading.Lock] = {}
        self._lock = threading.Lock()
        self._problems: dict[str, Problem] = {}

    @property
    def problems(self) -> list[Problem]:
        """The broken videos met so far, by name."""
        return [self._problems[name] for name in sorted(self._problems)]

    def count(self, video: Video) -> int:
        """Returns the number of frames of a video, found by decoding.

        Raises:
            VideoError: the video gives no frames.
        """
        return self._know(video).count

    def require_readable(self, videos: Sequence[Video], split: str) -> None:
        """Raises AnnotationError if none of the videos of a split can be read."""
        for video in videos:
            try:
                next(self.stream(video))
            except VideoError:  # noted by `stream`
                continue
            return
        reasons = "\n".join(f"  {self._problems[video.name].detail}" for video in videos[:5])
        raise AnnotationError(
            f"None of the {len(videos)} videos of split '{split}' can be read. The first:\n"
            f"{reasons}"
        )

    def read(self, video: Video, indices: NDArray[np.int64]) -> Frame:
        """Returns frames of a video.

        Args:
            indices: int64 `(n,)`, counted from the first frame of the video or segment.

        Returns:
            uint8 `(n, height, width, 3)`, RGB.

        Raises:
            VideoError: the video gives no frames, or fewer than it did before.
        """
        known = self._know(video)
        if known.frames is not None:
            return known.frames[indices]
        with self._noting(video):
            return read_frames(video.path, known.first + indices, self._short_side)

    def stream(self, video: Video) -> Iterator[Frame]:
        """Yields the frames of a video in order, uint8 `(height, width, 3)`, RGB.

        A video that is not in memory is decoded once and not put there.

        Raises:
            VideoError: the video gives no frames.
        """
        known = self._known.get(video)
        if isinstance(known, _Known) and known.frames is not None:
            yield from known.frames
            return
        with self._noting(video):
            decoder = Decoder(video.path)
            yield from decoder.frames(self._short_side, video.start_seconds, video.end_seconds)
            if decoder.ended:
                self._compare_counts(video, decoder.header_count, decoder.count)

    def _know(self, video: Video) -> _Known:
        with self._lock:
            lock = self._locks.setdefault(video, threading.Lock())
        with lock:
            known = self._known.get(video)
            if known is None:
                try:
                    with self._noting(video):
                        known = self._first_pass(video)
                except VideoError as error:
                    # The text, not the error: raised again and again, an exception grows.
                    known = str(error)
                self._known[video] = known
        if isinstance(known, str):
            raise VideoError(known)
        return known

    def _first_pass(self, video: Video) -> _Known:
        info = probe(video.path)
        shown = (info.seconds >= video.start_seconds) & (info.seconds < video.end_seconds)
        if not shown.any():
            raise VideoError(
                f"{video.name}: no frame is shown in this range; the last is shown at "
                f"{info.seconds[-1]:g} s."
            )
        self._compare_counts(video, info.header_count, info.frame_count)
        first, count = int(np.argmax(shown)), int(np.count_nonzero(shown))
        return _Known(first, count, self._keep(video, count))

    def _keep(self, video: Video, count: int) -> Frame | None:
        """Decodes a video into memory, unless the memory for it is used up."""
        if self._bytes_left <= 0:
            return None
        stream = Decoder(video.path).frames(
            self._short_side, video.start_seconds, video.end_seconds
        )
        frame = next(stream)
        with self._lock:
            if count * frame.nbytes > self._bytes_left:
                return None
            self._bytes_left -= count * frame.nbytes
        frames = np.empty((count, *frame.shape), np.uint8)
        frames[0] = frame
        decoded = 1
        for frame in itertools.islice(stream, count - 1):
            frames[decoded] = frame
            decoded += 1
        if decoded < count:
            with self._lock:
                self._bytes_left += frames.nbytes
            raise VideoError(
                f"{video.name}: {count} frames decoded the first time, {decoded} the second. Is it "
                "being written?"
            )
        return frames

    def _compare_counts(self, video: Video, promised: int, decoded: int) -> None:
        if falls_short(promised, decoded):
            self._note(
                video,
                "short",
                f"{video.path}: the container promises {promised} frames, {decoded} decode; these "
                "are used.",
            )

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
