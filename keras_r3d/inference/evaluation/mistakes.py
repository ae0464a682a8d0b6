"""A contact sheet of the worst mistakes: the wrong answers that were given with most confidence."""

import os
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.sampling import temporal
from keras_r3d.data.sampling.cropping import Views
from keras_r3d.pictures import contact_sheet
from keras_r3d.pictures.contact_sheet import Cell
from keras_r3d.system.errors import VideoError
from keras_r3d.system.text import shortened

if TYPE_CHECKING:
    from keras_r3d.inference.evaluation.evaluation import Evaluation

_MOST = 20  # videos
_FRAMES = 6  # of each
_SIZE = 128  # of a frame in the picture, pixels
_DPI = 100
_MOST_LETTERS = 28  # of a class
_MOST_FILE_LETTERS = 36


def worst(evaluation: "Evaluation") -> list[tuple[int, int, float]]:
    """Returns the videos that were taken for another class, the surest mistake first.

    Each is the number of the video, of the class it was taken for, and the score of that.
    """
    mistakes = [
        (int(video), int(predicted), float(evaluation.video_scores[video, predicted]))
        for video, predicted in zip(evaluation.scored, evaluation.predicted(), strict=True)
        if predicted != evaluation.labels[video]
    ]
    return sorted(mistakes, key=lambda mistake: -mistake[2])  # stable: then by number


def sheet(evaluation: "Evaluation") -> Figure | None:
    """Draws the 20 worst mistakes, each as a strip of 6 frames spread over the video.

    Frames are cut to the center square, as the network saw them. A video that cannot be read again
    is skipped. None if there are no mistakes, or the evaluation has no reader.
    """
    reader, mistakes = evaluation.reader, worst(evaluation)
    if reader is None or not mistakes:
        return None
    cells: list[Cell] = []
    skipped = 0
    for number, predicted, score in mistakes:
        if len(cells) == _MOST:
            break
        video, taken_for = evaluation.videos[number], evaluation.classes[predicted]
        try:
            cells.append(Cell(_strip(reader, video), _title(video, taken_for, score)))
        except VideoError:
            skipped += 1
    heading = f"Wrong videos, the surest mistake first: {len(cells)} of {len(mistakes)}"
    if skipped:
        heading += f"; {skipped} could not be read again"
    columns = 1 if len(cells) <= 4 else 2
    height = -(-len(cells) // columns)
    # Down the first column, then the second.
    rows = [cells[row::height] for row in range(height)]
    inches = (_FRAMES * _SIZE / _DPI + 0.2, _SIZE / _DPI + 0.35)
    of_flow = bool(cells) and reader.channels == flow.CHANNELS
    return contact_sheet.figure(rows, inches, heading, flow=of_flow)


def _strip(reader: Reader, video: Video) -> np.ndarray:
    (window,) = reader.chosen(
        video, lambda count: [temporal.spread(count, _FRAMES)], Views(1), _SIZE
    )
    frames, of_flow = window.pixels[0], reader.channels == flow.CHANNELS
    return contact_sheet.strip(flow.colors(frames) if of_flow else frames, flow=of_flow)


def _title(video: Video, taken_for: str, score: float) -> str:
    true, taken_for = (shortened(name, _MOST_LETTERS) for name in (video.label, taken_for))
    file = shortened(os.path.basename(video.path), _MOST_FILE_LETTERS)
    return f"{true} → {taken_for} ({score:.2f}) · {file}{video.name[len(video.path) :]}"
