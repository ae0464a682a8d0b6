"""Examines the videos of a folder or a list: `python -m keras_r3d.scan SOURCE`."""

import collections
import itertools
import math
import os
import statistics
import sys

from absl import flags

from keras_r3d.system import command, files
from keras_r3d.system.text import shortened, width

SHOWN = 5  # files of each finding
PAIRS_SHOWN = 10  # of near-duplicates
CLASSES_SHOWN = 12  # else the largest and the smallest five
NAME_COLUMNS = 22
COLUMNS = (
    *("path", "status", "detail", "frames", "header_frames", "width", "height", "fps"),
    *("seconds", "label", "split", "group"),
)


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
    from keras_r3d.data import annotations, doctor, jobs

    scanned = jobs.scan(
        source,
        annotations=command.value("annotations"),
        min_frames=command.value("min_frames"),
        min_side=command.value("min_side"),
        limit_seconds=command.value("time_limit"),
        processes=command.value("processes"),
        progress=command.Progress("files"),
        say=print,
    )
    labelled = scanned.annotations
    examinations = scanned.examinations
    print(description(examinations, labelled))
    print(table(scanned, source))
    if command.value("csv"):
        files.write_text(command.value("csv"), _rows(examinations, labelled))
        print(f"Written: {command.value('csv')}")
    if command.value("json"):
        about = _about(labelled)
        report = [
            {"path": one.path, "findings": one.findings, "frames": one.frames}
            | {"header_frames": one.header_frames, "width": one.width, "height": one.height}
            | {"fps": round(doctor.rate(one), 3), "rotation": one.rotation}
            | {"seconds": round(doctor.duration(one), 3)}
            | dict(zip(("labels", "splits", "groups"), about[one.path], strict=True))
            for one in examinations
        ]
        files.write_json(command.value("json"), report)
        print(f"Written: {command.value('json')}")
    broken = [one.path for one in examinations if one.findings.keys() & set(doctor.BROKEN)]
    if broken and command.value("quarantine"):
        path = annotations.add_to_quarantine(source, broken)
        print(f"Written: {path}; trainings and evaluations of {source} leave its files aside.")
    if broken:
        sys.exit(1)


def description(examinations, labelled) -> str:
    """Returns a table of the videos by split, and by class if they have some."""
    by_path = {one.path: one for one in examinations}
    if not labelled:
        everything = [(one, 0.0, math.inf) for one in examinations]
        return _aligned([("", *_FACTS), ("files", *_facts(everything))])
    splits: dict[str, list] = {}
    classes: dict[str, dict[str, list]] = collections.defaultdict(dict)
    for split, videos in labelled.splits.items():
        for video in videos:
            sample = by_path[video.path], video.start_seconds, video.end_seconds
            splits.setdefault(split, []).append(sample)
            classes[video.label].setdefault(split, []).append(sample)
    rows = [("split", *_FACTS), *((split, *_facts(some)) for split, some in splits.items())]
    samples = {name: list(itertools.chain(*some.values())) for name, some in classes.items()}
    order = sorted(classes, key=lambda name: (-len(samples[name]), name))
    lines = [("class", *splits, "seconds", "median", "frame size")]
    for name in order:
        _, seconds, median, _, _, size = _facts(samples[name])
        counts = (str(len(classes[name].get(split, ()))) for split in splits)
        lines.append((shortened(name, NAME_COLUMNS), *counts, seconds, median, size))
    if len(order) > CLASSES_SHOWN:
        lines[1 + SHOWN : -SHOWN] = [(f"… {len(order) - 2 * SHOWN} more",)]
    note = "~: sizes differ; the median" if any("~" in cell for row in rows for cell in row) else ""
    return "\n".join(part for part in (_aligned(rows), _aligned(lines), note) if part)


_FACTS = ("videos", "seconds", "median", "least", "most", "frame size")


