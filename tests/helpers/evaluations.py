"""Evaluations made of probabilities written by hand."""

import numpy as np
import predictions

from keras_r3d.data.annotations import Video
from keras_r3d.inference.evaluation.evaluation import Evaluation


def make(classes, labels, windows, *, errors=None, partial=None, paths=None, **more) -> Evaluation:
    """Makes an evaluation.

    Args:
        labels: class number of each video.
        windows: for each video its windows' probabilities; an error has none.
        more: further fields, such as `reader`.
    """
    paths = paths or [f"/videos/{number}.avi" for number in range(len(labels))]
    videos = [
        path if isinstance(path, Video) else Video(str(path), classes[label])
        for path, label in zip(paths, labels, strict=True)
    ]
    errors, partial = errors or {}, partial or {}
    return Evaluation(
        classes,
        [
            predictions.make(
                video,
                classes,
                rows,
                status="partial" if number in partial else "ok",
                detail=errors.get(number, partial.get(number, "")),
            )
            for number, (video, rows) in enumerate(zip(videos, windows, strict=True))
        ],
        **more,
    )


def random(rng: np.random.Generator, videos: int, classes: int, errors: int = 0) -> Evaluation:
    """Makes an evaluation whose last videos have no score."""
    counts = [int(rng.integers(1, 4)) for _ in range(videos - errors)] + [0] * errors
    return make(
        [f"class {number}" for number in range(classes)],
        rng.integers(0, classes, videos),
        [rng.dirichlet(np.ones(classes), count) for count in counts],
        errors={videos - 1 - number: "broken" for number in range(errors)},
    )
