"""The folder of an evaluation: where it lies, and its files, which are all of one evaluation."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from keras_r3d import run_folder
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.sampling import temporal
from keras_r3d.data.sampling.cropping import Views
from keras_r3d.inference.evaluation import metrics
from keras_r3d.inference.models.opening import Opened
from keras_r3d.pictures import contact_sheet, fonts
from keras_r3d.pictures.contact_sheet import Cell
from keras_r3d.system import files
from keras_r3d.system.errors import VideoError
from keras_r3d.system.text import shortened

if TYPE_CHECKING:
    from keras_r3d.inference.evaluation.evaluation import Evaluation

_MOST_MISTAKES = 20  # in the picture
_FRAMES = 6  # of each
_SIZE = 128  # of a frame in the picture, pixels
_DPI = 100
_MOST_LETTERS = 28  # of a class
_MOST_FILE_LETTERS = 36


def folder_of(
    models: Sequence[Opened],
    weights: Sequence[float],
    split: str,
    protocol: str | None,
    data: str | None,
) -> Path | None:
    """Returns where an evaluation goes that is given no folder; None if there is no run.

    What the recipe asks for goes beside the model; another evaluation into a folder
    `evaluations/NAME` of the (first) run, so that it does not replace the first.
    """
    first, run = models[0], models[0].run
    if run is None:
        return None
    parts = [split, protocol]
    if len(models) > 1:
        others = [_short(opened.run.path, run.path) for opened in models[1:] if opened.run]
        parts += [f"fused-{'-'.join(others)}"]
        if len(set(weights)) > 1:
            parts.append("-".join(f"{weight:g}" for weight in weights))
    elif not first.best:
        parts.append(_short(first.classifier.name, run.path))
    elif (data, first.classifier.eval, split) == (None, run.recipe.eval, run.recipe.eval.split):
        return run.path
    parts.append("" if data is None else _short(data, run.path))
    name = files.file_name("-".join(part for part in parts if part))
    return run.path / run_folder.EVALUATIONS / name


def _short(path: str | Path, root: Path) -> str:
    """Returns a name for a path: its own inside a run folder, else a unique one."""
    absolute = os.path.abspath(path)
    below = os.path.relpath(absolute, os.path.abspath(root))
    if not below.startswith(os.pardir):
        return below.replace(os.sep, "_")
    return f"{os.path.basename(absolute)}_{hashlib.sha256(absolute.encode()).hexdigest()[:6]}"


def write(evaluation: "Evaluation", folder: Path) -> list[str]:
    """Writes all files of an evaluation, or none, and returns their names.

    The evaluation that the recipe of a run asks for is also noted in the run's summary.
    """
    files.make_folder(folder)
    # An earlier evaluation may have mistakes, and this one none.
    with files.together(folder, (run_folder.MISTAKES,)) as new:
        values = {
            "split": evaluation.split,
            **evaluation.described,
            **evaluation.figures(),
            "warning": evaluation.floor() or None,
            "classes": list(evaluation.classes),
            "records": evaluation.records(),
        }
        files.write_json(new / run_folder.EVALUATION, values)
        _write_classes(evaluation, new / run_folder.PER_CLASS)
        for name, picture in evaluation.pictures().items():
            fonts.save(picture, new / name)
        if (sheet := draw_mistakes(evaluation)) is not None:
            fonts.save(sheet, new / run_folder.MISTAKES)
        names = sorted(path.name for path in new.iterdir())
        run = evaluation.run
        if run is not None and folder == run.path:
            run.summary["evaluation"] = {"split": evaluation.split, **evaluation.figures()}
            files.write_json(new / run_folder.SUMMARY, run.summary)
    return names


def _write_classes(evaluation: "Evaluation", path: Path) -> None:
    """Writes precision, recall and the most frequent mistake of each class as CSV.

    A video without score counts as missed. A cell is empty where there is nothing to divide by:
    precision of a class never predicted, recall of one without videos.
    """
    columns = {"class": evaluation.classes, **evaluation.class_columns()}

    def cell(value: Any) -> Any:
        if not isinstance(value, np.floating):
            return value
        return "" if np.isnan(value) else f"{value:.4f}"

    rows = [list(map(cell, row)) for row in zip(*columns.values(), strict=True)]
    files.write_text(path, files.csv_text(list(columns), rows))


def worst_mistakes(evaluation: "Evaluation") -> list[tuple[int, int, float]]:
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


def draw_mistakes(evaluation: "Evaluation") -> Figure | None:
    """Draws the 20 wrong answers with the highest scores, each as 6 frames spread over the video.

    Frames are cut to the center square. A video that cannot be read again
    is skipped. None if there are no mistakes, or the evaluation has no reader.
    """
    reader, mistakes = evaluation.reader, worst_mistakes(evaluation)
    if reader is None or not mistakes:
        return None
    cells: list[Cell] = []
    skipped = 0
    for number, predicted, score in mistakes:
        if len(cells) == _MOST_MISTAKES:
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
        video, lambda count: [temporal.spread(count, _FRAMES)], Views(1, (_SIZE, _SIZE))
    )
    frames, of_flow = window.pixels[0], reader.channels == flow.CHANNELS
    return contact_sheet.strip(flow.colors(frames) if of_flow else frames, flow=of_flow)


def _title(video: Video, taken_for: str, score: float) -> str:
    true, taken_for = (shortened(name, _MOST_LETTERS) for name in (video.label, taken_for))
    file = shortened(os.path.basename(video.path), _MOST_FILE_LETTERS)
    return f"{true} → {taken_for} ({score:.2f}) · {file}{video.name[len(video.path) :]}"
