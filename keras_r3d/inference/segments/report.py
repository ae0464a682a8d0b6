"""The page of an evaluation of segments: figures, classes, and each video's, found and true."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_r3d.data.annotations.listing import printable
from keras_r3d.reports import page as pages

if TYPE_CHECKING:
    from keras_r3d.inference.segments.segmenting import SegmentEvaluation

_COUNTED = ("segments_found", "segments_true", "videos", "errors")
_SCORES = "mean_average_precision"
_EXPLAINED = (
    "mAP: the mean over classes of the average precision, where a segment counts as found if it "
    "overlaps a true one of its class, which no surer one has taken, by enough of their union "
    "(ActivityNet's measure; its own figure is the mean of overlaps from 0.5 to 0.95). In "
    "brackets: 95 % intervals by a bootstrap over videos."
)


def page(evaluation: "SegmentEvaluation", figures: Mapping[str, Any]) -> str:
    """Returns the page of an evaluation with its `figures()`."""
    run, videos = evaluation.run, evaluation.found
    true = [video.true or () for video in videos]
    ends = [
        max([video.window_seconds.max(initial=0.0), *(segment.end_seconds for segment in segments)])
        for video, segments in zip(videos, true, strict=True)
    ]
    facts = {name: figures[name] for name in _COUNTED} | figures["rule"]
    labels = [", ".join(sorted({segment.label for segment in segments})) for segments in true]
    strips = [(end, video.strips()) for video, end in zip(videos, ends, strict=True)]
    return pages.render(
        "segments.html",
        title=" · ".join(filter(None, ["Segments", run.name if run else "", evaluation.split])),
        shares=[
            (f"mAP at overlap {name}", None if np.isnan(share) else share, bounds)
            for (name, share), bounds in zip(
                figures[_SCORES].items(), figures[f"{_SCORES}_interval"].values(), strict=True
            )
        ],
        facts=[
            (
                name.replace("_", " "),
                ", ".join(map(str, value if isinstance(value, Sequence) else [value])),
            )
            for name, value in facts.items()
            if value is not None
        ],
        explained=_EXPLAINED,
        data={
            "classes": [pages.column(*item) for item in evaluation.class_columns().items()],
            "videos": [
                pages.column("video", pages.shorter([printable(video.video) for video in videos])),
                pages.column("timeline", strips, "strips"),
                pages.column("true", list(map(len, true))),
                pages.column("found", [len(video.segments) for video in videos]),
                pages.column("seconds", ends, "seconds"),
                pages.column("true classes", labels),
                pages.column("remark", [printable(video.detail) for video in videos]),
            ],
        },
    )
