"""Several labels of a video: as one text, as numbers for a network, of segments that overlap.

The text separates them by `;` (or `|`); a name with one of `;|,"` in it is in quotes, as in CSV.
"""

import csv
import dataclasses
import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keras_r3d.system.errors import DataError

if TYPE_CHECKING:
    from keras_r3d.data.annotations.video import Video

SEPARATORS = ";|"
_ODD = re.compile(r'[;|,"\t]')
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_COVERED = 0.5  # of a segment: then another one's label is also its own


@functools.lru_cache(maxsize=4096)
def split_labels(text: str) -> tuple[str, ...]:
    """Reads labels from their text, in alphabetical order, each once; () of ""."""
    bare = _QUOTED.sub("", text)
    found = [sign for sign in SEPARATORS if sign in bare]
    odd = [sign for sign in ',\t"' if sign in bare]
    if odd or len(found) > 1:
        raise DataError(
            "several labels must be separated by ; or by |, and a label that holds one of these, "
            f"a comma or a tab must be in double quotes. Received: {text!r:.200}"
        )
    (names,) = csv.reader([text], delimiter=found[0] if found else ";", skipinitialspace=True)
    return tuple(sorted({name.strip() for name in names} - {""}))


def join_labels(labels: Iterable[str]) -> str:
    """Returns labels as the text that `split_labels` reads."""
    names = sorted(
        {f'"{n.replace(chr(34), chr(34) * 2)}"' if _ODD.search(n) else n for n in labels}
    )
    return ";".join(names)


def targets(
    videos: Sequence["Video"], classes: Sequence[str], several: bool | None = None
) -> NDArray[np.int32] | NDArray[np.float32]:
    """Returns what a network is to say: class numbers, int32 `(videos,)`.

    Of several labels (None: as the videos say) rows of 0 and 1, float32 `(videos, classes)`.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    if several is None:
        several = has_several(videos)
    if not several:
        return np.array([numbers[video.label] for video in videos], np.int32)
    rows = np.zeros((len(videos), len(classes)), np.float32)
    for row, video in zip(rows, videos, strict=True):
        row[[numbers[label] for label in video.labels]] = 1
    return rows


def has_several(videos: Iterable["Video"]) -> bool:
    """Whether videos have several labels each, or may have."""
    return any(video.several for video in videos)


def rarest(videos: Iterable["Video"]) -> list[str]:
    """Returns of each video the label that the fewest have: the only one, or "" of none."""
    counts = Counter(label for video in videos for label in video.labels)
    return [
        min(video.labels, key=lambda label: (counts[label], label), default="") for video in videos
    ]


def with_several(videos: Iterable["Video"]) -> list["Video"]:
    """Returns videos with one label each as such that may have several."""
    return [
        v if v.several else dataclasses.replace(v, label=join_labels([v.label]), several=True)
        for v in videos
    ]


def join_overlapping(videos: Iterable["Video"]) -> list["Video"]:
    """Gives each segment also the labels of those that cover half of it; equal ones become one."""
    by_path: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        by_path[video.path].append(video)
    joined: dict[tuple[str, float, float], Video] = {}
    for video in with_several(videos):
        start, end, labels = video.start_seconds, video.end_seconds, set[str]()
        for other in by_path[video.path]:
            shared = min(end, other.end_seconds) - max(start, other.start_seconds)
            if shared >= _COVERED * (end - start):
                labels.update(other.labels)
        joined[video.path, start, end] = dataclasses.replace(video, label=join_labels(labels))
    return list(joined.values())
