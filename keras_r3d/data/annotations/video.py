"""Labeled videos by split, and what all readers of annotations share."""

import dataclasses
import math
import os
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_r3d.data.annotations.folder import is_file
from keras_r3d.data.annotations.labels import has_several, split_labels
from keras_r3d.system import files
from keras_r3d.system.errors import DataError
from keras_r3d.system.objects.calls import WEB, is_url

FRAME_RATE = 25.0  # frames a second of folders of pictures, unless it is said
FRAME_RATES = 0.01, 1000.0  # least and most
_COLLAPSED = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])")
# Names of splits in data sets, and their names here.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclasses.dataclass(frozen=True)
class Video:
    """A labeled video: a file or a folder of pictures, or a part of it.

    Attributes:
        label: its class; the text of its classes, where videos have several labels.
        start_seconds, end_seconds: of the part.
        group: videos of one group (a scene, a person, a camera) are never on both sides of a split;
            "" if unknown.
        frame_rate: of a folder of pictures, in frames a second; a file has its own.
        several: whether `label` is the text of any number of labels, which may be none.
    """

    path: str
    label: str
    start_seconds: float = 0.0
    end_seconds: float = math.inf
    group: str = ""
    frame_rate: float = FRAME_RATE
    several: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Its classes: one, or any number where videos have several labels."""
        return split_labels(self.label) if self.several else (self.label,)

    @property
    def unit(self) -> str:
        """Name of what is held out together: a group, else all segments of a file."""
        return f"group {self.group}" if self.group else self.path

    @property
    def name(self) -> str:
        """The path, with the seconds if it is a segment."""
        if self.start_seconds == 0 and self.end_seconds == math.inf:
            return self.path
        return f"{self.path} [{self.start_seconds:g}-{self.end_seconds:g} s]"


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with a video.

    Its status is "short" (the container promises more frames than decode; those that decode are
    used), or that of the VideoError if it gives no frames.
    """

    name: str
    status: str
    detail: str


Splits = dict[str, list[Video]]  # by name of the split


@dataclasses.dataclass(frozen=True)
class Annotations:
    """Labeled videos by split; there is a split "train" if they can be trained on."""

    splits: Splits
    classes: list[str]  # in the order of the labels: alphabetical
    notes: list[str]  # sentences for the user: files skipped, splits drawn, classes without videos

    @property
    def several(self) -> bool:
        """Whether videos may have several labels."""
        return any(map(has_several, self.splits.values()))

    def split(self, name: str) -> list[Video]:
        """Returns the videos of a split, or raises DataError if there are none."""
        if not self.splits.get(name):
            counts = {split: len(videos) for split, videos in self.splits.items()}
            raise DataError(
                f"There are no videos in split '{name}'. Videos by split: {counts}. Name another "
                "split (`eval.split`), add it to the annotations, or hold training videos out by "
                "`videos.hold_out.validation` or `videos.hold_out.test`."
            )
        return self.splits[name]


def listed(videos: Sequence[Video]) -> dict[str, Any]:
    """Returns what tells a list of videos from another, for JSON."""
    rows = (f"{video.name}\n{video.label}\n" for video in videos)
    digest = files.sha256_of(row.encode(errors="surrogateescape") for row in rows)
    return {"videos": len(videos), "videos_sha256": digest}


def some(items: list[str], most: int = 5) -> str:
    """Names the first of many."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def note(items: list[str], text: str) -> list[str]:
    """Returns a sentence that counts items and names the first of them, if there are any."""
    return [f"{len(items)} {text}: {some(items)}."] if items else []


def file_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yields the place, for messages, and the text of each line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{path}, line {number}", line


def root(data_dir: str | Path) -> str:
    """Returns the folder that paths of the videos start from, also of a CSV file."""
    path = absolute(data_dir)
    return os.path.dirname(path) if is_file(path) else path


def absolute(path: str | Path) -> str:
    """Returns the absolute path; a URL is one already."""
    return str(path).rstrip("/") if is_url(str(path)) else os.path.abspath(path)


def relative(path: str, root: str) -> str:
    """Returns the path of a video from a folder on; a URL elsewhere becomes "s3:/bucket/…"."""
    if is_url(path) and not path.startswith(f"{root}/"):
        return os.path.normpath(path)
    below = os.path.relpath(path, root)
    return urllib.parse.unquote(below) if path.startswith(WEB) else below


def located(name: str, root: str) -> str:
    """Returns the path, or URL, of what `relative` named, or of a path in a list."""
    if match := _COLLAPSED.match(name):
        return f"{match[1]}://{name[match.end() :]}"
    if not is_url(root) or os.path.isabs(name):
        return os.path.normpath(os.path.join(root, name))
    name = urllib.parse.quote(name) if root.startswith(WEB) else name
    scheme, _, rest = root.partition("://")
    return f"{scheme}://{os.path.normpath(f'{rest}/{name}')}"


def is_text(path: str) -> bool:
    """Whether a path can be written as text: file names may be any bytes, in no encoding."""
    return path.encode(errors="ignore").decode() == path
