"""Clips as the network sees them: frames and pixels chosen by a recipe, cut from a video."""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from keras_r3d.data import colour, cropping, sampling, video
from keras_r3d.data.annotations import Video
from keras_r3d.data.reader import VideoReader
from keras_r3d.data.video import Frame
from keras_r3d.recipe import Data


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip and where it was cut.

    Attributes:
        pixels: uint8 `(frames, size, size, 3)`, RGB.
        frame_numbers: int64 `(frames,)`, counted from the first frame of the video.
    """

    pixels: Frame
    frame_numbers: sampling.Indices
    crop: cropping.Crop


def training_clip(reader: VideoReader, source: Video, data: Data, rng: np.random.Generator) -> Clip:
    """Draws frames, a crop and colours at random.

    Raises:
        VideoError: the video gives no frames.
    """
    count = reader.count(source)
    if data.sampling == "uniform":
        numbers = sampling.spread(count, data.frames, rng)
    else:
        numbers = sampling.random_window(rng, count, data.frames, data.frame_stride)
    frames = reader.read(source, numbers)
    height, width = frames.shape[1:3]
    crop = cropping.random_crop(rng, height, width, data.scales, data.positions, data.flip)
    pixels = _cut(frames, crop, data.size)
    if data.colour_jitter:
        pixels = colour.apply(colour.random_table(rng, data.colour_jitter), pixels)
    return Clip(pixels, numbers, crop)


def middle_clip(reader: VideoReader, source: Video, data: Data) -> Clip:
    """Takes the middle of the video (or all of it, spread) and the centre crop.

    Raises:
        VideoError: the video gives no frames.
    """
    count = reader.count(source)
    if data.sampling == "uniform":
        numbers = sampling.spread(count, data.frames)
    else:
        numbers = sampling.middle_window(count, data.frames, data.frame_stride)
    frames = reader.read(source, numbers)
    crop = cropping.centre(*frames.shape[1:3])
    return Clip(_cut(frames, crop, data.size), numbers, crop)


def windows(reader: VideoReader, source: Video, data: Data) -> Iterator[Frame]:
    """Yields the windows the evaluation scores, centre crop at the largest scale.

    Consecutive sampling: non-overlapping windows over the whole video; the last is completed by
    looping its own frames. Uniform sampling: one window, spread over the video. No more than one
    window's frames are held at a time.

    Yields:
        uint8 `(frames, size, size, 3)`, RGB.

    Raises:
        VideoError: the video gives no frames.
    """
    if data.sampling == "uniform":
        yield middle_clip(reader, source, data).pixels
        return
    stream = reader.stream(source)
    while block := list(itertools.islice(stream, data.frames * data.frame_stride)):
        frames = np.stack(block[:: data.frame_stride])
        frames = frames[sampling.loop(np.arange(len(frames)), data.frames)]
        yield _cut(frames, cropping.centre(*frames.shape[1:3]), data.size)


def _cut(frames: Frame, crop: cropping.Crop, size: int) -> Frame:
    clip = video.cut(frames, crop.top, crop.left, crop.side, size)
    return np.ascontiguousarray(clip[:, :, ::-1]) if crop.flip else clip
