"""What a scan shows, as tables in a terminal, and as CSV and JSON."""

import collections
import dataclasses
import itertools
import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_r3d.data import annotations
from keras_r3d.data.annotations import Annotations
from keras_r3d.data.scanning.examining import BROKEN, STATUSES, Examination, NearDuplicate
from keras_r3d.system import files
from keras_r3d.system.text import shortened, width

_SHOWN = 5  # files of each finding
_PAIRS_SHOWN = 10  # of near-duplicates
_CLASSES_SHOWN = 12  # else the largest and the smallest five
_NAME_COLUMNS = 22
_COLUMNS = (
    *("path", "status", "detail", "frames", "header_frames", "width", "height", "fps"),
    *("seconds", "label", "split", "group"),
)


@dataclasses.dataclass(frozen=True)
class Scan:
    """What the files of a folder are like. Printed, it is a report.

    Attributes:
        source: folder, list or file that was scanned.
        examinations: one a file.
        near_duplicates: in different splits, or in different groups of a split; the most alike
            first.
        annotations: labels and splits of the files, if they have some.
        written: files of the report.
        quarantine: file that lists the broken files now.
    """

    source: str
    examinations: list[Examination]
    near_duplicates: list[NearDuplicate]
    annotations: Annotations | None = None
    written: Sequence[str] = ()
    quarantine: Path | None = None

    @property
    def broken(self) -> list[str]:
        """Paths of the files that give no frames."""
        return [one.path for one in self.examinations if one.findings.keys() & set(BROKEN)]

    def __str__(self) -> str:
        lines = [description(self.examinations, self.annotations), table(self)]
        lines += [f"Written: {path}" for path in self.written]
        if self.quarantine:
            lines.append(
                f"Written: {self.quarantine}; trainings and evaluations of {self.source} leave its "
                "files aside."
            )
        return "\n".join(lines)


def description(examinations: Sequence[Examination], labeled: Annotations | None) -> str:
    """Returns a table of the videos by split, and by class if they have some."""
    by_path = {one.path: one for one in examinations}
    if not labeled:
        everything = [(one, 0.0, math.inf) for one in examinations]
        return _aligned([("", *_FACTS), ("files", *_facts(everything))])
    splits: dict[str, list] = {}
    classes: dict[str, dict[str, list]] = collections.defaultdict(dict)
    for split, videos in labeled.splits.items():
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
        lines.append((shortened(name, _NAME_COLUMNS), *counts, seconds, median, size))
    if len(order) > _CLASSES_SHOWN:
        lines[1 + _SHOWN : -_SHOWN] = [(f"… {len(order) - 2 * _SHOWN} more",)]
    note = "~: sizes differ; the median" if any("~" in cell for row in rows for cell in row) else ""
    return "\n".join(part for part in (_aligned(rows), _aligned(lines), note) if part)


_FACTS = ("videos", "seconds", "median", "least", "most", "frame size")


def _facts(samples: Sequence[tuple[Examination, float, float]]) -> tuple[str, ...]:
    """Returns the cells of `_FACTS` for examinations, each with the seconds it begins and ends."""
    read = [(one, start, end) for one, start, end in samples if one.frames]
    if not read:
        return (str(len(samples)), *["-"] * (len(_FACTS) - 1))
    seconds = [max(0.0, min(end, one.duration) - start) for one, start, end in read]
    sides = [sorted(getattr(one, side) for one, *_ in read) for side in ("width", "height")]
    size = "x".join(f"{statistics.median_low(side)}" for side in sides)
    varies = "~" if any(side[0] != side[-1] for side in sides) else ""
    figures = (statistics.median(seconds), min(seconds), max(seconds))
    return (
        *(str(len(samples)), f"{sum(seconds):.0f}"),
        *(*(f"{figure:.1f}" for figure in figures), f"{varies}{size}"),
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Sets the first column left, the others right."""
    widths = [max(map(width, column)) for column in itertools.zip_longest(*rows, fillvalue="")]
    lines = []
    for row in rows:
        first = row[0] + " " * (widths[0] - width(row[0]))
        others = (cell.rjust(size) for cell, size in zip(row[1:], widths[1:], strict=False))
        lines.append("  ".join((first, *others)).rstrip())
    return "\n".join(lines) + "\n"


def table(scanned: Scan) -> str:
    """Returns the findings, how many files have each, and the first of these."""
    folder = annotations.root(scanned.source)
    findings = collections.defaultdict(list)
    for one in scanned.examinations:
        for status, detail in one.findings.items():
            findings[status].append(f"{os.path.relpath(one.path, folder)}: {detail}")
    sound = sum(not one.findings for one in scanned.examinations)
    lines = [f"{len(scanned.examinations)} files, {sound} without findings"]
    for status, meaning in STATUSES.items():
        if findings[status]:
            lines.append(f"{len(findings[status])} {status}: {meaning}")
        if status == "near-duplicate":
            lines += _pairs(scanned.near_duplicates, folder)
            continue
        lines += [f"    {line}" for line in findings[status][:_SHOWN]]
        if len(findings[status]) > _SHOWN:
            more = len(findings[status]) - _SHOWN
            lines.append(f"    … and {more} more (--csv or --json has all)")
    return "\n".join(lines)


def _pairs(near_duplicates: Sequence[NearDuplicate], folder: str) -> list[str]:
    lines = []
    for pair in near_duplicates[:_PAIRS_SHOWN]:
        one, other = (
            f"{os.path.relpath(path, folder)} ({place})"
            for path, place in zip(pair.paths, pair.places, strict=True)
        )
        lines.append(f"    {one} and {other}: {pair.bits:.1f} of 64 bits differ")
    if len(near_duplicates) > _PAIRS_SHOWN:
        lines.append(f"    … and {len(near_duplicates) - _PAIRS_SHOWN} more pairs, less alike")
    return lines


def _about(labeled: Annotations | None) -> dict[str, tuple[list[str], ...]]:
    """Returns labels, splits and groups of each file: several, if it holds several videos."""
    about: dict[str, tuple[set[str], ...]] = {}
    for split, videos in labeled.splits.items() if labeled else ():
        for video in videos:
            three = about.setdefault(video.path, (set(), set(), set()))
            for names, name in zip(three, (video.label, split, video.group), strict=True):
                names.update({name} - {""})
    nothing: tuple[list[str], ...] = ([], [], [])
    listed = {path: tuple(sorted(names) for names in three) for path, three in about.items()}
    return collections.defaultdict(lambda: nothing, listed)


def csv_text(scanned: Scan) -> str:
    """Returns a row for each finding of each file, as the text of a CSV file."""
    rows: list[tuple] = []
    about = _about(scanned.annotations)
    for one in scanned.examinations:
        facts = [one.frames, one.header_frames, one.width, one.height, f"{one.rate:.3f}"]
        facts += [f"{one.duration:.3f}", *("; ".join(names) for names in about[one.path])]
        findings = one.findings or {"ok": ""}
        rows += [(one.path, status, detail, *facts) for status, detail in findings.items()]
    return files.csv_text(_COLUMNS, rows)


def records(scanned: Scan) -> list[dict[str, Any]]:
    """Returns what is known of each file, for a JSON file."""
    about = _about(scanned.annotations)
    return [
        {"path": one.path, "findings": one.findings, "frames": one.frames}
        | {"header_frames": one.header_frames, "width": one.width, "height": one.height}
        | {"fps": round(one.rate, 3), "rotation": one.rotation}
        | {"seconds": round(one.duration, 3)}
        | dict(zip(("labels", "splits", "groups"), about[one.path], strict=True))
        for one in scanned.examinations
    ]
