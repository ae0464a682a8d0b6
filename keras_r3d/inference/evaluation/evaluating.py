"""Evaluates a model, or several together, on labeled videos."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from keras_r3d import run_folder
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.evaluation import results
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.evaluation.split import check_classes, open_split
from keras_r3d.inference.models import opening
from keras_r3d.inference.models import protocol as protocols
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.models.opening import Opened
from keras_r3d.inference.prediction import fusion
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.scoring import TIMEOUT, score

Progress = Callable[[int, int], None]


def evaluate(
    models: Sequence[Opened],
    weights: Sequence[float] = (),
    *,
    data: str | None = None,
    split: str | None = None,
    protocol: str | None = None,
    timeout: float = TIMEOUT,
    progress: Progress | None = None,
) -> Evaluation:
    """Scores labeled videos by a model, or by several whose scores are fused, each exactly once.

    Args:
        weights: of the models; none if there is one.
        data: other videos than those of the (first) run.
        split: None is that of the recipe; of other data, the only one there is.
        protocol: by which the models were opened, for the name of the folder.
        timeout: seconds after which a video that gives no more window is given up.
        progress: takes the number of videos done, and of all.

    Raises:
        DataError: there are no such videos, they have classes that a model does not know, or none
            can be read.
        ArgumentError: models that are fused have other videos each.
    """
    classifiers = [opened.classifier for opened in models]
    if len(models) > 1:
        split = split or classifiers[0].eval.split
    splits = [open_split(opened, data, split) for opened in models]
    first = splits[0]
    videos: Sequence[Sequence[Video]] = [side.videos for side in splits]
    if len(models) > 1:
        videos = fusion.aligned(videos, titles(models))
    streams = []
    for model, side, labeled in zip(classifiers, splits, videos, strict=True):
        check_classes(labeled, model.classes, f"split '{side.name}' in {side.data}")
        side.reader.require_readable(labeled, side.name)
        streams.append(score(model, side.reader, labeled, timeout=timeout))
    predictions = _counted(fusion.fuse(streams, weights), len(first.videos), progress)
    return Evaluation(
        classifiers[0].classes,
        predictions,
        split=first.name,
        reader=first.reader,
        described={**_described(classifiers, weights), "data_dir": first.data},
        run=models[0].run,
        folder=results.folder_of(models, weights, first.name, protocol, data),
    )


def evaluate_videos(
    classifier: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    *,
    split: str,
    timeout: float = TIMEOUT,
    progress: Progress | None = None,
) -> Evaluation:
    """Scores labeled videos that are opened already, each exactly once; arguments as `evaluate`.

    Raises:
        DataError: a video has a class the model does not know, or no video can be read.
        ModelError: the model gives something else than probabilities.
    """
    check_classes(videos, classifier.classes, f"split '{split}'")
    reader.require_readable(videos, split)
    predictions = score(classifier, reader, videos, timeout=timeout)
    return Evaluation(
        classifier.classes,
        _counted(predictions, len(videos), progress),
        split=split,
        reader=reader,
    )


def evaluate_run(
    run: run_folder.Run,
    model: Path | None = None,
    *,
    data: str | None = None,
    split: str | None = None,
    protocol: str | None = None,
    output: Path | None = None,
    devices: str = "all",
    say: Callable[[str], None] = print,
) -> Evaluation:
    """Evaluates the best model of a run, or another one of it, and writes the results.

    Args:
        data, split, protocol: as of `evaluate`.
        output: folder for the results, which must not exist; None is one in the run folder.
        devices: as `keras_r3d.system.devices.choose` takes them.
        say: takes lines of text: the model, a table, what was written.
    """
    run_folder.check_new(output)
    opened = opening.of_run(run, model, protocol, devices)
    say(headline(opened.classifier))
    evaluation = evaluate([opened], data=data, split=split, protocol=protocol)
    report(evaluation, output, say)
    return evaluation


def report(evaluation: Evaluation, output: str | Path | None, say: Callable[[str], None]) -> None:
    """Says the table of an evaluation, and writes its files where there is a place for them."""
    say(str(evaluation))
    folder = output or evaluation.folder
    if folder is None:
        say("Nothing was written: pass --output FOLDER.")
    else:
        say(f"Written into {folder}: {', '.join(evaluation.save(output))}")
    if evaluation.run is not None and evaluation.reader is not None:
        evaluation.run.report_problems(evaluation.reader.problems, say)


def titles(models: Sequence[Opened]) -> list[str]:
    """Returns what models are called beside each other: their runs, else their files."""
    return [str(one.run.path) if one.run is not None else one.classifier.name for one in models]


def headline(model: Classifier) -> str:
    """Returns a model, and how it scores videos, in words."""
    return f"{model.name} ({model.described}): {protocols.described(model.clips, model.eval)}"


def _described(models: Sequence[Classifier], weights: Sequence[float]) -> dict[str, Any]:
    """Returns what the file of an evaluation says of its models."""
    if len(models) > 1:
        return {"fused": [model.name for model in models], "weights": list(weights)}
    used = dataclasses.asdict(models[0].eval)
    how = {key: used[key] for key in ("windows", "views", "average")}
    return {"model": models[0].name, "protocol": how}


def _counted(
    predictions: Iterable[Prediction], total: int, progress: Progress | None
) -> list[Prediction]:
    """Returns all predictions, and tells how many there are as they come."""
    done = []
    for prediction in predictions:
        done.append(prediction)
        if progress is not None:
            progress(len(done), total)
    return done
