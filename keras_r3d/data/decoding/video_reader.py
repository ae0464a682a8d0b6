"""Cuts clips of pictures, or of optical flow, out of video files.

Where the frames of a file are is read once, from its packets. Frames are kept in memory as far as
it allows; the others are decoded again each time.
"""

import dataclasses
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_r3d.data.annotations import Problem, Video
from keras_r3d.data.decoding import flow, pixels
from keras_r3d.data.decoding.flow_video import FlowVideo, StoredFlow
from keras_r3d.data.decoding.frame_folder import FrameFolder, open_pictures
from keras_r3d.data.decoding.picture import Cutter, Frame, Picture
from keras_r3d.data.decoding.reader import Cut, Reader, Seconds, Window, span_seconds
from keras_r3d.data.decoding.video_file import Index, VideoFile, no_frame
from keras_r3d.data.sampling.cropping import Crop, Views
from keras_r3d.data.sampling.temporal import Indices, loop
from keras_r3d.system.errors import VideoError


@dataclasses.dataclass(frozen=True)
class _Frames:
    """The frames of a video, or of a segment of one.

    Attributes:
        index: of the file.
        numbers: int64 `(count,)`, the frame of the file that stands for each: itself, or the last
            before it that decodes.
        decoding: int64 `(n,)`, those that decode, counted from the first; None if not known yet,
            when all are taken to.
        seconds: of all.
        kept: decoded frames, by number in the file.
    """

    index: Index
    numbers: Indices
    decoding: Indices | None
    seconds: Seconds
    kept: dict[int, Picture | Frame] | None = None


