"""A linear classifier of embeddings in closed form: ridge regression, NumPy only.

Targets are 1 for the class and -1 for all others. Rows belong to groups (the windows of a video, or
the videos of a scene); what a fit without a group says of it follows from the fit of all rows, so
that the strength is chosen, and scores are turned into probabilities, by rows that were held out,
at the cost of one fit. Nothing is drawn at random.

Reference:
    Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd edition, 2009, section
    7.10 (leave-one-out); here with blocks of rows.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

# Of the penalty, as shares of the number of rows.
STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-6, 7))
# Taken where no class has two groups, so that nothing can be held out.
_STRENGTH, _TEMPERATURE = 3.0, 10.0
_TEMPERATURES = np.geomspace(0.5, 60, 80)


class Ridge:
    """Ridge regression of standardised rows, of all strengths at the cost of one.

    Args:
        rows: float `(n, d)`.
        targets: float `(n, classes)`.
    """

    def __init__(self, rows: NDArray, targets: NDArray):
        rows = rows.astype(np.float64)
        self._mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        constant = deviation <= 1e-6 * max(1e-30, float(deviation.max()))
        self._scale = np.where(constant, np.inf, deviation)
        rows = (rows - self._mean) / self._scale
        self._shift = targets.mean(axis=0)
        self._residual = targets - self._shift
        count, size = rows.shape
        # The smaller of two matrices has the same eigenvalues.
        if count <= size:
            squares, left = np.linalg.eigh(rows @ rows.T)
        else:
            squares, right = np.linalg.eigh(rows.T @ rows)
        kept = squares > 1e-10 * max(1e-30, float(squares[-1]))
        self._squares = squares[kept]
        singular = np.sqrt(self._squares)
        if count <= size:
            self._left = left[:, kept]
        else:
            self._left = rows @ (right[:, kept] / singular)
        self._rows = rows
        self._projected = self._left.T @ self._residual
        self._count = count

    def _shrunk(self, strength: float) -> Floats:
        return self._squares / (self._squares + strength * self._count)

    def linear(self, strength: float) -> tuple[Floats, Floats]:
        """Returns kernel `(d, classes)` and bias `(classes,)` for rows as they come."""
        weights = self._shrunk(strength) / self._squares
        kernel = self._rows.T @ (self._left @ (weights[:, None] * self._projected))
        kernel /= self._scale[:, None]
        return kernel, self._shift - self._mean @ kernel

    def scores(self, rows: NDArray, strength: float) -> Floats:
        """Returns scores `(n, classes)`, near 1 for the class."""
        kernel, bias = self.linear(strength)
        return rows @ kernel + bias

    def held_out(self, groups: Numbers, strength: float) -> Floats:
        """Returns the scores of each row by a fit without the rows of its group, `(n, classes)`.

        Rows are standardised as all are. No group may have all of them.
        """
        shrunk = self._shrunk(strength)
        errors = self._residual - self._left @ (shrunk[:, None] * self._projected)
        scores = self._residual + self._shift
        for group in np.unique(groups):
            own = np.flatnonzero(groups == group)
            left = self._left[own]
            hat = 1 / self._count + (left * shrunk) @ left.T
            scores[own] -= np.linalg.solve(np.eye(len(own)) - hat, errors[own])
        return scores


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Embeddings to fit to; a video has several rows.

    Attributes:
        features: of each network, float32 `(rows, d)`.
        videos: int64 `(rows,)`, the video of each row, counted from 0 without gaps.
        labels: int64 `(videos,)`.
        groups: int64 `(videos,)`: videos of one group are held out together.
        classes: how many there are.
    """

    features: Sequence[NDArray[np.float32]]
    videos: Numbers
    labels: Numbers
    groups: Numbers
    classes: int

    def taken(self, chosen: NDArray[np.bool_]) -> "Labelled":
        """Returns some of the videos.

        Args:
            chosen: bool `(videos,)`.
        """
        rows = chosen[self.videos]
        numbers = np.cumsum(chosen) - 1
        return Labelled(
            [one[rows] for one in self.features],
            numbers[self.videos[rows]],
            self.labels[chosen],
            self.groups[chosen],
            self.classes,
        )

    def means(self, scores: NDArray) -> Floats:
        """Returns the mean of the rows of each video, float64 `(videos, …)`."""
        sums = np.zeros((len(self.labels), *scores.shape[1:]))
        for number, score in zip(self.videos, scores, strict=True):
            sums[number] += score
        counts = np.bincount(self.videos, minlength=len(self.labels))
        return sums / counts.reshape(-1, *[1] * (scores.ndim - 1))


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A linear classifier; its scores are logits.

    Attributes:
        kernels: of each network, float64 `(d, classes)`; None of one that is not used.
        bias: float64 `(classes,)`.
        loss: of the held-out videos, the mean cross-entropy; NaN where none could be held out.
        right: likewise, the share of them that are right.
        described: what was chosen, in words.
    """

    kernels: Sequence[Floats | None]
    bias: Floats
    loss: float
    right: float
    described: str

    def logits(self, features: Sequence[NDArray]) -> Floats:
        """Returns logits `(rows, classes)` of the embeddings of all networks."""
        parts = [f @ k for f, k in zip(features, self.kernels, strict=True) if k is not None]
        return np.sum(parts, axis=0) + self.bias


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A way to fit one network's embeddings, and what held-out videos make of it.

    Attributes:
        scores: of the held-out videos, `(videos, classes)`; None where none can be held out.
    """

    ridge: Ridge
    rows: str
    strength: float
    scores: Floats | None = None


