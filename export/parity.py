"""How an export agrees with Keras on the videos of its run."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.evaluation.evaluating import evaluate_videos
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.system.errors import ExportError

_ACCURACIES = ("video_top1", "clip_top1")


@dataclasses.dataclass(frozen=True)
class Parity:
    """How an export agrees with Keras.

    Attributes:
        videos: that have a score.
        same_videos: in how many of them the best class is the same.
        windows: of all of them.
        same_windows: in how many of them the best class is the same.
        largest_difference: of a probability of a window.
        keras: accuracies (0-1) of the Keras model by name, "video_top1" and "clip_top1".
        export: accuracies of the export.
    """

    videos: int
    same_videos: int
    windows: int
    same_windows: int
    largest_difference: float
    keras: dict[str, float]
    export: dict[str, float]

    @property
    def agreement(self) -> float:
        """Share of the windows with the same best class."""
        return self.same_windows / self.windows

    def as_json(self) -> dict[str, Any]:
        """Returns what `export.json` says of it."""
        return dataclasses.asdict(self) | {"agreement": self.agreement}

    def __str__(self) -> str:
        lines = [f"{'':14}{'Keras':>9}{'export':>9}"]
        for name, title in zip(_ACCURACIES, ("video top-1", "clip top-1"), strict=True):
            lines.append(f"{title:14}{self.keras[name]:9.1%}{self.export[name]:9.1%}")
        lines.append(
            f"Same class in {self.same_videos} of {self.videos} videos and {self.same_windows} of "
            f"{self.windows} windows; largest difference of a probability "
            f"{self.largest_difference:.1e}."
        )
        return "\n".join(lines)


def measure(
    keras: Classifier,
    export: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    split: str,
    progress: Callable[[str], Callable[[int, int], None]] | None = None,
) -> Parity:
    """Evaluates both on the same videos, as the recipe says.

    Args:
        split: name of the videos' split, for messages.
        progress: takes what is going on, returns what takes the number of videos done, and of all.

    Raises:
        DataError: no video can be read.
        ExportError: not one window was scored, or the export gives something else than
            probabilities.
    """

    def evaluate(one: Classifier, what: str) -> Evaluation:
        told = progress(what) if progress is not None else None
        return evaluate_videos(one, reader, videos, split=split, progress=told)

    return compare(evaluate(keras, "videos, Keras"), evaluate(export, "videos, export"))


def compare(expected: Evaluation, received: Evaluation) -> Parity:
    """Compares two evaluations of the same videos.

    Raises:
        ExportError: not one window was scored by both.
    """
    if len(expected.window_scores) != len(received.window_scores):
        raise ExportError(
            f"Keras scored {len(expected.window_scores)} windows of the videos, the export "
            f"{len(received.window_scores)}: {sorted(received.errors.values())[:1]}"
        )
    if not len(expected.window_scores):
        raise ExportError(
            "None of the videos to compare with could be scored: "
            f"{next(iter(expected.errors.values()), '')}"
        )

    def same(of: Evaluation, other: Evaluation) -> int:
        return int((of.predicted() == other.predicted()).sum())

    ours, theirs = expected.window_scores, received.window_scores
    return Parity(
        videos=len(expected.scored),
        same_videos=same(expected, received),
        windows=len(ours),
        same_windows=int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum()),
        largest_difference=float(np.abs(ours - theirs).max()),
        keras={name: expected.figures()[name] for name in _ACCURACIES},
        export={name: received.figures()[name] for name in _ACCURACIES},
    )


def evenly(videos: Sequence[Video], most: int) -> list[Video]:
    """Returns at most so many videos, evenly chosen; 0 is all."""
    if not most or len(videos) <= most:
        return list(videos)
    return [videos[int((number + 0.5) * len(videos) / most)] for number in range(most)]
