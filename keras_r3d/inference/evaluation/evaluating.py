"""Evaluates a model, or several together, on labelled videos, and writes what comes out."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_r3d import run_folder
from keras_r3d.inference.evaluation import fusion, labelled, report, results, scoring
from keras_r3d.inference.evaluation.evaluation import Evaluation, collected, counted
from keras_r3d.inference.evaluation.labelled import Labelled
from keras_r3d.inference.models import opening, protocol
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.models.opening import Opened

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of an evaluation; None is what the training's recipe says.

    Attributes:
        data_dir: other videos, or the same in another place.
        protocol: as `keras_r3d.inference.models.protocol.FORMS` says.
        output: folder for the results; None puts them into the run folder.
        timeout: seconds after which a video that gives no more window is given up.
        devices: as `keras_r3d.system.devices.choose` takes them.
    """

    data_dir: str | None = None
    split: str | None = None
    protocol: str | None = None
    output: Path | None = None
    timeout: float = 300.0
    devices: str = "all"


def evaluate_run(
    run: run_folder.Run,
    request: Request | None = None,
    model: Path | None = None,
    *,
    say: Say = print,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluates the best model of a run, or another artefact of it, as `evaluate`."""
    request = request or Request()
    run_folder.check_new(request.output)
    opened = opening.of_run(run, model, request.protocol, request.devices)
    return evaluate(opened, request, say=say, progress=progress)


def evaluate(
    opened: Opened, request: Request, *, say: Say = print, progress: Progress | None = None
) -> Evaluation:
    """Evaluates a model: says a table, writes the results and returns them.

    Args:
        say: takes lines of text.
        progress: takes the number of videos done, and of all.
    """
    model, run = opened.classifier, opened.run
    found = labelled.videos_of(opened, request.data_dir, request.split)
    evaluation = scored([model], [found], request.timeout, say=say, progress=progress)
    how = {
        "model": model.name,
        "protocol": {
            "windows": model.eval.windows,
            "views": model.eval.views,
            "average": model.eval.average,
        },
        "data_dir": found.data_dir,
    }
    summary = None
    if run is not None and results.is_of_recipe(opened, found.split, request.data_dir):
        run.summary["evaluation"] = {"split": found.split, **evaluation.figures()}
        summary = run.summary
    place = results.place([opened], found.split, request.protocol, request.data_dir, ())
    _write(evaluation, found, request.output or place, how, summary, say)
    if run is not None:
        run.report_problems(found.reader.problems, say)
    return evaluation


def evaluate_fused(
    opened: Sequence[Opened],
    request: Request,
    weights: Sequence[str],
    *,
    say: Say = print,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluates the best models of several runs together, on the videos of the first."""
    models = [one.classifier for one in opened]
    names = [str(one.run.path) for one in opened if one.run is not None]
    numbers = fusion.parse_weights(weights, len(models))
    fusion.check([model.classes for model in models], names, numbers)
    split = request.split or models[0].eval.split
    sides = [labelled.videos_of(one, request.data_dir, split) for one in opened]
    videos = fusion.aligned([side.videos for side in sides], names)
    sides = [dataclasses.replace(side, videos=own) for side, own in zip(sides, videos, strict=True)]
    evaluation = scored(models, sides, request.timeout, numbers, say=say, progress=progress)
    how = {
        "fused": [model.name for model in models],
        "weights": numbers,
        "data_dir": sides[0].data_dir,
    }
    place = results.place(opened, split, request.protocol, request.data_dir, weights)
    _write(evaluation, sides[0], request.output or place, how, None, say)
    return evaluation


def scored(
    models: Sequence[Classifier],
    sides: Sequence[Labelled],
    timeout: float = scoring.TIMEOUT,
    weights: Sequence[float] = (),
    *,
    say: Say,
    progress: Progress | None,
) -> Evaluation:
    """Scores videos by one model, or by several whose scores are fused.

    Args:
        sides: the same videos as each model reads them.
        timeout: seconds after which a video that gives no more window is given up.
        weights: of the models; none if there is one.

    Raises:
        DataError: videos have classes that the model does not know, or none can be read.
    """
    streams = []
    for model, side in zip(models, sides, strict=True):
        how = protocol.described(model.data, model.eval)
        say(f"{model.name} ({model.described}): {how}")
        labelled.check_known(side, model.classes)
        side.reader.require_readable(side.videos, side.split)
        streams.append(scoring.score(model, side.reader, side.videos, timeout=timeout))
    classes = [model.classes for model in models]
    fused = fusion.fuse(streams, classes, weights) if weights else streams[0]
    evaluation = collected(counted(fused, len(sides[0].videos), progress), models[0].classes)
    return dataclasses.replace(evaluation, split=sides[0].split, reader=sides[0].reader)


def _write(
    evaluation: Evaluation,
    found: Labelled,
    folder: Path | None,
    how: dict[str, Any],
    summary: dict[str, Any] | None,
    say: Say,
) -> None:
    """Says the table and writes the results into a folder."""
    say(report.table(evaluation))
    if folder is None:
        say("Nothing was written: pass --output FOLDER.")
        return
    written = results.write(evaluation, found.reader, folder, found.split, how, summary)
    say(f"Written into {folder}: {', '.join(written)}")
