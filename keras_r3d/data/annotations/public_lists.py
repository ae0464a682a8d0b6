"""Public lists of labeled videos, which may lie anywhere in a folder; many are missing.

Lists are long and never quite right: rows that cannot be used are left aside and named.

Kinetics (400, 600, 700, 700-2020): CSV files with the columns label,youtube_id,time_start,time_end,
split, or a folder of them; those of test sets may lack the label. Videos are called
ID_START_END.mp4 (six digits each); ID.mp4 is taken for the whole video, and the ten seconds for a
segment of it, unless it is said that files are trimmed.

ActivityNet (v1.2, v1.3): a JSON file with a "database" of untrimmed videos, ID.mp4 or v_ID.mp4, and
their labeled segments; every segment is a sample. The authors' files (kinetics.json,
ucf101_01.json, …) have one label for each trimmed video.

Sports-1M: lines of an address and of the numbers of classes, http://…watch?v=ID 12,345; labels.txt
beside the list, or in the folder above, has a class name a line. Videos are called ID.mp4.

UCF101 and HMDB51: a folder of text files and the number of the split, "ucfTrainTestlist/1".
trainlist01.txt and testlist01.txt list CLASS/video.avi; CLASS_test_split1.txt, one for each class,
list video.avi and 1 (training), 2 (test) or 0 (neither).
"""

import dataclasses
import itertools
import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_r3d.data.annotations.folder import contents, stem
from keras_r3d.data.annotations.labels import join_labels
from keras_r3d.data.annotations.own_lists import class_name, class_names, header, read_rows
from keras_r3d.data.annotations.video import SPLITS, Splits, Video, file_lines, note, some
from keras_r3d.system.errors import DataError
from keras_r3d.system.objects.calls import is_url

_KINETICS = ("youtube_id", "time_start", "time_end", "split")
_SPORTS1M = re.compile(r"https?://\S+?[/=]([\w-]+)\s+(\d+(?:,\d+)*)")
_UCF101 = {"trainlist": "train", "testlist": "test"}
_UNUSABLE = "entries cannot be used and are skipped"
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
    is_clipped: bool = False  # a segment that reaches out of its video
    several: bool = False  # the label is the text of several


def read_public_list(
    path: Path,
    data_dir: str,
    labeled: bool,
    trimmed: bool,
    frame_rate: float,
    several_labels: bool = False,
) -> tuple[Splits, list[str]] | None:
    """Returns the listed videos that are in a folder, and notes; None if it is no public list.

    Only those with a label, if they are to be `labeled`. `trimmed` files are segments already. With
    `several_labels` a segment may be listed once for each.
    """
    # Of each: its files, and what gives their entries, or in a sentence what is wrong with a row.
    formats = (
        (_json_files, _json_entries),
        (_sports1m_files, _sports1m_entries),
        (_kinetics_files, _kinetics_entries),
        (official_lists, _official_entries),
    )
    for files_of, entries_of in formats:
        if files := files_of(path):
            rows = itertools.chain(*map(entries_of, files))
            options = labeled, trimmed, frame_rate, several_labels
            return _find_videos(rows, data_dir, path, *options)
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
    return [path] if set(_KINETICS) <= set(map(str.lower, header(path)[0])) else []


def _kinetics_entries(path: Path) -> Iterator[Entry | str]:
    for where, row in read_rows(path, _KINETICS):
        name, split = row["youtube_id"], SPLITS.get(row["split"].lower())
        if not name or split is None:
            yield (
                f"{where}: youtube_id must not be empty, split must be one of {list(SPLITS)}. "
                f"Received: {name!r} and {row['split']!r}"
            )
            continue
        try:
            start, end = float(row["time_start"]), float(row["time_end"])
        except ValueError:
            start, end = 0.0, 0.0
        if not 0 <= start < end < 1e6:
            yield (
                f"{where}: time_start and time_end must be seconds, the first below the second. "
                f"Received: {row['time_start']!r} and {row['time_end']!r}"
            )
            continue
        trimmed = f"{name}_{int(start):06d}_{int(end):06d}"
        yield Entry(trimmed, row.get("label") or None, split, where, {name: (start, end)})


def _sports1m_files(path: Path) -> list[Path]:
    """Returns the list of addresses that a path is, or the lists in it."""
    if path.is_dir():
        return [file for name in sorted(path.glob("*.txt")) for file in _sports1m_files(name)]
    if path.suffix != ".txt" or not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return [path] if _SPORTS1M.fullmatch(file.readline(1000).strip()) else []


def _sports1m_entries(path: Path) -> Iterator[Entry | str]:
    words = re.split(r"[^a-z]+", path.stem.lower())
    split = next((SPLITS[word] for word in words if word in SPLITS), "train")
    names = class_names(path.parent) or class_names(path.parent.parent)
    for where, line in file_lines(path):
        if match := _SPORTS1M.fullmatch(line.strip()):
            labels = (class_name(number, names, where) for number in match[2].split(","))
            yield Entry(match[1], join_labels(labels), split, where, several=True)
        else:
            yield f"{where}: expected an address and numbers of classes. Received: {line[:100]}"


def _official_entries(path: Path) -> Iterator[Entry | str]:
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
            yield f"{where}: expected {expected}. Received: {line[:100]}"
        elif split is not None:
            yield Entry(Path(name.strip()).stem, label, split, where)


