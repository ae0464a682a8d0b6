"""Evaluates a model on labeled videos: `python -m keras_r3d.evaluate [DATA] --workdir RUN`."""

import os
import sys
from pathlib import Path

from absl import flags

from keras_r3d import run_folder
from keras_r3d.system import command


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
        "data_dir",
        None,
        "The same as DATA: folder of videos, CSV file, clip store. Default: the run's.",
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
    flags.DEFINE_string("devices", "all", "'all', 'cpu', 'cpu:N' or 'gpu:0,2,…'.")
    flags.DEFINE_multi_string(
        "fuse",
        [],
        "Runs to score together: --fuse RUN_A RUN_B. The first names the videos.",
    )
    flags.DEFINE_multi_string("weights", [], "Weight of each: --weights 1 1.5. Default: 1 each.")


def _main(*words: str) -> None:
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines; one evaluates
    from keras_r3d.inference.models.opening import Named

    named = Named(*map(command.value, ("workdir", "model", "recipe", "fuse", "weights")))
    output = command.value("output") and Path(command.value("output"))
    run_folder.check_new(output)

    # Loaded when names are in order: TensorFlow takes seconds.
    from keras_r3d.inference.evaluation import evaluating
    from keras_r3d.video_classifier import open_named

    classifier = open_named(named, command.value("protocol"), command.value("devices"))
    _say(str(classifier))
    evaluation = classifier.evaluate(
        command.data(words),
        split=command.value("split"),
        timeout=command.value("timeout"),
        progress=command.Progress("videos") if sys.stdout.isatty() else None,
    )
    evaluating.report(evaluation, output, _say)
    if evaluation.errors:
        sys.exit(1)


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    """Entry point of the command."""
    command.run(_define_flags, _main, arguments=("[DATA]",), several=("fuse", "weights"))


if __name__ == "__main__":
    main()
