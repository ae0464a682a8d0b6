"""Reads labeled videos and splits from any supported form of annotations.

Only names are read here; no video is opened.
"""

import dataclasses
import os
import random
from collections import defaultdict
from pathlib import Path

from keras_r3d.data.annotations.csv_file import read_csv
from keras_r3d.data.annotations.folders import LAYOUT, read_folders
from keras_r3d.data.annotations.public_lists import official_lists, read_public_list, video_files
from keras_r3d.data.annotations.quarantine import skip_quarantined
from keras_r3d.data.annotations.video import Annotations, Splits, Video, is_text, note, root, some
from keras_r3d.system.errors import DataError

AUTO = "auto"
MANIFEST = "manifest.csv"
_FORMS = (
    '"folders", "auto", a CSV file of your own, the CSV file of Kinetics or the folder of them, '
    "the JSON file of ActivityNet or of the authors' code, or the folder of UCF101's or HMDB51's "
    'lists and the number of the split, such as "ucfTrainTestlist/1".'
)


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
        must_exist: refuse a CSV file of one's own that lists missing videos. (Public lists name
            videos that are no longer on the web; those are skipped and counted.)
        validation_fraction, test_fraction, seed, least_validation, quarantined, trained_on: as in
            `arrange`.

    Raises:
        DataError: anything that keeps the videos from being used, by name.
    """
    data_dir = Path(data_dir)
    if not data_dir.exists():
        raise DataError(f"The data folder {data_dir} does not exist. Expected:\n{LAYOUT}")
    if data_dir.is_file():
        splits, notes = _read_path(data_dir, data_dir.parent, must_exist)
    elif annotations == "folders" or (annotations == AUTO and not (data_dir / MANIFEST).is_file()):
        splits, notes = read_folders(data_dir)
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
    splits: Splits,
    folder: str,
    *,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.0,
    seed: int = 0,
    least_validation: int = 0,
    quarantined: bool = False,
    trained_on: bool = True,
) -> Annotations:
    """Skips quarantined videos, holds videos out, and checks the classes.

    Args:
        folder: root of the videos; may have a quarantine.txt.
        validation_fraction: share of each class's training videos held out where there is no
            validation split.
        test_fraction: likewise for the test split.
        seed: of the hold-out.
        least_validation: hold no videos out for validation if they would be fewer.
        quarantined: keep the videos that quarantine.txt lists.
        trained_on: refuse what a classifier cannot be trained on: no training videos, fewer than
            two classes, classes without training videos. A trained one can be evaluated on these.

    Raises:
        DataError: there are no videos, or what `trained_on` refuses.
    """
    notes: list[str] = []
    if not quarantined:
        notes += skip_quarantined(splits, Path(folder))
    nameless = [v.path for videos in splits.values() for v in videos if not is_text(v.path)]
    shown = [os.fsencode(path).decode(errors="backslashreplace") for path in nameless]
    notes += note(shown, "videos whose names are not UTF-8 are skipped; rename them")
    for split, videos in splits.items():
        splits[split] = [video for video in videos if is_text(video.path)]
    if not any(splits.values()) or (trained_on and not splits.get("train")):
        raise DataError(
            f"No {'training ' * trained_on}videos in {folder}. Splits found: {sorted(splits)}. "
            f"Expected:\n{LAYOUT}"
        )
    for name, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if name in splits or fraction <= 0:
            continue
        kept, held = _hold_out(splits["train"], fraction, f"{seed} {name}")
        if name == "validation" and len(held) < least_validation:
            notes.append(
                f"No validation split, and none is drawn: {len(held)} videos "
                f"(videos.hold_out.validation = {fraction:g}) are too few to choose an epoch "
                "by. All are trained on."
            )
            continue
        splits["train"], splits[name] = kept, held
        notes.append(
            f"No {name} split: {len(held)} training videos are held out for it "
            f"(videos.hold_out.{name} = {fraction:g})."
        )
    labeled = [splits["train"]] if trained_on else splits.values()
    classes = sorted({video.label for videos in labeled for video in videos})
    if trained_on and len(classes) < 2:
        raise DataError(
            f"There is only one class ({classes[0]}) among the training videos: a classifier "
            f"needs two or more. Expected:\n{LAYOUT}"
        )
    _check_classes(splits, classes, notes)
    _check_groups(splits)
    return Annotations(splits, classes, notes)


def videos_in(data_dir: str | Path) -> list[str]:
    """Returns the paths of all files in a folder that are videos by their suffix."""
    return sorted(path for paths in video_files(Path(data_dir)).values() for path in paths)


def has(data_dir: str | Path, annotations: str) -> bool:
    """Whether a data folder has annotations of that name."""
    path = Path(data_dir) / annotations
    return path.exists() or bool(official_lists(path))


def _read_path(path: Path, data_dir: Path, must_exist: bool) -> tuple[Splits, list[str]]:
    """Tells the format by what is there."""
    public = read_public_list(path, data_dir)
    if public is not None:
        return public
    if path.is_dir() or path.suffix == ".json":
        what = "holds no lists of Kinetics" if path.is_dir() else "does not exist"
        raise DataError(f"The annotations {path}: it {what}. `videos.annotations` must be {_FORMS}")
    return read_csv(path, must_exist)


def _hold_out(videos: list[Video], fraction: float, seed: str) -> tuple[list[Video], list[Video]]:
    """Draws `fraction` of each class; segments of one file and videos of a group stay together."""
    # A file or group with several classes goes with the first.
    labels: dict[str, str] = {}
    for video in videos:
        labels.setdefault(video.unit, video.label)
    units: dict[str, list[str]] = defaultdict(list)
    for unit, label in labels.items():
        units[label].append(unit)
    held: set[str] = set()
    for label, candidates in units.items():
        count = min(max(1, round(fraction * len(candidates))), len(candidates) - 1)
        held |= set(random.Random(f"{seed} {label}").sample(candidates, count))
    if not held:
        raise DataError(
            "There is no class with two videos or more (of different groups, if they have some), "
            "so none can be held out for validation or test: add videos."
        )
    kept = [v for v in videos if v.unit not in held]
    return kept, [v for v in videos if v.unit in held]


def _check_groups(splits: Splits) -> None:
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
                    f"split '{split}' ({video.name}), which would inflate the accuracy. Put all "
                    "videos of a group into one split, or leave the column 'group' out."
                )


def _check_classes(splits: Splits, classes: list[str], notes: list[str]) -> None:
    spellings: dict[str, str] = {}
    for name in classes:
        other = spellings.setdefault("".join(name.casefold().split()), name)
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
