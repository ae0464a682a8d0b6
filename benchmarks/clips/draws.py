"""Which clips the contenders make: those that training draws."""

import copy
import dataclasses
import os
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.data import clips
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import pixels
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.decoding.video_file import VideoFile, no_frame
from keras_r3d.data.sampling import cropping, order
from keras_r3d.data.store import Store
from keras_r3d.recipe import Clips, Recipe
from keras_r3d.system.errors import R3DError, VideoError


@dataclasses.dataclass(frozen=True)
class Source:
    """A video, or a segment of one, that has been counted."""

    video: Video
    first: int  # frame of the file that is the segment's first
    count: int  # frames of the segment
    frames_in_file: int  # all that decode
    width: int  # of the upright frames, in pixels
    height: int
    stored: Video | None = None  # the same in a clip store


@dataclasses.dataclass(frozen=True)
class Draw:
    """A training clip, whoever makes it."""

    source: Source
    numbers: NDArray[np.int64]  # of its frames, counted from the first one of the file
    clips: Clips
    rng: np.random.Generator  # that draws the crop

    def crop(self, height: int, width: int) -> cropping.Crop:
        """Returns the crop for frames of that size."""
        return clips.training_crop(self.clips, copy.deepcopy(self.rng), height, width)

    def cut(self, frames: Frame) -> Frame:
        """Cuts, scales and flips decoded frames of the clip, uint8, in the shape of a clip."""
        crop = self.crop(*frames.shape[1:3])
        clip = np.empty(self.clips.shape, np.uint8)
        for frame, out in zip(frames, clip, strict=True):
            pixels.fill(out, frame, crop.top, crop.left, crop.height, crop.width, crop.flip)
        return clip


@dataclasses.dataclass(frozen=True)
class Task:
    """What a contender is told before the first clip."""

    sources: Sequence[Source]  # the videos that all draws are from
    classes: Sequence[str]
    recipe: Recipe  # draws and cuts clips
    batch_size: int
    scratch: str  # an empty folder for files that are needed
    store: str = ""  # path or URL of the clip store, if there is one


def in_store(
    store: Store, videos: Sequence[Video], most: int, seed: int, folder: str | None
) -> list[Source]:
    """Takes up to `most` of the videos of a store at random.

    With the folder of the videos that the store was made of, these are counted; None: not at hand.
    """
    sources = []
    for place in np.random.default_rng(seed).permutation(len(videos))[:most]:
        stored = videos[place]
        number = store.numbers[stored]
        frames, (height, width) = store.frames(number), store.sizes(number)[0]
        source = Source(stored, 0, frames, frames, width, height)
        if folder is not None:
            path = os.path.join(folder, store.names[number])
            source = _count(dataclasses.replace(stored, path=path))
            if source.count != frames:
                raise R3DError(
                    f"{path} has {source.count} frames, {stored.path} {frames}: `videos` must be "
                    "the folder that the store was made of, its frame rate kept."
                )
        sources.append(dataclasses.replace(source, stored=stored))
    return sources


def read_frames(path: str, numbers: NDArray[np.int64]) -> Frame:
    """Decodes frames with our own decoder, in order, uint8 `(frames, height, width, 3)`, RGB."""
    distinct, places = np.unique(numbers, return_inverse=True)
    file = VideoFile(path)
    frames = [picture.rgb() for _, picture in file.frames(file.index(), distinct)]
    return np.stack(frames)[places]


def count(videos: Sequence[Video], most: int, seed: int) -> tuple[list[Source], list[str]]:
    """Counts up to `most` of the videos, taken at random; also returns what is wrong with some."""
    sources: list[Source] = []
    problems: list[str] = []
    for place in np.random.default_rng(seed).permutation(len(videos)):
        try:
            sources.append(_count(videos[place]))
        except VideoError as error:
            problems.append(str(error))
        if len(sources) == most:
            break
    if not sources:
        raise R3DError(f"None of the {len(videos)} videos can be read. One of them: {problems[0]}")
    return sources, problems


def plan(sources: Sequence[Source], recipe: Recipe, positions: Iterable[int]) -> list[Draw]:
    """Returns the clips at some positions of the stream of `data.pipeline.training_clips`.

    The very same, and not only drawn alike: what a clip costs depends on how far it lies in its
    video, so the means of two sets of 64 draws differ by a tenth.
    """
    turns, seed, draws = np.array(list(positions), np.int64), recipe.train.seed, []
    labels = [source.video.label for source in sources]
    numbers = order.videos_at(turns, labels, seed, recipe.videos.balanced)
    for turn, number in zip(turns, numbers, strict=True):
        source = sources[number]
        rng = np.random.default_rng([seed, *divmod(int(turn), len(sources))])
        frames = clips.training_frames(source.count, recipe.clips, rng)
        draws.append(Draw(source, source.first + frames, recipe.clips, rng))
    return draws


def _count(video: Video) -> Source:
    file = VideoFile(video.path)
    index = file.index()
    shown = index.shown(video.start_seconds, video.end_seconds, video.name)
    for _, picture in file.frames(index, shown[:1]):
        height, width = picture.shape
        return Source(video, int(shown[0]), len(shown), len(index.seconds), width, height)
    raise VideoError(no_frame(video.path))