def _json_entries(path: Path) -> Iterator[Entry | str]:
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
            yield f'{where}: "subset" must be one of {list(SPLITS)}.'
            continue
        annotations = video.get("annotations", [])
        if isinstance(annotations, dict):  # the authors': a trimmed video
            label = annotations.get("label")
            if label is None or _is_label(label):
                yield Entry(name, label and label.strip(), split, where)
            else:
                yield _bad_label(label, where)
        elif not isinstance(annotations, list):
            yield f'{where}: "annotations" must be a list of segments.'
        elif not annotations:
            names = (name, f"v_{name}")
            yield Entry(name, None, split, where, dict.fromkeys(names, (0.0, math.inf)))
        else:
            for number, annotation in enumerate(annotations, start=1):
                place = f"{where}, segment {number}"
                yield _json_segment(name, annotation, split, video.get("duration"), place)


def _json_segment(name: str, annotation: Any, split: str, duration: Any, where: str) -> Entry | str:
    """Returns a segment, clipped to its video."""
    segment = annotation.get("segment") if isinstance(annotation, dict) else None
    length = duration if isinstance(duration, int | float) and duration > 0 else math.inf
    match segment:
        case [int() | float() as start, int() | float() as end] if (
            start < end and start < length and end > 0
        ):
            label = annotation.get("label")
            if not _is_label(label):
                return _bad_label(label, where)
            trimmed = f"{name} [{start:g}-{end:g} s]"
            seconds = max(0.0, float(start)), min(float(end), float(length))
            segments = dict.fromkeys((name, f"v_{name}"), seconds)
            is_clipped = seconds != (start, end)
            return Entry(trimmed, label.strip(), split, where, segments, is_clipped)
    within = "" if math.isinf(length) else f" of a video of {length:g} s"
    return (
        f'{where}: "segment" must be two numbers of seconds{within}, the first below the second. '
        f"Received: {str(segment)[:100]}"
    )


def _is_label(label: Any) -> bool:
    return isinstance(label, str) and bool(label.strip()) and len(label.splitlines()) == 1


def _bad_label(label: Any, where: str) -> str:
    return f'{where}: "label" must be a line of text. Received: {label!r:.100}'


def _find_videos(
    entries: Iterable[Entry | str],
    data_dir: str,
    source: Path,
    labeled: bool,
    trimmed: bool,
    frame_rate: float,
    several_labels: bool,
) -> tuple[Splits, list[str]]:
    """Returns the videos that exist, by split, and notes on those that do not.

    Raises:
        DataError: none exists, or one lies in two places.
    """
    files: dict[str, list[str]] = defaultdict(list)  # of videos, by their names without suffix
    for path in contents(data_dir)[0]:
        files[stem(path)].append(path if is_url(path) else os.path.normpath(path))
    splits: Splits = defaultdict(list)
    listed: Counter[str] = Counter()
    missing: list[str] = []
    unlabeled: list[str] = []
    duplicates: list[str] = []
    clipped: list[str] = []
    bad: list[str] = []
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in entries:
        if isinstance(entry, str):
            bad.append(entry.rstrip("."))
            continue
        if entry.label is None and labeled:
            unlabeled.append(entry.name)
            continue
        video = _find_video(entry, entry.label or "", files, trimmed)
        if video is None:
            listed[entry.split] += 1
            missing.append(entry.name)
            continue
        key = video.name, video.label if several_labels else ""
        label, where = seen.setdefault(key, (video.label, entry.where))
        if where == entry.where:
            listed[entry.split] += 1
            splits[entry.split].append(dataclasses.replace(video, frame_rate=frame_rate))
            if entry.is_clipped:
                clipped.append(entry.name)
        elif label == video.label:
            duplicates.append(f"{entry.name} ({entry.where})")
        else:
            bad.append(
                f"{entry.where}: {video.name} is labeled '{video.label}', but '{label}' in {where}"
            )
    if not splits:
        example = f": {missing[0]}.mp4, for one" if missing else ""
        raise DataError(
            f"None of the {len(missing)} labeled videos listed in {source} is in {data_dir}"
            f"{example}. Suffixes and folders do not matter, names do."
            + "".join(f" {text}" for text in note(bad, _UNUSABLE))
        )
    there = {split: len(splits.get(split, [])) for split in listed}
    counts = ", ".join(
        f"{split} {there[split]} of {count} ({100 * there[split] / count:.1f} %)"
        for split, count in listed.items()
    )
    labels = {split: {x for video in part for x in video.labels} for split, part in splits.items()}
    used = {video.path for videos in splits.values() for video in videos}
    unlisted = sorted(set(itertools.chain(*files.values())) - used)
    untrained = sorted(set().union(*labels.values()) - labels["train"]) if "train" in labels else []
    for split, videos in splits.items():
        splits[split] = [v for video in videos if (v := _without(video, untrained)) is not None]
    notes = [
        f"{source}: videos that were found: {counts}.",
        *note(missing, "listed videos are missing"),
        *note(untrained, "classes without training videos are skipped"),
        *note(unlabeled, "listed videos have no label and are skipped"),
        *note(duplicates, "videos are listed twice and count once"),
        *note(clipped, "segments reach out of their videos and are clipped"),
        *note(bad, _UNUSABLE),
        *note(unlisted, "videos are not listed and skipped"),
    ]
    return dict(splits), notes


def _without(video: Video, labels: list[str]) -> Video | None:
    """Returns a video without some labels; None if it has no others."""
    left = [label for label in video.labels if label not in labels]
    if not video.several or not left:
        return video if left else None
    return dataclasses.replace(video, label=join_labels(left))


def _find_video(
    entry: Entry, label: str, files: dict[str, list[str]], trimmed: bool
) -> Video | None:
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
            start, end = (0.0, math.inf) if trimmed else seconds
            return Video(paths[0], label, start, end, several=entry.several)
    return None


def _plain(label: str) -> str:
    return label.casefold().replace("_", " ").strip()
