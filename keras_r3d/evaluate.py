"""Evaluates a model on labelled videos: `python -m keras_r3d.evaluate --workdir RUN`."""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from keras_r3d import run_folder
from keras_r3d.system import command
from keras_r3d.system.errors import R3DError

if TYPE_CHECKING:
    from keras_r3d.inference.evaluation.evaluation import Evaluation
    from keras_r3d.inference.evaluation.labelled import Labelled
    from keras_r3d.inference.models.classifier import Classifier
    from keras_r3d.inference.models.opening import Opened


def _define_flags() -> None:
    flags.DEFINE_string("workdir", None, "Folder of the run.")
    flags.DEFINE_string(
        "model",
        None,
        "Model instead of the run's best: a .keras, .tflite or .onnx file, an .xml file of "
        "OpenVINO, or the folder of a SavedModel.",
    )
    flags.DEFINE_string(
        "recipe", None, "Recipe that says how clips are cut for a --model without a run."
    )
    flags.DEFINE_string(
        "data_dir", None, "Folder of videos, CSV file or clip store. Default: the training's."
    )
    flags.DEFINE_string("split", None, "Split to evaluate. Default: the recipe's.")
    flags.DEFINE_string(
        "protocol",
        None,
        "How videos are scored: 'paper', 'torch7', 'follow_up', or NxV: N evenly placed windows "
        "of V = 1, 2, 3 or 10 views. Default: the recipe's.",
    )
    flags.DEFINE_string(
        "output", None, "Folder for the results; must not exist. Default: in the run folder."
    )
    flags.DEFINE_float(
        "timeout",
        300.0,
        "Seconds after which a video that gives no more window is given up.",
        lower_bound=0.1,
    )
    flags.DEFINE_enum(
        "submission",
        None,
        ["kinetics", "activitynet"],
        "Also writes the scores as that challenge takes them (submission.json).",
    )
    flags.DEFINE_string(
        "external_data",
        "",
        "For --submission: data beyond the challenge's that was used, such as for pretraining.",
    )
    flags.DEFINE_string("devices", "all", "'all', 'cpu', 'cpu:N' or 'gpu:0,2,…'.")
    flags.DEFINE_multi_string(
        "fuse",
        [],
        "Runs to score together: --fuse RUN_A RUN_B. The first names the videos.",
    )
    flags.DEFINE_multi_string("weights", [], "Weight of each: --weights 1 1.5. Default: 1 each.")


