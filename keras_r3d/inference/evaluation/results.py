"""The folder of an evaluation: where it lies, and its files, which are all of one evaluation."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_r3d import run_folder
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.evaluation import report
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.models.opening import Opened
from keras_r3d.system import files

# An earlier evaluation may have them, and this one not.
_NOT_ALWAYS = (run_folder.MISTAKES,)


def is_of_recipe(opened: Opened, split: str, data_dir: str | None) -> bool:
    """Whether an evaluation is the one that the recipe of a run asks for, of its best model."""
    if opened.run is None or not opened.best or data_dir is not None:
        return False
    of = opened.run.recipe.eval
    return opened.classifier.eval == of and split == of.split


def place(
    opened: Sequence[Opened],
    split: str,
    protocol: str | None,
    data_dir: str | None,
    weights: Sequence[str],
) -> Path | None:
    """Returns where an evaluation goes that was given no folder; None if there is no run.

    What the recipe asks for goes beside the model; another evaluation into a folder
    `evaluations/NAME` of the (first) run, so that it does not replace the first.

    Args:
        protocol, data_dir, weights: as they were given.
    """
    first = opened[0].run
    if first is None:
        return None
    if len(opened) == 1 and is_of_recipe(opened[0], split, data_dir):
        return first.path
    parts = [split, protocol]
    if len(opened) > 1:
        others = [_short(one.run.path, first.path) for one in opened[1:] if one.run is not None]
        parts += [f"fused-{'-'.join(others)}", "-".join(weights)]
    elif not opened[0].best:
        parts.append(_short(opened[0].classifier.name, first.path))
    parts.append("" if data_dir is None else _short(data_dir, first.path))
    return first.path / run_folder.EVALUATIONS / "-".join(part for part in parts if part)


def _short(path: str | Path, root: Path) -> str:
    """Returns a name for a path: its own inside a run folder, else a unique one."""
    absolute = os.path.abspath(path)
    below = os.path.relpath(absolute, os.path.abspath(root))
    if not below.startswith(os.pardir):
        return below.replace(os.sep, "_")
    return f"{os.path.basename(absolute)}_{hashlib.sha256(absolute.encode()).hexdigest()[:6]}"


def write(
    evaluation: Evaluation,
    reader: Reader | None,
    folder: Path,
    split: str,
    how: Mapping[str, Any],
    summary: Mapping[str, Any] | None = None,
) -> list[str]:
    """Writes all files of an evaluation, or none: those of an earlier one then stay.

    Args:
        reader: of its videos, for the sheet of mistakes; None draws none.
        how: what else there is to say of the evaluation.
        summary: of the run, if this evaluation is to be in it.

    Returns:
        Names of the files.

    Raises:
        WriteError: the disk is full, …
    """
    run_folder.make(folder)
    with files.together(folder, _NOT_ALWAYS) as new:
        report.write_json(evaluation, split, new / run_folder.EVALUATION, **how)
        report.write_classes(evaluation, new / run_folder.PER_CLASS)
        report.draw_confusion(evaluation, new / run_folder.CONFUSION)
        report.draw_reliability(evaluation, new / run_folder.RELIABILITY)
        if reader is not None:
            report.draw_mistakes(evaluation, reader, new / run_folder.MISTAKES)
        written = sorted(path.name for path in new.iterdir())
        if summary is not None:
            files.write_json(new / run_folder.SUMMARY, summary)
    return written
