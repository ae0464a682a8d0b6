"""How unlike each class an embedding is: its distance to the nearest of the class's centers.

The distance is Mahalanobis's: in units of how videos of one class differ among themselves. Of few
videos that can only be told along the directions in which videos differ most. NumPy only.

Reference:
    Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
    Attacks, NeurIPS 2018, https://arxiv.org/abs/1807.03888.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.inference.embeddings.ridge import Labeled, means

Floats = NDArray[np.float64]

_VARIANCE = 0.98  # share of it that the directions hold
_SHRINKAGE = 0.1  # of the covariance towards equal variances
_LEAST = 1e-6  # of all variance, inside classes: copies of one video do not differ


@dataclasses.dataclass(frozen=True)
class Distances:
    """Distances to classes.

    Attributes:
        kernel: float64 `(d, k)`: embeddings times it have distances in units of the spread inside
            classes.
        centers: float64 `(classes, places, k)`; NaN of a class without videos.
    """

    kernel: Floats
    centers: Floats

    def over(self, threshold: float) -> "Distances":
        """Returns distances whose squares are these over a threshold."""
        root = threshold**0.5
        return Distances(self.kernel / root, self.centers / root)

    def squared(self, rows: NDArray) -> Floats:
        """Returns the squared distances of rows `(n, d)` to classes, `(n, classes)`."""
        middle = np.nanmean(self.centers, axis=(0, 1))  # taken off, or large squares would cancel
        whitened, centers = rows.astype(np.float64) @ self.kernel - middle, self.centers - middle
        products = np.tensordot(whitened, centers, axes=(1, 2))
        nearness = (2 * products - (centers**2).sum(axis=2)).max(axis=2)
        squared = np.maximum(0, (whitened**2).sum(axis=1, keepdims=True) - nearness)
        return np.nan_to_num(squared, nan=np.inf)


def fit(labeled: Labeled, used: Sequence[bool]) -> Distances:
    """Fits distances to the embeddings of the networks that are `used`.

    Each network weighs the same; rows are of all, `(n, sum of d)`. A class has a center for each
    place of a clip in its video, window and view: these differ more than classes do. The directions
    are those in which the means of videos differ.
    """
    spreads = [np.sqrt(part.var(axis=0, dtype=np.float64).sum()) for part in labeled.features]
    weights = [1 / s if s and here else 0.0 for s, here in zip(spreads, used, strict=True)]
    scales = np.repeat(weights, [part.shape[1] for part in labeled.features])
    rows = np.concatenate(labeled.features, axis=1).astype(np.float64) * scales
    videos = means(rows, labeled.videos)
    _, lengths, directions = np.linalg.svd(videos - videos.mean(axis=0), full_matrices=False)
    shares = np.cumsum(lengths**2) / max(1e-30, float((lengths**2).sum()))
    directions = directions[: int(np.searchsorted(shares, _VARIANCE)) + 1].T
    projected = rows @ directions

    counts = np.bincount(labeled.videos)
    places = np.concatenate([np.arange(count) for count in counts])
    labels = labeled.labels[labeled.videos]
    centers = np.full((labeled.classes, counts.max(), projected.shape[1]), np.nan)
    for label in np.unique(labels):
        centers[label] = projected[labels == label].mean(axis=0)  # of a place no video has
        for place in np.unique(places[labels == label]):
            centers[label, place] = projected[(labels == label) & (places == place)].mean(axis=0)

    inside, size = projected - centers[labels, places], projected.shape[1]
    covariance = inside.T @ inside / len(rows)
    variance = max(np.trace(covariance), _LEAST * projected.var(axis=0).sum()) / size
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * variance * np.eye(size)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    return Distances(scales[:, None] * (directions @ whitening), centers @ whitening)
