"""Makes a clip store out of videos: `python -m keras_r3d.prepare SOURCE --output STORE`.

`--verify STORE` compares a store with its checksums instead.
"""

import functools
import sys

from absl import flags

from keras_r3d.system import command
from keras_r3d.system.errors import R3DError


def _define_flags() -> None:
    flags.DEFINE_string("output", None, "Folder of the store, new or unfinished.")
    flags.DEFINE_string("annotations", "auto", "As `data.annotations` of a recipe.")
    flags.DEFINE_string(
        "levels",
        None,
        "paper: a level for each training scale of --recipe, so that its crops need no resizing "
        "(default). Or short sides in pixels, such as 240,120.",
    )
    flags.DEFINE_string("recipe", "kinetics34", "Recipe whose size and scales `paper` takes.")
    flags.DEFINE_multi_string("set", [], "Changes a key of that recipe: --set data.size=224.")
    flags.DEFINE_integer("height", None, "One level of this height in pixels.", lower_bound=16)
    flags.DEFINE_integer("short_side", None, "One level of this short side.", lower_bound=16)
    flags.DEFINE_integer("quality", 90, "Of the JPEGs.", lower_bound=1, upper_bound=100)
    flags.DEFINE_float("fps", 0, "Frames a second to resample to; 0 keeps all.")
    flags.DEFINE_integer("processes", None, "Videos at a time. Default: one a core.", lower_bound=1)
    flags.DEFINE_float("time_limit", 1800, "Seconds for a video.", lower_bound=1)
    flags.DEFINE_float("shard_gib", 2, "Size at which a shard is full.", lower_bound=0.001)
    flags.DEFINE_integer(
        "shard_index", None, "Makes only this share of --shard_count, then --finish joins all."
    )
    flags.DEFINE_integer("shard_count", None, "Processes or machines that share the work.")
    flags.DEFINE_bool("finish", False, "Joins the shards that are there; makes none.")
    flags.DEFINE_bool("dry_run", False, "Reports and estimates; writes nothing.")
    flags.DEFINE_string("verify", None, "Store to compare with its checksums.")
    flags.DEFINE_bool(
        "quarantine", False, "With --verify: lists damaged videos in STORE/quarantine.txt."
    )


def _main(*sources: str) -> None:
    from keras_r3d.data import stores

    store = command.value("verify")
    if store:
        if sources:
            raise R3DError(f"--verify takes a store and nothing beside it. Received: {sources[0]}")
        report = stores.verify_store(
            store, quarantine=command.value("quarantine"), progress=command.Progress("videos")
        )
        print(report)
        if report.damage:
            sys.exit(1)
        return
    if not sources:
        raise R3DError("Name what to prepare: a folder of videos, or a list of them.")
    if command.value("quarantine"):
        raise R3DError("--quarantine goes with --verify.")
    names = ["annotations", "levels", "recipe", "height", "short_side", "quality", "fps"]
    names += ["processes", "time_limit", "shard_gib", "shard_index", "shard_count", "finish"]
    with command.going_on():
        prepared = stores.prepare_store(
            sources[0],
            command.value("output") or None,
            overrides=command.value("set"),
            dry_run=command.value("dry_run"),
            progress=command.Progress("videos"),
            say=functools.partial(print, flush=True),
            **{name: command.value(name) for name in names},
        )
    if not command.value("dry_run"):
        print(prepared)


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("[SOURCE]",))
