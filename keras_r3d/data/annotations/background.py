"""What lies between the labeled segments of long videos, as a class of its own."""

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Sequence

from keras_r3d.data.annotations.video import Video
from keras_r3d.system.errors import DataError

NAME = "background"
_LEAST = 1.0  # seconds of a segment


def between(videos: Sequence[Video], share: float, seed: int) -> list[Video]:
    """Draws segments that show nothing labeled, `share` as many as are labeled.

    They lie before the first segment of a video and between its segments (where it ends no list
    says), and are no longer than labeled ones usually are. Where videos have several labels, these
    have none. Raises DataError if there is no room for any.
    """
    by_path: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        if video.end_seconds < math.inf:
            by_path[video.path].append(video)
    lengths = [v.end_seconds - v.start_seconds for listed in by_path.values() for v in listed]
    usual = max(_LEAST, statistics.median(lengths)) if lengths else 0.0
    found = []
    for listed in by_path.values():
        end = 0.0
        for video in sorted(listed, key=lambda video: video.start_seconds):
            room = video.start_seconds - end
            for number in range(count := math.ceil(room / usual) if room >= _LEAST else 0):
                start = end + room * number / count
                found.append((video, start, end + room * (number + 1) / count))
            end = max(end, video.end_seconds)
    if not found:
        raise DataError(
            f"videos.background = {share:g} asks for segments between labeled ones, but no "
            f"training video has a gap of {_LEAST:g} s or more between its segments: leave it out."
        )
    wanted = min(len(found), max(1, round(share * len(lengths))))
    drawn = random.Random(f"{seed} {NAME}").sample(sorted(found, key=_place), wanted)
    return [
        Video(
            *(video.path, "" if video.several else NAME, start, end, video.group),
            frame_rate=video.frame_rate,
            several=video.several,
        )
        for video, start, end in drawn
    ]


def _place(found: tuple[Video, float, float]) -> tuple[str, float]:
    return found[0].path, found[1]
