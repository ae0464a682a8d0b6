"""Kinetics: CSV files with the columns label,youtube_id,time_start,time_end,split.

The files of 400, 600, 700 and 700-2020, as DeepMind and CVDF publish them; those of the test set
may lack the label. Videos are called ID_START_END.mp4 (six digits each); ID.mp4 is taken for the
whole video, of which the ten seconds are a segment.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from keras_r3d.data.annotations import listed
from keras_r3d.data.annotations.listed import Entry
from keras_r3d.data.annotations.video import SPLITS, Video
from keras_r3d.system.errors import DataError

COLUMNS = ("youtube_id", "time_start", "time_end", "split")


def is_one(path: Path) -> bool:
    """Whether a file, or the files of a folder, have the columns of Kinetics."""
    if path.is_dir():
        return any(is_one(file) for file in path.glob("*.csv"))
    if path.suffix != ".csv" or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return set(COLUMNS) <= set(file.readline(1000).strip().replace('"', "").split(","))


def read(path: Path, data_dir: Path) -> tuple[dict[str, list[Video]], list[str]]:
    """Returns videos by split, and notes.

    Args:
        path: a CSV file, or a folder of them (train.csv, validate.csv, …).
    """
    paths = sorted(file for file in path.glob("*.csv") if is_one(file)) if path.is_dir() else [path]
    return listed.find((entry for one in paths for entry in _entries(one)), data_dir, path)


def _entries(path: Path) -> Iterator[Entry]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            for row in rows:
                yield _entry(row, f"{path}, line {rows.line_num}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _entry(row: dict[str, str | None], where: str) -> Entry:
    cells = {name: (row.get(name) or "").strip() for name in ("label", *COLUMNS)}
    split = SPLITS.get(cells["split"].lower())
    if not cells["youtube_id"] or split is None:
        raise DataError(
            f"{where}: youtube_id must not be empty, split must be one of {list(SPLITS)}. "
            f"Received: {cells['youtube_id']!r} and {cells['split']!r}"
        )
    try:
        start, end = float(cells["time_start"]), float(cells["time_end"])
    except ValueError:
        start, end = 0.0, 0.0
    if not 0 <= start < end < 1e6:
        raise DataError(
            f"{where}: time_start and time_end must be seconds, the first below the second. "
            f"Received: {cells['time_start']!r} and {cells['time_end']!r}"
        )
    name = cells["youtube_id"]
    return Entry(
        f"{name}_{int(start):06d}_{int(end):06d}",
        cells["label"] or None,
        split,
        where,
        (name,),
        start,
        end,
    )
