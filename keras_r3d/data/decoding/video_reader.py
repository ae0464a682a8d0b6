"""Cuts clips of pictures, or of optical flow, out of video files.

Frames are counted exactly, and kept in memory as far as it allows.
"""

import dataclasses
import functools
import itertools
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import decoder as videos
from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.decoder import Decoder, Frame, Frames, Landmarks
from keras_r3d.data.decoding.flow_decoder import FlowDecoder, StoredFlowDecoder
from keras_r3d.data.decoding.reader import Cut, Reader, Seconds, Window, span_seconds
from keras_r3d.data.sampling.cropping import Crop, Views
from keras_r3d.data.sampling.temporal import Indices, loop
from keras_r3d.system.errors import VideoError

# Bytes of a video's frames that are held rather than decoding it again: of one, and of all threads.
_HELD, _ALL_HELD = 2**28, 2**30


@dataclasses.dataclass(frozen=True)
class _FirstPass:
    """The frames of a video, or where they are in its file, after a first pass over it.

    Attributes:
        first: number in the file of the first frame.
        last: greatest number in the file that is read; later frames are replaced by it.
    """

    first: int
    last: int
    seconds: Seconds
    frames: Frame | None
    landmarks: Landmarks


class VideoReader(Reader):
    """Reads video files.

    The first time a video is read it is decoded once to be counted, and again to be cut.

    Args:
        short_side: frames are shrunk to this short side in pixels; 0 keeps them.
        cache_gib: memory for decoded frames. Videos are kept whole, first come, first kept;
            the others are decoded again each time they are read.
        input: "rgb", or the algorithm of optical flow: one of `flow.ALGORITHMS`. Flow is in pixels
            of the shrunk frames: cropping and scaling move the vectors, but do not scale them.
        stored: the files hold flow that was computed before.

    Raises:
        DataError: OpenCV lacks the algorithm.
    """

    def __init__(
        self, short_side: int, cache_gib: float, input: str = "rgb", *, stored: bool = False
    ):
        super().__init__()
        self._input, self._stored = input, stored
        if input != "rgb":
            self.channels = flow.CHANNELS
            if not stored:
                flow.algorithm(input)  # or it is an error, before a video is opened
        self.threads = len(os.sched_getaffinity(0))
        self._short_side = short_side
        self._bytes_left = int(cache_gib * 2**30)
        self._passes: dict[Video, _FirstPass | str] = {}
        self._locks: dict[Video, threading.Lock] = {}

    def count(self, video: Video) -> int:
        return len(self.seconds(video))

    def check(self, video: Video) -> None:
        with self._noting(video):
            next(self._open(video.path).timed(video.start_seconds, video.end_seconds))

    def cut(self, video: Video, cuts: Sequence[Cut]) -> list[Crop]:
        """Cuts clips out of a video in one pass that ends with the last of their frames."""
        first_pass = self._first_pass(video)
        frames = first_pass.frames
        if frames is not None:
            crops = [cut.crop_of(*frames.shape[1:3]) for cut in cuts]
            for cut, crop in zip(cuts, crops, strict=True):
                for number, out in zip(cut.numbers, cut.out, strict=True):
                    self._fill(out, frames[number], crop)
            return crops
        in_file = [np.minimum(first_pass.first + cut.numbers, first_pass.last) for cut in cuts]
        wanted = np.unique(np.concatenate(in_file))
        places: dict[int, list[tuple[int, Frame]]] = defaultdict(list)
        for number, (numbers, cut) in enumerate(zip(in_file, cuts, strict=True)):
            for place, out in zip(np.searchsorted(wanted, numbers), cut.out, strict=True):
                places[int(place)].append((number, out))
        crops = []
        with self._noting(video):
            chosen = videos.selected(
                video.path,
                wanted,
                self._short_side,
                first_pass.landmarks,
                functools.partial(self._open, sparse=True),
            )
            for place, frame in chosen:
                crops = crops or [cut.crop_of(*frame.shape[:2]) for cut in cuts]
                for number, out in places[place]:
                    self._fill(out, frame, crops[number])
        for cut in cuts:
            self._finish(cut.out)
        return crops

    def seconds(self, video: Video) -> Seconds:
        return self._first_pass(video).seconds

    def windows(
        self, video: Video, frames: int, frame_stride: int, views: Views, size: int
    ) -> Iterator[Window]:
        """Yields all of a video in clips, as `Reader.windows`; decodes it once, uncounted.

        Only one window is held at a time. A video that breaks in the middle ends there: this is
        noted, and the frames before are used.
        """
        first_pass = self._passes.get(video)
        if isinstance(first_pass, _FirstPass) and first_pass.frames is not None:
            yield from super().windows(video, frames, frame_stride, views, size)
            return
        span = frames * frame_stride
        numbers: list[int] = []
        number, first, start, now = 0, 0.0, 0.0, 0.0
        pixels = np.empty(0, np.uint8)

        def window(end_seconds: float) -> Window:
            self._finish(pixels[: len(numbers)].reshape(-1, size, size, self.channels))
            looped = loop(np.arange(len(numbers)), frames)
            clips = pixels[looped].swapaxes(0, 1)
            return Window(clips, np.array(numbers)[looped], start, end_seconds)

        for number, (now, frame) in enumerate(self._stream(video, span, frame_stride)):
            if number % span == 0:
                if number:
                    yield window(now)
                numbers, start = [], now
                first = first if number else now
                pixels = np.empty((frames, views.count, size, size, self.channels), np.uint8)
            if frame is not None:
                crops = views.crops(*frame.shape[:2])
                for crop, out in zip(crops, pixels[len(numbers)], strict=True):
                    self._fill(out, frame, crop)
                numbers.append(number)
        yield window(now + (now - first) / max(1, number))

    def chosen(
        self, video: Video, choose: Callable[[int], list[Indices]], views: Views, size: int
    ) -> Iterator[Window]:
        """Yields clips of chosen frames, as `Reader.chosen`.

        A video is decoded once if its frames fit into 256 MiB (on many cores less, 1 GiB in all
        threads), else twice.
        """
        held = None if video in self._passes else self._hold(video)
        if held is None:
            yield from super().chosen(video, choose, views, size)
            return
        frames, seconds = held
        crops = views.crops(*frames[0].shape[:2])
        for numbers in choose(len(frames)):
            pixels = np.empty((views.count, len(numbers), size, size, self.channels), np.uint8)
            for crop, clip in zip(crops, pixels, strict=True):
                for number, out in zip(numbers, clip, strict=True):
                    self._fill(out, frames[number], crop)
                self._finish(clip)
            yield Window(pixels, numbers, *span_seconds(numbers, seconds))

    def _hold(self, video: Video) -> tuple[list[Frame], Seconds] | None:
        """Decodes a video into memory, unfinished; None if it does not fit."""
        frames: list[Frame] = []
        seconds: list[float] = []
        for second, frame in self._stream(video, 1, 1):
            assert frame is not None
            frames.append(frame)
            seconds.append(second)
            if len(frames) * frame.nbytes > min(_HELD, _ALL_HELD // self.threads):
                return None
        return frames, np.array(seconds)

    def _stream(
        self, video: Video, span: int, frame_stride: int
    ) -> Iterator[tuple[float, Frame | None]]:
        """Decodes a video in order; yields times, and unfinished frames of the size of the first.

        Every `frame_stride`-th of each `span` frames is decoded; the others are None.
        """
        size = None
        with self._noting(video):
            decoder = self._open(video.path)
            for number, second in enumerate(decoder.shown(video.start_seconds, video.end_seconds)):
                frame = None
                if number % span % frame_stride == 0:
                    try:
                        frame = decoder.frame()
                    except VideoError as error:
                        if number == 0:
                            raise
                        self._note(
                            video, "short", f"{error} The {number} frames before it are used."
                        )
                        return
                    size = size or videos.shrunk(frame, self._short_side)
                    frame = videos.resize(frame, *size)
                yield second, frame
            if decoder.ended:
                self._compare_counts(video, decoder.header_count, decoder.count)

    def _first_pass(self, video: Video) -> _FirstPass:
        with self._lock:
            lock = self._locks.setdefault(video, threading.Lock())
        with lock:
            first_pass = self._passes.get(video)
            if first_pass is None:
                try:
                    with self._noting(video):
                        first_pass = self._make_first_pass(video)
                except VideoError as error:
                    # The text, not the error: raised again and again, an exception grows.
                    first_pass = str(error)
                self._passes[video] = first_pass
        if isinstance(first_pass, str):
            raise VideoError(first_pass)
        return first_pass

    def _make_first_pass(self, video: Video) -> _FirstPass:
        stored = StoredFlowDecoder(video.path) if self._stored else None
        info = videos.probe(video.path, stored)
        shown = (info.seconds >= video.start_seconds) & (info.seconds < video.end_seconds)
        if not shown.any():
            raise VideoError(
                f"{video.name}: no frame is shown in this range; the last is shown at "
                f"{info.seconds[-1]:g} s."
            )
        self._compare_counts(video, info.header_count, info.frame_count)
        first, count = int(np.argmax(shown)), int(np.count_nonzero(shown))
        last = info.frame_count - 1
        if self._input != "rgb" and not self._stored:
            last = max(0, last - 1)  # the last frame has the flow of the one before
        frames = self._keep(video, count)
        return _FirstPass(first, last, info.seconds[shown], frames, info.landmarks)

    def _keep(self, video: Video, count: int) -> Frame | None:
        """Decodes a video into memory, unless the memory for it is used up."""
        if self._bytes_left <= 0:
            return None
        stream = self._open(video.path).timed(video.start_seconds, video.end_seconds)
        _, frame = next(stream)
        size = videos.shrunk(frame, self._short_side)
        frame = videos.resize(frame, *size)
        with self._lock:
            if count * frame.nbytes > self._bytes_left:
                return None
            self._bytes_left -= count * frame.nbytes
        frames = np.empty((count, *frame.shape), np.uint8)
        frames[0], decoded = frame, 1
        for _, frame in itertools.islice(stream, count - 1):
            frames[decoded] = videos.resize(frame, *size)
            decoded += 1
        if decoded < count:
            with self._lock:
                self._bytes_left += frames.nbytes
            raise VideoError(
                f"{video.name}: {count} frames decoded the first time, {decoded} the second. Is it "
                "being written?"
            )
        self._finish(frames)
        return frames

    def _compare_counts(self, video: Video, promised: int, decoded: int) -> None:
        if videos.falls_short(promised, decoded):
            self._note(
                video,
                "short",
                f"{video.path}: the container promises {promised} frames, {decoded} decode; these "
                "are used.",
            )

    def _open(self, path: str, sparse: bool = False) -> Frames:
        if self._stored:
            return StoredFlowDecoder(path)
        if self._input != "rgb":
            return FlowDecoder(path, self._input, self._short_side, sparse=sparse)
        return Decoder(path)

    def _fill(self, out: Frame, frame: Frame, crop: Crop) -> None:
        videos.fill(out, frame, crop.top, crop.left, crop.height, crop.width, crop.flip)
        if crop.flip and self._input != "rgb":
            flow.turn_back(out)

    def _finish(self, clip: Frame) -> None:
        """Turns decoded frames `(frames, height, width, channels)` into those of clips."""
        if self._input == "rgb":
            videos.to_rgb(clip)