class VideoReader(Reader):
    """Reads video files.

    Args:
        short_side: frames are shrunk to this short side in pixels; 0 keeps them.
        cache_gib: memory for decoded frames. Videos are kept whole, first come, first kept;
            the others are decoded again each time they are read.
        input: "rgb", or the algorithm of optical flow: one of `flow.ALGORITHMS`. Flow is in pixels
            of the shrunk frames: cropping and scaling move the vectors, but do not scale them.
        stored: the files hold flow that was computed before.
        fps: frames a second to resample to: of each instant the nearest frame; None takes all.

    Raises:
        DataError: OpenCV lacks the algorithm.
    """

    def __init__(
        self,
        short_side: int,
        cache_gib: float,
        input: str = "rgb",
        *,
        stored: bool = False,
        fps: float | None = None,
    ):
        super().__init__()
        self._input, self._stored, self._fps = input, stored, fps
        if input != "rgb":
            self.channels = flow.CHANNELS
            if not stored:
                flow.algorithm(input)  # or it is an error, before a video is opened
        self.threads = len(os.sched_getaffinity(0))
        self._short_side = short_side
        self._bytes_left = int(cache_gib * 2**30)
        self._videos: dict[Video, _Frames | str] = {}
        self._locks: dict[Video, threading.Lock] = {}

    def count(self, video: Video) -> int:
        return len(self._frames(video).numbers)

    def seconds(self, video: Video) -> Seconds:
        return self._frames(video).seconds

    def check(self, video: Video) -> None:
        frames = self._frames(video)
        if next(self._decode(video, frames, frames.numbers[:1]), None) is None:
            self._examine(video, frames)

    def cut(self, video: Video, cuts: Sequence[Cut]) -> list[Crop]:
        """Cuts clips out of a video in one pass that ends with the last of their frames.

        A frame that does not decode is replaced by the last before it that does.
        """
        while True:
            frames = self._frames(video)
            numbers = [frames.numbers[cut.numbers] for cut in cuts]
            if (crops := self._fill(video, frames, cuts, numbers)) is not None:
                return crops
            self._examine(video, frames)

    def windows(
        self, video: Video, frames: int, frame_stride: int, views: Views
    ) -> Iterator[Window]:
        """Yields all of a video in clips, as `Reader.windows`; decodes it once.

        Only one window is held at a time. Frames that do not decode are left out.
        """
        known = self._frames(video)
        span = frames * frame_stride
        taken = np.arange(len(known.numbers)) if known.decoding is None else known.decoding
        places: dict[int, list[int]] = defaultdict(list)  # of each frame of the file
        for place in taken[taken % span % frame_stride == 0].tolist():
            places[int(known.numbers[place])].append(place)
        filled: list[int] = []  # places of the window that is being filled
        pixels = np.empty(0, np.uint8)
        cutter = self._cutter()

        def window() -> Window:
            looped = loop(np.arange(len(filled)), frames)
            numbers = np.array(filled)
            seconds = span_seconds(numbers, known.seconds)
            return Window(pixels[looped].swapaxes(0, 1), numbers[looped], *seconds)

        for number, picture in self._decode(video, known, np.array(sorted(places))):
            crops = views.crops(*picture.shape[:2])
            for place in places.pop(number):
                if filled and place // span != filled[0] // span:
                    yield window()
                    filled = []
                if not filled:
                    pixels = np.empty((frames, views.count, *views.size, self.channels), np.uint8)
                for crop, out in zip(crops, pixels[len(filled)], strict=True):
                    cutter(out, picture, crop)
                filled.append(place)
        if places:
            self._examine(video, known)
        if filled:
            yield window()

    def chosen(
        self, video: Video, choose: Callable[[int], list[Indices]], views: Views
    ) -> Iterator[Window]:
        """Yields clips of chosen frames, as `Reader.chosen`; of those that decode."""
        windows = list(super().chosen(video, choose, views))
        decoding = self._frames(video).decoding
        if decoding is None:
            yield from windows
            return
        yield from super().chosen(
            video, lambda _: [decoding[part] for part in choose(len(decoding))], views
        )

    def _fill(
        self, video: Video, frames: _Frames, cuts: Sequence[Cut], numbers: Sequence[Indices]
    ) -> list[Crop] | None:
        """Fills clips; returns their crops, or None if not all of their frames decode.

        Args:
            numbers: of the clips' frames in the file.
        """
        places: dict[int, list[tuple[int, Frame]]] = defaultdict(list)
        for clip, (cut, in_file) in enumerate(zip(cuts, numbers, strict=True)):
            for number, out in zip(in_file.tolist(), cut.out, strict=True):
                places[number].append((clip, out))
        crops: list[Crop] = []
        cutter = self._cutter()
        for number, picture in self._decode(video, frames, np.array(sorted(places))):
            crops = crops or [cut.crop_of(*picture.shape[:2]) for cut in cuts]
            for clip, out in places.pop(number):
                cutter(out, picture, crops[clip])
        return None if places else crops

    def _frames(self, video: Video) -> _Frames:
        with self._lock:
            lock = self._locks.setdefault(video, threading.Lock())
        with lock:
            frames = self._videos.get(video)
            if frames is None:
                try:
                    with self._noting(video):
                        frames = self._read_index(video)
                except VideoError as error:
                    # The text, not the error: raised again and again, an exception grows.
                    frames = str(error)
                self._videos[video] = frames
        if isinstance(frames, str):
            raise VideoError(frames)
        return frames

    def _read_index(self, video: Video) -> _Frames:
        file = self._open(video)
        index = file.index()
        file.close()
        numbers, seconds = index.sampled(video, self._fps)
        self._note_shortage(video, index, len(index.seconds), len(index.seconds))
        frames = _Frames(index, numbers, None, seconds)
        return dataclasses.replace(frames, kept=self._keep(video, frames))

    def _keep(self, video: Video, frames: _Frames) -> dict[int, Picture | Frame] | None:
        """Decodes a video into memory, unless the memory for it is used up."""
        if self._bytes_left <= 0:
            return None
        kept: dict[int, Picture | Frame] = {}
        reserved = 0
        numbers = np.unique(frames.numbers)
        for number, picture in self._decode(video, frames, numbers):
            if not kept:
                reserved = len(numbers) * picture.nbytes
                with self._lock:
                    if reserved > self._bytes_left:
                        return None
                    self._bytes_left -= reserved
            kept[number] = picture
        if len(kept) == len(numbers):
            return kept
        with self._lock:  # decoded again each time: the clips say what is missing
            self._bytes_left += reserved
        return None

    def _examine(self, video: Video, frames: _Frames) -> None:
        """Decodes all of a video of which not all frames decode, to know which; once.

        Raises:
            VideoError: none does.
        """
        with self._locks[video]:
            if self._videos[video] is frames:  # else another thread has done so by now
                self._decode_all(video, frames)
        self._frames(video)  # raises what that found

    def _decode_all(self, video: Video, frames: _Frames) -> None:
        asked = np.unique(frames.numbers)
        decodes = [number for number, _ in self._decode(video, frames, asked)]
        with self._noting(video):
            if frames.decoding is not None:
                raise VideoError(f"{video.name}: other frames of it decode than before.")
            if not decodes:
                self._videos[video] = no_frame(video.path)
                raise VideoError(no_frame(video.path))
        self._note_shortage(video, frames.index, len(asked), len(decodes))
        numbers = np.array(decodes)
        before = np.searchsorted(numbers, frames.numbers, side="right") - 1
        self._videos[video] = dataclasses.replace(
            frames,
            numbers=numbers[np.maximum(before, 0)],
            decoding=np.flatnonzero(np.isin(frames.numbers, numbers)),
        )

    def _note_shortage(self, video: Video, index: Index, asked: int, decoded: int) -> None:
        if shortage := index.shortage(video.path, asked, decoded):
            self.note(Problem(video.name, "short", shortage))

    def _decode(
        self, video: Video, frames: _Frames, numbers: Indices
    ) -> Iterator[tuple[int, Picture | Frame]]:
        """Yields frames that decode, by their numbers in the file."""
        if frames.kept is not None:
            yield from ((number, frames.kept[number]) for number in numbers.tolist())
            return
        with self._noting(video):
            file = self._open(video)
            yield from file.frames(frames.index, numbers)
            file.close()

    def _open(self, video: Video) -> VideoFile | FrameFolder | FlowVideo | StoredFlow:
        if self._stored:
            return StoredFlow(video.path)
        if self._input != "rgb":
            return FlowVideo(video.path, self._input, self._short_side, video.frame_rate)
        return open_pictures(video.path, self._short_side, video.frame_rate)

    def _cutter(self) -> Callable[..., None]:
        return Cutter() if self._input == "rgb" else _cut_flow


def _cut_flow(out: Frame, frame: Frame, crop: Crop) -> None:
    pixels.fill(out, frame, crop.top, crop.left, crop.height, crop.width, crop.flip)
    if crop.flip:
        flow.turn_back(out)
