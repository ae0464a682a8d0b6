"""Which videos there are, their labels and splits, whatever the annotations look like.

Only names are read here; no video is opened.
"""

import dataclasses
import os
import random
from collections import defaultdict
from pathlib import Path

from keras_r3d.data.annotations import (
    csv_file,
    folders,
    json_file,
    kinetics,
    listed,
    official_splits,
    quarantine,
)
from keras_r3d.data.annotations.folders import LAYOUT
from keras_r3d.data.annotations.video import Annotations, Video, some
from keras_r3d.system.errors import DataError

MANIFEST = "manifest.csv"
FORMS = (
    '"folders", "auto", a CSV file of your own, the CSV file of Kinetics or the folder of them, '
    "the JSON file of ActivityNet or of the authors' code, or the folder of UCF101's or HMDB51's "
    'lists and the number of the split, such as "ucfTrainTestlist/1".'
)
AUTO = "auto"


def read(
    data_dir: str | Path,
    annotations: str,
    *,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.0,
    seed: int = 0,
    least_validation: int = 0,
    must_exist: bool = True,
    quarantined: bool = False,
    trained_on: bool = True,
) -> Annotations:
    """Reads the annotations of a data folder.

    Args:
        data_dir: folder of videos, or an annotation file beside them (then `annotations` is not
            used).
        annotations: "folders"; "auto": manifest.csv if there is one, else folders; or a path
            (relative to `data_dir`): a CSV file of one's own, a CSV file of Kinetics or a folder of
            them, a JSON file of ActivityNet or of the authors' code, or the folder of the official
            split lists of UCF101 or HMDB51 and the number of the split, such as
            "ucfTrainTestlist/1".
        validation_fraction: share of each class's training videos held out where there is no
            validation split.
        test_fraction: likewise for the test split.
        seed: of the hold-out.
        least_validation: hold no videos out for validation if they would be fewer than that.
        must_exist: refuse a CSV file of one's own that lists missing videos. (The public lists name
            videos that are gone from the web; those are left aside, counted and said.)
        quarantined: also the videos that quarantine.txt leaves aside.
        trained_on: refuse what a classifier cannot be trained on: no training videos, less than
            two classes, classes without training videos. What a trained one is tried on may be so.

    Raises:
        DataError: anything that keeps the videos from being used, by name.
    """
    data_dir = Path(data_dir)
    if not data_dir.exists():
        raise DataError(f"The data folder {data_dir} does not exist. Expected:\n{LAYOUT}")
    if data_dir.is_file():
        splits, notes = _read_path(data_dir, data_dir.parent, must_exist)
    elif annotations == "folders" or (annotations == AUTO and not (data_dir / MANIFEST).is_file()):
        splits, notes = folders.read(data_dir)
    else:
        name = MANIFEST if annotations == AUTO else annotations
        splits, notes = _read_path(data_dir / name, data_dir, must_exist)
    arranged = arrange(
        splits,
        root(data_dir),
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
        least_validation=least_validation,
        quarantined=quarantined,
        trained_on=trained_on,
    )
    return dataclasses.replace(arranged, notes=notes + arranged.notes)


def arrange(
    splits: dict[str, list[Video]],
    folder: str,
    *,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.0,
    seed: int = 0,
    least_validation: int = 0,
    quarantined: bool = False,
    trained_on: bool = True,
) -> Annotations:
    """Leaves quarantined videos aside, holds videos out, and checks the classes.

    Args:
        folder: that the videos are of; may have a quarantine.txt.
        validation_fraction, test_fraction, seed, least_validation, quarantined, trained_on: as in
            `read`.

    Raises:
        DataError: there are no videos, or what `trained_on` refuses.
    """
    notes: list[str] = []
    if not quarantined:
        notes += quarantine.leave_aside(splits, Path(folder))
    nameless = [v.path for videos in splits.values() for v in videos if not is_text(v.path)]
    if nameless:
        for split, videos in splits.items():
            splits[split] = [video for video in videos if is_text(video.path)]
        shown = [os.fsencode(path).decode(errors="backslashreplace") for path in nameless]
        notes.append(
            f"{len(nameless)} videos whose names are not UTF-8 are left aside; rename them: "
            f"{some(shown)}."
        )
    if not any(splits.values()) or (trained_on and not splits.get("train")):
        raise DataError(
            f"No {'training ' * trained_on}videos in {folder}. Splits found: {sorted(splits)}. "
            f"Expected:\n{LAYOUT}"
        )
    for name, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if name not in splits and fraction > 0:
            kept, held = _hold_out(splits["train"], fraction, f"{seed} {name}")
            if name == "validation" and len(held) < least_validation:
                notes.append(
                    f"No validation split, and none is drawn: {len(held)} videos "
                    f"(data.validation_fraction = {fraction:g}) are too few to choose an epoch "
                    "by. All are trained on."
                )
                continue
            splits["train"], splits[name] = kept, held
            notes.append(
                f"No {name} split: {len(splits[name])} training videos are held out for it "
                f"(data.{name}_fraction = {fraction:g})."
            )
    own = [splits["train"]] if trained_on else splits.values()
    classes = sorted({video.label for videos in own for video in videos})
    if trained_on and len(classes) < 2:
        raise DataError(
            f"There is only one class ({classes[0]}) among the training videos: a classifier "
            f"needs two or more. Expected:\n{LAYOUT}"
        )
    _check_classes(splits, classes, notes)
    _check_groups(splits)
    return Annotations(splits, classes, notes)


