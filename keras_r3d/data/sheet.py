"""Contact sheets of training clips, to check colors, crops and flips before training.

Beside each clip is an uncut frame of its video, with the crop drawn on it.
"""

import contextlib
import dataclasses
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from keras_r3d.data.annotations import Video
from keras_r3d.data.clips import Clip, training_clip
from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.data.decoding.reader import Cut, Reader
from keras_r3d.pictures import flow_key
from keras_r3d.recipe import Clips
from keras_r3d.system import files
from keras_r3d.system.errors import VideoError
from keras_r3d.system.text import shortened

_MOST_STRIPS = 15  # of a page
_MOST_CLASSES = 8  # of the sheet of a training
_MOST_FRAMES = 8
_MOST_LETTERS = 32  # of a name in a title
_SIDE = 224  # pixels of an uncut frame, made square; it is drawn in its own shape
_WIDEST = 2.0  # width of an uncut frame, in heights of a strip
_GAP = 0.15  # likewise, from there to the strip
_RED = "#ff2020"

Strip = tuple[Video, Clip]


def training_sheet(reader: Reader, videos: Sequence[Video], clips: Clips, seed: int) -> Figure:
    """Draws training clips of up to 8 classes as strips of up to 8 frames, left to right in time.

    Optical flow is drawn in colors, each clip scaled by its longest vector.

    Raises:
        DataError: no video can be read.
    """
    strips = itertools.islice(_strips(reader, videos, clips, seed, 1), _MOST_CLASSES)
    return _page(reader, list(itertools.chain(*strips)), clips)


def pages(
    reader: Reader, videos: Sequence[Video], clips: Clips, seed: int, per_class: int
) -> Iterator[Figure]:
    """Draws training clips of `per_class` videos of all classes, as `training_sheet` does.

    Yields:
        Figures of up to 15 strips, about equally many on each; a class stays on one page.

    Raises:
        DataError: no video can be read.
    """
    classes = math.ceil(len({v.label for v in videos}) / _page_count(videos, per_class))
    strips = _strips(reader, videos, clips, seed, per_class)
    while page := list(itertools.islice(strips, classes)):
        yield _page(reader, list(itertools.chain(*page)), clips)


def write_pages(
    reader: Reader, videos: Sequence[Video], clips: Clips, seed: int, per_class: int, output: Path
) -> list[Path]:
    """Writes what `pages` draws into PNG files NAME.png, NAME-2.png, …; returns their paths.

    Raises:
        ArgumentError: one of the files exists.
        DataError: no video can be read.
        WriteError: the disk is full, …
    """
    numbers = range(2, _page_count(videos, per_class) + 1)
    names = [output.name, *(f"{output.stem}-{number}{output.suffix}" for number in numbers)]
    for name in names:
        files.check_new(output.with_name(name), "output")
    paths = []
    with files.together(output.parent) as temporary:
        drawn = pages(reader, videos, clips, seed, per_class)
        for name, figure in zip(names, drawn, strict=False):  # a class may have no readable video
            figure.savefig(temporary / name, dpi=100)
            paths.append(output.with_name(name))
    return paths


