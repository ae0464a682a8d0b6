"""Cameras, streams and other sources that do not wait: a thread keeps their newest frames."""

import glob
import os
import threading
import time

import numpy as np

from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.decoding import decoder as videos
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.data.decoding.ring import Held, Ring, Shape
from keras_r3d.system.errors import VideoError
from keras_r3d.system.opencv import cv2

_PAUSES = (1.0, 30.0)  # seconds before another try to connect: the first, and the most


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
        self._error: VideoError | None = None
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
            VideoError: it cannot be connected to, or never gave a frame.
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
        crops = shape.views.crops(*frame.shape[:2])
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

    def _fail(self, error: VideoError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _no_answer(self, seconds: float) -> VideoError:
        if self._word.isdecimal() and not os.path.exists(self._word):
            there = ", ".join(sorted(glob.glob("/dev/video*"))) or "no camera"
            return VideoError(
                f"{self.name} is not there, gives no frames, or another program uses it. This "
                f"machine has {there}."
            )
        if seconds > 0.9 * self._timeout:
            return VideoError(
                f"{self.name} did not answer with a video in {self._timeout:g} s: is the address "
                "right, and is it running? --timeout waits longer."
            )
        return VideoError(
            f"{self.name} cannot be opened as a video: the connection was refused, nothing is "
            "there, or it is no video."
        )
