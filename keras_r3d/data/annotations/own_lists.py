"""Lists of one's own: CSV files with a header, and lines of a path and a label.

path,label[,split][,group][,start_seconds,end_seconds][,frame_rate], separated by commas, semicolons
or tabs. "video.mp4 3" or "video.mp4 running", as mmaction2 and SlowFast read them, has no header; a
file beside it may name the numbers.

Where a video has several labels: a column `labels`, as in `labels.py`; or, with neither that nor
`label`, a column of 0 and 1 for each class; or "video.mp4 3,17".
"""

import csv
import glob
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_r3d.data.annotations.folder import VIDEO_SUFFIXES, exists, is_video_name
from keras_r3d.data.annotations.labels import join_labels, split_labels
from keras_r3d.data.annotations.video import (
    FRAME_RATE,
    SPLITS,
    Annotations,
    Splits,
    Video,
    absolute,
    file_lines,
    located,
    some,
)
from keras_r3d.system import files
from keras_r3d.system.errors import DataError
from keras_r3d.system.objects import inputs
from keras_r3d.system.objects.calls import is_url
from keras_r3d.system.text import shown

_COLUMNS = "path,label[,split][,group][,start_seconds,end_seconds][,frame_rate]"
_NAMES = set(re.findall(r"\w+", _COLUMNS))
SUFFIXES = (".csv", ".tsv", ".txt")
CLASS_NAMES = ("classInd.txt", "classes.txt", "class_names.txt", "labels.txt", "label_map*.txt")
_LABELED_FILE = re.compile(
    rf"(.+?(?:{'|'.join(map(re.escape, sorted(VIDEO_SUFFIXES)))}))\s*[\s,;]\s*(\S.*)", re.IGNORECASE
)
_LABELED_FOLDER = re.compile(r"(.+?)\s*[\s,;]\s*([^\s,;]+)")


def find_lists(path: Path) -> list[tuple[Path, str]]:
    """Returns the lists that a file, a folder or a pattern names, each with its split.

    Of several lists each has the split in its name, such as train.csv or k400_val_list_videos.txt.
    """
    if path.is_file():
        return [(path, "train")]
    pattern = path / "*" if path.is_dir() else path
    lists: dict[str, Path] = {}
    for file in map(Path, sorted(glob.glob(str(pattern)))):
        words = set(re.split(r"[^a-z]+", file.stem.lower()))
        splits = {SPLITS[word] for word in words & SPLITS.keys()}
        if len(splits) != 1 or file.suffix.lower() not in SUFFIXES:
            continue
        split = splits.pop()
        if (other := lists.setdefault(split, file)) != file:
            raise DataError(
                f"{other} and {file.name} are both lists of the {split} split: name a pattern of "
                "which only one of them is, such as *_list_videos.txt."
            )
    return [(file, split) for split, file in lists.items()]


def read_lists(
    lists: Sequence[tuple[Path, str]],
    data_dir: str,
    *,
    must_exist: bool,
    labeled: bool,
    frame_rate: float,
    several_labels: bool = False,
) -> tuple[Splits, list[str]]:
    """Returns the videos of some lists by split, and notes.

    Args:
        lists: files, and the split of what names none.
        data_dir: that paths may start from, too.
        must_exist: refuse videos that are not there.
        labeled: refuse videos without a label.
        frame_rate: of folders of pictures that have none in the list.
        several_labels: a segment may be listed once for each of its labels.
    """
    splits: Splits = defaultdict(list)
    seen: dict[tuple[str, float, float, str], str] = {}
    named: list[tuple[str, str]] = []  # path and line
    for path, usual_split in lists:
        defaults = {"split": usual_split, "frame_rate": f"{frame_rate}"}
        folders = list(dict.fromkeys((shown(path.parent), data_dir)))
        for where, row in _rows(path, folders, labeled):
            for column, value in defaults.items():
                row[column] = row.get(column) or value
            video, split = _read_row(row, folders, where, labeled)
            label = video.label if several_labels else ""
            key = (video.path, video.start_seconds, video.end_seconds, label)
            line = where.rpartition(", ")[2]
            if seen.setdefault(key, where) != where:
                raise DataError(
                    f"{where}: {video.name} is listed twice (first in "
                    f"{seen[key].removeprefix(f'{path}, ')}): remove one of the two."
                )
            named.append((video.path, line))
            splits[split].append(video)
    inputs.learn(path for path, _ in named if is_url(path))
    missing = [f"{path} ({line})" for path, line in named if not exists(path)]
    names = " and ".join(str(path) for path, _ in lists)
    if not seen:
        raise DataError(f"{names} lists no videos.")
    if missing and must_exist:
        raise DataError(
            f"{len(missing)} of {len(seen)} videos listed in {names} do not exist: "
            f"{some(missing)}. Paths are relative to the folder of the list or of the data, and "
            "name files or folders of numbered pictures; put the videos there or remove their "
            "lines."
        )
    notes = [
        f"Split '{name}' is none of train, validation and test: it is used only where it is named."
        for name in sorted(set(splits) - set(SPLITS.values()))
    ]
    return dict(splits), notes