def _page_count(videos: Sequence[Video], per_class: int) -> int:
    """Returns the most figures that `pages` draws."""
    most = max(1, _MOST_STRIPS // per_class)  # classes of a page
    return math.ceil(len({video.label for video in videos}) / most)


def _strips(
    reader: Reader, videos: Sequence[Video], clips: Clips, seed: int, per_class: int
) -> Iterator[list[Strip]]:
    """Yields clips of different readable videos of each class that has some."""
    reader.require_readable(videos, "train")
    by_class: dict[str, list[Video]] = {}
    for video in videos:
        by_class.setdefault(video.label, []).append(video)
    rng = np.random.default_rng([seed, len(videos)])
    for _, candidates in sorted(by_class.items()):
        strips: list[Strip] = []
        for number in rng.permutation(len(candidates)):
            if len(strips) < per_class:
                with contextlib.suppress(VideoError):  # the reader has noted it
                    clip = training_clip(reader, candidates[number], clips, rng)
                    strips.append((candidates[number], clip))
        if strips:
            yield strips


def _page(reader: Reader, strips: Sequence[Strip], clips: Clips) -> Figure:
    uncut = [_uncut(reader, *strip) for strip in strips]
    left = max((_width(whole[1]) + _GAP for whole in uncut if whole), default=0.0)
    count = min(_MOST_FRAMES, clips.frames)
    size = (max(4.8, 1.2 * (count + left)), 1.6 * len(strips))
    figure = Figure(figsize=size, layout="constrained")
    rows = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    for axes, (video, clip), whole in zip(rows, strips, uncut, strict=True):
        _draw_strip(axes, clip, clips)
        if whole:
            _draw_uncut(axes, *whole, clip, clips)
        axes.set(xlim=(-left, count), ylim=(1, 0))
        axes.set_axis_off()
        axes.set_title(_title(video, clip), fontsize=7, parse_math=False)
    if clips.input != "rgb":
        flow_key.add(figure)
    return figure


def _uncut(reader: Reader, video: Video, clip: Clip) -> tuple[Frame, tuple[int, int]] | None:
    """Returns the clip's middle frame before it was cut, made square, and its height and width.

    None where there is no such frame: rendered clips are not cropped.
    """
    sizes: list[tuple[int, int]] = []

    def whole(height: int, width: int):
        sizes.append((height, width))
        return dataclasses.replace(clip.crop, top=0, left=0, height=height, width=width, flip=False)

    number = clip.frame_numbers[len(clip.frame_numbers) // 2]
    out = np.empty((1, _SIDE, _SIDE, reader.channels), np.uint8)
    reader.cut(video, [Cut(np.array([number]), whole, out)])
    return (out[0], sizes[0]) if sizes else None


def _draw_strip(axes: Axes, clip: Clip, clips: Clips) -> None:
    count = min(_MOST_FRAMES, clips.frames)
    shown = np.linspace(0, clips.frames - 1, count).round().astype(int)
    pixels = clip.pixels[shown]
    if clips.input != "rgb":
        pixels = flow_key.bordered(flow.colors(pixels))
    axes.imshow(np.concatenate(list(pixels), axis=1), extent=(0, count, 1, 0))


def _draw_uncut(axes: Axes, frame: Frame, size: tuple[int, int], clip: Clip, clips: Clips) -> None:
    """Draws an uncut frame left of a strip, in its shape, and the crop on it."""
    if clips.input != "rgb":
        frame = flow_key.bordered(flow.colors(frame[None]))[0]
    scale = _width(size) / size[1]
    left, top = -_GAP - _width(size), (1 - scale * size[0]) / 2
    axes.imshow(frame, extent=(left, -_GAP, top + scale * size[0], top))
    crop = clip.crop
    place = (left + scale * crop.left, top + scale * crop.top)
    for color, line in (("black", 2.5), (_RED, 1.2)):  # seen on any picture
        outline = Rectangle(place, scale * crop.width, scale * crop.height, fill=False)
        outline.set(edgecolor=color, linewidth=line, clip_on=False)
        axes.add_patch(outline)


def _width(size: tuple[int, int]) -> float:
    """Returns the drawn width of a frame of a height and width, in heights of a strip."""
    return min(_WIDEST, size[1] / size[0])


def _title(video: Video, clip: Clip) -> str:
    crop, file = clip.crop, shortened(os.path.basename(video.path), _MOST_LETTERS)
    return (
        f"{shortened(video.label, _MOST_LETTERS)} · {file}\n"
        f"frames {clip.frame_numbers[0]}-{clip.frame_numbers[-1]} · "
        f"crop {crop.width}x{crop.height} px (scale {crop.scale:.2f}) "
        f"at ({crop.left}, {crop.top})"
        f"{' · flipped' if crop.flip else ''}"
    )
