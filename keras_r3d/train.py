"""Trains a model: `python -m keras_r3d.train --recipe demo`."""

import os
import shlex
import sys
from pathlib import Path

from absl import flags

from keras_r3d import _command, recipe, run_folder
from keras_r3d.errors import R3DError


def _define_flags() -> None:
    flags.DEFINE_string("recipe", None, "Name of a recipe, or path of a TOML file.")
    flags.DEFINE_string(
        "data_dir",
        None,
        "Folder of videos, CSV file that lists them, or clip store (folder or URL).",
    )
    flags.DEFINE_string(
        "workdir", None, "Folder of the run, new or empty. Default: runs/RECIPE, or the next free."
    )
    flags.DEFINE_multi_string(
        "set", [], "Changes a recipe key: --set train.epochs=5. May be given several times."
    )


def _main() -> None:
    name = _command.value("recipe")
    if name is None:
        raise R3DError(f"--recipe is missing: one of {recipe.names()}, or path of a TOML file.")
    experiment = recipe.load(name, _command.value("set"))
    data_dir = _command.value("data_dir")
    if data_dir is None and not experiment.data.rendered:
        raise R3DError(_no_data(name, experiment))

    # Loaded when all else is in order: TensorFlow takes seconds.
    from keras_r3d import evaluate
    from keras_r3d.data import demo
    from keras_r3d.training import run as training

    workdir = _command.value("workdir")
    path = Path(workdir) if workdir else run_folder.next_free(Path("runs"), Path(name).stem)
    run_folder.check_free(path)
    if data_dir is None:
        data_dir = demo.render()
        print(f"No --data_dir: the demo videos are rendered into {data_dir}.", flush=True)
    run = training.train(experiment, data_dir, path)
    print(f"\nEvaluation on split '{experiment.eval.split}':", flush=True)
    evaluate.evaluate_run(run)
    print(_what_next(run, experiment))


def _what_next(run: run_folder.Run, experiment: recipe.Recipe) -> str:
    python = os.path.relpath(sys.executable)
    if python.startswith(".."):
        python = sys.executable
    path = shlex.quote(str(run.path))
    lines = [
        "",
        f"Look at {run.path / run_folder.CURVES} and {run.path / run_folder.CONFUSION}. Next:",
        f"  {python} -m tensorboard.main --logdir {path}/{run_folder.TENSORBOARD}",
        f"  {python} -m keras_r3d.evaluate --workdir {path}",
        f"  {python} -m keras_r3d.export --workdir {path} --format saved_model",
        f"  {python} -m keras_r3d.export --workdir {path} --format tflite",
    ]
    if experiment.data.rendered:
        lines += [
            "With videos of your own, a folder for each class:",
            f"  {python} -m keras_r3d.train --recipe gestures --data_dir YOUR_VIDEOS",
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
    _command.run(_define_flags, _main)


if __name__ == "__main__":
    main()
