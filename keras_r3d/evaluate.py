"""Evaluates a model on labelled videos: `python -m keras_r3d.evaluate --workdir RUN`."""

import dataclasses
import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from keras_r3d import _command, run_folder
from keras_r3d.errors import R3DError

if TYPE_CHECKING:
    from keras_r3d.data.annotations import Video
    from keras_r3d.data.reader import Reader
    from keras_r3d.inference.classifier import Classifier
    from keras_r3d.inference.evaluation import Evaluation

_OWN = "--workdir RUN, --model FILE or --fuse RUN_A RUN_B"


def _define_flags() -> None:
    flags.DEFINE_string("workdir", None, "Folder of the run.")
    flags.DEFINE_string(
        "model",
        None,
        "Model instead of the run's best: a .keras or .tflite file, or the folder of a SavedModel.",
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
        "of V = 1, 3 or 10 views. Default: the recipe's.",
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
    given = {name: _command.value(name) for name in ("workdir", "model", "recipe", "fuse")}
    workdir, model, fused = given["workdir"], given["model"], given["fuse"]
    if sum(map(bool, (workdir or model, fused))) != 1:
        raise R3DError(f"Name what to evaluate, either {_OWN}.")
    if _command.value("weights") and not fused:
        raise R3DError("--weights is for --fuse.")
    if given["recipe"] and (workdir or not model):
        raise R3DError("--recipe is for a --model without --workdir: a run has its own.")
    request = Request(
        data_dir=_command.value("data_dir"),
        split=_command.value("split"),
        protocol=_command.value("protocol"),
        output=_command.value("output") and Path(_command.value("output")),
        timeout=_command.value("timeout"),
        devices=_command.value("devices"),
        submission=_command.value("submission"),
        external_data=_command.value("external_data"),
    )
    if fused:
        evaluation = _evaluate_fused(fused, _command.value("weights"), request)
    elif workdir:
        run = run_folder.open_run(workdir)
        evaluation = evaluate_run(run, request, Path(model) if model else None)
    else:
        evaluation = _evaluate_file(Path(model), given["recipe"], request)
    if evaluation.errors:
        sys.exit(1)


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of an evaluation; None is what the training's recipe says.

    Attributes:
        data_dir: other videos, or the same in another place.
        protocol: as `keras_r3d.inference.protocol.FORMS` says.
        output: folder for the results; None puts them into the run folder.
        timeout: seconds after which a video that gives no more window is given up.
        devices: as `keras_r3d.devices.choose` takes them.
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
    """Evaluates a run: prints a table, writes the results into its folder and returns them.

    What the recipe says, of the best model, goes beside it; another evaluation into a folder
    `evaluations/NAME`, so that it does not replace the first.

    Args:
        model: another artefact of the run instead of its best model.
    """
    from keras_r3d.devices import choose
    from keras_r3d.inference import classifier, protocol

    request = request or Request()
    _check_output(request.output)
    opened = classifier.of_run(
        run,
        model,
        overrides=protocol.overrides(request.protocol),
        hardware=choose(request.devices),
    )
    split = request.split or run.recipe.eval.split
    videos, reader = run.open_split(split, request.data_dir)
    _check_submission(request, videos)
    print(f"{opened.name}: {protocol.described(opened.data, opened.eval)}", flush=True)
    evaluation = protocol.evaluate(
        *(opened, reader, videos),
        split=split,
        timeout=request.timeout,
        progress=_progress(),
    )
    own = model is None and opened.eval == run.recipe.eval and request.data_dir is None
    own = own and split == run.recipe.eval.split
    parts = [split, request.protocol, _short(model, run.path), _short(request.data_dir, run.path)]
    name = "-".join(part for part in parts if part)
    default = run.path if own else run.path / run_folder.EVALUATIONS / name
    how = _how(opened) | {"data_dir": request.data_dir or run.summary["data_dir"]}
    if run.recipe.model.weights and not request.external_data:
        said = f"Trained from the weights {Path(run.recipe.model.weights).name}."
        request = dataclasses.replace(request, external_data=said)
    _report(evaluation, reader, split, request.output or default, request, how)
    run.report_problems(reader.problems)
    if own:
        run.update_summary(evaluation={"split": split, **evaluation.figures()})
    return evaluation


def _short(path: str | Path | None, root: Path) -> str:
    """Returns a name for a path: its own inside a run folder, else a unique one."""
    if path is None:
        return ""
    absolute = os.path.abspath(path)
    below = os.path.relpath(absolute, os.path.abspath(root))
    if not below.startswith(os.pardir):
        return below.replace(os.sep, "_")
    return f"{os.path.basename(absolute)}_{hashlib.sha256(absolute.encode()).hexdigest()[:6]}"


def _evaluate_file(model: Path, recipe: str | None, request: Request) -> "Evaluation":
    """Evaluates a model by its file, with the run that it lies in, if it does."""
    from keras_r3d.devices import choose
    from keras_r3d.inference import classifier, protocol

    run = None if recipe else classifier.run_of(model)
    if run is not None:
        print(f"{model} is of the run {run.path}.")
        return evaluate_run(run, request, model)
    _check_output(request.output)
    if request.data_dir is None:
        raise R3DError(f"--data_dir is missing: {model} is of no run folder that names videos.")
    opened = classifier.of_file(
        model,
        recipe,
        overrides=protocol.overrides(request.protocol),
        hardware=choose(request.devices),
    )
    from keras_r3d.data import source

    found = source.open_source(request.data_dir, opened.data)
    splits = found.annotations.splits
    split = request.split or opened.eval.split
    if request.split is None and split not in splits:
        if len(splits) > 1:
            raise R3DError(f"--split is missing: {request.data_dir} has {sorted(splits)}.")
        (split,) = splits
    videos = found.annotations.split(split)
    _check_submission(request, videos)
    print(f"{opened.name}, {opened.described}: {protocol.described(opened.data, opened.eval)}")
    evaluation = protocol.evaluate(
        *(opened, found.reader, videos),
        split=split,
        timeout=request.timeout,
        progress=_progress(),
    )
    how = _how(opened) | {"data_dir": request.data_dir}
    _report(evaluation, found.reader, split, request.output, request, how)
    return evaluation


def _evaluate_fused(runs: Sequence[str], weights: Sequence[str], request: Request) -> "Evaluation":
    """Evaluates several runs together, on the videos of the first."""
    from keras_r3d.devices import choose
    from keras_r3d.inference import classifier, fusion, protocol, scoring

    _check_output(request.output)
    opened_runs = [run_folder.open_run(path) for path in runs]
    hardware = choose(request.devices)
    changes = protocol.overrides(request.protocol)
    models = [classifier.of_run(run, overrides=changes, hardware=hardware) for run in opened_runs]
    numbers = fusion.parse_weights(weights, len(models))
    fusion.check([model.classes for model in models], runs, numbers)
    split = request.split or opened_runs[0].recipe.eval.split
    sides = [run.open_split(split, request.data_dir) for run in opened_runs]
    videos = fusion.aligned([videos for videos, _ in sides], runs)
    _check_submission(request, videos[0])
    for model, (_, reader), own in zip(models, sides, videos, strict=True):
        print(f"{model.name}: {protocol.described(model.data, model.eval)}", flush=True)
        protocol.check_labels(own, model.classes)
        reader.require_readable(own, split)
    streams = [
        scoring.score(model, reader, own, timeout=request.timeout)
        for model, (_, reader), own in zip(models, sides, videos, strict=True)
    ]
    fused = fusion.fuse(streams, [model.classes for model in models], numbers)
    evaluation = protocol.collected(
        protocol.counted(fused, len(videos[0]), _progress()), models[0].classes
    )
    how = {
        "fused": [model.name for model in models],
        "weights": numbers,
        "data_dir": request.data_dir or opened_runs[0].summary["data_dir"],
    }
    first = opened_runs[0].path
    others = "-".join(_short(run, first) for run in runs[1:])
    parts = [split, request.protocol, f"fused-{others}", "-".join(weights)]
    parts.append(_short(request.data_dir, first))
    name = "-".join(part for part in parts if part)
    default = first / run_folder.EVALUATIONS / name
    _report(evaluation, sides[0][1], split, request.output or default, request, how)
    return evaluation


def _how(opened: "Classifier") -> dict[str, Any]:
    return {
        "model": opened.name,
        "protocol": {
            "windows": opened.eval.windows,
            "views": opened.eval.views,
            "average": opened.eval.average,
        },
    }


def _progress() -> Callable[[int, int], None]:
    progress = _command.Progress("videos")
    return progress if sys.stdout.isatty() else lambda done, of: None


def _check_output(output: Path | None) -> None:
    if output is not None and output.exists():
        raise R3DError(f"--output {output} exists and is left as it is: choose another folder.")


def _check_submission(request: Request, videos: "Sequence[Video]") -> None:
    """Raises SubmissionError if videos cannot be listed as a challenge wants them."""
    from keras_r3d.inference import submission

    if request.submission:
        submission.numbers_by_id(videos)


def _report(
    evaluation: "Evaluation",
    reader: "Reader",
    split: str,
    folder: Path | None,
    request: Request,
    how: dict[str, Any],
) -> None:
    """Prints the table and writes the results into a folder."""
    from keras_r3d.inference import report, submission

    print(report.table(evaluation))
    if folder is None:
        print("Nothing was written: pass --output FOLDER.")
        return
    run_folder.make(folder)
    report.write_json(evaluation, split, folder / run_folder.EVALUATION, **how)
    report.write_classes(evaluation, folder / run_folder.PER_CLASS)
    report.draw_confusion(evaluation, folder / run_folder.CONFUSION)
    report.draw_reliability(evaluation, folder / run_folder.RELIABILITY)
    written = [run_folder.EVALUATION, run_folder.PER_CLASS, run_folder.CONFUSION]
    written.append(run_folder.RELIABILITY)
    mistakes = folder / run_folder.MISTAKES
    if report.draw_mistakes(evaluation, reader, mistakes) is None:
        mistakes.unlink(missing_ok=True)  # of an earlier evaluation, which this one replaces
    else:
        written.append(run_folder.MISTAKES)
    if request.submission:
        path = folder / run_folder.SUBMISSION
        for note in submission.write(evaluation, request.submission, path, request.external_data):
            print(f"Note: {note}")
        written.append(run_folder.SUBMISSION)
    else:
        (folder / run_folder.SUBMISSION).unlink(missing_ok=True)  # of an earlier evaluation
    print(f"Written into {folder}: {', '.join(written)}")


def main() -> None:
    """Entry point of the command."""
    _command.run(_define_flags, _main, several=("fuse", "weights"))


if __name__ == "__main__":
    main()
