"""Clips straight out of video files: counted exactly, kept in memory where it allows."""

import dataclasses
import itertools
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_r3d.data import video as videos
from keras_r3d.data.annotations import Video
from keras_r3d.data.cropping import Crop
from keras_r3d.data.landmarks import Landmarks
from keras_r3d.data.reader import Cut, Reader
from keras_r3d.data.sampling import loop
from keras_r3d.data.video import Decoder, Frame, VideoError


@dataclasses.dataclass(frozen=True)
class _Known:
    """What the first pass over a video found: its frames, or where they are in the file."""

    first: int
    count: int
    frames: Frame | None
    landmarks: Landmarks


class VideoReader(Reader):
    """Reads video files.

    The first time a video is met it is decoded once to be counted, and again to be cut.

    Args:
        short_side: frames are shrunk to this short side in pixels; 0 keeps them.
        cache_gib: memory for decoded frames. Videos are kept whole, first come, first kept;
            the others are decoded again each time they are read.
    """

    def __init__(self, short_side: int, cache_gib: float):
        super().__init__()
        self.threads = len(os.sched_getaffinity(0))
        self._short_side = short_side
        self._bytes_left = int(cache_gib * 2**30)
        self._known: dict[Video, _Known | str] = {}
        self._locks: dict[Video, threading.Lock] = {}

    def count(self, video: Video) -> int:
        """Returns the number of frames of a video, found by decoding.

        Raises:
            VideoError: the video gives no frames.
        """
        return self._know(video).count

    def check(self, video: Video) -> None:
        """Raises VideoError if the first frame of a video cannot be had."""
        with self._noting(video):
            next(Decoder(video.path).timed(video.start_seconds, video.end_seconds))

    def cut(self, video: Video, cuts: Sequence[Cut]) -> list[Crop]:
        """Cuts clips out of a video in one pass that ends with the last frame of them.

        Raises:
            VideoError: the video gives no frames, or fewer than it did before.
        """
        known = self._know(video)
        if known.frames is not None:
            crops = [cut.crop_of(*known.frames.shape[1:3]) for cut in cuts]
            for cut, crop in zip(cuts, crops, strict=True):
                for number, out in zip(cut.numbers, cut.out, strict=True):
                    _fill(out, known.frames[number], crop)
            return crops
        wanted = np.unique(np.concatenate([cut.numbers for cut in cuts]))
        places: dict[int, list[tuple[int, Frame]]] = defaultdict(list)
        for number, cut in enumerate(cuts):
            for place, out in zip(np.searchsorted(wanted, cut.numbers), cut.out, strict=True):
                places[int(place)].append((number, out))
        crops = []
        with self._noting(video):
            chosen = videos.selected(
                video.path, known.first + wanted, self._short_side, known.landmarks
            )
            for place, frame in chosen:
                crops = crops or [cut.crop_of(*frame.shape[:2]) for cut in cuts]
                for number, out in places[place]:
                    _fill(out, frame, crops[number])
        for cut in cuts:
            videos.to_rgb(cut.out)
        return crops

    def windows(
        self,
        video: Video,
        frames: int,
        frame_stride: int,
        crop_of: Callable[[int, int], Crop],
        size: int,
    ) -> Iterator[Frame]:
        """Yields all of a video in clips, as `Reader.windows`; decodes it once, uncounted.

        No more than one window's frames are held at a time.
        """
        stream = self._stream(video)
        while block := list(itertools.islice(stream, frames * frame_stride)):
            shown = block[::frame_stride]
            crop = crop_of(*shown[0].shape[:2])
            clip = np.empty((len(shown), size, size, 3), np.uint8)
            for frame, out in zip(shown, clip, strict=True):
                _fill(out, frame, crop)
            yield clip[loop(np.arange(len(clip)), frames)]

    def _stream(self, video: Video) -> Iterator[Frame]:
        """Yields the frames of a video in order, RGB; what is not in memory is not put there."""
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
        info = videos.probe(video.path)
        shown = (info.seconds >= video.start_seconds) & (info.seconds < video.end_seconds)
        if not shown.any():
            raise VideoError(
                f"{video.name}: no frame is shown in this range; the last is shown at "
                f"{info.seconds[-1]:g} s."
            )
        self._compare_counts(video, info.header_count, info.frame_count)
        first, count = int(np.argmax(shown)), int(np.count_nonzero(shown))
        return _Known(first, count, self._keep(video, count), info.landmarks)

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
        if videos.falls_short(promised, decoded):
            self._note(
                video,
                "short",
                f"{video.path}: the container promises {promised} frames, {decoded} decode; these "
                "are used.",
            )


def _fill(out: Frame, frame: Frame, crop: Crop) -> None:
    videos.fill(out, frame, crop.top, crop.left, crop.height, crop.width, crop.flip)
