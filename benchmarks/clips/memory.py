"""Memory that each open video takes while it is decoded."""

import itertools
import os
from typing import Any

from benchmarks.options import Options
from benchmarks.turns import peak_megabytes
from keras_r3d.data.decoding.video_file import VideoFile

_FRAMES = 40  # by then a decoder holds all that others refer to
_MORE = 8  # open videos, besides the one that loads what is loaded once


def run(options: Options) -> dict[str, Any]:
    """Measures and prints; opens one file again and again."""
    short_side = options.load_recipe().clips.short_side or 0
    videos, peaks = [], []
    for _ in range(_MORE + 1):
        file = VideoFile(options.data, short_side)
        index = file.index()
        frames = file.frames(index)
        list(itertools.islice(frames, _FRAMES))
        videos.append((file, frames))
        peaks.append(peak_megabytes())
    each = (peaks[-1] - peaks[0]) / _MORE
    print(f"{options.data}, {len(index.seconds)} frames: {each:.1f} MB for each open video")
    for file, _ in videos:
        file.close()
    return {"data": os.path.abspath(options.data), "megabytes_each": each}
