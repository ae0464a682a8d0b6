"""A linear probe: how well a linear classifier on the embeddings tells the labels.

Ridge regression on one-hot labels, in closed form; the strength is chosen by cross-validation of
the training embeddings. Nothing is drawn at random.
"""

import dataclasses

import numpy as np

from keras_r3d.inference.feature_file import Features
from keras_r3d.inference.neighbours import NeighbourError, check_alike

STRENGTHS = tuple(10.0**power for power in range(-4, 5))  # times the number of embeddings
_FOLDS = 5


@dataclasses.dataclass(frozen=True)
class Probed:
    """What a linear probe found.

    Attributes:
        strength: of the regularisation, as in `STRENGTHS`.
        validated: share of training videos right, in cross-validation.
        right: test videos right.
        videos: test videos.
        chance: share of the test videos that have the most frequent label of the training.
    """

    strength: float
    validated: float
    right: int
    videos: int
    chance: float


def probe(train: Features, test: Features) -> Probed:
    """Fits a linear classifier to some embeddings and classifies the videos of others.

    Of several windows of a video the scores are averaged.

    Raises:
        NeighbourError: labels are not known, there are too few videos, or the files do not fit.
    """
    check_alike(test, train)
    for one in (train, test):
        if one.label is None:
            raise NeighbourError(
                f"{one.source} has no labels, which a linear probe needs: extract it with "
                "--data_dir or --split."
            )
    assert train.label is not None
    assert test.label is not None
    classes, targets = np.unique(train.label, return_inverse=True)
    videos = np.unique(train.path, return_inverse=True)[1]
    if len(classes) < 2 or videos.max() < 1:
        raise NeighbourError(
            f"{train.source} must have videos of two labels or more. Received: {list(classes)}"
        )
    folds = _folds(videos, targets)
    correct, squares = np.zeros(len(STRENGTHS)), np.zeros(len(STRENGTHS))
    for fold in range(folds.max() + 1):
        out = folds == fold
        fitted = _Ridge(train.embedding[~out], np.eye(len(classes))[targets[~out]])
        for place, strength in enumerate(STRENGTHS):
            scores = fitted.scores(train.embedding[out], strength)
            correct[place] += _right(scores, targets[out], train.video[out])[0]
            squares[place] += ((scores - np.eye(len(classes))[targets[out]]) ** 2).sum()
    best = int(np.lexsort((squares, -correct))[0])  # of those with most right, the closest
    fitted = _Ridge(train.embedding, np.eye(len(classes))[targets])
    scores = fitted.scores(test.embedding, STRENGTHS[best])
    places = {name: place for place, name in enumerate(classes.tolist())}
    truth = np.array([places.get(name, -1) for name in test.label.tolist()])
    right, count = _right(scores, truth, test.video)
    most = int(np.bincount(targets).argmax())
    constant = np.tile(np.eye(len(classes))[most], (len(truth), 1))
    return Probed(
        strength=STRENGTHS[best],
        validated=float(correct[best] / len(np.unique(train.video))),
        right=right,
        videos=count,
        chance=_right(constant, truth, test.video)[0] / count,
    )


def table(probed: Probed) -> str:
    """Returns what was found as text."""
    return (
        f"linear probe: {probed.right} of {probed.videos} videos right "
        f"({probed.right / probed.videos:.1%}; the most frequent label: {probed.chance:.1%}). "
        f"Ridge of strength {probed.strength:g}, chosen by cross-validation on the gallery "
        f"({probed.validated:.1%})."
    )


class _Ridge:
    """Ridge regression of standardised embeddings, of all strengths at the cost of one."""

    def __init__(self, embeddings: np.ndarray, targets: np.ndarray):
        given = embeddings.astype(np.float64)
        self._mean, deviation = given.mean(axis=0), given.std(axis=0)
        self._scale = np.where(deviation > 1e-6 * max(1e-30, deviation.max()), deviation, np.inf)
        self._shift = targets.mean(axis=0)
        left, self._singular, self._right = np.linalg.svd(
            (given - self._mean) / self._scale, full_matrices=False
        )
        self._projected = left.T @ (targets - self._shift)
        self._count = len(given)

    def scores(self, embeddings: np.ndarray, strength: float) -> np.ndarray:
        """Returns scores float64 `(n, classes)`, near 1 for the class."""
        shrunk = self._singular / (self._singular**2 + strength * self._count)
        weights = self._right.T @ (shrunk[:, None] * self._projected)
        return (embeddings - self._mean) / self._scale @ weights + self._shift


def _folds(videos: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Deals the videos of each class out; all windows of a video go into one fold."""
    of_video = np.zeros(videos.max() + 1, np.int64)
    of_video[videos] = targets
    fold = np.empty_like(of_video)
    fold[np.argsort(of_video, kind="stable")] = np.arange(len(of_video)) % _FOLDS
    return fold[videos]


def _right(scores: np.ndarray, truth: np.ndarray, videos: np.ndarray) -> tuple[int, int]:
    """Counts the videos whose mean score is highest for their class, and all."""
    _, first, codes = np.unique(videos, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), scores.shape[1]))
    np.add.at(sums, codes, scores)
    return int((sums.argmax(axis=1) == truth[first]).sum()), len(first)
