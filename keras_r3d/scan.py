"""Examines the videos of a folder or a list: `python -m keras_r3d.scan SOURCE`."""

import sys

from absl import flags

from keras_r3d.system import command


def _define_flags() -> None:
    flags.DEFINE_string("annotations", "auto", "As `data.annotations` of a recipe.")
    flags.DEFINE_integer("min_frames", 16, "Fewer frames are a finding.", lower_bound=1)
    flags.DEFINE_integer("min_side", 112, "A shorter side is a finding, in pixels.", lower_bound=1)
    flags.DEFINE_float("time_limit", 300, "Seconds for a file.", lower_bound=1)
    flags.DEFINE_integer("processes", None, "Files at a time. Default: one a core.", lower_bound=1)
    flags.DEFINE_string("csv", None, "Also writes a row for each file to this CSV file.")
    flags.DEFINE_string("json", None, "Also writes the report to this JSON file.")
    flags.DEFINE_bool(
        "quarantine", False, "Adds the broken files to SOURCE/quarantine.txt: they are left aside."
    )


def _main(source: str) -> None:
    from keras_r3d.data import jobs

    names = ("annotations", "min_frames", "min_side", "time_limit", "processes", "csv", "json")
    scanned = jobs.scan(
        source,
        progress=command.Progress("files"),
        say=print,
        **{name: command.value(name) for name in (*names, "quarantine")},
    )
    print(scanned)
    if scanned.broken:
        sys.exit(1)


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("SOURCE",))
