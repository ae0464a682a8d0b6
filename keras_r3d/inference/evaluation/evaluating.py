"""Evaluates a model, or several together, on labeled videos."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_r3d import run_folder
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.evaluation import results
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.evaluation.several import evaluation_of
from keras_r3d.inference.evaluation.split import Split, check_classes, open_split
from keras_r3d.inference.models import opening
from keras_r3d.inference.models import protocol as protocols
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.models.opening import Opened
from keras_r3d.inference.prediction import fusion
from keras_r3d.inference.prediction.kept import KeptPredictions, is_served
from keras_r3d.inference.prediction.scoring import TIMEOUT
from keras_r3d.system.text import shown
from keras_r3d.system.work import Progress, Share, Spread


def evaluate(
    models: Sequence[Opened],
    weights: Sequence[float] = (),
    *,
    data: str | None = None,
    split: str | None = None,
    frame_rate: float | None = None,
    protocol: str | None = None,
    timeout: float = TIMEOUT,
    output: Path | None = None,
    resumable: bool = False,
    progress: Progress = lambda done, total: None,
    spread: Spread | None = None,
) -> Evaluation | Share:
    """Scores labeled videos by a model, or by several whose scores are fused, each exactly once.

    `protocol` is that by which the models were opened, for the name of the folder; the rest is as
    of `VideoClassifier.evaluate`.
    """
    classifiers = [opened.classifier for opened in models]
    first, spread = classifiers[0], spread or Spread()
    if len(models) == 1:
        sides = [open_split(models[0], data, split, frame_rate)]
        how = {key: getattr(first.eval, key) for key in ("windows", "views", "average")}
        described: dict[str, Any] = {"model": shown(first.name), "protocol": how}
    else:
        split = split or first.eval.split
        sides = [open_split(opened, data, split, frame_rate) for opened in models]
        aligned = fusion.aligned([side.videos for side in sides], titles(models))
        sides = [
            dataclasses.replace(side, videos=videos)
            for side, videos in zip(sides, aligned, strict=True)
        ]
        described = {
            "fused": [shown(model.name) for model in classifiers],
            "weights": list(weights),
        }
    folder = results.folder_of(models, weights, sides[0].name, protocol, data)
    place = output or folder
    spread.check(place)
    if place is not None and models[0].run and place == models[0].run.path:
        place /= "evaluation"  # inside of it
    keeps = place is not None and (
        spread != Spread() or (resumable and not any(map(is_served, classifiers)))
    )
    evaluation = _score(
        *(classifiers, sides, weights, timeout, progress),
        Path(f"{place}.parts") if keeps else None,
        spread,
    )
    if isinstance(evaluation, Share):
        return evaluation
    return dataclasses.replace(
        evaluation,
        described=described | {"data_dir": sides[0].data},
        run=models[0].run,
        folder=folder,
    )


def evaluate_videos(
    classifier: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    *,
    split: str,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Scores labeled videos that are opened already, each exactly once; errors as of `evaluate`."""
    sides = [Split(videos, reader, split, "")]
    evaluation = _score([classifier], sides, (), TIMEOUT, progress, None, Spread())
    assert isinstance(evaluation, Evaluation)
    return evaluation


def _score(
    models: Sequence[Classifier],
    sides: Sequence[Split],
    weights: Sequence[float],
    timeout: float,
    progress: Progress,
    folder: Path | None,
    spread: Spread,
) -> Evaluation | Share:
    """Scores videos, of which each model has its own form, in the same order."""
    for model, side in zip(models, sides, strict=True):
        check_classes(side, model.classes, model.thresholds is not None)
        side.reader.require_readable(side.videos, side.name)
    pairs = [(side.reader, side.videos) for side in sides]
    kept = KeptPredictions(models, pairs, weights, timeout=timeout, folder=folder, spread=spread)
    predictions = list(kept.predictions(progress))
    if kept.is_share:
        return kept.share()
    first = sides[0]
    return evaluation_of(
        models[0].classes, predictions, split=first.name, reader=first.reader, parts=folder
    )


def evaluate_run(
    run: run_folder.Run,
    *,
    data: str | None = None,
    split: str | None = None,
    devices: str = "all",
    say: Callable[[str], None] = print,
) -> Evaluation:
    """Evaluates the best model of a run and writes the results into its folder.

    `say` takes lines of text: the model, a table, what was written.
    """
    opened = opening.of_run(run, devices=devices)
    say(headline(opened.classifier))
    evaluation = evaluate([opened], data=data, split=split)
    assert isinstance(evaluation, Evaluation)
    report(evaluation, None, say)
    return evaluation


def report(evaluation: Evaluation, output: str | Path | None, say: Callable[[str], None]) -> None:
    """Says the table of an evaluation, and writes its files where there is a place for them."""
    say(str(evaluation))
    folder = output or evaluation.folder
    if folder is None:
        say("Nothing was written: pass --output FOLDER.")
    else:
        say(f"Written into {shown(folder)}: {', '.join(evaluation.save(output))}")
    if evaluation.run is not None and evaluation.reader is not None:
        evaluation.run.report_problems(evaluation.reader.problems, say)


def titles(models: Sequence[Opened]) -> list[str]:
    """Returns what models are called beside each other: their runs, else their files."""
    places = [model.run.path if model.run else model.classifier.name for model in models]
    return [shown(place) for place in places]


def headline(model: Classifier) -> str:
    """Returns a model, and how it scores videos, in words."""
    how = protocols.described(model.clips, model.eval)
    return shown(f"{model.name} ({model.described}): {how}")
