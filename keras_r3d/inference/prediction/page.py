"""The page of a prediction: the video, and its scores over time that move with it."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.decoding import video_writer
from keras_r3d.data.decoding.pixels import Frame, resize
from keras_r3d.inference.prediction import annotated_copy
from keras_r3d.pictures.timeline import Part
from keras_r3d.reports import page as pages

_SIDE = 360  # pixels of the longer side of the copy at most
_RATE = 25.0  # frames a second of it at most
_COLUMNS = {"from": "seconds", "to": "seconds", "class": "", "score": "share"}
_MOST_FRAMES = 6000  # of it: 4 minutes at this rate; a longer video has fewer a second


def page(
    video: Video,
    lines: Sequence[str],
    seconds: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[str],
    k: int,
    strips: Mapping[str, Sequence[Part]],
    timeout: float,
) -> str:
    """Returns the page of a video, with a small copy of it in it.

    It has the scores, `(windows, classes)`, of the `k` classes that are highest in any window;
    windows start and end at `seconds`, `(windows, 2)`. `lines` stand below the title, `strips`
    below the scores.

    Raises:
        VideoError: the video cannot be read again.
    """
    span = float(seconds.max() - seconds.min())
    rate = min(_RATE, _MOST_FRAMES / max(span, 1.0))
    begin: list[float] = []
    mp4 = video_writer.encode(_thinned(video, rate, begin, timeout))
    highest = np.argsort(-scores.max(axis=0), kind="stable")[:k]
    x = seconds.mean(axis=1)
    series = [{"name": labels[number], "x": x, "y": scores[:, number]} for number in highest]
    found = zip(*strips.get("found", ()), strict=True)  # nothing where nothing was found
    return pages.render(
        "video.html",
        title=printable(os.path.basename(video.path) + video.name[len(video.path) :]),
        lines=[printable(video.path), *lines],
        video=pages.video_url(mp4),
        caption=f"A copy without sound, of {rate:.3g} frames a second at most.",
        data={
            "start": begin[0],
            "windows": seconds,
            "segments": [
                pages.column(title, values, kind)
                for (title, kind), values in zip(_COLUMNS.items(), found, strict=False)
            ],
            "chart": {
                "title": "Scores",
                "xlabel": "second",
                "series": series,
                "rows": strips,
                "top": 1.0,
                "range": [seconds.min(), seconds.max()],
            },
        },
    )


def _thinned(
    video: Video, rate: float, begin: list[float], timeout: float
) -> Iterator[tuple[float, Frame]]:
    """Yields small frames, `rate` a second at most, and their seconds from the first's on.

    When the first is shown is added to `begin`.
    """
    due, height, width = -math.inf, 0, 0
    for second, frame in annotated_copy.decoded(video, timeout):
        if not begin:
            begin.append(second)
            scale = min(1.0, _SIDE / max(frame.shape[:2]))
            height, width = (max(2, round(side * scale)) for side in frame.shape[:2])
        if second >= due:
            due = second + 0.999 / rate
            yield second - begin[0], resize(np.ascontiguousarray(frame[..., ::-1]), height, width)
