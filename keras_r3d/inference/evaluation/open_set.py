"""The scores of a model that also tells what is of none of its classes."""

import collections
import dataclasses
import functools
from typing import Any

import numpy as np

from keras_r3d.applications.embedding import NONE
from keras_r3d.data.annotations.video import some
from keras_r3d.inference.evaluation import metrics
from keras_r3d.inference.evaluation.evaluation import Evaluation


@dataclasses.dataclass(frozen=True, eq=False)
class OpenSet(Evaluation):
    """Scores of a split whose videos may be of classes that the model was not trained on.

    Their label is the last class, "none of these".
    """

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """Class numbers of the videos, int `(videos,)`."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        return np.array([numbers.get(v.label, len(numbers) - 1) for v in self.videos], int)

    def rows(self) -> list[tuple[str, str]]:
        """Returns further figures for the table, each with its title."""
        figures = self.figures()
        shown = {
            "known_top1": ("known classes alone", "6.1%"),
            "known_refused": ("known called none", "6.1%"),
            "open_set_auroc": ("AUROC, none of these", "6.3f"),
        }
        return [
            (title, format(figures[name], style))
            for name, (title, style) in shown.items()
            if figures[name] is not None
        ]

    def explained(self) -> str:
        """Returns what the table says below its figures, in sentences."""
        foreign = collections.Counter(v.label for v in self.videos if v.label not in self.classes)
        text = (
            f" Known classes alone: videos of known classes, where '{NONE}' may not be answered."
            f" AUROC: by the score of '{NONE}', of known classes against others."
        )
        if foreign:
            labels = some([f"'{label}' ({n})" for label, n in sorted(foreign.items())], 10)
            text += (
                f" Note: {foreign.total()} videos are of classes that the model was not trained on "
                f"and count as '{NONE}': {labels}."
            )
        return text

    def _class_figures(self) -> dict[str, Any]:
        scores, none = self.video_scores, len(self.classes) - 1
        known, scored = self.labels < none, np.isin(np.arange(len(self.labels)), self.scored)
        right = metrics.topk_correct(scores[known, :none], self.labels[known], 1)
        refused = scores[known & scored].argmax(axis=1) == none
        # As odds: probabilities near 1 are the same number.
        odds = scores[:, none] / np.maximum(scores[:, :none].sum(axis=1), 1e-30)
        area = metrics.auroc(odds[~known & scored], odds[known & scored])
        return super()._class_figures() | {
            "known_top1": float(right.mean()) if len(right) else None,
            "known_refused": float(refused.mean()) if len(refused) else None,
            "open_set_auroc": None if np.isnan(area) else area,
        }
