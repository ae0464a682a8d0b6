"""Which videos there are, their labels and splits: class folders or a CSV file.

Only names are read here; no video is opened.
"""

import csv
import dataclasses
import io
import math
import os
import random
from collections import defaultdict
from pathlib import Path

from keras_r3d.errors import R3DError

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for names in (
        "3gp asf avi f4v flv gif m2ts m4v mkv mov mp4 mpeg mpg",
        "mts mxf ogg ogv ts vob webm wmv",
    )
    for name in names.split()
)
SPLIT_FOLDERS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}

MANIFEST = "manifest.csv"
AUTO = "auto"

LAYOUT = """\
  DATA_DIR/train/CLASS/video.mp4, DATA_DIR/validation/CLASS/…, DATA_DIR/test/CLASS/…
  or DATA_DIR/CLASS/video.mp4 (splits are then drawn from the classes),
  or a CSV file with the columns path,label[,split][,start_seconds,end_seconds]"""


class AnnotationError(R3DError, ValueError):
    """Videos and labels that cannot be trained on as they are."""


@dataclasses.dataclass(frozen=True)
class Video:
    """A labelled video: a file, or the part of it from `start_seconds` to `end_seconds`."""

    path: str
    label: str
    start_seconds: float = 0.0
    end_seconds: float = math.inf

    @property
    def name(self) -> str:
        """The path, with the segment's seconds where it is one."""
        if self.start_seconds == 0 and self.end_seconds == math.inf:
            return self.path
        return f"{self.path} [{self.start_seconds:g}-{self.end_seconds:g} s]"


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with a video.

    Attributes:
        status: "unreadable" (it gives no frames) or "short" (the container promises more frames
            than decode; those that decode are used).
    """

    name: str
    status: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Annotations:
    """Labelled videos by split.

    Attributes:
        splits: split name -> videos; always has "train".
        classes: class names in label order (alphabetical).
        notes: what a person should know: files left aside, splits drawn, classes without videos.
    """

    splits: dict[str, list[Video]]
    classes: list[str]
    notes: list[str]

    def split(self, name: str) -> list[Video]:
        """Returns the videos of a split.

        Raises:
            AnnotationError: there is no such split.
        """
        if not self.splits.get(name):
            there = {split: len(videos) for split, videos in self.splits.items()}
            raise AnnotationError(
                f"There are no videos in split '{name}'. Videos by split: {there}. Name another "
                "split (`eval.split`), add it to the annotations, or set "
                "`data.validation_fraction` or `data.test_fraction` to hold training videos out."
            )
        return self.splits[name]


def read(
    data_dir: str | Path,
    annotations: str,
    *,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.0,
    seed: int = 0,
    must_exist: bool = True,
) -> Annotations:
    """Reads the annotations of a data folder.

    Args:
        data_dir: folder of videos, or a CSV file (then `annotations` is not used).
        annotations: "folders", the name of a CSV file inside `data_dir`, or "auto": manifest.csv
            if there is one, else folders.
        validation_fraction: share of each class's training videos held out where there is no
            validation split.
        test_fraction: likewise for the test split.
        seed: of the hold-out.
        must_exist: refuse a CSV file that lists missing videos.

    Raises:
        AnnotationError: anything that keeps the videos from being trained on, by name.
    """
    data_dir = Path(data_dir)
    if not data_dir.exists():
        raise AnnotationError(f"The data folder {data_dir} does not exist. Expected:\n{LAYOUT}")
    if data_dir.is_file():
        splits, notes = _read_csv(data_dir, must_exist)
    elif annotations == "folders" or (annotations == AUTO and not (data_dir / MANIFEST).is_file()):
        splits, notes = _read_folders(data_dir)
    else:
        name = MANIFEST if annotations == AUTO else annotations
        splits, notes = _read_csv(data_dir / name, must_exist)
    if not splits.get("train"):
        raise AnnotationError(
            f"No training videos in {data_dir}. Splits found: {sorted(splits)}. Expected:\n{LAYOUT}"
        )
    for name, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if name not in splits and fraction > 0:
            splits["train"], splits[name] = _hold_out(splits["train"], fraction, f"{seed} {name}")
            notes.append(
                f"No {name} split: {len(splits[name])} training videos are held out for it "
                f"(data.{name}_fraction = {fraction:g})."
            )
    classes = sorted({video.label for video in splits["train"]})
    _check_classes(splits, classes, notes)
    return Annotations(splits, classes, notes)


def root(data_dir: str | Path) -> str:
    """Returns the folder that the paths of a data folder's, or a CSV file's, videos start from."""
    path = os.path.abspath(data_dir)
    return os.path.dirname(path) if os.path.isfile(path) else path


def to_csv(annotations: Annotations) -> str:
    """Returns all videos as the text of a CSV file that `read` reads back, with absolute paths."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "label", "split", "start_seconds", "end_seconds"])
    for split, videos in annotations.splits.items():
        for video in videos:
            segment = [
                "" if seconds == default else repr(seconds)
                for seconds, default in ((video.start_seconds, 0.0), (video.end_seconds, math.inf))
            ]
            rows.writerow([os.path.abspath(video.path), video.label, split, *segment])
    return text.getvalue()


