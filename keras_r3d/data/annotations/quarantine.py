"""quarantine.txt in a data folder: videos to skip, one path a line."""

import os
from pathlib import Path

from keras_r3d.data.annotations.video import Splits, file_lines, note, root
from keras_r3d.system import files
from keras_r3d.system.errors import DataError

NAME = "quarantine.txt"


def skip_quarantined(splits: Splits, folder: Path) -> list[str]:
    """Takes the quarantined videos out of the splits; returns notes."""
    quarantined = {os.path.abspath(folder / line) for line in _lines(folder / NAME)}
    skipped = []
    for split, videos in splits.items():
        skipped += [video.path for video in videos if os.path.abspath(video.path) in quarantined]
        splits[split] = [v for v in videos if os.path.abspath(v.path) not in quarantined]
    return note(sorted(skipped), f"videos are skipped by {folder / NAME}")


def add_to_quarantine(data_dir: str | Path, paths: list[str]) -> Path:
    """Adds files to quarantine.txt, keeping what it lists already; returns its path.

    Raises:
        DataError: a file name cannot be listed.
        WriteError: it cannot be written.
    """
    folder = Path(root(data_dir))
    path = folder / NAME
    lines = _lines(path)
    listed = {os.path.abspath(folder / line) for line in lines}
    for name in paths:
        if len(name.splitlines()) > 1:
            raise DataError(f"{name!r} cannot be listed in {path}: rename the file.")
    new = [os.path.relpath(p, folder) for p in paths if os.path.abspath(p) not in listed]
    files.write_text(path, "".join(f"{line}\n" for line in [*lines, *new]))
    return path


def _lines(path: Path) -> list[str]:
    return [line for _, line in file_lines(path)] if path.is_file() else []
