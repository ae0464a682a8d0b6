"""CSV files of one's own: path,label[,split][,group][,start_seconds,end_seconds]."""

import csv
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_r3d.data.annotations.video import SPLITS, Annotations, Splits, Video, some
from keras_r3d.system import files
from keras_r3d.system.errors import DataError

_COLUMNS = "path,label[,split][,group][,start_seconds,end_seconds]"
_URL = "://"  # of a store elsewhere: not a path to be made absolute


def read_csv(path: Path, must_exist: bool) -> tuple[Splits, list[str]]:
    """Returns videos by split, and notes."""
    if not path.is_file():
        raise DataError(
            f"The annotation file {path} does not exist. It must have the columns {_COLUMNS}; set "
            '`videos.annotations` to its name, or to "folders" for class folders.'
        )
    splits: Splits = defaultdict(list)
    seen: dict[tuple[str, float, float], str] = {}
    missing: list[str] = []
    for where, row in read_rows(path, ("path", "label")):
        video, split = _read_row(row, path.parent, where)
        key = (video.path, video.start_seconds, video.end_seconds)
        line = where.rpartition(", ")[2]
        if seen.setdefault(key, line) != line:
            raise DataError(
                f"{where}: {video.name} is listed twice (first in {seen[key]}): remove one of the "
                "two."
            )
        if not Path(video.path).is_file():
            missing.append(f"{video.path} ({line})")
        splits[split].append(video)
    if not seen:
        raise DataError(f"{path} lists no videos.")
    if missing and must_exist:
        raise DataError(
            f"{len(missing)} of {len(seen)} videos listed in {path} do not exist: "
            f"{some(missing)}. Paths are relative to the folder of the CSV file; put the videos "
            "there or remove their lines."
        )
    notes = [
        f"Split '{name}' is none of train, validation and test: it is used only where it is named."
        for name in sorted(set(splits) - set(SPLITS.values()))
    ]
    return dict(splits), notes


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the place, for messages, and the stripped cells of each row of a CSV file.

    `columns` must be there; a cell that is missing is "".
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, restval="")
            names = rows.fieldnames or []
            if not set(columns) <= set(names):
                raise DataError(
                    f"{path} must have the columns {_COLUMNS}. Received: {','.join(names)}"
                )
            for row in rows:
                cells = {name: row[name].strip() for name in names}
                yield f"{path}, line {rows.line_num}", cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _read_row(row: dict[str, str], folder: Path, where: str) -> tuple[Video, str]:
    path, label = row["path"], row["label"]
    for column in ("path", "label"):
        if not row[column]:
            raise DataError(f"{where}: the column '{column}' is empty.")
    if len(label.splitlines()) > 1:
        raise DataError(f"{where}: a label must be one line. Received: {label!r}")
    start_text, end_text = row.get("start_seconds", ""), row.get("end_seconds", "")
    try:
        start, end = float(start_text or 0.0), float(end_text or math.inf)
    except ValueError:
        raise DataError(
            f"{where}: start_seconds and end_seconds must be numbers. Received: "
            f"{start_text!r} and {end_text!r}"
        ) from None
    if not 0 <= start < end:
        raise DataError(
            f"{where}: start_seconds must be 0 or more and below end_seconds. "
            f"Received: {start:g} and {end:g}"
        )
    split = row.get("split", "").lower() or "train"
    if _URL not in path:
        path = os.path.normpath(folder / path)
    return Video(path, label, start, end, row.get("group", "")), SPLITS.get(split, split)


def to_csv(annotations: Annotations) -> str:
    """Returns all videos as the text of a CSV file that can be read back, with absolute paths."""
    rows = []
    grouped = any(video.group for videos in annotations.splits.values() for video in videos)
    for split, videos in annotations.splits.items():
        for video in videos:
            segment = [
                "" if seconds == default else repr(seconds)
                for seconds, default in ((video.start_seconds, 0.0), (video.end_seconds, math.inf))
            ]
            path = video.path if _URL in video.path else os.path.abspath(video.path)
            rows.append([path, video.label, split, *segment, *[video.group] * grouped])
    columns = ["path", "label", "split", "start_seconds", "end_seconds", *["group"] * grouped]
    return files.csv_text(columns, rows)
