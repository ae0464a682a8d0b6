"""What a clip store consists of: the names and types that writing and reading share.

docs/clip_store.md describes the same byte by byte.
"""

import dataclasses
import json
import re
from typing import Any

import numpy as np

from keras_r3d.data.store.levels import Levels
from keras_r3d.system.errors import StoreError

FORMAT = "keras_r3d clip store"
VERSION = 1

DESCRIPTION = "store.json"
CLASSES = "classes.txt"
VIDEOS = "videos.csv"
PROBLEMS = "problems.csv"
PLAN = "prepare.json"  # of a store that is not finished
INDEX = "index"
SHARDS = "shards"

# Columns of the index, each a file of little-endian numbers and nothing else. The suffix names the
# type. Order: by video; then by level, the largest first; then by frame.
COLUMNS = {
    "video_frames": "u32",  # (videos,)
    "video_shard": "u32",  # (videos,)
    "level_offset": "u64",  # (videos, levels): of the first frame in the shard
    "level_size": "u16",  # (videos, levels, 2): height, width
    "frame_end": "u32",  # (frames of all videos and levels,): counted from level_offset
    "frame_crc32": "u32",  # likewise
    "frame_seconds": "f64",  # (frames of all videos,): time in the source
}
TYPES = {"u16": "<u2", "u32": "<u4", "u64": "<u8", "f64": "<f8"}

VIDEO_COLUMNS = (  # `labels`, as in data/annotations/labels.py, where videos may have several
    *("path", "label", "split", "start_seconds", "end_seconds", "frames", "bytes", "sha256"),
    *("source_bytes", "source_sha256"),
)


def video_columns(several: bool) -> tuple[str, ...]:
    """Returns the columns of videos.csv."""
    return tuple("labels" if several and x == "label" else x for x in VIDEO_COLUMNS)


def column_name(column: str) -> str:
    """Returns the name of a column's file in the store."""
    return f"{INDEX}/{column}.{COLUMNS[column]}"


def column_type(column: str) -> np.dtype:
    """Returns the type of a column's numbers."""
    return np.dtype(TYPES[COLUMNS[column]])


def shard_name(number: int) -> str:
    """Returns the name of a shard's file in the store."""
    return f"{SHARDS}/{number:05d}.jpegs"


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a store. `sha256` is empty for shards: videos have checksums of their own."""

    name: str
    bytes: int
    sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Description:
    """The content of store.json."""

    levels: Levels
    videos: int  # number of videos
    frames: int  # number of their frames (each is there once a level)
    quality: int  # of the JPEGs, as libjpeg counts
    fps: float  # frames a second that the videos were resampled to; 0 where they were left
    files: tuple[File, ...]  # the index and the shards
    source: dict[str, Any]  # what was prepared: its path, and a hash of the list of its videos

    def dumps(self) -> str:
        """Returns the text of store.json."""
        content = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    def file(self, name: str) -> File:
        """Returns one of the files."""
        for file in self.files:
            if file.name == name:
                return file
        raise StoreError(f"{DESCRIPTION} does not list {name}: it is damaged.")


def loads(text: str, path: str) -> Description:
    """Reads store.json; StoreError says that it is damaged, or of another version."""
    try:
        content = json.loads(text)
        name, version = content.pop("format"), content.pop("version")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise StoreError(f"{path} is damaged or not of a clip store: {error!r}") from error
    if name != FORMAT:
        raise StoreError(f"{path} must describe a '{FORMAT}'. Received: {name!r}")
    if version != VERSION:
        raise StoreError(
            f"{path}: this keras_r3d reads version {VERSION} of the clip store. Received: version "
            f"{version!r}. Prepare it anew, or install the keras_r3d that made it."
        )
    try:
        levels = Levels(content["levels"]["by"], tuple(content["levels"]["sizes"]))
        files = tuple(File(**file) for file in content["files"])
        return _checked(Description(**{**content, "levels": levels, "files": files}))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is damaged: {error!r}") from error


def _checked(description: Description) -> Description:
    """Raises ValueError where something is not what it should be."""
    levels, sizes = description.levels, description.levels.sizes
    if levels.by not in ("short_side", "height") or not sizes or not all(map(_is_count, sizes)):
        raise ValueError(f"levels: {levels}")
    for name in ("videos", "frames", "quality"):
        value = getattr(description, name)
        if not _is_count(value):
            raise ValueError(f"{name} must be a number of 1 or more. Received: {value!r}")
    if isinstance(description.fps, bool) or not isinstance(description.fps, int | float):
        raise ValueError(f"fps must be a number. Received: {description.fps!r}")
    if not isinstance(description.source, dict):
        raise ValueError(f"source must be a table. Received: {description.source!r}")
    for file in description.files:
        texts = isinstance(file.name, str) and isinstance(file.sha256, str)
        # A hash names a file in the cache, so it must be no path.
        if (
            not texts
            or not re.fullmatch(r"([0-9a-f]{64})?", file.sha256)
            or not (_is_count(file.bytes) or file.bytes == 0)
        ):
            raise ValueError(f"files: {file}")
    return description


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
