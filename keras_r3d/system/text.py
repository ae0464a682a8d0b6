"""Texts for people: cut where they are too long for their place, with the places they know."""

import atexit
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path

shown_as: dict[str, str] = {}  # of temporary folders, the URLs that they stand for


def temporary_folder(url: str) -> Path:
    """Makes a folder that stands for a URL, is shown as that, and is removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="keras_r3d-"))
    shown_as[str(folder)] = url
    return folder


@atexit.register
def remove_temporary_folders() -> None:
    """Removes these folders; to be called where a process ends without `atexit`."""
    for folder in shown_as:
        shutil.rmtree(folder, ignore_errors=True)


def shown(message: object) -> str:
    """Returns a message with the places that a user knows."""
    text = str(message)
    for place, name in shown_as.items():
        text = text.replace(place, name)
    return text


def width(text: str) -> int:
    """Returns how many columns of a terminal a text takes; about as much it takes in a picture."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def shortened(text: str, columns: int) -> str:
    """Cuts the middle out of a text that is too long."""
    if width(text) <= columns:
        return text
    tail = text[len(text) - (columns - 1) // 2 :]
    while width(tail) > columns // 2:
        tail = tail[1:]
    head = text[:columns]
    while width(head) + 1 + width(tail) > columns:
        head = head[:-1]
    return f"{head}…{tail}"


def first_of(lines: Sequence[str], most: int) -> list[str]:
    """Returns the first of many lines, and a last one that counts the others."""
    more = len(lines) - most
    return [*lines[:most], f"  … and {more} more"] if more > 0 else list(lines)


def shortened_path(path: str, columns: int) -> str:
    """Cuts folders from the front of a path that is too long, then out of the file's name."""
    if width(path) <= columns:
        return path
    while os.sep in path:
        path = path.partition(os.sep)[2]
        if width(path) <= columns - 2:
            return f"…{os.sep}{path}"
    return shortened(path, columns)
