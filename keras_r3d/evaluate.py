"""Evaluates the best model of a run: `python -m keras_r3d.evaluate --workdir RUN`."""

import os
import sys
from pathlib import Path

from absl import flags

from keras_r3d import _command, run_folder
from keras_r3d.errors import R3DError


def _define_flags() -> None:
    flags.DEFINE_string("workdir", None, "Folder of the run.")
    flags.DEFINE_string(
        "data_dir", None, "Folder of videos, CSV file or clip store. Default: the training's."
    )
    flags.DEFINE_string("split", None, "Split to evaluate. Default: the recipe's.")


def _main() -> None:
    if _command.value("workdir") is None:
        raise R3DError("--workdir is missing: the folder of a run, such as runs/demo.")
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines; one evaluates
    run = run_folder.open_run(_command.value("workdir"))
    evaluate_run(run, _command.value("data_dir"), _command.value("split"))


def evaluate_run(
    run: run_folder.Run,
    data_dir: str | None = None,
    split: str | None = None,
    devices: str = "all",
) -> None:
    """Evaluates a run: prints a table, writes `evaluation.json` and `confusion.png` into it.

    Of another split or folder than the recipe's, `evaluation-SPLIT.json` and
    `confusion-SPLIT.png`.

    Args:
        devices: as `keras_r3d.training.devices.choose` takes them.
    """
    from keras_r3d.inference import protocol, report
    from keras_r3d.training.devices import choose

    split = split or run.recipe.eval.split
    hardware = choose(devices)
    videos, reader = run.open_split(split, data_dir)
    with hardware.strategy.scope():
        model = run.load_model()
    evaluation = protocol.evaluate(
        model,
        reader,
        videos,
        run.classes,
        run.recipe.data,
        split=split,
        batch_size=run.recipe.eval.batch_size,
        jit_compile=hardware.jit_compile,
        verbose=1 if sys.stdout.isatty() else 0,
    )
    print(report.table(evaluation))
    run.report_problems(reader.problems)
    own = split == run.recipe.eval.split and data_dir is None
    paths = [
        # What the training wrote is not replaced by the result of other videos.
        run.path / (name if own else f"{Path(name).stem}-{split}{Path(name).suffix}")
        for name in (run_folder.EVALUATION, run_folder.CONFUSION)
    ]
    report.write_json(evaluation, split, paths[0])
    report.draw_confusion(evaluation, paths[1])
    if own:
        run.update_summary(evaluation={"split": split, **evaluation.figures()})
    print(f"Written: {paths[0]}, {paths[1]}")


def main() -> None:
    """Entry point of the command."""
    _command.run(_define_flags, _main)


if __name__ == "__main__":
    main()
