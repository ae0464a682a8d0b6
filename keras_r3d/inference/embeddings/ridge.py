"""A linear classifier of embeddings in closed form: ridge regression, NumPy only.

Targets are 1 for the class (of several labels for each of them) and -1 for all others. Rows belong
to groups (the windows of a video, or the videos of a scene); what a fit without a group says of it
follows from the fit of all rows, so that the strength is chosen, and scores are turned into
probabilities, by rows that were held out, at the cost of one fit. Nothing is drawn at random.

Reference:
    Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd edition, 2009, section
    7.10 (leave-one-out); here with blocks of rows.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.inference.evaluation import metrics

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

# Of the penalty, as shares of the number of rows.
STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-6, 7))
# Taken where no class has two groups, so that nothing can be held out.
_STRENGTH, _TEMPERATURE = 3.0, 10.0
_TEMPERATURES = np.geomspace(0.5, 60, 80)


class Ridge:
    """Ridge regression of standardized rows `(n, d)`, of all strengths at the cost of one."""

    def __init__(self, rows: NDArray, targets: NDArray):
        rows = rows.astype(np.float64)
        self._mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        constant = deviation <= 1e-6 * max(1e-30, float(deviation.max()))
        self._scale = np.where(constant, np.inf, deviation)
        rows = (rows - self._mean) / self._scale
        self._shift = targets.mean(axis=0)
        self._residual = targets - self._shift
        self._rows, self._count = rows, len(rows)
        # The smaller of two matrices has the same eigenvalues.
        wide = rows.shape[0] <= rows.shape[1]
        squares, vectors = np.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
        kept = squares > 1e-10 * max(1e-30, float(squares[-1]))
        self._squares, vectors = squares[kept], vectors[:, kept]
        self._left = vectors if wide else rows @ (vectors / np.sqrt(self._squares))
        self._projected = self._left.T @ self._residual

    def _shrunk(self, strength: float) -> Floats:
        return self._squares / (self._squares + strength * self._count)

    def linear(self, strength: float) -> tuple[Floats, Floats]:
        """Returns kernel `(d, classes)` and bias `(classes,)` for rows as they come."""
        weights = self._shrunk(strength) / self._squares
        kernel = self._rows.T @ (self._left @ (weights[:, None] * self._projected))
        kernel /= self._scale[:, None]
        return kernel, self._shift - self._mean @ kernel

    def held_out(self, groups: Numbers, strength: float) -> Floats:
        """Returns the scores of each row by a fit without the rows of its group, `(n, classes)`.

        Rows are standardized as all are. No group may have all of them.
        """
        shrunk = self._shrunk(strength)
        errors = self._residual - self._left @ (shrunk[:, None] * self._projected)
        scores = self._residual + self._shift
        _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
        order = np.argsort(numbers, kind="stable")
        for count in np.unique(counts):  # all groups of as many rows at a time
            members = order[counts[numbers[order]] == count].reshape(-1, count)
            left = self._left[members]
            hats = 1 / self._count + (left * shrunk) @ left.transpose(0, 2, 1)
            scores[members] -= np.linalg.solve(np.eye(count) - hats, errors[members])
        return scores


@dataclasses.dataclass(frozen=True)
class Labeled:
    """Embeddings to fit to, a row a clip; a video has several.

    Attributes:
        features: of each network, float32 `(rows, d)`.
        videos: int64 `(rows,)`, the video of each row, counted from 0 without gaps.
        labels: int64 `(videos,)`; of several labels rows of 0 and 1, `(videos, classes)`.
        groups: int64 `(videos,)`: videos of one group are held out together.
        classes: how many there are.
    """

    features: Sequence[NDArray[np.float32]]
    videos: Numbers
    labels: NDArray
    groups: Numbers
    classes: int

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Whether a class is a label, bool `(videos, classes)`."""
        return metrics.to_truth(self.labels, self.classes)

    @property
    def can_be_held_out(self) -> bool:
        """Whether a class has videos of two groups, so that one is left without the other."""
        return any(len(set(self.groups[column])) > 1 for column in self.truth.T)

    def taken(self, chosen: NDArray[np.bool_]) -> "Labeled":
        """Returns some of the videos; `chosen` is bool `(videos,)`."""
        rows = chosen[self.videos]
        return Labeled(
            [features[rows] for features in self.features],
            np.unique(self.videos[rows], return_inverse=True)[1],
            self.labels[chosen],
            self.groups[chosen],
            self.classes,
        )


