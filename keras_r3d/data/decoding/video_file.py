"""Decodes video files. This module is the only place that does so.

The packets of a file say which frames there are and when each is shown, without decoding any; so
frames are numbered in the order they are shown, and found by their time stamps.
"""

import contextlib
import dataclasses
import itertools
import os
import re
import threading
from collections.abc import Collection, Iterator
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.picture import FAILURES, Picture, Taker, shown_shape
from keras_r3d.data.sampling.temporal import Indices, at_rate
from keras_r3d.system.errors import VideoError
from keras_r3d.system.objects import inputs
from keras_r3d.system.objects.calls import is_url

av.logging.set_level(None)  # FFmpeg's own complaints name no file; ours do
_naming = threading.Lock()  # the level of logging is one of all threads


@dataclasses.dataclass(frozen=True)
class Index:
    """The frames of a video file, in the order they are shown.

    Attributes:
        seconds: float64 `(frames,)`, when each is shown, from the start of the file; increasing.
        promised: frames that the file should have; more than `seconds` has if it is cut off.
        stamps: int64 `(frames,)`, time stamps; None where they are missing or wrong.
        keys: int64 `(n,)`, frames at which decoding can begin, increasing.
        positions: int64 `(n,)`, time stamps to seek them by.
        sizes: int64 `(n,)`, bytes of their packets, to know them again.
        exact: whether `promised` is; or one or two frames less are the rule: packets without time
            stamps may show nothing, and headers count wrong.
    """

    seconds: NDArray[np.float64]
    promised: int
    stamps: NDArray[np.int64] | None
    keys: Indices
    positions: NDArray[np.int64]
    sizes: NDArray[np.int64]
    exact: bool = True

    def shown(self, start_seconds: float, end_seconds: float, name: str) -> Indices:
        """Returns the numbers of the frames that appear in a range, or of the one shown then.

        Raises:
            VideoError: it begins behind the last, which is shown as long as the others on average.
        """
        first, behind = np.searchsorted(self.seconds, [start_seconds, end_seconds])
        if first < behind:
            return np.arange(first, behind)
        last = self.seconds[-1]
        end = last + (last - self.seconds[0]) / max(1, len(self.seconds) - 1)
        if start_seconds > end:
            raise VideoError(f"{name}: {outside(start_seconds, end)}.", "segment")
        return np.array([max(0, first - 1)])

    def sampled(self, video: Video, fps: float | None) -> tuple[Indices, NDArray[np.float64]]:
        """Returns the numbers of the frames of a video, or of a segment, and when they are shown.

        With `fps` there is one for each instant of a fixed rate: the one nearest to it.
        """
        shown = self.shown(video.start_seconds, video.end_seconds, video.name)
        nearest, seconds = at_rate(self.seconds[shown], fps, video.name)
        return shown[nearest], seconds

    def shortage(self, path: str, asked: int, decoded: int) -> str | None:
        """Returns what is missing if so few of the frames asked for decode that it is damaged."""
        promised = self.promised if asked == len(self.seconds) else asked
        if promised - decoded <= (0 if self.exact else max(2, 0.05 * decoded)):
            return None
        return (
            f"{path}: the container promises {promised} frames, {decoded} decode; these are used."
        )


