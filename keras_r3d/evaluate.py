"""Scores a model on labeled videos: `python -m keras_r3d.evaluate [DATA] --model RUN`."""

import os
import sys
from pathlib import Path

from keras_r3d import run_folder
from keras_r3d.system import command
from keras_r3d.system.progress import Progress

_MODEL = "keras_r3d.inference.models.opening:Named"
_CLASSIFIER = "keras_r3d.video_classifier:VideoClassifier.__init__"
_EVALUATE = "keras_r3d.video_classifier:VideoClassifier.evaluate"


def _main(arguments: command.Arguments, *, output: str | None = None) -> int:
    """Evaluates.

    Args:
        output: folder for the results; must not exist. Default: one in the run folder.
    """
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines; one evaluates
    from keras_r3d.inference.models.opening import Named

    named = Named(**{"fuse": ()} | arguments.of(_MODEL))
    run_folder.check_new(Path(output) if output else None)

    # Loaded when names are in order: TensorFlow takes seconds.
    from keras_r3d.inference.evaluation import evaluating
    from keras_r3d.video_classifier import open_named

    classifier = open_named(named, arguments.get("protocol"), arguments["devices"])
    print(classifier, flush=True)
    progress = Progress("videos") if sys.stdout.isatty() else None
    evaluation = classifier.evaluate(**arguments.of(_EVALUATE), progress=progress)
    evaluating.report(evaluation, output, print)
    return int(bool(evaluation.errors))


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_MODEL, _EVALUATE, _CLASSIFIER],
        words=["data"],
        aliases={"data_dir": "data"},
        several=["fuse", "weights"],
        without=["clips", "exported_from"],
        example="MY_VIDEOS --model runs/few",
    )


if __name__ == "__main__":
    main()