def fit(labelled: Labelled, names: Sequence[str]) -> Fitted:
    """Fits a classifier: to one network's embeddings, or to the mean of several networks' logits.

    Whether each row or each video's mean is fitted to, the strengths, and which networks are taken,
    is what gets most held-out videos right, and of these the lowest cross-entropy.

    Args:
        names: of the networks.
    """
    labels = labelled.labels
    best = [_best(labelled, features) for features in labelled.features]
    if best[0].scores is None:
        share = _TEMPERATURE / len(best)
        return _joined(best, [share] * len(best), (float("nan"), float("nan")), names)
    held_out = [one.scores for one in best if one.scores is not None]
    temperatures = [_temperature(scores, labels)[0] for scores in held_out]
    logits = [scale * scores for scale, scores in zip(temperatures, held_out, strict=True)]
    choices = [
        (one, [float(place == number) for place in range(len(best))])
        for number, one in enumerate(logits)
    ]
    if len(best) > 1:
        choices.append((np.mean(logits, axis=0), [1 / len(best)] * len(best)))
    ranked = []
    for scores, shares in choices:
        factor, loss = _temperature(scores, labels)
        factors = [factor * share * t for share, t in zip(shares, temperatures, strict=True)]
        ranked.append((-_right(scores, labels), loss, factors))
    wrong, loss, factors = min(ranked)
    return _joined(best, factors, (loss, -wrong / len(labels)), names)


def _best(labelled: Labelled, features: NDArray[np.float32]) -> _Candidate:
    """Returns the best way to fit one network's embeddings."""
    labels, rows = labelled.labels, labelled.groups[labelled.videos]
    means = labelled.means(features)
    of_means = Ridge(means, _targets(labels, labelled.classes))
    if not _can_hold_out(labelled):
        return _Candidate(of_means, "means of videos", _STRENGTH)
    of_rows = Ridge(features, _targets(labels[labelled.videos], labelled.classes))
    candidates = [
        _Candidate(
            of_means, "means of videos", strength, of_means.held_out(labelled.groups, strength)
        )
        for strength in STRENGTHS
    ] + [
        _Candidate(of_rows, "windows", strength, labelled.means(of_rows.held_out(rows, strength)))
        for strength in STRENGTHS
    ]

    def rank(one: _Candidate) -> tuple[int, float]:
        assert one.scores is not None
        return -_right(one.scores, labels), _temperature(one.scores, labels)[1]

    return min(candidates, key=rank)


def _targets(labels: Numbers, classes: int) -> Floats:
    """Returns 1 for the class of each row and -1 for the others, `(rows, classes)`."""
    return 2 * np.eye(classes)[labels] - 1


def _right(scores: Floats, labels: Numbers) -> int:
    return int((scores.argmax(axis=1) == labels).sum())


def _joined(
    best: Sequence[_Candidate],
    factors: Sequence[float],
    held_out: tuple[float, float],
    names: Sequence[str],
) -> Fitted:
    kernels: list[Floats | None] = []
    bias: Floats = np.zeros(1)
    words = []
    for one, factor, name in zip(best, factors, names, strict=True):
        kernel, shift = one.ridge.linear(one.strength)
        kernels.append(factor * kernel if factor else None)
        if factor:
            bias = bias + factor * shift
            words.append(f"{name} fitted to {one.rows} at strength {one.strength:.3g}".strip())
    return Fitted(kernels, bias, *held_out, "; ".join(words))


def _can_hold_out(labelled: Labelled) -> bool:
    """Whether a class has videos in two groups, so that one is left when the other is held out."""
    return any(
        len(np.unique(labelled.groups[labelled.labels == label])) > 1
        for label in np.unique(labelled.labels)
    )


def _temperature(scores: Floats, labels: Numbers) -> tuple[float, float]:
    """Returns what scores are to be multiplied by to be logits, and the cross-entropy then.

    One more video, of which nothing is known, keeps it finite where all are right.
    """
    losses = []
    for temperature in _TEMPERATURES:
        logits = temperature * scores
        logits = logits - logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        right = logs[np.arange(len(labels)), labels]
        losses.append((-(right.sum() + logs.mean()) / (len(labels) + 1), -right.mean()))
    best = min(range(len(losses)), key=lambda place: losses[place][0])
    return float(_TEMPERATURES[best]), float(losses[best][1])


def folds(labelled: Labelled, count: int) -> Numbers:
    """Deals groups out to folds, so that each has about as many videos of each class.

    Returns:
        int64 `(videos,)`, at most `count` different numbers.
    """
    members = [np.flatnonzero(labelled.groups == group) for group in np.unique(labelled.groups)]
    counts = [np.bincount(labelled.labels[own], minlength=labelled.classes) for own in members]
    totals = np.bincount(labelled.labels, minlength=labelled.classes)
    dealt = np.zeros((min(count, len(members)), labelled.classes))
    fold = np.zeros(len(labelled.labels), np.int64)
    # The largest first; each goes where its classes are rarest yet, and few videos are.
    for place in sorted(range(len(members)), key=lambda n: -len(members[n])):
        share = counts[place] / np.maximum(totals, 1)
        costs = dealt @ share + 1e-6 * dealt.sum(axis=1)
        best = int(costs.argmin())
        dealt[best] += counts[place]
        fold[members[place]] = best
    return fold


def fit_without(labelled: Labelled, fold: Numbers, names: Sequence[str]) -> list[Fitted]:
    """Fits a classifier for each fold, which sees nothing of it.

    Args:
        fold: int64 `(videos,)`, from 0 on.
        names: as in `fit`.
    """
    return [fit(labelled.taken(fold != number), names) for number in range(fold.max() + 1)]
