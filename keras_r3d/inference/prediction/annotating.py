"""A copy of a video with the class of the moment burnt in."""

import itertools
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.decoding import decoder as videos
from keras_r3d.data.decoding.decoder import Decoder, Frame
from keras_r3d.inference.prediction.prediction import Prediction, best
from keras_r3d.system import files, threads
from keras_r3d.system.errors import ArgumentError, VideoError
from keras_r3d.system.opencv import cv2
from keras_r3d.system.text import shortened

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}

_LEAST_WIDTH = 320  # pixels; smaller videos are enlarged, or no name could be read
_STRIP = 0.09  # of the short side
_LEAST_STRIP = 22  # pixels
_RATES = (1.0, 120.0)  # frames a second that are believed
_FRAMES_OF_RATE = 8  # that are looked at where it is not
_FRAMES_AHEAD = 8
_LONGEST = 60.0  # seconds that a frame is held: time stamps can be broken


def annotate(prediction: Prediction, path: Path, timeout: float) -> None:
    """Writes a copy of a video, without sound, with label and score of each moment's window.

    The frame rate is constant: that of the video where it has one. Frames of a variable rate are
    repeated or left out by their time stamps, so that it lasts as long.

    Args:
        path: of the copy, with one of the suffixes of `CODECS`.
        timeout: seconds after which a video that gives no more frame ends there.

    Raises:
        VideoError: no frame of the video decodes.
        ArgumentError: OpenCV cannot write it.
        WriteError: the disk is full, …
    """
    decoder = Decoder(prediction.video)
    decoded = _decoded(decoder, timeout)
    first = list(itertools.islice(decoded, _FRAMES_OF_RATE))
    rate = _rate(decoder.header_rate, [second for second, _ in first])
    strips = _Strips(prediction)
    with files.atomic(path) as temporary:
        written, size, writer = 0, (0, 0), None
        try:
            for second, frame in at_constant_rate(itertools.chain(first, decoded), rate):
                if writer is None:
                    size = _size(*frame.shape[:2])
                    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
                    writer = cv2.VideoWriter(str(temporary), codec, rate, size[::-1])
                writer.write(strips.burnt_into(videos.resize(frame, *size), second))
                written += 1
        finally:
            if writer is not None:
                writer.release()
        # OpenCV reports no failure to write.
        if _frames(temporary) < written:
            raise ArgumentError(
                f"{path}: OpenCV could not write all of its {written} frames ({size[1]}x{size[0]} "
                f"pixels, {rate:g} a second). Is the disk full?"
            )


def _frames(path: Path) -> int:
    """Returns how many frames a copy has, 0 if there is none."""
    try:
        return Decoder(str(path)).header_count
    except VideoError:
        return 0


