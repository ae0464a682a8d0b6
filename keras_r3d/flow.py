"""Stores optical flow ahead: `python -m keras_r3d.flow SOURCE --output DIR --input dis`.

`--data_dir DIR` then trains and evaluates on the same clips, in the same splits, only faster. A
video that cannot be read has its reason there instead, and a line in `problems.csv`.
"""

import functools
import sys
from pathlib import Path

from absl import flags

from keras_r3d import recipe
from keras_r3d.system import command
from keras_r3d.system.errors import R3DError


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
    from keras_r3d.data.decoding import flow_folder

    settings = _settings()
    if command.value("output") is None:
        raise R3DError("--output is missing: the folder of the flow.")
    output = Path(command.value("output"))
    with command.going_on():
        problems = jobs.store_flow(
            source,
            output,
            input=settings.input,
            short_side=settings.short_side,
            annotations=command.value("annotations"),
            processes=command.value("processes"),
            limit_seconds=command.value("time_limit"),
            progress=command.Progress("videos"),
            say=functools.partial(print, flush=True),
        )
    for problem in problems[:10]:
        print(f"  {problem.status}: {problem.detail}")
    if len(problems) > 10:
        print(f"  … and {len(problems) - 10} more")
    side = f"short side {settings.short_side}" if settings.short_side else "frames of full size"
    print(f"Written: {output}: flow by {settings.input}, {side}. Next:\n  {_next(output)}")
    if problems:
        print(
            f"{len(problems)} videos gave no flow ({output / flow_folder.PROBLEMS}): they stay in "
            "their splits and count as errors, as the videos themselves would."
        )
        sys.exit(1)


def _settings():
    """Returns what was asked for, by flags or by a recipe."""
    from keras_r3d.data.decoding import flow
    from keras_r3d.data.decoding.flow_folder import Settings

    name, short_side = command.value("input"), command.value("short_side")
    if command.value("recipe"):
        data = recipe.load(command.value("recipe"), command.value("set")).data
        name = data.input if name is None else name
        short_side = data.short_side if short_side is None else short_side
    elif command.value("set"):
        raise R3DError("--set changes a key of the --recipe, which is missing.")
    if name not in flow.ALGORITHMS:
        raise R3DError(
            f"--input (or the --recipe's data.input) must be one of {list(flow.ALGORITHMS)}. "
            f"Received: {name}"
        )
    if short_side is None:
        raise R3DError("--short_side is missing (0 keeps the frames), or --recipe, which has one.")
    return Settings(name, short_side)


def _next(output: Path) -> str:
    return (
        f"python -m keras_r3d.train --recipe {command.value('recipe') or 'RECIPE'} --data_dir "
        f"{output}"
    )


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("SOURCE",))
