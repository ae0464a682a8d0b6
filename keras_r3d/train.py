"""Trains a model: `python -m keras_r3d.train MY_VIDEOS --recipe few`."""

import signal
import sys
from typing import Any

from absl import flags

from keras_r3d import recipe
from keras_r3d.system import command
from keras_r3d.system.errors import InterruptedTraining, R3DError
from keras_r3d.training import experiment, summary


def _define_flags() -> None:
    flags.DEFINE_string("recipe", None, "Name of a recipe, or path of a TOML file.")
    flags.DEFINE_string(
        "data_dir",
        None,
        "The same as DATA: folder of videos, CSV file that lists them, clip store.",
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder of the run; a run of the same recipe found there is resumed. Default: "
        "runs/RECIPE, or runs/RECIPE-2, … where that has ended.",
    )
    flags.DEFINE_multi_string(
        "set", [], "Changes a recipe key: --set train.epochs=5. May be given several times."
    )
    flags.DEFINE_string(
        "weights",
        None,
        "Weights to start from: a name, a file, or the folder of a run; model.weights. Several to "
        "choose from, with recipe few: motion,FILE.",
    )
    flags.DEFINE_integer(
        "folds", None, "Parts of the cross-validation of few videos; few.folds.", lower_bound=2
    )
    flags.DEFINE_string(
        "devices", "all", "Devices: all, cpu, cpu:N (N virtual ones, to try things out), gpu:0,2,…"
    )
    flags.DEFINE_bool("fresh", False, "Start over; the run in --workdir is moved aside.")
    flags.DEFINE_bool("dry_run", False, "Says what would be done and takes a few steps, no more.")
    flags.DEFINE_bool("histograms", False, "TensorBoard also gets histograms of the weights.")
    flags.DEFINE_bool("xla", False, "Let XLA compile the gradient; much slower on CPU.")


def _main(*words: str) -> None:
    name = command.value("recipe")
    if name is None:
        raise R3DError(f"--recipe is missing: one of {recipe.names()}, or path of a TOML file.")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    shared = {key: command.value(key) for key in ("weights", "folds", "devices", "xla")}
    arguments = {"overrides": command.value("set"), "say": _say, **shared}
    data = command.data(words)
    if command.value("dry_run"):
        experiment.dry_run(name, data, **arguments)
        return
    try:
        run = experiment.train(
            name,
            data,
            workdir=command.value("workdir"),
            fresh=command.value("fresh"),
            histograms=command.value("histograms"),
            progress=command.Progress("videos") if sys.stdout.isatty() else None,
            **arguments,
        )
    except InterruptedTraining as error:
        print(error, flush=True)
        sys.exit(command.INTERRUPTED)
    for line in summary.closing_lines(run):
        print(line)


def _say(text: str) -> None:
    print(text, flush=True)


def _stop(number: int, _: Any) -> None:
    """Ends a training where there is no state to save, or where it is not to be waited for."""
    name = signal.Signals(number).name
    print(f"\nStopped by {name}. Run the same command to resume.", flush=True)
    sys.exit(command.INTERRUPTED)


def main() -> None:
    """Entry point of the command."""
    command.run(_define_flags, _main, arguments=("[DATA]",))


if __name__ == "__main__":
    main()