def _rows(
    path: Path, folders: Sequence[str], labeled: bool
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the place and the cells of each row, or of each line of a list without a header."""
    columns, _ = header(path)
    name, _ = _parse_line(columns[0] if columns else "", folders)
    is_video = is_video_name(name) or bool(name and _is_here(name, folders))
    if not is_video and (path.suffix.lower() != ".txt" or "path" in map(str.lower, columns)):
        yield from _table_rows(path, labeled)
        return
    names = class_names(path.parent)
    for where, line in file_lines(path):
        name, label = _parse_line(line.strip(), folders)
        if re.fullmatch(r"\d+(\s*[,;|]\s*\d+)+", label):
            numbers = re.findall(r"\d+", label)
            labels = join_labels(class_name(number, names, where) for number in numbers)
            yield where, {"path": name, "labels": labels}
            continue
        if re.fullmatch(r"\d+([\s,;|]+\d+)+", label):
            raise DataError(f"{where}: several labels are separated by commas. Received: {label}")
        yield where, {"path": name, "label": class_name(label, names, where)}


def _table_rows(path: Path, labeled: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the rows of a CSV file; columns of 0 and 1, a class each, become one of `labels`."""
    received, _ = header(path)
    names = {name.lower() for name in received}
    classes = [name for name in received if name.lower() not in _NAMES]
    if "label" in names or not labeled or not classes:
        yield from read_rows(path, ("path", "label") if labeled else ("path",))
    elif "labels" in names:
        yield from read_rows(path, ("path", "labels"))
    else:
        for where, row in read_rows(path, ("path",)):
            for name in classes:
                if row[name.lower()] not in ("0", "1"):
                    raise DataError(
                        f"{where}: there is no column 'label' or 'labels' (expected {_COLUMNS}), "
                        f"so '{name}' is taken for a class and must be 0 or 1. Received: "
                        f"{row[name.lower()]!r:.100}"
                    )
            row["labels"] = join_labels(name for name in classes if row[name.lower()] == "1")
            yield where, row


def _parse_line(line: str, folders: Sequence[str]) -> tuple[str, str]:
    """Returns the path and the label of a line; "" if it has none."""
    if is_video_name(line) or _is_here(line, folders):
        return line, ""
    if match := _LABELED_FILE.fullmatch(line):
        return match[1], match[2]
    if not (match := _LABELED_FOLDER.fullmatch(line)):
        return line, ""
    counted = not _is_here(match[1], folders)  # mmaction2: path, number of pictures, label
    return re.sub(r"\s+\d+$", "", match[1]) if counted else match[1], match[2]


def class_name(label: str, names: "tuple[Path, dict[int, str]] | None", where: str) -> str:
    """Returns the name of a class that is listed by its number, if a file names the numbers."""
    if names is None or not label.isdecimal():
        return label
    if int(label) not in names[1]:
        raise DataError(
            f"{where}: {names[0]} names the classes {min(names[1])} to {max(names[1])}. "
            f"Received: {label}"
        )
    return names[1][int(label)]


def class_names(folder: Path) -> tuple[Path, dict[int, str]] | None:
    """Reads a file of class names: one a line, counted from 0, or each behind its number."""
    for pattern in CLASS_NAMES:
        for path in sorted(folder.glob(pattern)):
            lines = [line.strip() for _, line in file_lines(path)]
            numbered = [re.fullmatch(r"(\d+)[\s,]+(.+)", line) for line in lines]
            if all(numbered):
                return path, {int(match[1]): match[2] for match in numbered if match}
            return path, dict(enumerate(lines))
    return None


def header(path: Path) -> tuple[list[str], str]:
    """Returns the cells of the first line of a CSV file, and what separates them."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        line = file.readline(10_000)
    separator = max(",;\t", key=line.count)
    cells: list[str] = next(csv.reader([line], delimiter=separator), [])
    return [cell.strip() for cell in cells], separator


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the place, for messages, and the stripped cells of each row of a CSV file.

    `columns` must be there; a cell that is missing is "".
    """
    received, separator = header(path)
    names = [name.lower() for name in received]
    if not set(columns) <= set(names):
        raise DataError(
            f"{path} must have the columns {_COLUMNS}, or lines of a video and its label. "
            f"Received: {separator.join(received)!r:.200}"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, names, restval="", delimiter=separator)
            next(rows)
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                if None in row and "labels" in names:
                    raise DataError(
                        f"{where} has more cells than the header: put labels that are separated by "
                        f"{separator!r} into double quotes, or separate them by '|'."
                    )
                yield where, {name: row[name].strip() for name in names}
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _read_row(
    row: dict[str, str], folders: Sequence[str], where: str, labeled: bool
) -> tuple[Video, str]:
    path, label, several = row["path"], row.get("label", ""), False
    if labeled and "labels" in row and "label" not in row:
        try:
            label, several = join_labels(split_labels(row["labels"])), True
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
    for column in ("path", "label") if labeled and not several else ("path",):
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
    try:
        rate = float(row["frame_rate"])
    except ValueError:
        rate = 0.0
    if not 0 < rate < math.inf:
        raise DataError(
            f"{where}: frame_rate must be above 0, in frames a second. "
            f"Received: {row['frame_rate']!r}"
        )
    split = row["split"].lower()
    group = row.get("group", "")
    try:
        place = _locate(path, folders)
    except DataError as error:  # of a URL
        raise DataError(f"{where}: {error}") from error
    video = Video(place, label, start, end, group, rate, several)
    return video, SPLITS.get(split, split)


def _is_here(name: str, folders: Sequence[str]) -> bool:
    """Whether a word of a line names a file or folder here; at a URL its suffix tells."""
    place = _locate(name, folders)
    return not is_url(place) and exists(place)


def _locate(name: str, folders: Sequence[str]) -> str:
    """Returns the path of a listed video, in the first of some folders that has it.

    Of paths as Windows writes them, too.
    """
    if is_url(name):
        inputs.check(name)
        return name
    names = dict.fromkeys((name, name.replace("\\", "/")))
    places = [located(name, folder) for name in names for folder in folders]
    return next(filter(exists, places), places[0]) if len(places) > 1 else places[0]


def to_csv(annotations: Annotations) -> str:
    """Returns all videos as the text of a CSV file that can be read back, with absolute paths."""
    videos = [(split, video) for split, part in annotations.splits.items() for video in part]
    table = {
        "path": [absolute(video.path) for _, video in videos],
        "labels" if annotations.several else "label": [video.label for _, video in videos],
        "split": [split for split, _ in videos],
        "start_seconds": [v.start_seconds or "" for _, v in videos],
        "end_seconds": ["" if v.end_seconds == math.inf else v.end_seconds for _, v in videos],
    }
    if any(video.group for _, video in videos):
        table["group"] = [video.group for _, video in videos]
    if any(video.frame_rate != FRAME_RATE for _, video in videos):
        table["frame_rate"] = [video.frame_rate for _, video in videos]
    return files.csv_text(list(table), zip(*table.values(), strict=True))
