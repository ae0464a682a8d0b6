"""Contact sheets of training clips, to check colors, crops and flips before training.

Beside each clip is an uncut frame of its video, with the crop drawn on it.
"""

import contextlib
import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from keras_r3d import recipe as recipes
from keras_r3d.data.annotations import Problem, Video
from keras_r3d.data.annotations.labels import rarest
from keras_r3d.data.clips import Clip, training_clip
from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.opening import Videos, open_source, split_of
from keras_r3d.pictures import flow_key, fonts
from keras_r3d.recipe import Clips
from keras_r3d.system import files
from keras_r3d.system.errors import DataError, VideoError, check_range
from keras_r3d.system.text import shortened

_MOST_STRIPS = 15  # of a page
_MOST_CLASSES = 8  # of the sheet of a training
_MOST_FRAMES = 8
_MOST_LETTERS = 32  # of a name in a title
_HEIGHT = 224  # pixels of an uncut frame
_WIDEST = 2.0  # width of an uncut frame, in heights of a strip
_GAP = 0.15  # likewise, from there to the strip
_PALE = 160  # added to a quarter of what is cut away
_RED = "#ff2020"

Strip = tuple[Video, Clip]


def contact_sheet(
    videos: Videos, clips: Clips, *, split: str = "train", per_class: int = 3, seed: int = 0
) -> list[Figure]:
    """Draws clips as a network sees them, beside each the uncut frame with the crop on it.

    Args:
        videos: as `open_videos` gives them.
        clips: how they are cut.
        split: of the videos.
        per_class: videos of each class.
        seed: draws which videos and which clips of them.

    Returns:
        Pages of up to 15 strips.

    Raises:
        DataError: there is no such split, or none of its videos can be read.
    """
    reader, chosen = videos.reader(clips), split_of(videos, split)
    reader.require_readable(chosen, split)
    return list(pages(reader, chosen, clips, seed, per_class))


@dataclasses.dataclass(frozen=True)
class WrittenSheet:
    """Pages of clips that were written. Printed, it is a report."""

    paths: list[Path]
    problems: list[Problem]  # the videos that could not be read
    text: str  # how the clips were drawn

    def __str__(self) -> str:
        first, last, count = self.paths[0], self.paths[-1], len(self.paths)
        pages = f"{first} to {last} ({count} pages)" if count > 1 else f"{first}"
        problems = [f"{problem.status}: {problem.detail}" for problem in self.problems]
        return "\n".join([*problems, f"Written: {pages}: {self.text}"])


