"""Stores optical flow ahead: `python -m keras_r3d.flow DATA --output DIR --input dis`.

Trainings and evaluations then read DIR as they would the videos: the same clips, in the same
splits, only faster. Of a video that cannot be read it holds the reason, and a line in
`problems.csv`.
"""

import functools

from keras_r3d.system import command
from keras_r3d.system.progress import Progress

_STORE = "keras_r3d.data.stores:store_flow"


def _main(arguments: command.Arguments) -> int:
    from keras_r3d.data import stores

    say = functools.partial(print, flush=True)
    with command.resumable():
        options = arguments.of(_STORE) | arguments.of(command.SPREAD)
        stored = stores.store_flow(**options, progress=Progress("videos"), say=say)
    print(stored)
    return int(isinstance(stored, stores.StoredFlow) and bool(stored.problems))


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_STORE, command.SPREAD],
        words=["data"],
        names={"overrides": "set"},
        aliases={"data_dir": "data"},
        example="MY_VIDEOS --output FLOW --recipe gestures_flow",
    )


if __name__ == "__main__":
    main()