def _size(height: int, width: int) -> tuple[int, int]:
    """Returns the size of the copy of a video: a multiple of its own, and even."""
    factor = -(-_LEAST_WIDTH // width)
    # The codec halves the sides of colours.
    return -(-height * factor // 2) * 2, -(-width * factor // 2) * 2


def window_at(seconds: np.ndarray, moment: float) -> int:
    """Returns the number of the window of a moment: of those that show it, the most centred one.

    Where none shows it, the nearest.

    Args:
        seconds: float64 `(windows, 2)`, start and end, at least one.
    """
    starts, ends = seconds.T
    elsewhere = (moment < starts) | (moment >= ends)
    outside = np.maximum(0, np.maximum(starts - moment, moment - ends))
    off_centre = np.abs(seconds.mean(axis=1) - moment)
    return int(np.lexsort((off_centre, outside, elsewhere))[0])


def at_constant_rate(
    frames: Iterable[tuple[float, Frame]], rate: float
) -> Iterator[tuple[float, Frame]]:
    """Repeats and leaves out frames by their times, so that there are `rate` in a second.

    Each place takes the last frame that is shown at its middle; a frame of a constant rate thus
    keeps its place, however its time is rounded.

    Args:
        frames: times in seconds, increasing, and frames.

    Yields:
        Time, as in the video, and frame.
    """
    elapsed, count, place = 0.0, 0, 0
    held: tuple[float, Frame] | None = None
    for second, frame in frames:
        if held is not None:
            elapsed += min(second - held[0], _LONGEST)
            count += 1
            while (place + 0.5) / rate < elapsed:
                yield held
                place += 1
        held = second, frame
    if held is not None:
        # How long the last one is shown no file says: as long as the others on average.
        end = elapsed + (elapsed / count if count else 0)
        yield held
        while (place + 1.5) / rate <= end:
            yield held
            place += 1


def _rate(header: float, seconds: Sequence[float]) -> float:
    """Returns the frames a second that a container promises, if it can be so; else of the first."""
    least, most = _RATES
    if least <= header <= most:
        return header
    if len(seconds) < 2:
        return 25.0
    return float(np.clip(1 / np.median(np.diff(seconds)), least, most))


def _decoded(decoder: Decoder, timeout: float) -> Iterator[tuple[float, Frame]]:
    """Decodes in a thread, which is given up when it gives nothing for `timeout` seconds.

    A video that breaks in the middle ends there.
    """
    ahead: queue.Queue[tuple[float, Frame] | BaseException | None] = queue.Queue(_FRAMES_AHEAD)
    stopped = threading.Event()

    def put(item: tuple[float, Frame] | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                ahead.put(item, timeout=0.5)
                return
            except queue.Full:
                continue

    def decode() -> None:
        try:
            for item in decoder.timed():
                put(item)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # raised where it is waited for
            put(error)

    threads.start(decode, f"frames of {decoder.path}")
    given = 0
    try:
        while True:
            item = ahead.get(timeout=timeout)
            if item is None or (given and isinstance(item, VideoError)):
                return
            if isinstance(item, BaseException):
                raise item
            given += 1
            yield item
    except queue.Empty:
        return
    finally:
        stopped.set()


class _Strips:
    """Labels as strips of pixels, drawn once for each window."""

    def __init__(self, prediction: Prediction):
        self._prediction = prediction
        self._number: int | None = None
        self._strip = np.empty((0, 0, 3), np.uint8)

    def burnt_into(self, frame: Frame, second: float) -> Frame:
        """Returns a frame, uint8 `(height, width, 3)`, BGR, with the label of its time in it."""
        seconds = self._prediction.window_seconds
        number = window_at(seconds, second) if len(seconds) else -1
        if number != self._number:
            one = self._prediction
            scores = one.scores if number < 0 else one.window_scores[number]
            ((label, score),) = best(one.labels, scores, 1)
            self._strip = strip(label, score, *frame.shape[:2])
            self._number = number
        rows = len(self._strip)
        # What is behind is darkened to a quarter: white is legible on it, whatever it shows.
        behind = frame[len(frame) - rows :] // 4
        return np.concatenate([frame[: len(frame) - rows], np.maximum(behind, self._strip)])


def strip(label: str, score: float, height: int, width: int) -> Frame:
    """Draws a label and its score white on black, as a strip for a frame of that size.

    Returns:
        uint8 `(rows, width, 3)`.
    """
    rows = min(height, max(_LEAST_STRIP, round(min(height, width) * _STRIP)))
    margin = 0.3 * rows
    figure = Figure(figsize=(width / 100, rows / 100), dpi=100, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    style: dict[str, Any] = {"color": "white", "fontsize": 0.36 * rows, "va": "center"}
    style["parse_math"] = False
    number = figure.text(1 - margin / width, 0.5, f"{score:.0%}", ha="right", **style)
    end = number.get_window_extent(canvas.get_renderer()).x0 - margin
    name = printable(label)
    text = figure.text(margin / width, 0.5, name, ha="left", **style)
    # Nearly as many letters as fit: each try costs a drawing.
    room = 1.2 * max(0.0, end - margin) / max(1.0, text.get_window_extent().width)
    letters = min(len(name), int(len(name) * room) + 2)
    text.set_text(shortened(name, letters))
    while letters > 1 and text.get_window_extent(canvas.get_renderer()).x1 > end:
        letters -= 1
        text.set_text(shortened(name, letters))
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:rows, :width, :3])