def view_clips(
    data: str | os.PathLike[str],
    *,
    recipe: str = "kinetics34",
    overrides: Sequence[str] = (),
    output: str = "clips.png",
    per_class: int = 3,
    seed: int | None = None,
    say: Callable[[str], None] | None = None,
) -> WrittenSheet:
    """Writes pictures of training clips as the network sees them, as a recipe cuts them.

    Args:
        data: folder of videos, CSV file, public list, or clip store.
        recipe: name of the recipe that cuts them, or path of a TOML file.
        overrides: changes of recipe keys, such as "clips.size=224".
        output: PNG file to write; further pages are NAME-2.png, … None may exist.
        per_class: videos of each class, 1 to 15.
        seed: draws other videos and clips; None is the recipe's.
        say: takes notes on the videos.

    Raises:
        DataError: the videos cannot be found, or none can be read; an argument is wrong, or a file
            exists.
        RecipeError: there is no such recipe.
        WriteError: the disk is full, …
    """
    experiment, path = recipes.load(recipe, overrides), Path(output)
    if path.suffix.lower() != ".png":
        raise DataError(f"`output` must end in .png. Received: {output}")
    check_range(1, 15, per_class=per_class)
    files.check_new(path, "output")  # before anything slow
    clips, seed = experiment.clips, experiment.train.seed if seed is None else seed
    source = open_source(os.fspath(data), clips, experiment.videos)
    if say is not None:
        for note in source.annotations.notes:
            say(f"Note: {note}")
    videos, paths = source.annotations.split("train"), [path]
    for number in range(2, _page_count(videos, per_class) + 1):
        paths.append(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        files.check_new(paths[-1], "output")
    source.reader.require_readable(videos, "train")
    count = 0  # a class may have no readable video
    with files.together(path.parent) as temporary:
        for figure in pages(source.reader, videos, clips, seed, per_class):
            fonts.save(figure, temporary / paths[count].name)
            count += 1
    height, width = clips.image_size
    text = (
        f"training clips of recipe '{recipe}', {clips.frames} frames of {height}x{width} pixels, "
        f"drawn with seed {seed}"
    )
    return WrittenSheet(paths[:count], list(source.reader.problems), text)


def training_sheet(reader: Reader, videos: Sequence[Video], clips: Clips, seed: int) -> Figure:
    """Draws training clips of up to 8 classes as strips of up to 8 frames, left to right in time.

    Optical flow is drawn in colors, each clip scaled by its longest vector.
    """
    reader.require_readable(videos, "train")
    strips = itertools.islice(_strips(reader, videos, clips, seed, 1), _MOST_CLASSES)
    return _page(reader, list(itertools.chain(*strips)), clips)


def pages(
    reader: Reader, videos: Sequence[Video], clips: Clips, seed: int, per_class: int
) -> Iterator[Figure]:
    """Draws pages of up to 15 strips, about equally many on each; a class stays on one page."""
    classes = math.ceil(len(set(rarest(videos))) / _page_count(videos, per_class))
    strips = _strips(reader, videos, clips, seed, per_class)
    while page := list(itertools.islice(strips, classes)):
        yield _page(reader, list(itertools.chain(*page)), clips)


def _page_count(videos: Sequence[Video], per_class: int) -> int:
    """Returns the most figures that `pages` draws."""
    most = max(1, _MOST_STRIPS // per_class)  # classes of a page
    return math.ceil(len(set(rarest(videos))) / most)


def _strips(
    reader: Reader, videos: Sequence[Video], clips: Clips, seed: int, per_class: int
) -> Iterator[list[Strip]]:
    """Yields clips of different readable videos of each class that has some."""
    by_class: dict[str, list[Video]] = {}
    for label, video in zip(rarest(videos), videos, strict=True):
        by_class.setdefault(label, []).append(video)
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


@fonts.look()
def _page(reader: Reader, strips: Sequence[Strip], clips: Clips) -> Figure:
    # Beside each clip its middle frame before it was cut; rendered clips are not cut.
    uncut = [
        reader.uncut(video, clip.frame_numbers[[len(clip.frame_numbers) // 2]], _HEIGHT)
        for video, clip in strips
    ]
    left = max((_width(*shape) + _GAP for _, shape in uncut if shape), default=0.0)
    count, (rows, columns) = min(_MOST_FRAMES, clips.frames), clips.image_size
    right = count * columns / rows
    size = (max(4.8, 1.2 * (right + left)), 1.6 * len(strips))
    figure = Figure(figsize=size, layout="constrained")
    places = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    numbers = np.linspace(0, clips.frames - 1, count).round().astype(int)
    for axes, (video, clip), (frame, shape) in zip(places, strips, uncut, strict=True):
        frames = _colored(clip.pixels[numbers], clips)
        axes.imshow(np.concatenate(list(frames), axis=1), extent=(0, right, 1, 0))
        if shape:
            _draw_uncut(axes, _colored(frame, clips)[0], *shape, clip)
        axes.set(xlim=(-left, right), ylim=(1, 0))
        axes.set_axis_off()
        axes.set_title(_title(video, clip), fontsize=7, parse_math=False)
    if clips.input != "rgb":
        flow_key.add(figure)
    return figure


def _colored(frames: Frame, clips: Clips) -> Frame:
    """Returns frames as they are drawn: flow in colors, with a border."""
    return frames if clips.input == "rgb" else flow_key.bordered(flow.colors(frames))


def _draw_uncut(axes: Axes, frame: Frame, height: int, width: int, clip: Clip) -> None:
    """Draws an uncut frame left of a strip, in its shape, and the crop on it; the rest is pale."""
    scale = _width(height, width) / width
    left, top = -_GAP - scale * width, (1 - scale * height) / 2
    crop, pale = clip.crop, _PALE + frame // 4
    rows, columns = (
        slice(round(start * drawn / side), round((start + size) * drawn / side))
        for start, size, drawn, side in (
            (crop.top, crop.height, frame.shape[0], height),
            (crop.left, crop.width, frame.shape[1], width),
        )
    )
    pale[rows, columns] = frame[rows, columns]
    axes.imshow(pale, extent=(left, -_GAP, top + scale * height, top))
    place = (left + scale * crop.left, top + scale * crop.top)
    for color, line in (("black", 2.5), (_RED, 1.2)):  # seen on any picture
        outline = Rectangle(place, scale * crop.width, scale * crop.height, fill=False)
        outline.set(edgecolor=color, linewidth=line, clip_on=False)
        axes.add_patch(outline)


def _width(height: int, width: int) -> float:
    """Returns the drawn width of a frame, in heights of a strip."""
    return min(_WIDEST, width / height)


def _title(video: Video, clip: Clip) -> str:
    crop, file = clip.crop, shortened(os.path.basename(video.path), _MOST_LETTERS)
    return (
        f"{shortened(video.label, _MOST_LETTERS)} · {file}\n"
        f"frames {clip.frame_numbers[0]}-{clip.frame_numbers[-1]} · "
        f"crop {crop.width}x{crop.height} px (scale {crop.scale:.2f}) "
        f"at ({crop.left}, {crop.top})"
        f"{' · flipped' if crop.flip else ''}"
    )
