"""Examines the videos of a folder or a list: `python -m keras_r3d.scan SOURCE`."""

import collections
import os
import sys
from pathlib import Path

from absl import flags

from keras_r3d import _command, files
from keras_r3d.errors import R3DError

SHOWN = 5  # files of each finding
COLUMNS = ("path", "status", "detail", "frames", "header_frames", "width", "height", "fps")


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
    from keras_r3d.data import annotations, doctor
    from keras_r3d.data.store import is_store

    if not os.path.exists(source):
        raise R3DError(f"{source} does not exist: name a folder of videos, or a list of them.")
    if is_store(source):
        raise R3DError(
            f"{source} is a clip store, which `python -m keras_r3d.prepare --verify {source}` "
            "examines."
        )
    labelled = None
    if Path(source).suffix.lower() not in annotations.VIDEO_SUFFIXES:
        try:
            labelled = annotations.read(
                source, _command.value("annotations"), must_exist=False, quarantined=True
            )
        except annotations.AnnotationError as error:
            if _command.value("annotations") != annotations.AUTO:
                raise
            print(f"Without labels and splits: {error}")
    for note in labelled.notes if labelled else ():
        print(f"Note: {note}")
    if labelled:
        paths = sorted({v.path for videos in labelled.splits.values() for v in videos})
    else:
        paths = [source] if os.path.isfile(source) else annotations.videos_in(source)
    if not paths:
        raise R3DError(f"{source} holds no videos.")

    examinations = doctor.scan(
        paths,
        annotations=labelled,
        min_frames=_command.value("min_frames"),
        min_side=_command.value("min_side"),
        limit_seconds=_command.value("time_limit"),
        processes=_command.value("processes") or len(os.sched_getaffinity(0)),
        progress=_command.Progress("files"),
    )
    print(table(examinations, source))
    if _command.value("csv"):
        files.write_text(_command.value("csv"), _rows(examinations))
        print(f"Written: {_command.value('csv')}")
    if _command.value("json"):
        report = [
            {"path": one.path, "findings": one.findings, "frames": one.frames}
            | {"header_frames": one.header_frames, "width": one.width, "height": one.height}
            | {"fps": round(doctor.rate(one), 3), "rotation": one.rotation}
            for one in examinations
        ]
        files.write_json(_command.value("json"), report)
        print(f"Written: {_command.value('json')}")
    broken = [one.path for one in examinations if one.findings.keys() & set(doctor.BROKEN)]
    if broken and _command.value("quarantine"):
        path = annotations.add_to_quarantine(source, broken)
        print(f"Written: {path}; trainings and evaluations of {source} leave its files aside.")
    if broken:
        sys.exit(1)


def table(examinations, source: str) -> str:
    """Returns the findings, how many files have each, and the first of these."""
    from keras_r3d.data import annotations, doctor

    folder = annotations.root(source)
    found = collections.defaultdict(list)
    for one in examinations:
        for status, detail in one.findings.items():
            found[status].append(f"{os.path.relpath(one.path, folder)}: {detail}")
    sound = sum(not one.findings for one in examinations)
    lines = [f"{len(examinations)} files, {sound} without findings"]
    for status, meaning in doctor.STATUSES.items():
        if found[status]:
            lines.append(f"{len(found[status])} {status}: {meaning}")
            lines += [f"    {line}" for line in found[status][:SHOWN]]
        if len(found[status]) > SHOWN:
            lines.append(f"    … and {len(found[status]) - SHOWN} more (--csv or --json has all)")
    return "\n".join(lines)


def _rows(examinations) -> str:
    from keras_r3d.data import doctor

    rows = []
    for one in examinations:
        facts = (one.frames, one.header_frames, one.width, one.height, f"{doctor.rate(one):.3f}")
        findings = one.findings or {"ok": ""}
        rows += [(one.path, status, detail, *facts) for status, detail in findings.items()]
    return files.csv_text(COLUMNS, rows)


if __name__ == "__main__":
    _command.run(_define_flags, _main, arguments=("SOURCE",))
