"""Clips of labeled videos, on which int8 models choose their scales."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.data.clips import windows as cut_windows
from keras_r3d.inference.evaluation.split import Split
from keras_r3d.recipe import Clips
from keras_r3d.system.errors import ExportError, VideoError

CLIPS = 100  # docs/export.md has what fewer and more of them do


def example_clips(
    side: Split, clips: Clips, count: int, say: Callable[[str], None]
) -> list[np.ndarray]:
    """Cuts clips of videos, uint8 `(frames, size, size, channels)` each, as an evaluation does.

    At most `count`, of all classes alike, evenly; several of each video where there are fewer. The
    same videos give the same clips. A video that cannot be read is replaced by the next; `say`
    takes a line about these. ExportError if none can be read.
    """
    broken: list[str] = []

    def windows() -> Iterator[np.ndarray]:
        each = math.ceil(count / max(1, len(side.videos)))
        for video in spread(side.videos):
            try:
                for window in cut_windows(side.reader, video, clips, each):
                    yield window.pixels[0]
            except VideoError as error:
                broken.append(str(error))

    examples = list(itertools.islice(windows(), count))
    if not examples:
        raise ExportError(
            f"None of the {len(side.videos)} videos of split '{side.name}' can be read, "
            f"for clips to calibrate on or to try: {broken[:1]} Pass `data` with their place."
        )
    if broken:
        say(f"{len(broken)} videos cannot be read to calibrate on, and are left out: {broken[0]}")
    return examples


def spread(videos: Sequence[Video]) -> list[Video]:
    """Returns the videos so ordered that the first few are of all classes, far apart in each."""
    by_class: dict[str, list[Video]] = {}
    for video in videos:
        by_class.setdefault(video.label, []).append(video)
    ranked = [
        (rank, label, members[place])
        for label, members in by_class.items()
        for rank, place in enumerate(_far_apart(len(members)))
    ]
    return [video for _, _, video in sorted(ranked, key=lambda row: row[:2])]


def _far_apart(count: int) -> list[int]:
    """Returns 0, …, count - 1 ordered by their binary digits read backwards: 0 4 2 6 1 5 3 7."""
    digits = max(1, (count - 1).bit_length())
    return sorted(range(count), key=lambda place: f"{place:0{digits}b}"[::-1])
