"""A linear probe: how well a linear classifier on the embeddings tells the labels.

The classifier is that of `ridge`; what it has to choose is chosen by held-out videos of the
training embeddings. Nothing is drawn at random.
"""

import dataclasses

import numpy as np

from keras_r3d.inference.embeddings import ridge
from keras_r3d.inference.embeddings.feature_file import Features
from keras_r3d.inference.embeddings.neighbors import check_alike
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
    """

    described: str
    validated: float
    right: int
    videos: int
    chance: float

    def __str__(self) -> str:
        held_out = ""
        if not np.isnan(self.validated):
            held_out = f" ({self.validated:.1%} of the gallery's right when they were held out)"
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
    classes = np.unique(train.label)
    _, first, videos = np.unique(train.video, return_index=True, return_inverse=True)
    files = np.unique(train.path[first], return_inverse=True)[1]
    if len(classes) < 2 or files.max() < 1:
        raise ArgumentError(
            f"{train.source} must have videos of two labels or more. Received: {list(classes)}"
        )
    labels = np.searchsorted(classes, train.label[first])
    labeled = ridge.Labeled([train.embedding], videos, labels, files, len(classes))
    fitted = ridge.fit(labeled, [""])
    _, first, videos = np.unique(test.video, return_index=True, return_inverse=True)
    scores = ridge.means(fitted.logits([test.embedding]), videos)
    truth = test.label[first]
    most_frequent = classes[np.bincount(labels).argmax()]
    return Probed(
        described=fitted.described,
        validated=fitted.right,
        right=int((classes[scores.argmax(axis=1)] == truth).sum()),
        videos=len(first),
        chance=float((truth == most_frequent).mean()),
    )
