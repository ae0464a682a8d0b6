"""Trains a model: `python -m keras_r3d.train MY_VIDEOS --recipe few`."""

import functools
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from typing import Any

from keras_r3d import recipe as recipes
from keras_r3d import run_folder
from keras_r3d.run_folder import Run
from keras_r3d.system import command
from keras_r3d.system.errors import InterruptedTraining, R3DError
from keras_r3d.system.progress import Progress
from keras_r3d.system.text import shown
from keras_r3d.system.work import Share

_TRAIN = "keras_r3d.training.experiment:train"
_DRY_RUN = "keras_r3d.training.experiment:dry_run"


def _main(arguments: command.Arguments, *, dry_run: bool = False) -> int | None:
    """Trains.

    Args:
        dry_run: says what would be done, and takes a few steps, no more.
    """
    if "recipe" not in arguments:
        names = recipes.names()
        raise R3DError(f"--recipe is missing: one of {names}, or path of a TOML file.")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    from keras_r3d.training import experiment

    say = functools.partial(print, flush=True)
    if dry_run:
        experiment.dry_run(**arguments.of(_DRY_RUN), say=say)
        return None
    progress = Progress("videos") if sys.stdout.isatty() else None
    try:
        options = arguments.of(_TRAIN) | arguments.of(command.SPREAD)
        run = experiment.train(**options, say=say, progress=progress)
    except InterruptedTraining as error:
        print(error, flush=True)
        return command.INTERRUPTED
    if isinstance(run, Share):
        print(run)
        return None
    for line in closing_lines(run):
        print(line)
    return None


def closing_lines(run: Run) -> list[str]:
    """Returns the figures of a finished run, and what to look at and run next.

    Of several workers the first names the evaluation only, which was not done; the others nothing.
    """
    summary, path = run.summary, shlex.quote(shown(run.path))
    few = run.recipe.few is not None
    if not few and "evaluation" not in summary:
        return [f"Next: python -m keras_r3d.evaluate --model {path}"] if summary else []
    rows = _rows_of_few(summary) if few else _rows(summary, run.recipe.train.epochs)
    python = os.path.relpath(sys.executable)
    python = os.path.normpath(sys.executable) if python.startswith("..") else python
    commands = [f"keras_r3d.predict VIDEO --model {path}"]
    if not few:
        board = f"tensorboard.main --logdir {path}/{run_folder.TENSORBOARD}"
        commands = [board, f"keras_r3d.evaluate --model {path}"]
    formats = ("saved_model", "tflite")
    commands += [f"keras_r3d.export --model {path} --format {name}" for name in formats]
    lines = ["", *(f"  {name:18}{value}" for name, value in rows), ""]
    looked = [run.path / name for name in (run_folder.CLIPS, run_folder.REPORT)]
    lines.append(f"Look at {' and '.join(shown(p) for p in looked if p.exists())}. Next:")
    lines += [f"  {python} -m {arguments}" for arguments in commands]
    if run.recipe.videos.rendered:
        lines.append("With videos of your own, a folder for each class:")
        lines.append(f"  {python} -m keras_r3d.train YOUR_VIDEOS --recipe few")
    return lines


def _rows(summary: Mapping[str, Any], epochs: int) -> list[tuple[str, str]]:
    scores, validation = summary["evaluation"], summary.get("best_clip_top1")
    return [
        ("best epoch", f"{summary['best_epoch']} of {epochs}"),
        *([] if validation is None else [("validation clips", f"top-1 {validation:.1%}")]),
        ("training", f"{summary['training_minutes']:.1f} minutes"),
        ("clips a second", f"{summary['clips_per_second']:.1f}"),
        ("waiting for data", f"{summary['data_wait']:.1%} of the steps' time"),
        ("logs and states", f"{summary['bookkeeping']:.1%} of the time"),
        ("broken videos", str(summary.get("broken_videos", 0))),
        (f"{scores['split']} clips", f"top-1 {scores['clip_top1']:.1%}"),
        (f"{scores['split']} videos", f"top-1 {scores['video_top1']:.1%}"),
        *_precision(scores),
    ]


def _rows_of_few(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(stage, f"{seconds:.1f} s") for stage, seconds in summary["seconds"].items()]
    for name in ("cross_validation", "evaluation"):
        if scores := summary.get(name):
            low, high = scores["video_top1_interval"]
            right = f"{scores['video_top1']:.1%} of {scores['videos']} videos"
            rows.append((scores["split"], f"{right} ({low * 100:.1f}-{high:.1%})"))
            rows += _precision(scores)
    return rows


def _precision(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the row of videos that may have several labels."""
    precision = scores.get("mean_average_precision")
    return [] if precision is None else [("", f"mean average precision {precision:.1%}")]


def _stop(number: int, _: Any) -> None:
    """Ends a training where there is no state to save, or where it is not to be waited for."""
    name = signal.Signals(number).name
    print(f"\nStopped by {name}. Run the same command to resume.", flush=True)
    sys.exit(command.INTERRUPTED)


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_TRAIN, _DRY_RUN, command.SPREAD],
        words=["data"],
        names={"overrides": "set"},
        aliases={"data_dir": "data"},
        example="MY_VIDEOS --recipe few",
    )


if __name__ == "__main__":
    main()
