"""The folder of an evaluation: where it lies, and its files, which are all of one evaluation."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_r3d import run_folder
from keras_r3d.inference.evaluation import mistakes, report
from keras_r3d.inference.models.opening import Opened
from keras_r3d.pictures import fonts
from keras_r3d.system import files

if TYPE_CHECKING:
    from keras_r3d.inference.evaluation.evaluation import Evaluation


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
        others = [short(opened.run.path, run.path) for opened in models[1:] if opened.run]
        parts += [f"fused-{'-'.join(others)}"]
        if len(set(weights)) > 1:
            parts.append("-".join(f"{weight:g}" for weight in weights))
    elif not first.best:
        parts.append(short(first.classifier.name, run.path))
    elif (data, first.classifier.eval, split) == (None, run.recipe.eval, run.recipe.eval.split):
        return run.path
    parts.append("" if data is None else short(data, run.path))
    name = files.file_name("-".join(part for part in parts if part))
    return run.path / run_folder.EVALUATIONS / name


def short(path: str | Path, root: Path) -> str:
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
        wrong = mistakes.read(evaluation)
        if wrong is not None:
            fonts.save(wrong.figure(), new / run_folder.MISTAKES)
        files.write_text(new / run_folder.REPORT, report.page(evaluation, wrong))
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