def _read_folders(data_dir: Path) -> tuple[dict[str, list[Video]], list[str]]:
    folders = _folders(data_dir)
    split_folders = [f for f in folders if f.name.lower() in SPLIT_FOLDERS]
    splits: dict[str, list[Video]] = {}
    others: list[Path] = []
    for split_folder in split_folders or [data_dir]:
        videos = []
        for class_folder in _folders(split_folder):
            files = sorted(
                p for p in class_folder.rglob("*") if p.is_file() and not p.name.startswith(".")
            )
            found = [p for p in files if _is_video(p)]
            others += [p for p in files if not _is_video(p)]
            if not found:
                raise AnnotationError(
                    f"The class folder {class_folder} holds no video "
                    f"({', '.join(sorted(VIDEO_SUFFIXES))}): add videos or remove the folder."
                )
            videos += [Video(str(p), class_folder.name) for p in found]
        name = SPLIT_FOLDERS[split_folder.name.lower()] if split_folders else "train"
        if name in splits:
            raise AnnotationError(
                f"{data_dir} has two folders for the {name} split "
                f"({', '.join(f.name for f in split_folders)}): keep one."
            )
        splits[name] = videos
    loose = [f for f in [data_dir, *split_folders] for f in sorted(f.iterdir()) if _is_video(f)]
    if not any(splits.values()):
        raise AnnotationError(f"No class folders with videos in {data_dir}. Expected:\n{LAYOUT}")
    notes = []
    if split_folders and len(split_folders) < len(folders):
        left = [f.name for f in folders if f not in split_folders]
        notes.append(f"Folders beside the splits are left aside: {_some(left)}.")
    if loose:
        notes.append(
            f"{len(loose)} videos lie in no class folder and are left aside: "
            f"{_some([str(p) for p in loose])}."
        )
    if others:
        notes.append(
            f"{len(others)} files are no videos by their suffix and are left aside: "
            f"{_some([str(p) for p in others])}."
        )
    return splits, notes


