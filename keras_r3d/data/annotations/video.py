"""What annotations are made of: labelled videos, by split."""

import dataclasses
import math

from keras_r3d.system.errors import DataError

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for names in (
        "3gp asf avi f4v flv gif m2ts m4v mkv mov mp4 mpeg mpg",
        "mts mxf ogg ogv ts vob webm wmv",
    )
    for name in names.split()
)
# What data sets call their splits, and what they are called here.
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


@dataclasses.dataclass(frozen=True)
class Video:
    """A labelled video: a file, or the part of it from `start_seconds` to `end_seconds`.

    Attributes:
        group: videos of one group (a scene, a person, a camera) are never on both sides of a split;
            "" where nothing is known.
    """

    path: str
    label: str
    start_seconds: float = 0.0
    end_seconds: float = math.inf
    group: str = ""

    @property
    def unit(self) -> str:
        """What is held out together: videos of a group, else segments of a file."""
        return f"group {self.group}" if self.group else self.path

    @property
    def name(self) -> str:
        """The path, with the segment's seconds where it is one."""
        if self.start_seconds == 0 and self.end_seconds == math.inf:
            return self.path
        return f"{self.path} [{self.start_seconds:g}-{self.end_seconds:g} s]"


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with a video.

    Attributes:
        status: "unreadable" (it gives no frames) or "short" (the container promises more frames
            than decode; those that decode are used).
    """

    name: str
    status: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Annotations:
    """Labelled videos by split.

    Attributes:
        splits: split name -> videos; has "train" if they can be trained on.
        classes: class names in label order (alphabetical).
        notes: what a person should know: files left aside, splits drawn, classes without videos.
    """

    splits: dict[str, list[Video]]
    classes: list[str]
    notes: list[str]

    def split(self, name: str) -> list[Video]:
        """Returns the videos of a split.

        Raises:
            DataError: there is no such split.
        """
        if not self.splits.get(name):
            there = {split: len(videos) for split, videos in self.splits.items()}
            raise DataError(
                f"There are no videos in split '{name}'. Videos by split: {there}. Name another "
                "split (`eval.split`), add it to the annotations, or set "
                "`data.validation_fraction` or `data.test_fraction` to hold training videos out."
            )
        return self.splits[name]


def some(items: list[str], most: int = 5) -> str:
    """Names the first of many."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