def _main() -> None:
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines; one evaluates
    from keras_r3d.inference.models import opening

    named = opening.Named(*map(command.value, ("workdir", "model", "recipe", "fuse")))
    if command.value("weights") and not named.fuse:
        raise R3DError("--weights is for --fuse.")
    request = Request(
        data_dir=command.value("data_dir"),
        split=command.value("split"),
        protocol=command.value("protocol"),
        output=command.value("output") and Path(command.value("output")),
        timeout=command.value("timeout"),
        devices=command.value("devices"),
        submission=command.value("submission"),
        external_data=command.value("external_data"),
    )
    _check_output(request.output)
    opened = opening.open_models(named, request.protocol, request.devices)
    if named.fuse:
        evaluation = evaluate_fused(opened, request, command.value("weights"))
    else:
        evaluation = evaluate(opened[0], request)
    if evaluation.errors:
        sys.exit(1)


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of an evaluation; None is what the training's recipe says.

    Attributes:
        data_dir: other videos, or the same in another place.
        protocol: as `keras_r3d.inference.models.protocol.FORMS` says.
        output: folder for the results; None puts them into the run folder.
        timeout: seconds after which a video that gives no more window is given up.
        devices: as `keras_r3d.system.devices.choose` takes them.
        submission: also writes scores for a challenge: "kinetics" or "activitynet".
        external_data: what the challenge is told of data beyond its own.
    """

    data_dir: str | None = None
    split: str | None = None
    protocol: str | None = None
    output: Path | None = None
    timeout: float = 300.0
    devices: str = "all"
    submission: str | None = None
    external_data: str = ""


def evaluate_run(
    run: run_folder.Run, request: Request | None = None, model: Path | None = None
) -> "Evaluation":
    """Evaluates the best model of a run, or another artefact of it, as `evaluate`."""
    from keras_r3d.inference.models import opening

    request = request or Request()
    _check_output(request.output)
    opened = opening.of_run(run, model, request.protocol, request.devices)
    return evaluate(opened, request)


def evaluate(opened: "Opened", request: Request) -> "Evaluation":
    """Evaluates a model: prints a table, writes the results and returns them."""
    from keras_r3d.inference.evaluation import labelled, results

    model, run = opened.classifier, opened.run
    found = labelled.videos_of(opened, request.data_dir, request.split)
    evaluation = _scored([model], [found], request)
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
    if run is not None:
        if results.is_of_recipe(opened, found.split, request.data_dir):
            run.summary["evaluation"] = {"split": found.split, **evaluation.figures()}
            summary = run.summary
        if run.recipe.model.weights and not request.external_data:
            said = f"Trained from the weights {Path(run.recipe.model.weights).name}."
            request = dataclasses.replace(request, external_data=said)
    place = results.place([opened], found.split, request.protocol, request.data_dir, ())
    _write(evaluation, found, request.output or place, request, how, summary)
    if run is not None:
        run.report_problems(found.reader.problems)
    return evaluation


def evaluate_fused(
    opened: "Sequence[Opened]", request: Request, weights: Sequence[str]
) -> "Evaluation":
    """Evaluates the best models of several runs together, on the videos of the first."""
    from keras_r3d.inference.evaluation import fusion, labelled, results

    models = [one.classifier for one in opened]
    names = [str(one.run.path) for one in opened if one.run is not None]
    numbers = fusion.parse_weights(weights, len(models))
    fusion.check([model.classes for model in models], names, numbers)
    split = request.split or models[0].eval.split
    sides = [labelled.videos_of(one, request.data_dir, split) for one in opened]
    videos = fusion.aligned([side.videos for side in sides], names)
    sides = [dataclasses.replace(side, videos=own) for side, own in zip(sides, videos, strict=True)]
    evaluation = _scored(models, sides, request, numbers)
    how = {
        "fused": [model.name for model in models],
        "weights": numbers,
        "data_dir": sides[0].data_dir,
    }
    place = results.place(opened, split, request.protocol, request.data_dir, weights)
    _write(evaluation, sides[0], request.output or place, request, how)
    return evaluation


def _scored(
    models: "Sequence[Classifier]",
    sides: "Sequence[Labelled]",
    request: Request,
    weights: Sequence[float] = (),
) -> "Evaluation":
    """Scores videos by one model, or by several whose scores are fused."""
    from keras_r3d.inference.evaluation import fusion, labelled, scoring, submission
    from keras_r3d.inference.evaluation.evaluation import collected, counted
    from keras_r3d.inference.models import protocol

    if request.submission:
        submission.numbers_by_id(sides[0].videos)  # or it is an error, before anything is scored
    streams = []
    for model, side in zip(models, sides, strict=True):
        how = protocol.described(model.data, model.eval)
        print(f"{model.name} ({model.described}): {how}", flush=True)
        labelled.check_known(side, model.classes)
        side.reader.require_readable(side.videos, side.split)
        streams.append(scoring.score(model, side.reader, side.videos, timeout=request.timeout))
    classes = [model.classes for model in models]
    scored = fusion.fuse(streams, classes, weights) if weights else streams[0]
    progress = command.Progress("videos") if sys.stdout.isatty() else None
    return collected(counted(scored, len(sides[0].videos), progress), models[0].classes)


def _check_output(output: Path | None) -> None:
    if output is not None and output.exists():
        raise R3DError(f"--output {output} exists and is left as it is: choose another folder.")


def _write(
    evaluation: "Evaluation",
    found: "Labelled",
    folder: Path | None,
    request: Request,
    how: dict[str, Any],
    summary: dict[str, Any] | None = None,
) -> None:
    """Prints the table and writes the results into a folder."""
    from keras_r3d.inference.evaluation import report, results

    print(report.table(evaluation))
    if folder is None:
        print("Nothing was written: pass --output FOLDER.")
        return
    challenge = request.submission and results.Challenge(request.submission, request.external_data)
    written, notes = results.write(
        evaluation, found.reader, folder, found.split, how, challenge or None, summary
    )
    for note in notes:
        print(f"Note: {note}")
    print(f"Written into {folder}: {', '.join(written)}")


def main() -> None:
    """Entry point of the command."""
    command.run(_define_flags, _main, several=("fuse", "weights"))


if __name__ == "__main__":
    main()
