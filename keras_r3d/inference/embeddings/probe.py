"""A linear probe: how well a linear classifier on the embeddings tells the labels.

The classifier is that of `ridge`; what it has to choose is chosen by held-out videos of the
training embeddings. Nothing is drawn at random.
"""

import dataclasses
import itertools

import numpy as np

from keras_r3d.inference.embeddings import feature_file, ridge
from keras_r3d.inference.embeddings.feature_file import Features
from keras_r3d.inference.embeddings.neighbors import check_alike
from keras_r3d.inference.evaluation import metrics
from keras_r3d.system.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class Probed:
    """The result of a linear probe.

    Attributes:
        described: how it was fitted, in words.
        validated: share of training videos right that were held out; NaN where none could be.
        right: test videos right.
        videos: test videos.
        chance: share of the test videos that have the most frequent label of the training.
        precision: mean average precision, where videos have several labels; then those are right
            whose best class is one of them.
    """

    described: str
    validated: float
    right: int
    videos: int
    chance: float
    precision: float | None = None

    def __str__(self) -> str:
        held_out = ""
        if not np.isnan(self.validated):
            held_out = f" ({self.validated:.1%} of the gallery's right when they were held out)"
        if self.precision is not None:
            held_out += f"; mean average precision {self.precision:.1%}"
        return (
            f"linear probe: {self.right} of {self.videos} videos right "
            f"({self.right / self.videos:.1%}; the most frequent label: {self.chance:.1%}). "
            f"Ridge regression {self.described}{held_out}."
        )


def probe(train: Features, test: Features) -> Probed:
    """Fits a linear classifier to some embeddings and classifies the videos of others.

    Of several windows of a video the scores are averaged. ArgumentError: labels are not known,
    there are too few videos, or the files do not fit.
    """
    check_alike(test, train)
    if train.label is None or test.label is None:
        source = train.source if train.label is None else test.source
        raise ArgumentError(
            f"{source} has no labels, which a linear probe needs: extract it with `data_dir` or "
            "`split`."
        )
    several = train.several_labels or test.several_labels
    classes, (rows, truth) = feature_file.label_rows(train, test)
    known = rows.any(axis=0)
    rows = rows[:, known]
    _, first, videos = np.unique(train.video, return_index=True, return_inverse=True)
    files = np.unique(train.path[first], return_inverse=True)[1]
    if known.sum() < 2 or files.max() < 1:
        raise ArgumentError(
            f"{train.source} must have videos of two labels or more. Received: "
            f"{list(itertools.compress(classes, known))}"
        )
    labels = rows[first] if several else rows[first].argmax(axis=1)
    labeled = ridge.Labeled([train.embedding], videos, labels, files, int(known.sum()))
    fitted = ridge.fit(labeled, [""])
    _, first, videos = np.unique(test.video, return_index=True, return_inverse=True)
    scores = ridge.means(fitted.logits([test.embedding]), videos)
    truth = truth[first][:, known]
    precisions = metrics.average_precision(truth, scores)
    return Probed(
        described=fitted.described,
        validated=fitted.right,
        right=int(truth[np.arange(len(first)), scores.argmax(axis=1)].sum()),
        videos=len(first),
        chance=float(truth[:, labeled.truth.sum(axis=0).argmax()].mean()),
        precision=float(np.nanmean(precisions)) if several else None,
    )