class VideoFile:
    """An open video file, for one thread.

    Args:
        short_side: larger frames are shrunk to this short side in pixels; 0 keeps them.

    Attributes:
        path: of the file.
        rate: frames a second that the container states, often wrong; 0 if it states none.

    Raises:
        VideoError: the file does not exist, is no video, or has a codec that cannot be decoded.
    """

    def __init__(self, path: str, short_side: int = 0):
        self._copy = _fetched(path) if is_url(path) else None
        _check_path(self._copy.path if self._copy else path, path)
        self.path, self._short_side = path, short_side
        self._shapes: tuple[tuple[int, int], tuple[int, int]] | None = None  # full, and shrunk
        self._taker = Taker()
        self._open()
        self.rate = float(self._stream.average_rate or 0)

    def _open(self) -> None:
        self._begun = False
        # A name like 10:30.mp4 is no protocol; and a playlist reads no other addresses.
        file: Any = f"file:{os.path.abspath(self.path)}"
        if self._copy:
            file = open(self._copy.path, "rb", buffering=0)  # noqa: SIM115 (the container holds it)
            file.name = os.path.basename(self.path)  # whose suffix is a hint
        try:
            self._container = av.open(
                file,
                metadata_errors="ignore",
                container_options={"protocol_whitelist": "file"},
            )
        except (*FAILURES, ValueError) as error:
            raise VideoError(
                f"{self.path}: it cannot be opened as a video (truncated, or no video)."
            ) from error
        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not streams:
            raise VideoError(
                f"{self.path}: it cannot be opened as a video (only audio, pictures or text)."
            )
        best = self._container.streams.best("video")
        self._stream = best if best in streams else streams[0]
        context = self._stream.codec_context
        if context is None:
            raise VideoError(
                f"{self.path}: its codec '{self._codec_name()}' has no decoder here: convert it to "
                "H.264 with a program that plays it.",
                "codec",
            )
        self._size = context.height, context.width
        context.thread_type, context.thread_count = "NONE", 1  # several videos at a time instead

    def _codec_name(self) -> str:
        """Returns the name, else the four letters, of a codec that has no decoder."""
        # PyAV tells it in a text for logs only; what other threads log then is dropped.
        with _naming, av.logging.Capture(local=False):
            av.logging.set_level(av.logging.INFO)
            description = self._container.dumps_format()
            av.logging.set_level(None)
        number = self._stream.index
        match = re.search(rf"Stream #0:{number}\b.*?: Video: (?:none \()?([^ ,]+)", description)
        return match[1] if match else "unknown"

    def index(self) -> Index:
        """Reads which frames there are; without time stamps of their own they are decoded for it.

        Raises:
            VideoError: there are none.
        """
        # Of each: stamps to show and to decode, bytes, key frame.
        packets: list[tuple[int, int, int, bool]] = []
        timed, discarded = True, 0
        is_hidden = _HIDDEN.get(self._stream.codec_context.name)
        for packet in self._packets():
            if not packet.size or (is_hidden and is_hidden(memoryview(packet))):
                continue
            if packet.is_discard:  # by an edit list
                discarded += 1
                continue
            decode = len(packets) if packet.dts is None else packet.dts
            timed &= packet.pts is not None
            show = decode if packet.pts is None else packet.pts
            packets.append((show, decode, packet.size, packet.is_keyframe))
        if not packets:
            raise VideoError(f"{self.path}: it opens as a video, but has no frames.")
        context, kind = self._stream.codec_context, self._container.format.name
        if kind == "avi" and context.has_b_frames:
            timed = False  # AVI has no times of showing, and those made up are wrong
        table = np.array(packets, np.int64)
        table = table[np.argsort(table[:, 0 if timed else 1], kind="stable")]
        stamps = table[:, 0 if timed else 1]
        timed &= bool((np.diff(stamps) > 0).all())
        keys = np.flatnonzero(table[:, 3])
        if len(keys) == len(table) and not context.codec.intra_only:
            keys = keys[:1]  # the container does not know
        promised = self._stream.frames - discarded
        if kind == "avi" and len(stamps) > 1:  # which counts times at which a frame could be
            step = float(np.median(np.diff(stamps)))
            promised = len(stamps) + round((self._stream.frames - stamps[-1]) / step - 1)
        promised = max(promised, len(stamps))
        if not timed and (count := sum(1 for _ in self._decoded(self._packets()))):
            stamps = stamps[:count]  # a packet or two may show nothing
        return Index(
            self._seconds(stamps),
            promised,
            stamps if timed else None,
            keys,
            table[keys, 0 if "matroska" in kind else 1],
            table[keys, 2],
            timed and promised == len(stamps),
        )

    def frames(self, index: Index, numbers: Indices | None = None) -> Iterator[tuple[int, Picture]]:
        """Decodes chosen frames, and as few others as can be.

        Args:
            index: of this file.
            numbers: int64 `(n,)`, increasing; None is all.

        Yields:
            Number and picture of each of them that decodes, in order.
        """
        numbers = np.arange(len(index.seconds)) if numbers is None else numbers
        if index.stamps is None:
            chosen = set(numbers.tolist())
            for number, frame in enumerate(
                itertools.islice(self._decoded(self._packets()), numbers[-1] + 1)
            ):
                if number in chosen:
                    yield number, self._picture(frame)
            return
        waiting = dict(zip(index.stamps[numbers].tolist(), numbers.tolist(), strict=True))
        keys = np.searchsorted(index.keys, numbers, side="right") - 1
        far = np.flatnonzero(np.diff(keys) > 1) + 1  # where the next begins after another key frame
        for part in np.split(np.arange(len(numbers)), far):
            left = set(numbers[part].tolist()) & set(waiting.values())
            for frame in self._decoded_from(index, int(keys[part[0]]), waiting) if left else ():
                if (number := waiting.pop(frame.pts, None)) is not None:
                    yield number, self._picture(frame)
                    left.discard(number)
                    if not left:
                        break

    def close(self) -> None:
        self._container.close()

    def _packets(self) -> Iterator[av.Packet]:
        """Yields the packets of the video from the start, without the empty one at the end."""
        if self._begun:
            self.close()
            self._open()
        self._begun = True
        yield from self._demuxed()

    def _demuxed(self) -> Iterator[av.Packet]:
        with contextlib.suppress(*FAILURES):  # damaged from here on
            yield from self._container.demux(self._stream)

    def _decoded_from(
        self, index: Index, key: int, wanted: Collection[int]
    ) -> Iterator[av.VideoFrame]:
        """Decodes from a key frame on; from the start, if that cannot be sought."""
        assert index.stamps is not None
        if key > 0:
            self._begun = True
            known = index.stamps[index.keys[: key + 1]], index.sizes[: key + 1]
            with contextlib.suppress(*FAILURES):
                self._container.seek(int(index.positions[key]), stream=self._stream)
                packets = self._demuxed()
                first = next(packets, None)
                # One before is as good; a demuxer that lost count gives stamps of others.
                if first is not None and ((known[0] == first.pts) & (known[1] == first.size)).any():
                    yield from self._decoded(itertools.chain([first], packets), wanted)
                    return
        yield from self._decoded(self._packets(), wanted)

    def _decoded(
        self, packets: Iterator[av.Packet], wanted: Collection[int] | None = None
    ) -> Iterator[av.VideoFrame]:
        """Decodes packets; of those not wanted, by their stamps, only what others refer to."""
        context = self._stream.codec_context
        wanted = wanted if context.name in _REFERENCES_TOLD else None
        for packet in packets:
            skips = wanted is not None and packet.size and packet.pts not in wanted
            context.skip_frame = "NONREF" if skips else "DEFAULT"
            try:
                frames = packet.decode()
            except FAILURES:  # damaged; the next may not be
                continue
            yield from frames

    def _picture(self, frame: av.VideoFrame) -> Picture:
        rotation = -frame.rotation % 360
        rotation = rotation if rotation % 90 == 0 else 0
        if self._shapes is None:
            aspect = self._stream.sample_aspect_ratio
            size = self._size if all(self._size) else (frame.height, frame.width)
            sides = (0, self._short_side)
            full, shape = (shown_shape(*size, aspect, rotation, side) for side in sides)
            self._shapes = full, shape
        return self._taker.take(frame, *self._shapes, rotation)

    def _seconds(self, stamps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns times from the start of the file, as players count them."""
        start = (self._container.start_time or 0) / av.time_base
        seconds = stamps * float(self._stream.time_base or 1 / av.time_base) - start
        return seconds - min(0.0, float(seconds[0]))


def outside(start_seconds: float, end_seconds: float) -> str:
    """Returns what is wrong with a segment that begins after its video ends."""
    return f"the segment begins at {start_seconds:g} s, but the video ends at {end_seconds:g} s"


def no_frame(path: str) -> str:
    """Returns what is wrong with a video of which nothing decodes."""
    return f"{path}: it opens as a video, but no frame of it decodes (encrypted or damaged)."


def _fetched(url: str) -> inputs.Copy:
    try:
        return inputs.copy(url)
    except FileNotFoundError:
        raise VideoError(f"{url}: there is no such file.") from None


def _check_path(path: str, name: str) -> None:
    """Raises VideoError, with a name, if there is no file to read, or its path is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise VideoError(f"{shown}: the file name is not UTF-8: rename the file.") from None
    if not os.path.isfile(path):
        raise VideoError(f"{name}: there is no such file.")
    if os.path.getsize(path) == 0:
        raise VideoError(f"{name}: the file is empty.")


def _vp8_hidden(packet: memoryview) -> bool:
    return not packet[0] >> 4 & 1  # show_frame


def _vp9_hidden(packet: memoryview) -> bool:
    """Whether a packet shows nothing; one of several frames (a superframe) shows the last."""
    if packet[-1] & 0b11100000 == 0b11000000 or packet[0] & 0b00110000 == 0b00110000:
        return False
    return not packet[0] & 0b1000 and not packet[0] & 0b10  # show_existing_frame, show_frame


_HIDDEN = {"vp8": _vp8_hidden, "vp9": _vp9_hidden}
# Decoders that may leave out a frame that no other refers to, whatever the frame after it.
_REFERENCES_TOLD = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"}
