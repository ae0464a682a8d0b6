"""Trains a model: `python -m keras_r3d.train MY_VIDEOS --recipe few`."""

import json
import os
import shlex
import signal
import sys
from typing import Any

from absl import flags

from keras_r3d import recipe, run_folder
from keras_r3d.system import command
from keras_r3d.system.errors import R3DError


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
        "Folder of the run; a run of the same recipe that is there goes on. Default: runs/RECIPE, "
        "or runs/RECIPE-2, … where that has ended.",
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
    changes = command.value("set")
    if command.value("folds") is not None:
        if recipe.load(name, changes).few is None:
            raise R3DError(f"--folds is for recipes with [few], such as few; '{name}' has none.")
        changes = [*changes, f"few.folds={command.value('folds')}"]
    if command.value("weights") is not None:
        changes = [*changes, f"model.weights={json.dumps(command.value('weights'))}"]
    experiment = recipe.load(name, changes)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    data_dir = command.data(words)
    if data_dir is None and not experiment.data.rendered:
        raise R3DError(_no_data(name, experiment))

    # Loaded when all else is in order: TensorFlow takes seconds.
    from keras_r3d.system import devices
    from keras_r3d.system.errors import InterruptedTraining
    from keras_r3d.training import experiment as training

    where = {"devices": command.value("devices"), "say": _say}
    if command.value("dry_run"):
        training.dry_run(name, data_dir, overrides=changes, **where)
        return
    try:
        run = training.train(
            name,
            data_dir,
            workdir=command.value("workdir"),
            overrides=changes,
            fresh=command.value("fresh"),
            histograms=command.value("histograms"),
            xla=command.value("xla"),
            progress=command.Progress("videos") if sys.stdout.isatty() else None,
            **where,
        )
    except InterruptedTraining as error:
        print(error, flush=True)
        sys.exit(command.INTERRUPTED)
    hardware = devices.choose(command.value("devices"))
    if hardware.workers > 1:
        if hardware.chief:
            path = shlex.quote(str(run.path))
            print(f"Next: python -m keras_r3d.evaluate --workdir {path}")
        return
    print()
    for what, value in training.figures(run):
        print(f"  {what:18}{value}")
    print(_what_next(run, experiment))


def _say(text: str) -> None:
    print(text, flush=True)


def _stop(number: int, _: Any) -> None:
    """Ends a training where there is no state to save, or where it is not to be waited for."""
    print(f"\nStopped by {signal.Signals(number).name}. The same command goes on.", flush=True)
    sys.exit(command.INTERRUPTED)


def _what_next(run: run_folder.Run, experiment: recipe.Recipe) -> str:
    python = os.path.relpath(sys.executable)
    if python.startswith(".."):
        python = sys.executable
    path = shlex.quote(str(run.path))
    if experiment.few is not None:
        lines = [
            "",
            f"Look at {run.path / run_folder.CLIPS} and {run.path / run_folder.CONFUSION}. Next:",
            f"  {python} -m keras_r3d.predict --workdir {path} VIDEO",
        ]
    else:
        lines = [
            "",
            f"Look at {run.path / run_folder.CURVES} and {run.path / run_folder.CONFUSION}. Next:",
            f"  {python} -m tensorboard.main --logdir {path}/{run_folder.TENSORBOARD}",
            f"  {python} -m keras_r3d.evaluate --workdir {path}",
        ]
    lines += [
        f"  {python} -m keras_r3d.export --workdir {path} --format saved_model",
        f"  {python} -m keras_r3d.export --workdir {path} --format tflite",
    ]
    if experiment.data.rendered:
        lines += [
            "With videos of your own, a folder for each class:",
            f"  {python} -m keras_r3d.train --recipe few --data_dir YOUR_VIDEOS",
        ]
    return "\n".join(lines)


def _no_data(name: str, experiment: recipe.Recipe) -> str:
    from keras_r3d.data import annotations

    if experiment.data.annotations in ("folders", annotations.AUTO):
        expected = annotations.LAYOUT
    else:
        expected = (
            f"  DATA_DIR/{experiment.data.annotations}: a CSV file with the columns "
            "path,label[,split][,start_seconds,end_seconds], paths relative to DATA_DIR; or the "
            "lists of Kinetics, ActivityNet, UCF101 or HMDB51"
        )
    return (
        f"Recipe '{name}' needs videos: pass --data_dir DATA_DIR, where it expects\n{expected}\n"
        f"Then: python -m keras_r3d.train --recipe {name} --data_dir DATA_DIR\n"
        "Without videos at hand: python -m keras_r3d.train --recipe demo"
    )


def main() -> None:
    """Entry point of the command."""
    command.run(_define_flags, _main, arguments=("[DATA]",))


if __name__ == "__main__":
    main()
