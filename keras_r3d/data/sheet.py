"""A contact sheet of training clips, to look at colours, crops and flips before training."""

import itertools
import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from keras_r3d.data import clips, flow, flow_key
from keras_r3d.data.annotations import Video
from keras_r3d.data.reader import Reader
from keras_r3d.data.shortening import shortened
from keras_r3d.data.video import VideoError
from keras_r3d.recipe import Data

_MOST_CLIPS = 8
_MOST_FRAMES = 8
_MOST_LETTERS = 32  # of a name in a title


def training_sheet(reader: Reader, videos: Sequence[Video], data: Data, seed: int) -> Figure:
    """Draws training clips of up to 8 classes as strips of up to 8 frames, left to right in time.

    Optical flow is drawn in colours, each clip by its own longest vector.

    Raises:
        AnnotationError: no video can be read.
    """
    reader.require_readable(videos, "train")
    by_class: dict[str, list[Video]] = {}
    for video in videos:
        by_class.setdefault(video.label, []).append(video)
    rng = np.random.default_rng([seed, len(videos)])
    drawn: list[tuple[Video, clips.Clip]] = []
    for candidates in by_class.values():
        if len(drawn) < _MOST_CLIPS:
            readable = (_draw(reader, video, data, rng) for video in candidates)
            drawn += itertools.islice((clip for clip in readable if clip), 1)
    shown = np.linspace(0, data.frames - 1, min(_MOST_FRAMES, data.frames)).round().astype(int)
    figure = Figure(figsize=(max(4.8, 1.2 * len(shown)), 1.6 * len(drawn)), layout="constrained")
    for axes, (video, clip) in zip(
        figure.subplots(len(drawn), 1, squeeze=False)[:, 0], drawn, strict=True
    ):
        pixels = clip.pixels[shown]
        if data.input != "rgb":
            pixels = flow_key.bordered(flow.colours(pixels))
        axes.imshow(np.concatenate(list(pixels), axis=1))
        axes.set_axis_off()
        crop, file = clip.crop, shortened(os.path.basename(video.path), _MOST_LETTERS)
        axes.set_title(
            f"{shortened(video.label, _MOST_LETTERS)} · {file}\n"
            f"frames {clip.frame_numbers[0]}-{clip.frame_numbers[-1]} · "
            f"crop {crop.width}x{crop.height} px (scale {crop.scale:.2f}) "
            f"at ({crop.left}, {crop.top})"
            f"{' · flipped' if crop.flip else ''}",
            fontsize=7,
            parse_math=False,
        )
    if data.input != "rgb":
        flow_key.add(figure)
    return figure


def _draw(
    reader: Reader, video: Video, data: Data, rng: np.random.Generator
) -> tuple[Video, clips.Clip] | None:
    try:
        return video, clips.training_clip(reader, video, data, rng)
    except VideoError:  # the reader has noted it
        return None
