"""quarantine.txt in a data folder: videos that are left aside, a path a line."""

import os
from pathlib import Path

from keras_r3d.data.annotations.video import Video, some
from keras_r3d.system import files
from keras_r3d.system.errors import DataError

NAME = "quarantine.txt"


def leave_aside(splits: dict[str, list[Video]], folder: Path) -> list[str]:
    """Takes the quarantined videos out of the splits; returns notes."""
    listed = {os.path.abspath(folder / line) for line in _lines(folder / NAME)}
    if not listed:
        return []
    left = []
    for split, videos in splits.items():
        left += [video.path for video in videos if os.path.abspath(video.path) in listed]
        splits[split] = [v for v in videos if os.path.abspath(v.path) not in listed]
    if not left:
        return []
    return [f"{len(left)} videos are left aside by {folder / NAME}: {some(sorted(left))}."]


def add(folder: Path, paths: list[str]) -> Path:
    """Adds files to the list of a folder, keeping what stands there; returns its path."""
    path = folder / NAME
    lines = [*_lines(path)]
    known = {os.path.abspath(folder / line) for line in lines}
    for name in paths:
        if len(name.splitlines()) > 1:
            raise DataError(f"{name!r} cannot be listed in {path}: rename the file.")
    new = [os.path.relpath(p, folder) for p in paths if os.path.abspath(p) not in known]
    files.write_text(path, "".join(f"{line}\n" for line in [*lines, *new]))
    return path


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8: {error}") from error
    return [line for line in text.splitlines() if line.strip()]
