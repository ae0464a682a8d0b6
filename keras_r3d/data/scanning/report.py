"""Scans videos, and shows what that found: as tables in a terminal, as CSV and JSON."""

import dataclasses
import itertools
import math
import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

from keras_r3d.data import annotations as lists
from keras_r3d.data.annotations import AUTO, FRAME_RATE, FRAME_RATES, Annotations, listing
from keras_r3d.data.scanning.examining import STATUSES, Examination, NearDuplicate, examine_all
from keras_r3d.data.store import is_store
from keras_r3d.system import cluster, files
from keras_r3d.system.errors import DataError, StoreError, check_range
from keras_r3d.system.objects import outputs
from keras_r3d.system.objects.calls import is_url
from keras_r3d.system.text import shortened, width
from keras_r3d.system.work import Share, Spread, Spreading, kept_beside

_SHOWN = 5  # files of each finding
_PAIRS_SHOWN = 10  # of near-duplicates
_CLASSES_SHOWN = 12  # else the largest and the smallest five
_NAME_COLUMNS = 22
_FACTS = ("videos", "seconds", "median", "least", "most", "frame size")
_COLUMNS = (
    *("path", "status", "detail", "frames", "header_frames", "width", "height", "fps"),
    *("seconds", "label", "split", "group"),
)


@dataclasses.dataclass(frozen=True)
class Scan:
    """What the files of a folder are like. Printed, it is a report."""

    source: str  # folder, list or file that was scanned
    examinations: list[Examination]  # one a file
    # In different splits, or in different groups of a split; the most alike first.
    near_duplicates: list[NearDuplicate]
    annotations: Annotations | None = None  # labels and splits of the files, if they have some
    written: Sequence[str] = ()  # files of the report
    quarantine: Path | None = None  # file that lists the broken files now

    @property
    def broken(self) -> list[str]:
        """Paths of the files that give no frames, whatever decodes them."""
        return [file.path for file in self.examinations if file.is_broken]

    def __str__(self) -> str:
        lines = [description(self.examinations, self.annotations), table(self)]
        lines += [f"Written: {path}" for path in self.written]
        if self.quarantine:
            lines.append(
                f"Written: {self.quarantine}; trainings and evaluations of {self.source} leave its "
                "files aside."
            )
        return "\n".join(lines)


