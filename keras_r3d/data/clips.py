"""Cuts clips as the network sees them: frames and pixels of a video, chosen by a recipe."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.data.decoding.reader import Cut, Reader, Window
from keras_r3d.data.sampling import augmentation, cropping, temporal
from keras_r3d.recipe import Data


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip and its place in the video.

    Attributes:
        pixels: uint8 `(frames, size, size, channels)`: RGB, or flow as `flow.encode`.
        frame_numbers: int64 `(frames,)`, counted from the first frame of the video.
        crop: in pixels of the frames (of a store: of its largest level).
    """

    pixels: Frame
    frame_numbers: temporal.Indices
    crop: cropping.Crop


def training_clip(
    reader: Reader, source: Video, data: Data, rng: np.random.Generator, out: Frame | None = None
) -> Clip:
    """Draws one clip, as `training_clips`.

    Args:
        out: uint8 `(frames, size, size, channels)`, contiguous, becomes the pixels; None makes it.
    """
    return training_clips(reader, source, data, [rng], [_empty(data) if out is None else out])[0]


def training_clips(
    reader: Reader,
    source: Video,
    data: Data,
    rngs: Sequence[np.random.Generator],
    out: Sequence[Frame],
) -> list[Clip]:
    """Draws frames, crop and random changes of clips of a video, all cut in one pass over it.

    Args:
        rngs: one for each clip.
        out: as many arrays uint8 `(frames, size, size, channels)`, contiguous, that become the
            pixels.

    Raises:
        VideoError: the video gives no frames.
    """
    count = reader.count(source)
    numbers = [training_frames(count, data, rng) for rng in rngs]
    cuts = [
        Cut(frames, functools.partial(_training_crop, data, rng), pixels)
        for frames, rng, pixels in zip(numbers, rngs, out, strict=True)
    ]
    crops = reader.cut(source, cuts)
    for rng, pixels in zip(rngs, out, strict=True):
        _change(pixels, data, rng)
    return [Clip(*parts) for parts in zip(out, numbers, crops, strict=True)]


def middle_clip(reader: Reader, source: Video, data: Data, out: Frame | None = None) -> Clip:
    """Takes the middle of the video (or all of it, spread), and the crop of an evaluation.

    Args:
        out: as in `training_clip`.

    Raises:
        VideoError: the video gives no frames.
    """
    count = reader.count(source)
    if data.sampling == "consecutive":
        numbers = temporal.middle_window(count, data.frames, data.frame_stride)
    else:
        numbers = temporal.spread(count, data.frames)
    pixels = _empty(data) if out is None else out
    crop_of = cropping.whole if data.crop == "whole" else cropping.centre
    crops = reader.cut(source, [Cut(numbers, crop_of, pixels)])
    return Clip(pixels, numbers, crops[0])


def windows(
    reader: Reader, source: Video, data: Data, count: int = 0, views: int = 1
) -> Iterator[Window]:
    """Yields the windows of a video that an evaluation scores.

    Args:
        count: of windows, evenly placed; 0 takes all of the video, in windows that do not overlap,
            the last of them completed by looping its own frames. For a recipe that spreads clips
            over the whole video, 0 is one window, or those of its `spans`; several begin a little
            later each.
        views: crops of each window, `count` of `cropping.Views`.

    Raises:
        VideoError: the video gives no frames.
    """
    cut = views_of(data, views)
    if data.spans and not count:
        choose = functools.partial(temporal.spans, frames=data.frames, shares=data.spans)
    elif data.sampling != "consecutive":
        choose = functools.partial(temporal.even_spreads, frames=data.frames, windows=count or 1)
    elif count:
        choose = functools.partial(
            temporal.even_windows,
            frames=data.frames,
            frame_stride=data.frame_stride,
            windows=count,
        )
    else:
        yield from reader.windows(source, data.frames, data.frame_stride, cut, data.size)
        return
    yield from reader.chosen(source, choose, cut, data.size)


def views_of(data: Data, count: int) -> cropping.Views:
    """Returns the crops of each frame in an evaluation, `count` of them."""
    return cropping.Views(count, data.crop == "whole")


def _empty(data: Data) -> Frame:
    return np.empty((data.frames, data.size, data.size, data.channels), np.uint8)


def training_frames(count: int, data: Data, rng: np.random.Generator) -> temporal.Indices:
    """Draws the frames of a clip, int64 `(frames,)`, of a video of `count` frames."""
    if data.sampling == "consecutive":
        stride = temporal.random_stride(
            rng, count, data.frames, data.frame_stride, data.frame_stride_most
        )
        return temporal.random_window(rng, count, data.frames, stride)
    return temporal.spread(count, data.frames, rng if data.sampling == "segments" else None)


def _training_crop(data: Data, rng: np.random.Generator, height: int, width: int) -> cropping.Crop:
    if data.crop == "multiscale":
        return cropping.random_crop(rng, height, width, data.scales, data.positions, data.flip)
    # Of the whole frame, `aspect` is a share of the frame's own.
    unit = width / height if data.crop == "whole" else 1.0
    aspect = [unit * share for share in data.aspect]
    return cropping.random_resized_crop(rng, height, width, data.area, aspect, data.flip)


def _change(pixels: Frame, data: Data, rng: np.random.Generator) -> None:
    """Changes geometry and colors of a clip, in place."""
    if data.rotate_degrees or data.shear_degrees or data.translate:
        matrix = augmentation.random_matrix(
            rng, data.size, data.rotate_degrees, data.shear_degrees, data.translate
        )
        pixels[...] = augmentation.warp(matrix, pixels)
    if data.colour_jitter:
        table = augmentation.random_table(rng, data.colour_jitter)
        pixels[...] = augmentation.look_up(table, pixels)
    if data.randaugment_ops:
        operations = augmentation.random_operations(
            rng, data.randaugment_ops, data.randaugment_magnitude
        )
        pixels[...] = augmentation.apply_operations(operations, pixels)
