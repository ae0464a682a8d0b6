"""Stores optical flow ahead: `python -m keras_r3d.flow SOURCE --output DIR --input dis`.

`--data_dir DIR` then trains and evaluates on the same clips, in the same splits, only faster. A
video that cannot be read has its reason there instead, and a line in `problems.csv`.
"""

import functools
import sys

from absl import flags

from keras_r3d.system import command


def _define_flags() -> None:
    flags.DEFINE_string("output", None, "Folder of the flow, new or unfinished.")
    flags.DEFINE_string("annotations", "auto", "As `data.annotations` of a recipe.")
    flags.DEFINE_string("input", None, "farneback, dis or tvl1. Default: the --recipe's.")
    flags.DEFINE_integer(
        "short_side",
        None,
        "Short side in pixels that frames are shrunk to; 0 keeps them. Default: the --recipe's.",
        lower_bound=0,
    )
    flags.DEFINE_string("recipe", None, "Recipe that will train on it.")
    flags.DEFINE_multi_string("set", [], "Changes a key of that recipe: --set data.short_side=160.")
    flags.DEFINE_integer("processes", None, "Videos at a time. Default: one a core.", lower_bound=1)
    flags.DEFINE_float("time_limit", 1800, "Seconds for a video.", lower_bound=1)


def _main(source: str) -> None:
    from keras_r3d.data import jobs

    names = ("annotations", "input", "short_side", "recipe", "processes", "time_limit")
    with command.going_on():
        stored = jobs.store_flow(
            source,
            command.value("output"),
            overrides=command.value("set"),
            progress=command.Progress("videos"),
            say=functools.partial(print, flush=True),
            **{name: command.value(name) for name in names},
        )
    print(stored)
    if stored.problems:
        sys.exit(1)


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("SOURCE",))