def means(values: NDArray, members: Numbers) -> Floats:
    """Returns the mean of the values of each member, which are counted from 0 without gaps."""
    counts = np.bincount(members)
    sums = np.zeros((len(counts), *values.shape[1:]))
    for number, value in zip(members, values, strict=True):  # np.add.at takes 7 times as long
        sums[number] += value
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1))


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A linear classifier; its scores are logits.

    Attributes:
        kernels: of each network, float64 `(d, classes)`; None of one that is not used.
        bias: float64 `(classes,)`.
        loss: of the held-out videos, the mean cross-entropy; NaN where none could be held out.
        right: likewise, the share of them that are right; of several labels whose best class is
            one of them.
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
        rows: what is fitted to, in words.
        logits: of the held-out videos, `(videos, classes)`; None where none can be held out.
        temperature: what scores are to be multiplied by to be logits.
        loss: cross-entropy of the held-out videos.
    """

    ridge: Ridge
    rows: str
    strength: float
    logits: Floats | None = None
    temperature: float = _TEMPERATURE
    loss: float = math.nan


def fit(labeled: Labeled, names: Sequence[str]) -> Fitted:
    """Fits a classifier: to one network's embeddings, or to the mean of several networks' logits.

    Whether clips are fitted to one by one or the mean of each video is, the strengths, and which
    of the named networks are taken: all is what gives held-out videos the lowest cross-entropy.
    """
    labels = labeled.labels
    candidates = [_best(labeled, features) for features in labeled.features]
    count = len(candidates)
    choices = [tuple(map(float, row)) for row in np.eye(count)]
    choices += [(1 / count,) * count] if count > 1 else []
    loss, shares, factor, right = math.nan, choices[-1], 1.0, math.nan
    logits = [candidate.logits for candidate in candidates if candidate.logits is not None]
    if logits:
        ranked = []
        for choice in choices:
            scores = np.tensordot(choice, np.stack(logits), axes=1)
            factor, loss = _temperature(scores, labels)
            hits = labeled.truth[np.arange(len(labels)), scores.argmax(axis=1)]
            ranked.append((loss, choice, factor, float(hits.mean())))
        loss, shares, factor, right = min(ranked)
    kernels: list[Floats | None] = [None] * count
    bias: Floats = np.zeros(labeled.classes)
    words = []
    for place, (candidate, share) in enumerate(zip(candidates, shares, strict=True)):
        if share:
            kernel, shift = candidate.ridge.linear(candidate.strength)
            scale = factor * share * candidate.temperature
            kernels[place], bias = scale * kernel, bias + scale * shift
            fitted = f"fitted to {candidate.rows} at strength {candidate.strength:.3g}"
            words.append(f"{names[place]} {fitted}".strip())
    return Fitted(kernels, bias, loss, right, "; ".join(words))


def _best(labeled: Labeled, features: NDArray[np.float32]) -> _Candidate:
    """Returns the best way to fit one network's embeddings."""
    labels, groups = labeled.labels, labeled.groups
    targets = 2.0 * labeled.truth - 1
    of_means = Ridge(means(features, labeled.videos), targets)
    if not labeled.can_be_held_out:
        return _Candidate(of_means, "means of videos", _STRENGTH)
    candidates = []
    for rows, ridge, videos in (
        ("means of videos", of_means, np.arange(len(labels))),
        ("single clips", Ridge(features, targets[labeled.videos]), labeled.videos),
    ):
        for strength in STRENGTHS:
            scores = means(ridge.held_out(groups[videos], strength), videos)
            scale, loss = _temperature(scores, labels)
            candidates.append(_Candidate(ridge, rows, strength, scale * scores, scale, loss))
    return min(candidates, key=lambda candidate: candidate.loss)


def _temperature(scores: Floats, labels: NDArray) -> tuple[float, float]:
    """Returns what scores are to be multiplied by to be logits, and the cross-entropy then.

    One more video, of which nothing is known, keeps it finite where all are right.
    """
    losses = []
    for temperature in _TEMPERATURES:
        right, unknown = log_likelihoods(temperature * scores, labels)
        smoothed = -(right.sum() + unknown) / (len(labels) + 1)
        losses.append((smoothed, float(temperature), float(-right.mean())))
    return min(losses)[1:]


def log_likelihoods(logits: Floats, labels: NDArray) -> tuple[Floats, float]:
    """Returns the log-likelihood of each video's labels, and of one of which nothing is known."""
    if labels.ndim == 2:
        logs = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)  # that a class is there, or not
        unknown = (logs[0] + logs[1]).sum(axis=1).mean() / 2
        return np.where(labels > 0, *logs).sum(axis=1), float(unknown)
    logits = logits - logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logs[np.arange(len(labels)), labels], float(logs.mean())


def folds(labeled: Labeled, count: int) -> Numbers:
    """Deals groups out to folds, so that each has about as many videos of each class.

    Returns the fold of each video, int64 `(videos,)`: at most `count` different numbers.
    """
    members = [np.flatnonzero(labeled.groups == group) for group in np.unique(labeled.groups)]
    truth = labeled.truth
    totals = truth.sum(axis=0)
    dealt = np.zeros((min(count, len(members)), labeled.classes))
    fold, sizes = np.zeros(len(labeled.labels), np.int64), np.zeros(len(dealt))
    # The largest first; each goes where its classes are rarest yet, and few videos are.
    for videos in sorted(members, key=len, reverse=True):
        counts = truth[videos].sum(axis=0)
        costs = dealt @ (counts / np.maximum(totals, 1)) + 1e-6 * sizes
        fold[videos] = costs.argmin()
        dealt[costs.argmin()] += counts
        sizes[costs.argmin()] += len(videos)
    return fold


def fit_without(labeled: Labeled, fold: Numbers, names: Sequence[str]) -> list[Fitted]:
    """Fits a classifier for each fold, from 0 on, which sees nothing of it."""
    return [fit(labeled.taken(fold != number), names) for number in range(fold.max() + 1)]