def _facts(samples) -> tuple[str, ...]:
    """Returns the cells of `_FACTS` for examinations, each with the seconds it begins and ends."""
    from keras_r3d.data import doctor

    read = [(one, start, end) for one, start, end in samples if one.frames]
    if not read:
        return (str(len(samples)), *["-"] * (len(_FACTS) - 1))
    seconds = [max(0.0, min(end, doctor.duration(one)) - start) for one, start, end in read]
    sides = [sorted(getattr(one, side) for one, *_ in read) for side in ("width", "height")]
    size = "x".join(f"{statistics.median_low(side)}" for side in sides)
    varies = "~" if any(side[0] != side[-1] for side in sides) else ""
    figures = (statistics.median(seconds), min(seconds), max(seconds))
    return (
        *(str(len(samples)), f"{sum(seconds):.0f}"),
        *(*(f"{figure:.1f}" for figure in figures), f"{varies}{size}"),
    )


def _aligned(rows) -> str:
    """Sets the first column left, the others right."""
    widths = [max(map(width, column)) for column in itertools.zip_longest(*rows, fillvalue="")]
    lines = []
    for row in rows:
        first = row[0] + " " * (widths[0] - width(row[0]))
        others = (cell.rjust(size) for cell, size in zip(row[1:], widths[1:], strict=False))
        lines.append("  ".join((first, *others)).rstrip())
    return "\n".join(lines) + "\n"


def table(scanned, source: str) -> str:
    """Returns the findings, how many files have each, and the first of these."""
    from keras_r3d.data import annotations, doctor

    folder = annotations.root(source)
    found = collections.defaultdict(list)
    for one in scanned.examinations:
        for status, detail in one.findings.items():
            found[status].append(f"{os.path.relpath(one.path, folder)}: {detail}")
    sound = sum(not one.findings for one in scanned.examinations)
    lines = [f"{len(scanned.examinations)} files, {sound} without findings"]
    for status, meaning in doctor.STATUSES.items():
        if found[status]:
            lines.append(f"{len(found[status])} {status}: {meaning}")
        if status == "near-duplicate":
            lines += _pairs(scanned.near_duplicates, folder)
            continue
        lines += [f"    {line}" for line in found[status][:SHOWN]]
        if len(found[status]) > SHOWN:
            lines.append(f"    … and {len(found[status]) - SHOWN} more (--csv or --json has all)")
    return "\n".join(lines)


def _pairs(near_duplicates, folder: str) -> list[str]:
    lines = []
    for pair in near_duplicates[:PAIRS_SHOWN]:
        one, other = (
            f"{os.path.relpath(path, folder)} ({place})"
            for path, place in zip(pair.paths, pair.places, strict=True)
        )
        lines.append(f"    {one} and {other}: {pair.bits:.1f} of 64 bits differ")
    if len(near_duplicates) > PAIRS_SHOWN:
        lines.append(f"    … and {len(near_duplicates) - PAIRS_SHOWN} more pairs, less alike")
    return lines


def _about(labelled) -> dict[str, tuple[list[str], ...]]:
    """Returns labels, splits and groups of each file: several, if it holds several videos."""
    about: dict[str, tuple[set[str], ...]] = {}
    for split, videos in labelled.splits.items() if labelled else ():
        for video in videos:
            three = about.setdefault(video.path, (set(), set(), set()))
            for names, name in zip(three, (video.label, split, video.group), strict=True):
                names.update({name} - {""})
    nothing: tuple[list[str], ...] = ([], [], [])
    found = {path: tuple(sorted(names) for names in three) for path, three in about.items()}
    return collections.defaultdict(lambda: nothing, found)


def _rows(examinations, labelled) -> str:
    from keras_r3d.data import doctor

    rows: list[tuple] = []
    about = _about(labelled)
    for one in examinations:
        facts: tuple = (
            one.frames,
            one.header_frames,
            one.width,
            one.height,
            f"{doctor.rate(one):.3f}",
        )
        facts += (f"{doctor.duration(one):.3f}", *("; ".join(names) for names in about[one.path]))
        findings = one.findings or {"ok": ""}
        rows += [(one.path, status, detail, *facts) for status, detail in findings.items()]
    return files.csv_text(COLUMNS, rows)


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("SOURCE",))