@cluster.spread
def scan(
    data: str | os.PathLike[str],
    *,
    annotations: str = AUTO,
    frame_rate: float = FRAME_RATE,
    trimmed: bool = False,
    min_frames: int = 16,
    min_side: int = 112,
    time_limit: float = 300.0,
    processes: int | None = None,
    csv: str | None = None,
    json: str | None = None,
    quarantine: bool = False,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
    **spread: Unpack[Spreading],
) -> Scan | Share:
    """Decodes every video to its end, and says what is broken, odd, or the same as another.

    Interrupted, the same call resumes if it names `csv` or `json`, beside which the parts are kept.

    Args:
        data: folder of videos, CSV file, public list, or a video.
        annotations: as of `open_videos`; where "auto" finds no labels, there are none.
        frame_rate: of folders of pictures, in frames a second.
        trimmed: as of `open_videos`.
        min_frames: fewer frames are a finding.
        min_side: a shorter side is a finding, in pixels.
        time_limit: seconds for a file.
        processes: files at a time; None is one a core.
        csv: also writes a row for each file to this CSV file.
        json: also writes the report to this JSON file.
        quarantine: adds the broken files to quarantine.txt in the folder: they are left aside. One
            that only lacks a decoder here is not broken.
        progress: takes the number of files done, and of all.
        say: takes what there is to say of labels and splits.
        spread: as of `keras_r3d.data.prepare_store`, with the same `csv` or `json`.

    Returns:
        `examinations` (of each file its `findings`, frames, seconds, size), `near_duplicates`, and
        the `annotations` if there are some. Printed, it is a report.

    Raises:
        DataError: there is nothing to examine, the labels cannot be read, or an argument is wrong.
        StoreError: it is a clip store, which `python -m keras_r3d.prepare --verify` examines.
        WriteError: a file cannot be written.
    """
    data, say = os.fspath(data), say or (lambda text: None)
    spreading = Spread(**spread)
    spreading.check(csv or json, "csv")
    check_range(1, min_frames=min_frames, min_side=min_side)
    check_range(1, time_limit=time_limit, processes=processes)
    check_range(*FRAME_RATES, frame_rate=frame_rate)
    if not (is_url(data) or os.path.exists(data)):
        raise DataError(f"{data} does not exist: name a folder of videos, or a list of them.")
    if is_store(data):
        raise StoreError(
            f"{data} is a clip store, which `python -m keras_r3d.prepare --verify {data}` examines."
        )
    if quarantine and is_url(data):
        raise DataError(
            f"`quarantine` writes a file beside the videos, which {data} does not allow."
        )
    labeled = None
    if not (lists.is_video_name(data) or lists.is_picture_folder(data)):
        try:
            reading: dict[str, Any] = {"frame_rate": frame_rate, "trimmed": trimmed}
            labeled = lists.read(data, annotations, must_exist=False, quarantined=True, **reading)
        except DataError as error:
            if annotations != AUTO:
                raise
            say(f"Without labels and splits: {error}")
    if labeled:
        for note in labeled.notes:
            say(f"Note: {note}")
        paths = sorted({v.path for videos in labeled.splits.values() for v in videos})
    else:
        paths = listing.paths([data])
    named = (("csv", csv), ("json", json))
    places = {path: outputs.local(path, name) for name, path in named if path}
    for name, path in named:
        if path:
            files.check_new(places[path], name)
    with kept_beside(next(iter(places.values()), None)) as folder:
        examined = examine_all(
            paths,
            labeled,
            frame_rate=frame_rate,
            min_frames=min_frames,
            min_side=min_side,
            limit_seconds=time_limit,
            processes=processes or len(os.sched_getaffinity(0)),
            progress=progress or (lambda done, total: None),
            folder=folder,
            spread=spreading,
        )
        if isinstance(examined, Share):
            return examined
        scanned = Scan(data, *examined, labeled, list(places))
        if csv:
            files.write_text(places[csv], csv_text(scanned))
        if json:
            files.write_json(places[json], records(scanned))
        outputs.publish(places.values())
        outputs.remove(folder)
    if scanned.broken and quarantine:
        listed = lists.add_to_quarantine(data, scanned.broken)
        scanned = dataclasses.replace(scanned, quarantine=listed)
    return scanned


def description(examinations: Sequence[Examination], labeled: Annotations | None) -> str:
    """Returns a table of the videos by split, and by class if they have some."""
    if not labeled:
        everything = [(file, 0.0, math.inf) for file in examinations]
        return _aligned([("", *_FACTS), ("files", *_facts(everything))])
    by_path = {file.path: file for file in examinations}
    splits: dict[str, list] = {}
    classes: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for split, videos in labeled.splits.items():
        for video in videos:
            sample = by_path[video.path], video.start_seconds, video.end_seconds
            splits.setdefault(split, []).append(sample)
            for label in video.labels:
                classes[label][split].append(sample)
    rows = [("split", *_FACTS), *((split, *_facts(some)) for split, some in splits.items())]
    samples = {name: list(itertools.chain(*some.values())) for name, some in classes.items()}
    order = sorted(classes, key=lambda name: (-len(samples[name]), name))
    lines = [("class", *splits, "seconds", "median", "frame size")]
    for name in order:
        _, seconds, median, _, _, size = _facts(samples[name])
        counts = (str(len(classes[name][split])) for split in splits)
        lines.append((shortened(name, _NAME_COLUMNS), *counts, seconds, median, size))
    if len(order) > _CLASSES_SHOWN:
        lines[1 + _SHOWN : -_SHOWN] = [(f"… {len(order) - 2 * _SHOWN} more",)]
    note = "~: sizes differ; the median" if any("~" in cell for row in rows for cell in row) else ""
    return "\n".join(part for part in (_aligned(rows), _aligned(lines), note) if part)


