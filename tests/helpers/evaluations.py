"""Evaluations made of probabilities written by hand."""

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.inference.evaluation import metrics
from keras_r3d.inference.evaluation.evaluation import Evaluation


def make(classes, labels, windows, *, errors=None, partial=None, paths=None) -> Evaluation:
    """Makes an evaluation.

    Args:
        labels: class number of each video.
        windows: for each video its windows' probabilities; an error has none.
    """
    paths = paths or [f"/videos/{number}.avi" for number in range(len(labels))]
    videos = [
        path if isinstance(path, Video) else Video(str(path), classes[label])
        for path, label in zip(paths, labels, strict=True)
    ]
    scores = np.array([row for rows in windows for row in rows], float).reshape(-1, len(classes))
    owners = np.repeat(np.arange(len(labels)), [len(rows) for rows in windows])
    starts = np.array([number for rows in windows for number in range(len(rows))], float)
    return Evaluation(
        classes=classes,
        videos=videos,
        labels=np.array(labels, int),
        video_scores=metrics.video_scores(scores, owners, len(labels)),
        window_scores=scores.astype(np.float32),
        window_videos=owners,
        window_seconds=np.stack([starts, starts + 1], axis=1),
        errors=errors or {},
        partial=partial or {},
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
