"""The wrong answers that a model was surest of, to look at."""

import dataclasses
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from keras_r3d.data.annotations import Video
from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.sampling import temporal
from keras_r3d.inference.evaluation import metrics
from keras_r3d.pictures import contact_sheet
from keras_r3d.pictures.contact_sheet import Cell
from keras_r3d.system.errors import VideoError
from keras_r3d.system.text import shortened

if TYPE_CHECKING:
    from keras_r3d.inference.evaluation.evaluation import Evaluation

_MOST = 20
_FRAMES = 24  # of each, spread over the video
_DRAWN = 6  # of these, in the picture
_HEIGHT = 128  # of a frame, pixels
_DPI = 100
_MOST_LETTERS = 28  # of a class
_MOST_FILE_LETTERS = 36


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A video that was taken for another class.

    Attributes:
        score: of the class it was taken for.
        frames: uint8 `(frames, height, width, 3)`, RGB, spread over the video, none cut away.
        seconds: float64 `(frames,)`, when each is shown, from 0.
    """

    video: Video
    taken_for: str
    score: float
    frames: Frame
    seconds: NDArray[np.float64]

    @property
    def file(self) -> str:
        """Name of the video's file, with the seconds of a segment."""
        path, name = self.video.path, self.video.name
        return printable(os.path.basename(path) + name[len(path) :])


@dataclasses.dataclass(frozen=True)
class Mistakes:
    """The surest mistakes, `count` of all, but for those that `skipped`: not read again."""

    shown: Sequence[Mistake]
    count: int
    skipped: int
    of_flow: bool

    def __str__(self) -> str:
        text = f"Wrong videos, the surest mistake first: {len(self.shown)} of {self.count}"
        return f"{text}; {self.skipped} could not be read again" if self.skipped else text

    def figure(self) -> Figure:
        """Draws each as 6 frames in a row."""
        cells = [Cell(_strip(one.frames, self.of_flow), _title(one)) for one in self.shown]
        columns = 1 if len(cells) <= 4 else 2
        height = -(-len(cells) // columns)
        # Down the first column, then the second.
        rows = [cells[row::height] for row in range(height)]
        width = max((cell.pixels.shape[1] for cell in cells if cell.pixels is not None), default=0)
        inches = (max(_DRAWN * _HEIGHT, width) / _DPI + 0.2, _HEIGHT / _DPI + 0.35)
        return contact_sheet.figure(rows, inches, str(self), flow=self.of_flow and bool(cells))


def surest(evaluation: "Evaluation") -> list[tuple[int, int, float]]:
    """Returns the videos that were taken for another class, the surest mistake first.

    Each is the number of the video, of the class it was taken for, and the score of that.
    """
    right = metrics.topk_correct(evaluation.video_scores, evaluation.labels, 1)
    mistakes = [
        (int(video), int(predicted), float(evaluation.video_scores[video, predicted]))
        for video, predicted in zip(evaluation.scored, evaluation.predicted(), strict=True)
        if not right[video] and evaluation.videos[video].labels
    ]
    return sorted(mistakes, key=lambda mistake: -mistake[2])  # stable: then by number


def read(evaluation: "Evaluation") -> Mistakes | None:
    """Reads the 20 wrong answers with the highest scores; a video that cannot be read is skipped.

    None if there are no mistakes, or the evaluation has no reader.
    """
    reader, mistakes = evaluation.reader, surest(evaluation)
    if reader is None or not mistakes:
        return None

    def attempt(mistake: tuple[int, int, float]) -> Mistake | None:
        number, predicted, score = mistake
        video = evaluation.videos[number]
        try:
            return Mistake(video, evaluation.classes[predicted], score, *_frames(reader, video))
        except VideoError:
            return None

    shown: list[Mistake] = []
    skipped, waiting = 0, iter(mistakes)
    with ThreadPoolExecutor(reader.threads) as threads:
        while tried := list(itertools.islice(waiting, _MOST - len(shown))):
            found = list(filter(None, threads.map(attempt, tried)))
            shown += found
            skipped += len(tried) - len(found)
    return Mistakes(shown, len(mistakes), skipped, reader.channels == flow.CHANNELS)


def _frames(reader: Reader, video: Video) -> tuple[Frame, NDArray[np.float64]]:
    seconds = reader.seconds(video)
    numbers = temporal.spread(len(seconds), min(len(seconds), _FRAMES))
    frames, _ = reader.uncut(video, numbers, _HEIGHT)
    frames = flow.colors(frames) if reader.channels == flow.CHANNELS else frames
    return frames, seconds[numbers] - seconds[numbers[0]]


def _strip(frames: Frame, of_flow: bool) -> Frame:
    drawn = frames[temporal.spread(len(frames), _DRAWN)]
    return contact_sheet.strip(drawn, flow=of_flow)


def _title(mistake: Mistake) -> str:
    names = mistake.video.label, mistake.taken_for
    true, taken_for = (shortened(name, _MOST_LETTERS) for name in names)
    file = shortened(mistake.file, _MOST_FILE_LETTERS)
    return f"{true} → {taken_for} ({mistake.score:.2f}) · {file}"