def is_text(path: str) -> bool:
    """Whether a path can be written as text: file names may be any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:  # bytes of a file name that stand for no character
        return False
    return True


def videos_in(data_dir: str | Path) -> list[str]:
    """Returns the paths of all files in a folder that are videos by their suffix."""
    return sorted(path for paths in listed.files(Path(data_dir)).values() for path in paths)


def add_to_quarantine(data_dir: str | Path, paths: list[str]) -> Path:
    """Adds files to the list of those that are left aside; returns its path.

    Raises:
        WriteError: it cannot be written.
    """
    return quarantine.add(Path(root(data_dir)), paths)


def has(data_dir: str | Path, annotations: str) -> bool:
    """Whether a data folder has annotations of that name."""
    path = Path(data_dir) / annotations
    return path.exists() or official_splits.number(path) is not None


def root(data_dir: str | Path) -> str:
    """Returns the folder that the paths of a data folder's, or a CSV file's, videos start from."""
    path = absolute(data_dir)
    return os.path.dirname(path) if os.path.isfile(path) else path


def absolute(path: str | Path) -> str:
    """Returns the absolute path; a URL (of a clip store) is one already."""
    return str(path).rstrip("/") if "://" in str(path) else os.path.abspath(path)


def _read_path(
    path: Path, data_dir: Path, must_exist: bool
) -> tuple[dict[str, list[Video]], list[str]]:
    """Tells the format by what lies there."""
    if path.suffix == ".json" and path.is_file():
        return json_file.read(path, data_dir)
    if kinetics.is_one(path):
        return kinetics.read(path, data_dir)
    if official_splits.number(path) is not None:
        return official_splits.read(path, data_dir)
    official_splits.refuse_half_names(path)
    if path.is_dir() or path.suffix == ".json":
        what = "holds no lists of Kinetics" if path.is_dir() else "does not exist"
        raise DataError(f"The annotations {path}: it {what}. `data.annotations` must be {FORMS}")
    return csv_file.read(path, must_exist)


def _hold_out(videos: list[Video], fraction: float, seed: str) -> tuple[list[Video], list[Video]]:
    """Draws `fraction` of each class; segments of one file and videos of a group stay together."""
    # A file or group with several classes goes with the first.
    labels: dict[str, str] = {}
    for video in videos:
        labels.setdefault(video.unit, video.label)
    files: dict[str, list[str]] = defaultdict(list)
    for path, label in labels.items():
        files[label].append(path)
    held: set[str] = set()
    for label, paths in files.items():
        count = min(max(1, round(fraction * len(paths))), len(paths) - 1)
        held |= set(random.Random(f"{seed} {label}").sample(paths, count))
    if not held:
        raise DataError(
            "There is no class with two videos or more (of different groups, if they have some), "
            "so none can be held out for validation or test: add videos."
        )
    kept = [v for v in videos if v.unit not in held]
    return kept, [v for v in videos if v.unit in held]


def _check_groups(splits: dict[str, list[Video]]) -> None:
    """Raises DataError if a group is on both sides of a split."""
    first: dict[str, tuple[str, Video]] = {}
    for split, videos in splits.items():
        for video in videos:
            if not video.group:
                continue
            before, other = first.setdefault(video.group, (split, video))
            if before != split:
                raise DataError(
                    f"The group '{video.group}' is in split '{before}' ({other.name}) and in "
                    f"split '{split}' ({video.name}): a figure of one would be inflated by the "
                    "other. Put all videos of a group into one split, or leave the column 'group' "
                    "out."
                )


def _check_classes(splits: dict[str, list[Video]], classes: list[str], notes: list[str]) -> None:
    alike: dict[str, str] = {}
    for name in classes:
        other = alike.setdefault("".join(name.casefold().split()), name)
        if other != name:
            raise DataError(
                f"The labels {other!r} and {name!r} differ only by case or spaces: make them one."
            )
    for name, videos in splits.items():
        labels = {video.label for video in videos}
        unknown = sorted(labels - set(classes))
        if unknown:
            example = next(v for v in videos if v.label == unknown[0])
            raise DataError(
                f"Split '{name}' has classes without training videos: {some(unknown)} "
                f"(for one, {example.path}). Add training videos or remove these."
            )
        absent = sorted(set(classes) - labels)
        if absent:
            notes.append(f"Split '{name}' has no video of: {some(absent)}.")
