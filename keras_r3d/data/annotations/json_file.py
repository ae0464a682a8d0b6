"""JSON files with a "database": ActivityNet's, and those of the authors' code.

ActivityNet (v1.2, v1.3) has a list of labelled segments for each untrimmed video, ID.mp4 or
v_ID.mp4; every segment is a sample. The authors' files (kinetics.json, ucf101_01.json, …) have one
label for each trimmed video.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_r3d.data.annotations import listed
from keras_r3d.data.annotations.listed import Entry
from keras_r3d.data.annotations.video import SPLITS, Video
from keras_r3d.system.errors import DataError


def read(path: Path, data_dir: Path) -> tuple[dict[str, list[Video]], list[str]]:
    """Returns videos by split, and notes."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a JSON file in UTF-8: {error}") from error
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise DataError(
            f"{path} must have a \"database\" of videos, as ActivityNet's and the authors' do."
        )
    return listed.find(_entries(database, path), data_dir, path)


def _entries(database: dict[str, Any], path: Path) -> Iterator[Entry]:
    for name, video in database.items():
        where = f"{path}, video '{name}'"
        split = SPLITS.get(str(video.get("subset")).lower()) if isinstance(video, dict) else None
        if split is None:
            raise DataError(f'{where}: "subset" must be one of {list(SPLITS)}.')
        annotations = video.get("annotations", [])
        if isinstance(annotations, dict):  # the authors': a trimmed video
            label = annotations.get("label")
            yield Entry(name, None if label is None else _label(label, where), split, where)
        elif not isinstance(annotations, list):
            raise DataError(f'{where}: "annotations" must be a list of segments.')
        elif not annotations:
            yield Entry(name, None, split, where)
        else:
            for number, annotation in enumerate(annotations, start=1):
                yield _segment(name, annotation, split, f"{where}, segment {number}")


def _segment(name: str, annotation: Any, split: str, where: str) -> Entry:
    segment = annotation.get("segment") if isinstance(annotation, dict) else None
    seconds = segment if isinstance(segment, list) and len(segment) == 2 else [0, 0]
    numbers = all(isinstance(value, (int, float)) for value in seconds)
    if not numbers or not 0 <= seconds[0] < seconds[1]:
        raise DataError(
            f'{where}: "segment" must be two numbers of seconds, the first below the second. '
            f"Received: {str(segment)[:100]}"
        )
    start, end = float(seconds[0]), float(seconds[1])
    label = _label(annotation.get("label"), where)
    shown = f"{name} [{start:g}-{end:g} s]"
    return Entry(shown, label, split, where, (name, f"v_{name}"), start, end)


def _label(label: Any, where: str) -> str:
    if not isinstance(label, str) or not label.strip() or len(label.splitlines()) > 1:
        raise DataError(f'{where}: "label" must be a line of text. Received: {label!r:.100}')
    return label.strip()
