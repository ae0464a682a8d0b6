"""Makes listed videos ready for training: quarantine, hold-out, checks of classes and groups."""

import os
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from keras_r3d.data.annotations.background import NAME as BACKGROUND
from keras_r3d.data.annotations.background import between
from keras_r3d.data.annotations.labels import SEPARATORS, has_several, rarest, with_several
from keras_r3d.data.annotations.video import (
    Annotations,
    Splits,
    Video,
    absolute,
    file_lines,
    is_text,
    located,
    note,
    relative,
    root,
    some,
)
from keras_r3d.system import files
from keras_r3d.system.errors import DataError, noted
from keras_r3d.system.objects import inputs
from keras_r3d.system.objects.calls import is_url

QUARANTINE = "quarantine.txt"  # in a data folder: videos to skip, one path a line
LAYOUT = """\
  DATA_DIR/train/CLASS/video.mp4, DATA_DIR/validation/CLASS/…, DATA_DIR/test/CLASS/…
  or DATA_DIR/CLASS/video.mp4 (splits are then drawn from the classes); a video may also be a folder
  of numbered pictures, DATA_DIR/CLASS/VIDEO/image_00001.jpg,
  or a CSV file with the columns path,label[,split][,start_seconds,end_seconds] (or `labels`, of
  several each, separated by ;),
  or a list of lines "PATH LABEL",
  or the lists of Kinetics, ActivityNet, UCF101 or HMDB51 (`videos.annotations`)"""


def arrange(
    splits: Splits,
    data_dir: str | Path,
    *,
    validation_fraction: float = 0.0,  # of each class's training videos, if there is no such split
    test_fraction: float = 0.0,
    background: float = 0.0,  # segments between labeled ones, as a share of these
    seed: int = 0,
    least_validation: int = 0,  # hold no videos out for validation if they would be fewer
    quarantined: bool = False,  # keep the videos that quarantine.txt lists
    trained_on: bool = True,
) -> Annotations:
    """Skips quarantined videos, holds videos out, and checks the classes.

    What is `trained_on` must have training videos, of two classes at least, and no classes without.
    A trained classifier can be evaluated on such.
    """
    folder = root(data_dir)
    notes: list[str] = []
    several = any(map(has_several, splits.values()))
    if several:
        splits = {split: with_several(videos) for split, videos in splits.items()}
    if not quarantined:
        _, listed = _read_quarantine(folder)
        skipped = _take_out(splits, lambda video: absolute(video.path) in listed)
        notes += note(skipped, f"videos are skipped by {folder}/{QUARANTINE}")
    nameless = _take_out(splits, lambda video: not is_text(video.path))
    shown = [os.fsencode(path).decode(errors="backslashreplace") for path in nameless]
    notes += note(shown, "videos whose names are not UTF-8 are skipped; rename them")
    with noted(notes):
        if not any(splits.values()) or (trained_on and not splits.get("train")):
            raise DataError(
                f"No {'training ' * trained_on}videos in {root(data_dir)}. Splits found: "
                f"{sorted(splits)}. Expected:\n{LAYOUT}"
            )
        if background:
            drawn = between(splits["train"], background, seed)
            splits["train"] = [*splits["train"], *drawn]
            notes.append(f"{len(drawn)} training segments lie between labeled ones: {BACKGROUND}.")
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
        classes = sorted({x for videos in labeled for video in videos for x in video.labels})
        if trained_on and len(classes) < 2 - several:
            found = f"There is only one class ({some(classes)}) among the training videos: a "
            found += "classifier needs two or more."
            if not classes:
                found = "No training video has a label."
            raise DataError(f"{found} Expected:\n{LAYOUT}")
        _check_classes(splits, classes, notes)
        _check_groups(splits)
        if not several:
            odd = [name for name in classes if any(sign in name for sign in SEPARATORS)]
            remedy = "name the column `labels` if these are several each"
            notes += note(odd, f"classes have ; or | in their names ({remedy})")
    return Annotations(splits, classes, notes)


def _take_out(splits: Splits, is_refused: Callable[[Video], bool]) -> list[str]:
    """Takes videos out of the splits; returns their paths."""
    refused = {video for videos in splits.values() for video in videos if is_refused(video)}
    for split, videos in splits.items():
        splits[split] = [video for video in videos if video not in refused]
    return sorted(video.path for video in refused)


def _hold_out(videos: list[Video], fraction: float, seed: str) -> tuple[list[Video], list[Video]]:
    """Draws `fraction` of each class; segments of one file and videos of a group stay together."""
    # A file or group with several classes goes with the first.
    labels: dict[str, str] = {}
    for video, label in zip(videos, rarest(videos), strict=True):
        labels.setdefault(video.unit, label)
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
        labels = {label for video in videos for label in video.labels}
        unknown = sorted(labels - set(classes))
        if unknown:
            example = next(v for v in videos if unknown[0] in v.labels)
            raise DataError(
                f"Split '{name}' has classes without training videos: {some(unknown)} "
                f"(for one, {example.path}). Add training videos or remove these."
            )
        absent = sorted(set(classes) - labels)
        if absent:
            notes.append(f"Split '{name}' has no video of: {some(absent)}.")
        empty = [video.name for video in videos if not video.labels]
        notes += note(
            empty, f"videos of split '{name}' have no label: they show none of the classes"
        )


def add_to_quarantine(data_dir: str | Path, paths: list[str]) -> Path:
    """Adds files to quarantine.txt, keeping what it lists already; returns its path."""
    folder = root(data_dir)
    path = Path(folder, QUARANTINE)
    lines, listed = _read_quarantine(folder)
    for name in paths:
        if len(name.splitlines()) > 1:
            raise DataError(f"{name!r} cannot be listed in {path}: rename the file.")
    new = [relative(path, folder) for path in paths if absolute(path) not in listed]
    files.write_text(path, "".join(f"{line}\n" for line in [*lines, *new]))
    return path


def _read_quarantine(folder: str) -> tuple[list[str], set[str]]:
    """Returns the lines of quarantine.txt, and the absolute paths they mean."""
    path = (inputs.lists(folder, (), [QUARANTINE]) if is_url(folder) else Path(folder)) / QUARANTINE
    lines = [line for _, line in file_lines(path)] if path.is_file() else []
    return lines, {located(line, folder) for line in lines}