def _facts(samples: Sequence[tuple[Examination, float, float]]) -> tuple[str, ...]:
    """Returns the cells of `_FACTS` for examinations, each with the seconds it begins and ends."""
    read = [(file, start, end) for file, start, end in samples if file.frames]
    if not read:
        return (str(len(samples)), *["-"] * (len(_FACTS) - 1))
    seconds = [max(0.0, min(end, file.duration) - start) for file, start, end in read]
    sides = [sorted(getattr(file, side) for file, *_ in read) for side in ("width", "height")]
    size = "x".join(f"{statistics.median_low(side)}" for side in sides)
    varies = "~" if any(side[0] != side[-1] for side in sides) else ""
    figures = (statistics.median(seconds), min(seconds), max(seconds))
    cells = (f"{figure:.1f}" for figure in figures)
    return (str(len(samples)), f"{sum(seconds):.0f}", *cells, f"{varies}{size}")


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
    folder = lists.root(scanned.source)
    findings = defaultdict(list)
    for file in scanned.examinations:
        for status, detail in file.findings.items():
            findings[status].append(f"{_shown(file.path, folder)}: {detail}")
    sound = sum(not file.findings for file in scanned.examinations)
    lines = [f"{len(scanned.examinations)} files, {sound} without findings"]
    for status, meaning in STATUSES.items():
        if findings[status]:
            lines.append(f"{len(findings[status])} {status}: {meaning}")
        if status == "near-duplicate":
            pairs = scanned.near_duplicates
            shown = [_pair(pair, folder) for pair in pairs[:_PAIRS_SHOWN]]
            more, rest = len(pairs) - len(shown), "pairs, less alike"
        else:
            shown = findings[status][:_SHOWN]
            more, rest = len(findings[status]) - len(shown), "(--csv or --json has all)"
        lines += [f"    {line}" for line in shown]
        if more:
            lines.append(f"    … and {more} more {rest}")
    return "\n".join(lines)


def _shown(path: str, folder: str) -> str:
    """Returns the path of a file from a folder on; a URL elsewhere is shown as it is."""
    elsewhere = is_url(path) and not path.startswith(f"{folder}/")
    return path if elsewhere else lists.relative(path, folder)


def _pair(pair: NearDuplicate, folder: str) -> str:
    names = (
        f"{_shown(path, folder)} ({place})"
        for path, place in zip(pair.paths, pair.places, strict=True)
    )
    return f"{' and '.join(names)}: {pair.bits:.1f} of 64 bits differ"


def records(scanned: Scan) -> list[dict[str, Any]]:
    """Returns what is known of each file, for a JSON file.

    Of labels, splits and groups a file has several if it holds several videos.
    """
    labels: dict[str, tuple[set[str], ...]] = defaultdict(lambda: (set(), set(), set()))
    for split, videos in scanned.annotations.splits.items() if scanned.annotations else ():
        for video in videos:
            values = (video.labels, (split,), (video.group,))
            for names, some in zip(labels[video.path], values, strict=True):
                names.update({*some} - {""})
    return [
        {"path": file.path, "findings": file.findings, "frames": file.frames}
        | {"header_frames": file.header_frames, "width": file.width, "height": file.height}
        | {"fps": round(file.rate, 3), "rotation": file.rotation}
        | {"seconds": round(file.duration, 3)}
        | dict(zip(("labels", "splits", "groups"), map(sorted, labels[file.path]), strict=True))
        for file in scanned.examinations
    ]


def csv_text(scanned: Scan) -> str:
    """Returns a row for each finding of each file, as the text of a CSV file."""
    rows: list[tuple] = []
    for record in records(scanned):
        facts = [record[key] for key in ("frames", "header_frames", "width", "height")]
        facts += [f"{record[key]:.3f}" for key in ("fps", "seconds")]
        facts += ["; ".join(record[key]) for key in ("labels", "splits", "groups")]
        findings = record["findings"] or {"ok": ""}
        rows += [(record["path"], *finding, *facts) for finding in findings.items()]
    return files.csv_text(_COLUMNS, rows)
