"""A copy of a video with the class of the moment burnt in."""

import functools
import queue
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_r3d.data.annotations import Video
from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.decoding import video_writer
from keras_r3d.data.decoding.frame_folder import open_pictures, timed_frames
from keras_r3d.data.decoding.pixels import Frame, resize
from keras_r3d.inference.prediction.ahead import Ahead
from keras_r3d.pictures import fonts
from keras_r3d.system import files
from keras_r3d.system.errors import VideoError
from keras_r3d.system.text import shortened

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}

_LEAST_WIDTH = 320  # pixels; smaller videos are enlarged, or no name could be read
_STRIP = 0.09  # of the short side
_LEAST_STRIP = 22  # pixels
_RATES = (1.0, 120.0)  # frames a second that are believed
_FRAMES_AHEAD = 8
_LONGEST = 60.0  # seconds that a frame is held: time stamps can be broken


def write(
    path: Path,
    video: Video,
    seconds: np.ndarray,
    captions: Sequence[tuple[str, float]],
    timeout: float,
) -> None:
    """Writes a copy of a video, or a segment, without sound, with label and score of each moment.

    The frame rate is constant: that of the video where it has one. Frames of a variable rate are
    repeated or left out by their time stamps, so that it lasts as long. A video that breaks in the
    middle, or gives no more frame for `timeout` seconds, ends there. Windows have their start and
    end in `seconds`, `(windows, 2)`, and their label and score in `captions`.
    """
    file = open_pictures(video.path, rate=video.frame_rate)
    rate = _rate(file.rate, file.index().seconds)
    file.close()
    frames = at_constant_rate(decoded(video, timeout), rate)
    with files.atomic(path) as temporary:
        codec = CODECS[path.suffix.lower()]
        video_writer.write(temporary, _captioned(frames, seconds, captions), rate, codec=codec)


def decoded(video: Video, timeout: float) -> Iterator[tuple[float, Frame]]:
    """Decodes a video as far as it can be, BGR; VideoError if no frame of it decodes."""
    range_seconds = video.start_seconds, video.end_seconds
    decode = functools.partial(timed_frames, video.path, *range_seconds, rate=video.frame_rate)
    frames = Ahead(decode, name=f"frames of {video.name}", most=_FRAMES_AHEAD, timeout=timeout)
    count = 0
    try:
        for second, frame in frames:
            count += 1
            yield second, frame[..., ::-1]
    except queue.Empty:
        if not count:
            raise VideoError(f"{video.name}: nothing decoded in {timeout:g} s.") from None
    except VideoError:
        if not count:
            raise
    finally:
        frames.stop()


def _captioned(
    frames: Iterable[tuple[float, Frame]],
    seconds: np.ndarray,
    captions: Sequence[tuple[str, float]],
) -> Iterator[Frame]:
    height = width = 0
    window, strip = -1, np.empty((0, 0, 3), np.uint8)
    for second, frame in frames:
        if not height:
            factor = -(-_LEAST_WIDTH // frame.shape[1])
            # Even, for the codec halves the sides of colors.
            height, width = (-(-size * factor // 2) * 2 for size in frame.shape[:2])
        number = window_at(seconds, second)
        if number != window:
            window, strip = number, caption(*captions[number], height, width)
        image = resize(frame, height, width)
        # What is behind is darkened to a quarter: white is legible on it, whatever it shows.
        behind = image[-len(strip) :] // 4
        yield np.concatenate([image[: -len(strip)], np.maximum(behind, strip)])


def window_at(seconds: np.ndarray, moment: float) -> int:
    """Returns the number of the window that shows a moment most centered; if none, the nearest.

    `seconds` are starts and ends, float64 `(windows, 2)`, of at least one.
    """
    starts, ends = seconds.T
    elsewhere = (moment < starts) | (moment >= ends)
    outside = np.maximum(0, np.maximum(starts - moment, moment - ends))
    off_center = np.abs(seconds.mean(axis=1) - moment)
    return int(np.lexsort((off_center, outside, elsewhere))[0])


def at_constant_rate(
    frames: Iterable[tuple[float, Frame]], rate: float
) -> Iterator[tuple[float, Frame]]:
    """Repeats and leaves out frames by their times, so that there are `rate` in a second.

    Each place takes the last frame that is shown at its middle; a frame of a constant rate thus
    keeps its place, however its time is rounded. Times are in seconds, increasing, and come as
    they are.
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


def _rate(header: float, seconds: np.ndarray) -> float:
    """Returns the frames a second that a container promises, if it can be so; else of most."""
    if _RATES[0] <= header <= _RATES[1]:
        return header
    return float(np.clip(1 / np.median(np.diff(seconds)), *_RATES)) if len(seconds) > 1 else 25.0


@fonts.look()
def caption(label: str, score: float, height: int, width: int) -> Frame:
    """Draws a label and its score white on black, for a frame of that size: `(rows, width, 3)`."""
    rows = min(height, max(_LEAST_STRIP, round(min(height, width) * _STRIP)))
    margin = 0.3 * rows
    figure = Figure(figsize=(width / 100, rows / 100), dpi=100, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    style: dict[str, Any] = {"color": "white", "fontsize": 0.36 * rows, "va": "center"}
    style |= {"parse_math": False}
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
