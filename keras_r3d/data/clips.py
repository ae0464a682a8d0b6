"""Cuts clips as the network sees them: frames and pixels of a video, chosen by a recipe."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.random import Generator

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.decoding.reader import Cut, Reader, Window
from keras_r3d.data.sampling import augmentation, cropping, temporal
from keras_r3d.recipe.clips import Augment, Clips, Consecutive, MultiScale, Segments

_MOST_BYTES = 2**25  # of windows that slide over a video, which are cut in one pass


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip and its place in the video."""

    pixels: Frame  # uint8 `(frames, height, width, channels)`: RGB, or flow as `flow.encode`
    frame_numbers: temporal.Indices  # counted from the first frame of the video
    crop: cropping.Crop  # in pixels of the frames (of a store: of its largest level)


def training_clip(
    reader: Reader, source: Video, clips: Clips, rng: Generator, out: Frame | None = None
) -> Clip:
    """Draws one clip, as `training_clips`; `out` becomes its pixels, None makes them."""
    out = np.empty(clips.shape, np.uint8) if out is None else out
    return training_clips(reader, source, clips, [rng], [out])[0]


def training_clips(
    reader: Reader, source: Video, clips: Clips, rngs: Sequence[Generator], out: Sequence[Frame]
) -> list[Clip]:
    """Draws frames, crop and random changes of clips of a video, all cut in one pass over it.

    For each of the generators an array of `clips.shape`, uint8, contiguous, becomes the pixels.
    """
    count = reader.count(source)
    numbers = [training_frames(count, clips, rng) for rng in rngs]
    cuts = [
        Cut(frames, functools.partial(training_crop, clips, rng), pixels)
        for frames, rng, pixels in zip(numbers, rngs, out, strict=True)
    ]
    crops = reader.cut(source, cuts)
    for rng, pixels in zip(rngs, out, strict=True):
        if clips.augment is not None:
            _change(pixels, clips.augment, rng)
    return [Clip(*parts) for parts in zip(out, numbers, crops, strict=True)]


def middle_clip(reader: Reader, source: Video, clips: Clips, out: Frame | None = None) -> Clip:
    """Takes the middle of the video (or all of it, spread), and the crop of an evaluation."""
    count = reader.count(source)
    if isinstance(clips.sampling, Consecutive):
        numbers = temporal.middle_window(count, clips.frames, clips.sampling.stride)
    else:
        (numbers,) = _spread(count, clips, lambda n, parts: [temporal.spread(n, parts)])
    pixels = np.empty(clips.shape, np.uint8) if out is None else out
    crops = reader.cut(
        source, [Cut(numbers, functools.partial(views_of(clips, 1).crop, 0), pixels)]
    )
    return Clip(pixels, numbers, crops[0])


def windows(
    reader: Reader, source: Video, clips: Clips, count: int | None = None, views: int = 1
) -> Iterator[Window]:
    """Cuts the windows of a video that an evaluation scores, each in `views` crops.

    `count` of them are evenly placed; None takes all of the video, in windows that do not overlap,
    the last of them completed by looping its own frames. Of clips that are spread over the whole
    video, None is one window, or those of its `spans`; several begin a little later each.
    """
    cut, frames, sampling = views_of(clips, views), clips.frames, clips.sampling

    def choose(length: int) -> list[temporal.Indices]:
        if isinstance(sampling, Consecutive):
            return temporal.even_windows(length, frames, sampling.stride, count or 1)
        if (shares := sampling.spans) and count is None:
            return _spread(length, clips, lambda n, parts: temporal.spans(n, parts, shares))
        return _spread(length, clips, lambda n, parts: temporal.even_spreads(n, parts, count or 1))

    if isinstance(sampling, Consecutive) and count is None:
        return reader.windows(source, frames, sampling.stride, cut)
    return reader.chosen(source, choose, cut)


def sliding_windows(
    reader: Reader, source: Video, clips: Clips, step: float, seconds: float | None, views: int = 1
) -> Iterator[Window]:
    """Cuts windows out of a video that begin a share `step` of a window one after the other.

    Each is a consecutive clip; or, of clips that are spread over videos, `seconds` long.
    """
    cut, frames, sampling = views_of(clips, views), clips.frames, clips.sampling
    shown = reader.seconds(source)
    if isinstance(sampling, Consecutive):
        numbers = temporal.sliding_clips(len(shown), frames, sampling.stride, step)
    else:
        assert seconds is not None
        starts = temporal.sliding(shown, frames // clips.snippet, seconds, step * seconds)
        numbers = [
            np.add.outer(row, np.arange(clips.snippet)).ravel().clip(max=len(shown) - 1)
            for row in starts
        ]
    most = max(1, _MOST_BYTES // (views * math.prod(clips.shape)))
    for first in range(0, len(numbers), most):
        chosen = numbers[first : first + most]

        def choose(count: int, chosen: list[temporal.Indices] = chosen) -> list[temporal.Indices]:
            return [np.minimum(part, count - 1) for part in chosen]

        yield from reader.chosen(source, choose, cut)


def views_of(clips: Clips, count: int) -> cropping.Views:
    """Returns the crops of each frame in an evaluation, `count` of them."""
    return cropping.Views(count, clips.image_size, clips.is_whole, clips.center_share)


def training_frames(count: int, clips: Clips, rng: Generator) -> temporal.Indices:
    """Draws the frames of a clip, int64 `(frames,)`, of a video of `count` frames."""
    sampling = clips.sampling
    if isinstance(sampling, Consecutive):
        most = sampling.max_stride or sampling.stride
        stride = temporal.random_stride(rng, count, clips.frames, sampling.stride, most)
        return temporal.random_window(rng, count, clips.frames, stride)
    chance = rng if isinstance(sampling, Segments) else None
    return _spread(count, clips, lambda n, parts: [temporal.spread(n, parts, chance)])[0]


def _spread(
    count: int, clips: Clips, choose: Callable[[int, int], Iterable[temporal.Indices]]
) -> list[temporal.Indices]:
    return temporal.snippets(count, clips.frames, clips.snippet, choose)


def training_crop(clips: Clips, rng: Generator, height: int, width: int) -> cropping.Crop:
    """Draws the crop of a clip, after its frames, for frames of some size."""
    crop = clips.crop
    if isinstance(crop, MultiScale):
        rows, columns = clips.image_size
        return cropping.random_crop(
            rng, height, width, crop.scales, crop.positions, clips.flip, columns / rows
        )
    # Of the whole frame, `aspect` is a share of the frame's own.
    unit = width / height if clips.is_whole else 1.0
    aspect = [unit * share for share in crop.aspect]
    return cropping.random_resized_crop(rng, height, width, crop.area, aspect, clips.flip)


def _change(pixels: Frame, augment: Augment, rng: Generator) -> None:
    """Changes geometry and colors of a clip, in place."""
    affine = augment.rotate_degrees, augment.shear_degrees, augment.translate
    if any(affine):
        size = pixels.shape[1:3]
        matrix = augmentation.random_matrix(rng, size, *(most or 0.0 for most in affine))
        pixels[...] = augmentation.warp(matrix, pixels)
    if augment.color_jitter:
        table = augmentation.random_table(rng, augment.color_jitter)
        pixels[...] = augmentation.look_up(table, pixels)
    if augment.randaugment is not None:
        ops, magnitude = augment.randaugment.ops, augment.randaugment.magnitude
        operations = augmentation.random_operations(rng, ops, magnitude)
        pixels[...] = augmentation.apply_operations(operations, pixels)
