"""The newest frames of a live source: only what the network sees of them, and only so many."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_r3d.data.decoding import decoder as videos
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.data.sampling import temporal
from keras_r3d.data.sampling.cropping import Views

# Between frames that are kept where a window is seconds long: all at 60 a second, not at 120.
_LEAST_SECONDS = 0.015


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is kept of a source.

    Attributes:
        frames: of a clip.
        frame_stride: from one frame of a clip to the next.
        seconds: that a clip is spread over; 0 takes consecutive frames.
        short_side: frames are shrunk to this short side before they are cropped; 0 keeps them.
        size: of a clip, in pixels.
        views: crops of each frame.
    """

    frames: int
    frame_stride: int
    seconds: float
    short_side: int
    size: int
    views: Views

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
            most = max(shape.frames, int(shape.seconds / _LEAST_SECONDS) + 2)
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
        return captured - self._held[-1].captured > _LEAST_SECONDS

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
        if covered < self.shape.seconds:
            return []
        return [one for one in held if one.captured > held[-1].captured - self.shape.seconds]


def clip(window: Sequence[Held], shape: Shape) -> Frame:
    """Returns the pixels of a window, uint8 `(views, frames, size, size, 3)`, RGB."""
    if shape.seconds:
        numbers = temporal.spread(len(window), shape.frames)
    else:
        numbers = np.arange(0, len(window), shape.frame_stride)
    pixels = np.stack([window[number].pixels for number in numbers.tolist()], axis=1)
    for frames in pixels:
        videos.to_rgb(frames)
    return pixels