def _is_video(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read_csv(path: Path, must_exist: bool) -> tuple[dict[str, list[Video]], list[str]]:
    if not path.is_file():
        raise AnnotationError(
            f"The annotation file {path} does not exist. It must have the columns "
            "path,label[,split][,start_seconds,end_seconds]; set `data.annotations` to its name, "
            'or to "folders" for class folders.'
        )
    splits: dict[str, list[Video]] = defaultdict(list)
    seen: dict[tuple[str, float, float], int] = {}
    missing: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            if "path" not in columns or "label" not in columns:
                raise AnnotationError(
                    f"{path} must have the columns path,label[,split][,start_seconds,end_seconds]. "
                    f"Received: {','.join(columns)}"
                )
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                video, split = _read_row(row, path.parent, where)
                key = (video.path, video.start_seconds, video.end_seconds)
                if key in seen:
                    raise AnnotationError(
                        f"{where}: {video.name} stands there twice (first in line {seen[key]}): "
                        "remove one of the two."
                    )
                seen[key] = rows.line_num
                if not Path(video.path).is_file():
                    missing.append(f"{video.path} (line {rows.line_num})")
                splits[split].append(video)
    except (UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"{path} is not a CSV file in UTF-8: {error}") from error
    if not seen:
        raise AnnotationError(f"{path} lists no videos.")
    if missing and must_exist:
        raise AnnotationError(
            f"{len(missing)} of {len(seen)} videos listed in {path} do not exist: "
            f"{_some(missing)}. Paths are relative to the folder of the CSV file; put the videos "
            "there or remove their lines."
        )
    unknown = sorted(set(splits) - set(SPLIT_FOLDERS.values()))
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
            raise AnnotationError(f"{where}: the column '{column}' is empty.")
    if len(cell("label").splitlines()) > 1:
        raise AnnotationError(f"{where}: a label must be one line. Received: {cell('label')!r}")
    start, end = 0.0, math.inf
    try:
        if cell("start_seconds"):
            start = float(cell("start_seconds"))
        if cell("end_seconds"):
            end = float(cell("end_seconds"))
    except ValueError:
        raise AnnotationError(
            f"{where}: start_seconds and end_seconds must be numbers. Received: "
            f"{cell('start_seconds')!r} and {cell('end_seconds')!r}"
        ) from None
    if not 0 <= start < end:
        raise AnnotationError(
            f"{where}: start_seconds must be 0 or more and below end_seconds. "
            f"Received: {start:g} and {end:g}"
        )
    split = cell("split").lower() or "train"
    video = Video(os.path.normpath(folder / cell("path")), cell("label"), start, end)
    return video, SPLIT_FOLDERS.get(split, split)


def _hold_out(videos: list[Video], fraction: float, seed: str) -> tuple[list[Video], list[Video]]:
    """Draws `fraction` of each class; segments of one file stay together."""
    # A file with segments of several classes goes with the first.
    labels: dict[str, str] = {}
    for video in videos:
        labels.setdefault(video.path, video.label)
    files: dict[str, list[str]] = defaultdict(list)
    for path, label in labels.items():
        files[label].append(path)
    held: set[str] = set()
    for label, paths in files.items():
        count = min(max(1, round(fraction * len(paths))), len(paths) - 1)
        held |= set(random.Random(f"{seed} {label}").sample(paths, count))
    if not held:
        raise AnnotationError(
            "There is no class with two videos or more, so none can be held out for validation or "
            "test: add videos."
        )
    kept = [v for v in videos if v.path not in held]
    return kept, [v for v in videos if v.path in held]


def _check_classes(splits: dict[str, list[Video]], classes: list[str], notes: list[str]) -> None:
    if len(classes) < 2:
        raise AnnotationError(
            f"There is only one class ({classes[0]}) among the training videos: a classifier "
            f"needs two or more. Expected:\n{LAYOUT}"
        )
    for name, videos in splits.items():
        labels = {video.label for video in videos}
        unknown = sorted(labels - set(classes))
        if unknown:
            example = next(v for v in videos if v.label == unknown[0])
            raise AnnotationError(
                f"Split '{name}' has classes without training videos: {_some(unknown)} "
                f"(for one, {example.path}). Add training videos or remove these."
            )
        absent = sorted(set(classes) - labels)
        if absent:
            notes.append(f"Split '{name}' has no video of: {_some(absent)}.")


def _some(items: list[str], most: int = 5) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
