"""Scores a model on labeled videos: `python -m keras_r3d.evaluate [DATA] --model RUN`."""

import os
import sys

from keras_r3d import run_folder
from keras_r3d.system import command
from keras_r3d.system.errors import R3DError
from keras_r3d.system.objects import outputs
from keras_r3d.system.progress import Progress
from keras_r3d.system.text import shown
from keras_r3d.system.work import Share

_RULE = "keras_r3d.inference.segments.finding:SegmentRule"
_MODEL = "keras_r3d.inference.models.opening:Named"
_CLASSIFIER = "keras_r3d.video_classifier:VideoClassifier.__init__"
_EVALUATE = "keras_r3d.video_classifier:VideoClassifier.evaluate"
_COMPARE = "keras_r3d.inference.evaluation.comparison:compare"
_SEGMENTS = "keras_r3d.video_classifier:VideoClassifier.evaluate_segments"


def _main(arguments: command.Arguments, *, segments: bool = False) -> int:
    """Evaluates.

    Args:
        segments: finds segments in long videos, and compares them with those of the list.
    """
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines; one evaluates
    if "runs" in arguments:
        return _compare(arguments, arguments.get("output"))
    from keras_r3d.inference.models.opening import Named
    from keras_r3d.inference.segments.finding import SegmentRule

    named = Named(**{"fuse": ()} | arguments.of(_MODEL))
    output = arguments.get("output")
    run_folder.check_new(outputs.local(output) if output else None)
    rule = SegmentRule(**arguments.of(_RULE))
    asked = [name for name, value in vars(rule).items() if value is not None]
    if asked and not segments:
        raise R3DError(f"--{asked[0]} is for --segments.")

    # Loaded when names are in order: TensorFlow takes seconds.
    from keras_r3d.inference.evaluation import evaluating
    from keras_r3d.video_classifier import open_named

    classifier = open_named(named, arguments.get("protocol"), arguments["devices"])
    print(classifier, flush=True)
    if segments:
        options = arguments.of(_SEGMENTS) | {"rule": rule if asked else None}
        found = classifier.evaluate_segments(**options)
        print(found)
        print(f"Written into {shown(found.save(output))}")
        return int(bool(found.errors))
    progress = Progress("videos") if sys.stdout.isatty() else None
    options = arguments.of(_EVALUATE) | arguments.of(command.SPREAD) | {"resumable": True}
    with command.resumable(output is not None or classifier.run is not None):
        evaluation = classifier.evaluate(**options, progress=progress)
    if isinstance(evaluation, Share):
        print(evaluation)
        return 0
    evaluating.report(evaluation, output, print)
    return int(bool(evaluation.errors))


def _compare(arguments: command.Arguments, output: str | None) -> int:
    """Compares evaluations that were made before, and returns the exit code."""
    others = [
        name
        for name in ("data", "model", "workdir", "fuse", "split", "protocol")
        if name in arguments
    ]
    if others:
        raise R3DError(f"`{others[0]}` is not for `runs`, which compares evaluations made before.")
    run_folder.check_new(outputs.local(output) if output else None)
    from keras_r3d.inference.evaluation.comparison import compare

    comparison = compare(arguments["runs"])
    print(comparison)
    print(f"Written into {shown(comparison.save(output))}: {run_folder.REPORT}")
    return 0


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_MODEL, _EVALUATE, _SEGMENTS, _CLASSIFIER, _RULE, _COMPARE, command.SPREAD],
        words=["data"],
        aliases={"data_dir": "data"},
        names={"runs": "compare"},
        several=["fuse", "weights", "compare"],
        without=["clips", "exported_from", "say", "rule", "resumable"],
        example="MY_VIDEOS --model runs/few",
    )


if __name__ == "__main__":
    main()
