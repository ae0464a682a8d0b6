"""How unlike all known classes an embedding is: its distance to the nearest one, NumPy only.

The distance is Mahalanobis's: in units of how videos of one class differ among themselves. Of few
videos that can only be told along the directions in which videos differ most.

Reference:
    Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
    Attacks, NeurIPS 2018, https://arxiv.org/abs/1807.03888.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.inference.embeddings import ridge

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

_VARIANCE = 0.95  # share of it that the directions hold
_SHRINKAGE = 0.1  # of the covariance towards equal variances


@dataclasses.dataclass(frozen=True)
class Distances:
    """Distances to classes.

    Attributes:
        kernel: float64 `(d, k)`: embeddings times it have distances in units of the spread inside
            classes.
        centers: float64 `(centers, k)`, the mean of each label.
    """

    kernel: Floats
    centers: Floats

    def over(self, threshold: float) -> "Distances":
        """Returns distances whose squares are these over a threshold."""
        root = threshold**0.5
        return Distances(self.kernel / root, self.centers / root)

    def squared(self, rows: NDArray) -> Floats:
        """Returns the squared distance of each row to the nearest center, float64 `(n,)`."""
        middle = self.centers.mean(axis=0)
        whitened, centers = rows.astype(np.float64) @ self.kernel - middle, self.centers - middle
        nearness = (2 * whitened @ centers.T - (centers**2).sum(axis=1)).max(axis=1)
        return np.maximum(0, (whitened**2).sum(axis=1) - nearness)


def fit(parts: Sequence[NDArray], labels: Numbers, videos: Numbers | None = None) -> Distances:
    """Fits distances to rows, with a center for each label.

    `parts` are by a network each, `(n, d)`, and weigh the same; the distances are of rows
    `(n, sum of d)`. The directions are those in which the means of `videos` differ, counted from 0
    without gaps; None: each row is one. The covariance inside labels is pooled and shrunk; where
    each label has a single row, it is that of all rows.
    """
    spreads = [float(np.sqrt(part.var(axis=0, dtype=np.float64).sum())) for part in parts]
    scales = np.repeat([1 / s if s else 0.0 for s in spreads], [p.shape[1] for p in parts])
    rows = np.concatenate(parts, axis=1).astype(np.float64) * scales
    units = rows if videos is None else ridge.means(rows, videos)
    _, lengths, directions = np.linalg.svd(units - units.mean(axis=0), full_matrices=False)
    shares = np.cumsum(lengths**2) / max(1e-30, float((lengths**2).sum()))
    directions = directions[: int(np.searchsorted(shares, _VARIANCE)) + 1].T
    projected, members = rows @ directions, np.unique(labels, return_inverse=True)[1]
    inside = projected - ridge.means(projected, members)[members]
    if not inside.any():
        inside = projected - projected.mean(axis=0)
    covariance, size = inside.T @ inside / len(rows), len(directions.T)
    equal = np.trace(covariance) / size * np.eye(size)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * equal
    kernel = directions @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    return Distances(scales[:, None] * kernel, ridge.means(rows @ kernel, members))
