"""How an export agrees with Keras on labeled videos."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.inference.evaluation.evaluating import evaluate_videos
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.evaluation.split import Split
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.system.errors import ExportError

ACCURACIES = {  # whichever an evaluation has
    "video_top1": "video top-1",
    "clip_top1": "clip top-1",
    "mean_average_precision": "mean avg. prec.",
}


@dataclasses.dataclass(frozen=True)
class Parity:
    """How an export agrees with Keras."""

    videos: int  # that have a score
    same_videos: int  # in how many of them the best class is the same
    windows: int  # of these videos
    same_windows: int  # in how many of them the best class is, or the labels are, the same
    largest_difference: float  # between the probabilities of a window
    keras: dict[str, float]  # accuracies (0-1) by the names in `ACCURACIES`
    export: dict[str, float]

    @property
    def agreement(self) -> float:
        """Share of the windows with the same best class."""
        return self.same_windows / self.windows

    def as_json(self) -> dict[str, Any]:
        """Returns the section of `export.json`."""
        return dataclasses.asdict(self) | {"agreement": self.agreement}

    def __str__(self) -> str:
        rows = [f"{'':14}{'Keras':>9}{'export':>9}"]
        for name in self.keras:
            rows.append(f"{ACCURACIES[name]:14}{self.keras[name]:9.1%}{self.export[name]:9.1%}")
        rows.append(
            f"Same class in {self.same_videos} of {self.videos} videos and {self.same_windows} of "
            f"{self.windows} windows; largest difference of a probability "
            f"{self.largest_difference:.1e}."
        )
        return "\n".join(rows)


def measure(
    keras: Classifier,
    export: Classifier,
    side: Split,
    progress: Callable[[int, int], None] | None = None,
) -> Parity:
    """Evaluates both on the same videos; each counts twice for `progress`."""
    total = len(side.videos)
    evaluations = []
    for done, model in ((0, keras), (total, export)):

        def report(count: int, _: int, done: int = done) -> None:
            if progress is not None:
                progress(done + count, 2 * total)

        evaluations.append(
            evaluate_videos(model, side.reader, side.videos, split=side.name, progress=report)
        )
    return compare(*evaluations)


def compare(expected: Evaluation, received: Evaluation) -> Parity:
    """Compares two evaluations of the same videos; raises ExportError if they cannot be."""
    keras_scores, export_scores = expected.window_scores, received.window_scores
    if len(keras_scores) != len(export_scores):
        raise ExportError(
            f"Keras scored {len(keras_scores)} windows of the videos, the export "
            f"{len(export_scores)}: {sorted(received.errors.values())[:1]}"
        )
    if not len(keras_scores):
        reason = next(iter(expected.errors.values()), "")
        raise ExportError(f"None of the videos to compare with could be scored: {reason}")
    same = expected.decided(keras_scores) == received.decided(export_scores)
    accuracies = [name for name in ACCURACIES if name in expected.figures()]
    return Parity(
        videos=len(expected.scored),
        same_videos=int((expected.predicted() == received.predicted()).sum()),
        windows=len(keras_scores),
        same_windows=int(same.all(axis=1).sum()),
        largest_difference=float(np.abs(keras_scores - export_scores).max()),
        keras={name: expected.figures()[name] for name in accuracies},
        export={name: received.figures()[name] for name in accuracies},
    )


def choose_evenly(videos: Sequence[Video], most: int) -> list[Video]:
    """Returns at most `most` videos, evenly chosen; 0 is all."""
    if not most or len(videos) <= most:
        return list(videos)
    return [videos[int((number + 0.5) * len(videos) / most)] for number in range(most)]
