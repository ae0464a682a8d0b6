"""Public lists of labeled videos, which may lie anywhere in a folder; many are missing.

Kinetics (400, 600, 700, 700-2020): CSV files with the columns label,youtube_id,time_start,time_end,
split, or a folder of them; those of test sets may lack the label. Videos are called
ID_START_END.mp4 (six digits each); ID.mp4 is taken for the whole video, and the ten seconds for a
segment of it.

ActivityNet (v1.2, v1.3): a JSON file with a "database" of untrimmed videos, ID.mp4 or v_ID.mp4, and
their labeled segments; every segment is a sample. The authors' files (kinetics.json,
ucf101_01.json, …) have one label for each trimmed video.

UCF101 and HMDB51: a folder of text files and the number of the split, "ucfTrainTestlist/1".
trainlist01.txt and testlist01.txt list CLASS/video.avi; CLASS_test_split1.txt, one for each class,
list video.avi and 1 (training), 2 (test) or 0 (neither).
"""

import dataclasses
import itertools
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_r3d.data.annotations import csv_file
from keras_r3d.data.annotations.video import (
    SPLITS,
    VIDEO_SUFFIXES,
    Splits,
    Video,
    file_lines,
    note,
    some,
)
from keras_r3d.system.errors import DataError

_KINETICS = ("youtube_id", "time_start", "time_end", "split")
_UCF101 = {"trainlist": "train", "testlist": "test"}
_HMDB51 = {"1": "train", "2": "test", "0": None}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of a list."""

    name: str  # of the trimmed video's file, without suffix
    label: str | None  # None where the list keeps it secret
    split: str
    where: str  # file and line
    # Names of longer videos, without suffix, and when it starts and ends in them.
    segments: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


def read_public_list(path: Path, data_dir: Path) -> tuple[Splits, list[str]] | None:
    """Returns the listed videos that are in a folder, and notes; None if it is no public list."""
    formats = (
        (_json_files, _json_entries),
        (_kinetics_files, _kinetics_entries),
        (official_lists, _official_entries),
    )
    for files_of, entries_of in formats:
        if files := files_of(path):
            return _find_videos(itertools.chain(*map(entries_of, files)), data_dir, path)
    _refuse_half_names(path)
    return None


def _json_files(path: Path) -> list[Path]:
    return [path] if path.suffix == ".json" and path.is_file() else []


def official_lists(path: Path) -> list[Path]:
    """Returns the files of UCF101's or HMDB51's numbered split that a path names, if it does."""
    if path.exists() or not path.name.isdecimal() or not path.parent.is_dir():
        return []
    number = int(path.name)
    lists = sorted(path.parent.glob(f"*_test_split{number}.txt"))
    if not lists:
        lists = [path.parent / f"{name}{number:02d}.txt" for name in _UCF101]
    return lists if any(file.is_file() for file in lists) else []


def _refuse_half_names(path: Path) -> None:
    """Raises DataError for a folder of official lists, one of them, or a wrong number."""
    folder = path if path.is_dir() else path.parent
    files = [*folder.glob("trainlist0?.txt"), *folder.glob("*_test_split?.txt")]
    numbers = sorted({file.stem[-1] for file in files})
    if numbers:
        raise DataError(
            f"{folder} holds official lists: add the number of the split, such as "
            f"{folder.name}/{numbers[0]}. There are {', '.join(numbers)}. Received: {path}"
        )


def _kinetics_files(path: Path) -> list[Path]:
    """Returns the files with the columns of Kinetics: the path, or those in it."""
    if path.is_dir():
        return [file for name in sorted(path.glob("*.csv")) for file in _kinetics_files(name)]
    if path.suffix != ".csv" or not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        columns = file.readline(1000).strip().replace('"', "").split(",")
    return [path] if set(_KINETICS) <= set(columns) else []


def _kinetics_entries(path: Path) -> Iterator[Entry]:
    for where, row in csv_file.read_rows(path, _KINETICS):
        name, split = row["youtube_id"], SPLITS.get(row["split"].lower())
        if not name or split is None:
            raise DataError(
                f"{where}: youtube_id must not be empty, split must be one of {list(SPLITS)}. "
                f"Received: {name!r} and {row['split']!r}"
            )
        try:
            start, end = float(row["time_start"]), float(row["time_end"])
        except ValueError:
            start, end = 0.0, 0.0
        if not 0 <= start < end < 1e6:
            raise DataError(
                f"{where}: time_start and time_end must be seconds, the first below the second. "
                f"Received: {row['time_start']!r} and {row['time_end']!r}"
            )
        trimmed = f"{name}_{int(start):06d}_{int(end):06d}"
        yield Entry(trimmed, row.get("label") or None, split, where, {name: (start, end)})


def _official_entries(path: Path) -> Iterator[Entry]:
    label, of_hmdb51, _ = path.name.partition("_test_split")
    if not path.is_file():
        raise DataError(f"The list {path} is missing beside the other one.")
    for where, line in file_lines(path):
        line = line.strip()
        if of_hmdb51:
            expected = "video.avi and 0, 1 or 2"
            name, _, kind = line.rpartition(" ")
            valid = bool(name) and kind in _HMDB51
            split = _HMDB51.get(kind)
        else:
            expected = "CLASS/video.avi"  # a number may follow; names have no spaces
            label, _, name = line.split()[0].partition("/")
            valid = bool(label and name)
            split = _UCF101[path.stem[:-2]]
        if not valid:
            raise DataError(f"{where}: expected {expected}. Received: {line[:100]}")
        if split is not None:
            yield Entry(Path(name.strip()).stem, label, split, where)


def _json_entries(path: Path) -> Iterator[Entry]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a JSON file in UTF-8: {error}") from error
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise DataError(
            f"{path} must have a \"database\" of videos, as ActivityNet's and the authors' do."
        )
    for name, video in database.items():
        where = f"{path}, video '{name}'"
        split = SPLITS.get(str(video.get("subset")).lower()) if isinstance(video, dict) else None
        if split is None:
            raise DataError(f'{where}: "subset" must be one of {list(SPLITS)}.')
        annotations = video.get("annotations", [])
        if isinstance(annotations, dict):  # the authors': a trimmed video
            label = annotations.get("label")
            yield Entry(name, None if label is None else _json_label(label, where), split, where)
        elif not isinstance(annotations, list):
            raise DataError(f'{where}: "annotations" must be a list of segments.')
        elif not annotations:
            yield Entry(name, None, split, where)
        else:
            for number, annotation in enumerate(annotations, start=1):
                yield _json_segment(name, annotation, split, f"{where}, segment {number}")


def _json_segment(name: str, annotation: Any, split: str, where: str) -> Entry:
    segment = annotation.get("segment") if isinstance(annotation, dict) else None
    match segment:
        case [int() | float() as start, int() | float() as end] if 0 <= start < end:
            label = _json_label(annotation.get("label"), where)
            trimmed = f"{name} [{start:g}-{end:g} s]"
            segments = dict.fromkeys((name, f"v_{name}"), (float(start), float(end)))
            return Entry(trimmed, label, split, where, segments)
    raise DataError(
        f'{where}: "segment" must be two numbers of seconds, the first below the second. '
        f"Received: {str(segment)[:100]}"
    )


def _json_label(label: Any, where: str) -> str:
    if not isinstance(label, str) or not label.strip() or len(label.splitlines()) > 1:
        raise DataError(f'{where}: "label" must be a line of text. Received: {label!r:.100}')
    return label.strip()


def _find_videos(
    entries: Iterable[Entry], data_dir: Path, source: Path
) -> tuple[Splits, list[str]]:
    """Returns the videos that exist, by split, and notes on those that do not.

    Raises:
        DataError: none exists, one lies in two places, or one has two labels.
    """
    files = video_files(data_dir)
    splits: Splits = defaultdict(list)
    listed: Counter[str] = Counter()
    missing: list[str] = []
    unlabeled: list[str] = []
    duplicates: list[str] = []
    seen: dict[str, tuple[str, str]] = {}
    for entry in entries:
        if entry.label is None:
            unlabeled.append(entry.name)
            continue
        video = _find_video(entry, entry.label, files)
        if video is None:
            listed[entry.split] += 1
            missing.append(entry.name)
            continue
        label, where = seen.setdefault(video.name, (entry.label, entry.where))
        if where == entry.where:
            listed[entry.split] += 1
            splits[entry.split].append(video)
        elif label == entry.label:
            duplicates.append(f"{entry.name} ({entry.where})")
        else:
            raise DataError(
                f"{entry.where}: {video.name} is labeled '{entry.label}', but '{label}' in "
                f"{where}: remove one of the two."
            )
    if not splits:
        example = f": {missing[0]}.mp4, for one" if missing else ""
        raise DataError(
            f"None of the {len(missing)} labeled videos listed in {source} is in {data_dir}"
            f"{example}. Suffixes and folders do not matter, names do."
        )
    there = {split: len(splits.get(split, [])) for split in listed}
    counts = ", ".join(
        f"{split} {there[split]} of {count} ({100 * there[split] / count:.1f} %)"
        for split, count in listed.items()
    )
    labels = {split: {video.label for video in videos} for split, videos in splits.items()}
    used = {video.path for videos in splits.values() for video in videos}
    unlisted = sorted(set(itertools.chain(*files.values())) - used)
    untrained = sorted(set().union(*labels.values()) - labels["train"]) if "train" in labels else []
    for split, videos in splits.items():
        splits[split] = [video for video in videos if video.label not in untrained]
    notes = [
        f"{source}: videos that were found: {counts}.",
        *note(missing, "listed videos are missing"),
        *note(untrained, "classes without training videos are skipped"),
        *note(unlabeled, "listed videos have no label and are skipped"),
        *note(duplicates, "videos are listed twice and count once"),
        *note(unlisted, "videos are not listed and skipped"),
    ]
    return dict(splits), notes


def video_files(data_dir: Path) -> dict[str, list[str]]:
    """Returns the paths of all videos below a folder, by their names without suffix."""
    files: dict[str, list[str]] = defaultdict(list)
    for folder, folders, names in os.walk(data_dir):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                files[stem].append(os.path.normpath(os.path.join(folder, name)))
    return files


def _find_video(entry: Entry, label: str, files: dict[str, list[str]]) -> Video | None:
    for name, seconds in ({entry.name: (0.0, math.inf)} | entry.segments).items():
        paths = files.get(name, [])
        if len(paths) > 1:
            # Of files with the same name, the one in its class's folder.
            in_class = [path for path in paths if _plain(Path(path).parent.name) == _plain(label)]
            paths = in_class or paths
        if len(paths) > 1:
            raise DataError(
                f"{entry.where}: {name} lies in two places: {some(paths)}. Remove one of them."
            )
        if paths:
            return Video(paths[0], label, *seconds)
    return None


def _plain(label: str) -> str:
    return label.casefold().replace("_", " ").strip()
