"""A contact sheet of the worst mistakes: the wrong answers that were given with most confidence."""

import dataclasses
import os

import numpy as np
from matplotlib.figure import Figure

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.sampling import temporal
from keras_r3d.data.sampling.cropping import Views
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.pictures import flow_key, lettering
from keras_r3d.system.errors import VideoError

_MOST = 20  # videos
_FRAMES = 6  # of each
_SIZE = 128  # of a frame in the picture, pixels
_GAP = 2  # between frames, pixels
_DPI = 100
_MOST_LETTERS = 28  # of a class
_MOST_FILE_LETTERS = 36


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A wrong answer.

    Attributes:
        video: its number in the evaluation.
        predicted: the class it was taken for.
        score: of that class, 0-1.
    """

    video: int
    predicted: int
    score: float


def worst(evaluation: Evaluation) -> list[Mistake]:
    """Returns the videos that were taken for another class, the surest mistake first."""
    mistakes = [
        Mistake(int(video), int(taken_for), float(evaluation.video_scores[video, taken_for]))
        for video, taken_for in zip(evaluation.scored, evaluation.predicted(), strict=True)
        if taken_for != evaluation.labels[video]
    ]
    return sorted(mistakes, key=lambda mistake: -mistake.score)  # stable: then by number


def sheet(evaluation: Evaluation, reader: Reader) -> tuple[Figure | None, list[str]]:
    """Draws the 20 worst mistakes, each as a strip of 6 frames spread over the video.

    Frames are cut to the centre square, as the network saw them. A video that cannot be read again
    is skipped.

    Returns:
        The picture, None if there are no mistakes; and why videos were skipped, a sentence each.
    """
    found = worst(evaluation)
    if not found:
        return None, []
    strips: list[tuple[Mistake, Frame]] = []
    skipped = []
    for mistake in found:
        if len(strips) == _MOST:
            break
        try:
            strips.append((mistake, _strip(reader, evaluation.videos[mistake.video])))
        except VideoError as error:
            skipped.append(str(error))
    heading = f"Wrong videos, the surest mistake first: {len(strips)} of {len(found)}"
    if skipped:
        heading += f"; {len(skipped)} could not be read again"
    figure = _draw(evaluation, strips, heading)
    if reader.channels == flow.CHANNELS and strips:
        flow_key.add(figure)
    return figure, skipped


def _strip(reader: Reader, video: Video) -> Frame:
    """Reads frames side by side, uint8 `(size, width, 3)`, RGB; of optical flow, its colours."""
    (window,) = reader.chosen(
        video, lambda count: [temporal.spread(count, _FRAMES)], Views(1), _SIZE
    )
    frames = window.pixels[0]
    if reader.channels == flow.CHANNELS:
        frames = flow_key.bordered(flow.colors(frames))
    gap = np.full((*frames.shape[:2], _GAP, 3), 255, np.uint8)
    return np.concatenate(list(np.concatenate([frames, gap], axis=2)), axis=1)


def _draw(evaluation: Evaluation, strips: list[tuple[Mistake, Frame]], heading: str) -> Figure:
    columns = 1 if len(strips) <= 4 else 2
    rows = max(1, -(-len(strips) // columns))
    names = [*evaluation.classes, *(evaluation.videos[mistake.video].name for mistake, _ in strips)]
    with lettering.fonts(names):
        figure = Figure(
            figsize=(columns * (_FRAMES * _SIZE / _DPI + 0.2), 0.4 + rows * (_SIZE / _DPI + 0.35)),
            dpi=_DPI,
            layout="constrained",
        )
        figure.suptitle(heading, fontsize=11)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        # Down the first column, then the second.
        for axes, (mistake, pixels) in zip(grid.T.flat, strips, strict=False):
            axes.imshow(pixels)
            axes.set_title(_title(evaluation, mistake), fontsize=8, loc="left", parse_math=False)
    return figure


def _title(evaluation: Evaluation, mistake: Mistake) -> str:
    true, taken_for = (
        lettering.shown(evaluation.classes[number], _MOST_LETTERS, number)
        for number in (evaluation.labels[mistake.video], mistake.predicted)
    )
    file = os.path.basename(evaluation.videos[mistake.video].path)
    segment = evaluation.videos[mistake.video].name[len(evaluation.videos[mistake.video].path) :]
    return (
        f"{true} → {taken_for} ({mistake.score:.2f}) · "
        f"{lettering.shown(file, _MOST_FILE_LETTERS)}{segment}"
    )
