"""CSV files of one's own: path,label[,split][,group][,start_seconds,end_seconds]."""

import csv
import math
import os
from collections import defaultdict
from pathlib import Path

from keras_r3d.data.annotations.video import SPLITS, Annotations, Video, some
from keras_r3d.system import files
from keras_r3d.system.errors import DataError

_URL = "://"  # of a store elsewhere: not a path to be made absolute


def read(path: Path, must_exist: bool) -> tuple[dict[str, list[Video]], list[str]]:
    """Returns videos by split, and notes."""
    if not path.is_file():
        raise DataError(
            f"The annotation file {path} does not exist. It must have the columns "
            "path,label[,split][,group][,start_seconds,end_seconds]; set `data.annotations` to its "
            'name, or to "folders" for class folders.'
        )
    splits: dict[str, list[Video]] = defaultdict(list)
    seen: dict[tuple[str, float, float], int] = {}
    missing: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            if "path" not in columns or "label" not in columns:
                raise DataError(
                    f"{path} must have the columns "
                    "path,label[,split][,group][,start_seconds,end_seconds]. "
                    f"Received: {','.join(columns)}"
                )
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                video, split = _read_row(row, path.parent, where)
                key = (video.path, video.start_seconds, video.end_seconds)
                if key in seen:
                    raise DataError(
                        f"{where}: {video.name} stands there twice (first in line {seen[key]}): "
                        "remove one of the two."
                    )
                seen[key] = rows.line_num
                if not Path(video.path).is_file():
                    missing.append(f"{video.path} (line {rows.line_num})")
                splits[split].append(video)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}") from error
    if not seen:
        raise DataError(f"{path} lists no videos.")
    if missing and must_exist:
        raise DataError(
            f"{len(missing)} of {len(seen)} videos listed in {path} do not exist: "
            f"{some(missing)}. Paths are relative to the folder of the CSV file; put the videos "
            "there or remove their lines."
        )
    unknown = sorted(set(splits) - set(SPLITS.values()))
    notes = [
        f"Split '{name}' is none of train, validation and test: it is not used but by its name."
        for name in unknown
    ]
    return dict(splits), notes


def _read_row(row: dict[str, str | None], folder: Path, where: str) -> tuple[Video, str]:
    def cell(column: str) -> str:
        return (row.get(column) or "").strip()

    for column in ("path", "label"):
        if not cell(column):
            raise DataError(f"{where}: the column '{column}' is empty.")
    if len(cell("label").splitlines()) > 1:
        raise DataError(f"{where}: a label must be one line. Received: {cell('label')!r}")
    start, end = 0.0, math.inf
    try:
        if cell("start_seconds"):
            start = float(cell("start_seconds"))
        if cell("end_seconds"):
            end = float(cell("end_seconds"))
    except ValueError:
        raise DataError(
            f"{where}: start_seconds and end_seconds must be numbers. Received: "
            f"{cell('start_seconds')!r} and {cell('end_seconds')!r}"
        ) from None
    if not 0 <= start < end:
        raise DataError(
            f"{where}: start_seconds must be 0 or more and below end_seconds. "
            f"Received: {start:g} and {end:g}"
        )
    split = cell("split").lower() or "train"
    path = cell("path")
    if _URL not in path:
        path = os.path.normpath(folder / path)
    video = Video(path, cell("label"), start, end, cell("group"))
    return video, SPLITS.get(split, split)


def write(annotations: Annotations) -> str:
    """Returns all videos as the text of a CSV file that `read` reads back, with absolute paths."""
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
