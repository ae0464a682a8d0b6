"""Finding the videos that a public list names: they may lie anywhere, and many are gone."""

import dataclasses
import math
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from keras_r3d.data.annotations.video import VIDEO_SUFFIXES, Video, some
from keras_r3d.system.errors import DataError


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of a list.

    Attributes:
        name: file name, without suffix, of the video cut to size.
        label: None where the list keeps it secret.
        where: file and line.
        untrimmed: file names, without suffix, of the video that it is a segment of.
    """

    name: str
    label: str | None
    split: str
    where: str
    untrimmed: tuple[str, ...] = ()
    start_seconds: float = 0.0
    end_seconds: float = math.inf


def find(
    entries: Iterable[Entry], data_dir: Path, source: Path
) -> tuple[dict[str, list[Video]], list[str]]:
    """Returns the videos that are there, by split, and notes on those that are not.

    Args:
        source: file of the list, for messages.

    Raises:
        DataError: none is there, one lies there twice, or one has two labels.
    """
    there = files(data_dir)
    splits: dict[str, list[Video]] = defaultdict(list)
    listed: dict[str, int] = defaultdict(int)
    missing: list[str] = []
    unlabelled: list[str] = []
    doubled: list[str] = []
    seen: dict[str, tuple[str, str]] = {}
    used: set[str] = set()
    for entry in entries:
        if entry.label is None:
            unlabelled.append(entry.name)
            continue
        listed[entry.split] += 1
        video = _find(entry, there)
        if video is None:
            missing.append(entry.name)
            continue
        label, where = seen.setdefault(video.name, (entry.label, entry.where))
        if where != entry.where:
            if label != entry.label:
                raise DataError(
                    f"{entry.where}: {video.name} is labelled '{entry.label}', but '{label}' in "
                    f"{where}: remove one of the two."
                )
            doubled.append(f"{entry.name} ({entry.where})")
            listed[entry.split] -= 1
            continue
        used.add(video.path)
        splits[entry.split].append(video)
    if not any(splits.values()):
        example = f": {missing[0]}.mp4, for one" if missing else ""
        raise DataError(
            f"None of the {len(missing)} labelled videos listed in {source} is in {data_dir}"
            f"{example}. Suffixes and folders do not matter, names do."
        )
    found = {split: len(splits.get(split, [])) for split, count in listed.items() if count}
    trained = {video.label for video in splits.get("train", [])}
    untrained = [v for videos in splits.values() for v in videos if v.label not in trained]
    for split in [split for split in splits if trained]:
        splits[split] = [video for video in splits[split] if video.label in trained]
    counts = ", ".join(
        f"{split} {number} of {listed[split]} ({100 * number / listed[split]:.1f} %)"
        for split, number in found.items()
    )
    notes = [f"{source}: videos that are there: {counts}."]
    if missing:
        notes.append(f"{len(missing)} listed videos are missing: {some(missing)}.")
    if trained and untrained:
        labels = sorted({video.label for video in untrained})
        notes.append(
            f"{len(untrained)} videos of classes without training videos are left aside: "
            f"{some(labels)}."
        )
    if unlabelled:
        notes.append(f"{len(unlabelled)} listed videos have no label and are left aside.")
    if doubled:
        notes.append(f"{len(doubled)} videos are listed twice and count once: {some(doubled)}.")
    unlisted = sorted({path for paths in there.values() for path in paths} - used)
    if unlisted:
        notes.append(f"{len(unlisted)} videos are not listed and left aside: {some(unlisted)}.")
    return dict(splits), notes


def files(data_dir: Path) -> dict[str, list[str]]:
    """Paths of all videos by their names without suffix."""
    there: dict[str, list[str]] = defaultdict(list)
    for folder, folders, names in os.walk(data_dir):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                there[stem].append(os.path.normpath(os.path.join(folder, name)))
    return there


def _find(entry: Entry, there: dict[str, list[str]]) -> Video | None:
    for name in (entry.name, *entry.untrimmed):
        paths = there.get(name, [])
        if len(paths) > 1:
            # Of files of one name, the one in its class's folder.
            paths = [p for p in paths if _folder(p) == _plain(entry.label or "")] or paths
        if len(paths) > 1:
            raise DataError(
                f"{entry.where}: {name} lies in two places: {some(paths)}. Remove one of them."
            )
        if paths and name == entry.name:
            return Video(paths[0], entry.label or "")
        if paths:
            return Video(paths[0], entry.label or "", entry.start_seconds, entry.end_seconds)
    return None


def _folder(path: str) -> str:
    return _plain(os.path.basename(os.path.dirname(path)))


def _plain(label: str) -> str:
    return label.casefold().replace("_", " ").strip()
