"""Trains a model: `python -m keras_r3d.train MY_VIDEOS --recipe few`."""

import functools
import signal
import sys
from typing import Any

from keras_r3d import recipe as recipes
from keras_r3d.system import command
from keras_r3d.system.errors import InterruptedTraining, R3DError
from keras_r3d.system.progress import Progress

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
    from keras_r3d.training import experiment, summary

    say = functools.partial(print, flush=True)
    if dry_run:
        experiment.dry_run(**arguments.of(_DRY_RUN), say=say)
        return None
    progress = Progress("videos") if sys.stdout.isatty() else None
    try:
        run = experiment.train(**arguments.of(_TRAIN), say=say, progress=progress)
    except InterruptedTraining as error:
        print(error, flush=True)
        return command.INTERRUPTED
    for line in summary.closing_lines(run):
        print(line)
    return None


def _stop(number: int, _: Any) -> None:
    """Ends a training where there is no state to save, or where it is not to be waited for."""
    name = signal.Signals(number).name
    print(f"\nStopped by {name}. Run the same command to resume.", flush=True)
    sys.exit(command.INTERRUPTED)


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_TRAIN, _DRY_RUN],
        words=["data"],
        names={"overrides": "set"},
        aliases={"data_dir": "data"},
        example="MY_VIDEOS --recipe few",
    )


if __name__ == "__main__":
    main()
