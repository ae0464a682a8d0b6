"""Cameras, streams and other live sources: a thread keeps their newest frames.

Only what the network sees of a frame is kept, and no more frames than a window needs.
"""

import collections
import dataclasses
import glob
import os
import threading
import time
from collections.abc import Sequence

import numpy as np

from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.decoding import pixels
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.sampling import temporal
from keras_r3d.data.sampling.cropping import Views
from keras_r3d.system import workers
from keras_r3d.system.errors import VideoError
from keras_r3d.system.opencv import cv2

_PAUSES = (1.0, 30.0)  # seconds before another try to connect: the first, and the longest
# Between frames that are kept where a window is seconds long: all at 60 a second, not at 120.
_LEAST_SECONDS = 0.015


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is kept of a source.

    Attributes:
        frames: of a clip.
        frame_stride: from one frame of a clip to the next; None spreads the clip over `seconds`.
        seconds: of a window; 0 where a number of frames makes one.
        short_side: frames are shrunk to this short side before they are cropped; 0 keeps them.
        views: crops of each frame.
        fps: frames a second that a window is resampled to; None takes those that come.
        snippet: frames in a row at each place that a clip is spread over.
    """

    frames: int
    frame_stride: int | None
    seconds: float
    short_side: int
    views: Views
    fps: float | None = None
    snippet: int = 1

    @property
    def step(self) -> int:
        """Number of frames from the last of a clip to the first of the next one."""
        return 1 if self.seconds else self.frame_stride or 1

    @property
    def span(self) -> int:
        """Number of frames from a clip of consecutive frames to the next one."""
        return self.frames * (self.frame_stride or 1)

    @property
    def least_seconds(self) -> float:
        """Least time between frames that are kept, where a window is seconds long."""
        return min(_LEAST_SECONDS, 0.5 / self.fps) if self.fps else _LEAST_SECONDS

    @property
    def most(self) -> int:
        """Most frames that a window needs."""
        if self.seconds:
            return max(self.frames, int(self.seconds / self.least_seconds) + 2)
        return self.span - (self.frame_stride or 1) + 1


@dataclasses.dataclass(frozen=True)
class Held:
    """A frame that is kept.

    Attributes:
        number: counted from the first of the source.
        connection: how often the source was lost before it came.
        captured: when it came, by `time.monotonic`.
        pixels: uint8 `(views, height, width, 3)`, BGR.
    """

    number: int
    connection: int
    captured: float
    pixels: Frame


def is_wanted(captured: float, held: Sequence[Held], shape: Shape) -> bool:
    """Whether a frame of that time is kept; at a very high frame rate not all are."""
    return not shape.seconds or not held or captured - held[-1].captured > shape.least_seconds


def newest_window(held: Sequence[Held], shape: Shape) -> list[Held]:
    """Returns the frames of the newest window, in order; none while there are too few."""
    if not shape.seconds:
        return list(held) if len(held) == shape.most else []
    if len(held) < 2:
        return []
    last = held[-1].captured
    covered = (last - held[0].captured) * len(held) / (len(held) - 1)
    if covered < shape.seconds:
        return []
    if shape.fps:
        instants = last - np.arange(max(1, round(shape.seconds * shape.fps)))[::-1] / shape.fps
        captured = np.array([frame.captured for frame in held])
        return [held[number] for number in temporal.nearest(captured, instants).tolist()]
    return [frame for frame in held if frame.captured > last - shape.seconds]


def window_pixels(window: Sequence[Held], shape: Shape) -> Frame:
    """Returns the clip of a window, uint8 `(views, frames, height, width, 3)`, RGB."""
    if shape.frame_stride is None:
        (numbers,) = temporal.snippets(
            len(window), shape.frames, shape.snippet, lambda n, parts: [temporal.spread(n, parts)]
        )
    else:
        numbers = np.arange(len(window) - 1, -1, -shape.frame_stride)[::-1]
    clip = np.stack([window[number].pixels for number in numbers.tolist()], axis=1)
    for frames in clip:
        pixels.to_rgb(frames)
    return clip


class Source:
    """Reads a source in a thread, and reconnects after it is lost.

    Attributes:
        name: of the source, for messages.
        frames: that came so far.
        ended: a source that has an end came to it.

    Args:
        word: number of a camera, address, or a file, which is played at its own speed.
        timeout: seconds for connecting, and for a frame.
    """

    def __init__(self, word: str, shape: Shape, timeout: float):
        self.name = f"Camera {word}" if word.isdecimal() else printable(word)
        self.frames = 0
        self.ended = False
        self._losses = 0
        self._word, self._shape, self._timeout = word, shape, timeout
        self._is_camera = word.isdecimal() and not os.path.exists(word)
        self._held: collections.deque[Held] = collections.deque(maxlen=shape.most)
        self._news: list[str] = []
        self._error: VideoError | None = None
        self._finite = False
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._began = time.monotonic()
        self._thread = workers.start_thread(self._run, f"frames of {word}")

    def wait(self, past: int, seconds: float) -> list[Held]:
        """Waits until more than `past` frames have come; returns the newest window.

        Returns:
            Nothing while there are too few frames, or after `seconds` without one.

        Raises:
            VideoError: it cannot be connected to, or never gave a frame.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self.frames > past or self._error or self.ended, timeout=seconds
            )
            if self._error is not None:
                raise self._error
            # A driver or a name resolver may have no time limit.
            if not self.frames and time.monotonic() - self._began > 2 * self._timeout + 1:
                raise self._no_answer(self._timeout)
            return newest_window(self._held, self._shape) if self.frames > past else []

    def news(self) -> list[str]:
        """Returns messages about the connection since the last call."""
        with self._changed:
            news, self._news = self._news, []
        return news

    def stop(self) -> None:
        """Ends the thread, unless it hangs."""
        self._stopped.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        least, most = _PAUSES
        pause, seconds = least, 0.0
        while not self._stopped.is_set():
            began, before = time.monotonic(), self.frames
            self._read()
            if self._finite or self._stopped.is_set():
                break
            if not self.frames:
                seconds = time.monotonic() - began
                break
            state = "lost" if self.frames > before else "still gone"
            if self.frames > before:
                self._losses += 1
                pause = least
            self._say(f"{self.name} is {state}; next try in {pause:g} s.")
            self._stopped.wait(pause)
            pause = min(most, 2 * pause)
        with self._changed:
            if not self.frames and not self._stopped.is_set():
                self._error = self._no_answer(seconds)
            self.ended = True
            self._changed.notify_all()

    def _read(self) -> None:
        """Connects, and takes frames until no more come."""
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
                continue  # damaged on its way; the next may not be
            if ok and is_wanted(captured, self._held, self._shape):
                if self.frames == began and began:
                    self._say(f"{self.name} is back.")
                self._push(frame, captured, fresh=self.frames == began)
        capture.release()

    def _open(self):
        if self._is_camera:
            capture = cv2.VideoCapture(int(self._word))
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # old frames are useless
            return capture
        address = os.path.abspath(self._word) if os.path.exists(self._word) else self._word
        milliseconds = max(1, int(self._timeout * 1000))
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds),
            # More threads decode several frames at a time, and return the first that much later.
            *(cv2.CAP_PROP_N_THREADS, 1),
        ]
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        self._finite = capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        return capture

    def _push(self, frame: Frame, captured: float, fresh: bool) -> None:
        shape = self._shape
        frame = pixels.resize(frame, *pixels.shrunk(frame, shape.short_side))
        crops = shape.views.crops(*frame.shape[:2])
        cropped = np.empty((len(crops), *shape.views.size, 3), np.uint8)
        for crop, out in zip(crops, cropped, strict=True):
            pixels.fill(out, frame, crop.top, crop.left, crop.height, crop.width, crop.flip)
        with self._changed:
            if fresh:  # it does not follow those before the loss
                self._held.clear()
            self._held.append(Held(self.frames, self._losses, captured, cropped))
            self.frames += 1
            self._changed.notify_all()

    def _say(self, text: str) -> None:
        with self._changed:
            self._news.append(text)

    def _no_answer(self, seconds: float) -> VideoError:
        if self._is_camera:
            cameras = ", ".join(sorted(glob.glob("/dev/video*"))) or "no camera"
            return VideoError(
                f"{self.name} does not exist, gives no frames, or another program uses it. This "
                f"machine has {cameras}."
            )
        if seconds > 0.9 * self._timeout:
            return VideoError(
                f"{self.name} did not answer with a video in {self._timeout:g} s: is the address "
                "right, and is it running? A longer `timeout` waits for it."
            )
        return VideoError(
            f"{self.name} cannot be opened as a video: the connection was refused, nothing is "
            "there, or it is no video."
        )
