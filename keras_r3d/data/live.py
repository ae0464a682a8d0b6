"""Cameras, streams and other sources that do not wait: a thread keeps their newest frames.

Only what the network sees of a frame is kept, and only so many frames, however long a source runs.
"""

import collections
import dataclasses
import glob
import os
import threading
import time
from collections.abc import Sequence

import numpy as np

from keras_r3d._opencv import cv2
from keras_r3d.data import cropping, sampling
from keras_r3d.data import video as videos
from keras_r3d.data.listing import printable
from keras_r3d.data.video import Frame
from keras_r3d.errors import R3DError

_PAUSES = (1.0, 30.0)  # seconds before another try to connect: the first, and the most
_MOST_RATE = 60.0  # frames a second that are kept where a window is seconds long


class LiveError(R3DError):
    """A source that is not there, or gives no frames."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is kept of a source.

    Attributes:
        frames: of a clip.
        frame_stride: from one frame of a clip to the next.
        seconds: that a clip is spread over; 0 takes consecutive frames.
        short_side: frames are shrunk to this short side before they are cropped; 0 keeps them.
        size: of a clip, in pixels.
        views: crops of each frame, as `cropping.views` takes it.
    """

    frames: int
    frame_stride: int
    seconds: float
    short_side: int
    size: int
    views: int

    @property
    def step(self) -> int:
        """Number of frames from the last of a clip to the first of the one that follows it."""
        return 1 if self.seconds else self.frame_stride

    @property
    def span(self) -> int:
        """Number of frames from a clip of consecutive frames to the one that follows it."""
        return self.frames * self.frame_stride


@dataclasses.dataclass(frozen=True)
class Held:
    """A frame that is kept.

    Attributes:
        number: counted from the first of the source.
        connection: how often the source was lost before it came.
        captured: when it came, by `time.monotonic`.
        pixels: uint8 `(views, size, size, 3)`, BGR.
    """

    number: int
    connection: int
    captured: float
    pixels: Frame


class Ring:
    """The newest frames of a source, no more than a window needs.

    Attributes:
        shape: what is kept.
    """

    def __init__(self, shape: Shape):
        self.shape = shape
        if shape.seconds:
            most = max(shape.frames, int(np.ceil(shape.seconds * _MOST_RATE)))
        else:
            most = (shape.frames - 1) * shape.frame_stride + 1
        self._held: collections.deque[Held] = collections.deque(maxlen=most)

    def clear(self) -> None:
        """Forgets all frames: what comes next does not follow them."""
        self._held.clear()

    def wants(self, captured: float) -> bool:
        """Whether a frame of that time is to be kept; of very many a second not all are."""
        if not self.shape.seconds or not self._held:
            return True
        return captured - self._held[-1].captured > 0.9 / _MOST_RATE

    def push(self, frame: Held) -> None:
        """Takes the next frame; the oldest goes."""
        self._held.append(frame)

    def newest(self) -> list[Held]:
        """Returns the frames of the newest window, in order; none while there are too few."""
        held = list(self._held)
        if not self.shape.seconds:
            return held if len(held) == self._held.maxlen else []
        if len(held) < 2:
            return []
        covered = (held[-1].captured - held[0].captured) * len(held) / (len(held) - 1)
        if covered < self.shape.seconds and len(held) < (self._held.maxlen or 0):
            return []
        return [one for one in held if one.captured > held[-1].captured - self.shape.seconds]


def clip(window: Sequence[Held], shape: Shape) -> Frame:
    """Returns the pixels of a window, uint8 `(views, frames, size, size, 3)`, RGB."""
    if shape.seconds:
        numbers = sampling.spread(len(window), shape.frames)
    else:
        numbers = np.arange(0, len(window), shape.frame_stride)
    pixels = np.stack([window[number].pixels for number in numbers.tolist()], axis=1)
    for frames in pixels:
        videos.to_rgb(frames)
    return pixels


class Source:
    """Reads a source in a thread, and connects again after it is lost.

    Attributes:
        name: of the source, for people.
        frames: that came so far.

    Args:
        word: number of a camera, address, or a file, which is played at its own speed.
        timeout: seconds for connecting, and for a frame.
    """

    def __init__(self, word: str, shape: Shape, timeout: float):
        self.name = f"Camera {word}" if word.isdecimal() else printable(word)
        self.frames = 0
        self._losses = 0
        self._word, self._timeout = word, timeout
        self._ring = Ring(shape)
        self._news: list[str] = []
        self._error: LiveError | None = None
        self._ended = False
        self._finite = False
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._began = self._last = time.monotonic()
        # Of a camera that hangs nothing else would let the process end.
        self._thread = threading.Thread(target=self._run, name=f"frames of {word}", daemon=True)
        self._thread.start()

    def wait(self, past: int, seconds: float) -> list[Held]:
        """Waits until more than `past` frames have come; returns the newest window.

        Returns:
            Nothing while there are too few frames, or none came for so many `seconds`.

        Raises:
            LiveError: it cannot be connected to, or never gave a frame.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self.frames > past or self._error or self._ended, timeout=seconds
            )
            if self._error is not None:
                raise self._error
            # A driver or a resolver of names may know no time limit.
            if not self.frames and time.monotonic() - self._began > 2 * self._timeout + 1:
                raise self._no_answer(self._timeout)
            return self._ring.newest() if self.frames > past else []

    @property
    def ended(self) -> bool:
        """Whether a source that has an end came to it."""
        return self._ended

    def news(self) -> list[str]:
        """Returns what there is to say of the connection since the last call."""
        with self._changed:
            news, self._news = self._news, []
        return news

    def stop(self) -> None:
        """Lets the thread end, as soon as it waits for nothing."""
        self._stopped.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        least, most = _PAUSES
        pause = least
        while not self._stopped.is_set():
            began, before = time.monotonic(), self.frames
            self._read()
            if self._finite or self._stopped.is_set():
                break
            if not self.frames:
                self._fail(self._no_answer(time.monotonic() - began))
                return
            if self.frames > before:
                self._losses += 1
                pause = least
                what = "lost"
            else:
                what = "still gone"
            self._say(f"{self.name} is {what}; next try in {pause:g} s.")
            self._stopped.wait(pause)
            pause = min(most, 2 * pause)
        with self._changed:
            if self._finite and not self.frames:
                self._error = self._no_answer(0.0)
            self._ended = True
            self._changed.notify_all()

    def _read(self) -> None:
        """Connects, and takes frames until there is none."""
        capture = self._open()
        began = self.frames
        rate = capture.get(cv2.CAP_PROP_FPS)
        step = 1 / rate if 1 <= rate <= 1000 else 1 / 25
        start, second = time.monotonic(), -step
        while not self._stopped.is_set() and capture.grab():
            if self._finite:
                shown = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                second = shown if shown > second else second + step
                self._stopped.wait(max(0.0, start + second - time.monotonic()))
            captured = time.monotonic()
            try:
                ok, frame = capture.retrieve()
            except cv2.error:
                continue  # one that is damaged on its way; the next may not be
            if ok and self._ring.wants(captured):
                if self.frames == began and began:
                    self._say(f"{self.name} is back.")
                self._push(frame, captured, fresh=self.frames == began)
        capture.release()

    def _open(self):
        if self._word.isdecimal() and not os.path.exists(self._word):
            capture = cv2.VideoCapture(int(self._word))
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # old frames are of no use
            return capture
        place = os.path.abspath(self._word) if os.path.exists(self._word) else self._word
        milliseconds = max(1, int(self._timeout * 1000))
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds),
            # Several threads decode several frames at a time, and give the first that much later.
            *(cv2.CAP_PROP_N_THREADS, 1),
        ]
        capture = cv2.VideoCapture(place, cv2.CAP_FFMPEG, limits)
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        self._finite = capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        return capture

    def _push(self, frame: Frame, captured: float, fresh: bool) -> None:
        shape = self._ring.shape
        frame = videos.resize(frame, *videos.shrunk(frame, shape.short_side))
        crops = cropping.views(shape.views, *frame.shape[:2])
        pixels = np.empty((len(crops), shape.size, shape.size, 3), np.uint8)
        for crop, out in zip(crops, pixels, strict=True):
            videos.fill(out, frame, crop.top, crop.left, crop.height, crop.width, crop.flip)
        with self._changed:
            if fresh:
                self._ring.clear()
            self._ring.push(Held(self.frames, self._losses, captured, pixels))
            self.frames += 1
            self._changed.notify_all()

    def _say(self, text: str) -> None:
        with self._changed:
            self._news.append(text)

    def _fail(self, error: LiveError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _no_answer(self, seconds: float) -> LiveError:
        if self._word.isdecimal() and not os.path.exists(self._word):
            there = ", ".join(sorted(glob.glob("/dev/video*"))) or "no camera"
            return LiveError(
                f"{self.name} is not there, gives no frames, or another program uses it. This "
                f"machine has {there}."
            )
        if seconds > 0.9 * self._timeout:
            return LiveError(
                f"{self.name} did not answer with a video in {self._timeout:g} s: is the address "
                "right, and is it running? --timeout waits longer."
            )
        return LiveError(
            f"{self.name} cannot be opened as a video: the connection was refused, nothing is "
            "there, or it is no video."
        )
