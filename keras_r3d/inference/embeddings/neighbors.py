"""The nearest neighbors of embeddings, and how many of them have the same label, or share one.

Similarity is the cosine. A video is not its own neighbor, nor are its other windows or segments.
"""

import csv
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.inference.embeddings import feature_file
from keras_r3d.inference.embeddings.feature_file import Features
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError

_SIMILARITIES = 2**21  # in memory at a time
RECALLS = (1, 5)


@dataclasses.dataclass(frozen=True)
class Neighbors:
    """The nearest of a gallery to each query.

    Attributes:
        numbers: int64 `(queries, k)`, rows of the gallery, the nearest first; -1 where there are
            fewer.
        similarities: float32 `(queries, k)`, -1 to 1; NaN where there are fewer.
        figures: None where labels are not known.
    """

    queries: Features
    gallery: Features
    numbers: np.ndarray
    similarities: np.ndarray
    figures: "Figures | None"


@dataclasses.dataclass(frozen=True)
class Figures:
    """How well the nearest agree in their labels: means over the queries, 0-1.

    Attributes:
        recalls: k -> share of queries with their label among the k nearest.
        mean_average_precision: of the whole gallery, ranked.
        alone: queries whose label no other video has; they count as 0.
        chance_recalls, chance_mean_average_precision: expected of a random order.
    """

    queries: int
    alone: int
    recalls: dict[int, float]
    mean_average_precision: float
    chance_recalls: dict[int, float]
    chance_mean_average_precision: float

    def __str__(self) -> str:
        rows = [(f"recall@{k}", self.recalls[k], self.chance_recalls[k]) for k in self.recalls]
        precisions = self.mean_average_precision, self.chance_mean_average_precision
        rows.append(("mean average precision", *precisions))
        lines = [f"{f'{self.queries} queries':24}{'found':>9}{'chance':>9}"]
        lines += [f"{name:24}{figure:9.1%}{chance:9.1%}" for name, figure, chance in rows]
        if self.alone:
            lines.append(
                f"{self.alone} queries have a label that no other video has: counted as 0."
            )
        return "\n".join(lines)


def check_alike(queries: Features, gallery: Features) -> None:
    """Raises ArgumentError if two files hold embeddings of different models or layers."""
    for key in ("model_sha256", "layer", "dimension"):
        values = [features.metadata[key] for features in (queries, gallery)]
        if values[0] != values[1]:
            raise ArgumentError(
                f"{queries.source} and {gallery.source} must hold embeddings of one model and "
                f"layer. Their {key}: {values[0]} and {values[1]}"
            )


def find(queries: Features, gallery: Features, k: int) -> Neighbors:
    """Finds the k nearest of a gallery, which may be the queries themselves.

    ArgumentError: the two cannot be compared, or a query has nothing to be compared with.
    """
    check_alike(queries, gallery)
    paths, gallery_paths = _codes(queries.path, gallery.path)
    labeled = queries.label is not None and gallery.label is not None
    alike = _alike(queries, gallery) if labeled else None
    if max(paths.max(), gallery_paths.max()) < 1:
        raise ArgumentError(f"{gallery.source} holds one video only: neighbors are other videos.")
    vectors, gallery_vectors = _unit(queries.embedding), _unit(gallery.embedding)
    k = min(k, len(gallery_vectors))
    numbers = np.empty((len(vectors), k), np.int64)
    nearest = np.empty((len(vectors), k), np.float32)
    rankings: list[np.ndarray] = []
    block = max(1, _SIMILARITIES // len(gallery_vectors))
    for first in range(0, len(vectors), block):
        rows = slice(first, first + block)
        similarities = vectors[rows] @ gallery_vectors.T
        excluded = paths[rows, None] == gallery_paths
        similarities[excluded] = -np.inf
        numbers[rows] = _nearest(similarities, k)
        nearest[rows] = np.take_along_axis(similarities, numbers[rows], axis=1)
        if alike is not None:
            right = alike(rows) & ~excluded
            ranked = np.take_along_axis(right, np.argsort(-similarities, axis=1), axis=1)
            rankings.append(_measure(ranked, (~excluded).sum(axis=1)))
    missing = np.isneginf(nearest)
    numbers[missing], nearest[missing] = -1, np.nan
    figures = _figures(*np.concatenate(rankings, axis=1)) if rankings else None
    return Neighbors(queries, gallery, numbers, nearest, figures)


def _alike(queries: Features, gallery: Features) -> Callable[[slice], np.ndarray]:
    """Returns what tells of some queries which of the gallery share a label with them."""
    if queries.several_labels or gallery.several_labels:
        _, truth = feature_file.label_rows(queries, gallery)
        ours, theirs = (rows.astype(np.float32) for rows in truth)
        return lambda rows: ours[rows] @ theirs.T > 0
    labels, gallery_labels = _codes(np.asarray(queries.label), np.asarray(gallery.label))
    return lambda rows: labels[rows, None] == gallery_labels


def _codes(texts: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers texts, from 0: equal ones have equal numbers."""
    codes = np.unique(np.concatenate([texts, others]), return_inverse=True)[1]
    return codes[: len(texts)], codes[len(texts) :]


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors `(n, d)` to length 1, float32; one of zeros stays."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _nearest(similarities: np.ndarray, k: int) -> np.ndarray:
    """Returns the columns of the k largest of each row, int64, the largest first."""
    columns = np.sort(np.argpartition(-similarities, k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(similarities, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _measure(right: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Measures rankings, float64 `(4, queries)`, as `_figures` takes them.

    `right` is bool `(queries, gallery)`: which ranks have the query's label. Only the first
    `counts` of a query count; those behind are its own video.
    """
    relevant = right.sum(axis=1)
    queries, places = np.nonzero(right)
    before = np.arange(len(queries)) - (np.cumsum(relevant) - relevant)[queries]
    sums = np.bincount(queries, (before + 1) / (places + 1), minlength=len(right))
    first = np.where(relevant > 0, right.argmax(axis=1), np.inf)
    return np.stack([relevant, counts, first, sums / np.maximum(1, relevant)])


def _figures(
    relevant: np.ndarray, counts: np.ndarray, first: np.ndarray, precision: np.ndarray
) -> Figures:
    relevant, counts = relevant.astype(int), counts.astype(int)
    return Figures(
        queries=len(relevant),
        alone=int((relevant == 0).sum()),
        recalls={k: float((first < k).mean()) for k in RECALLS},
        mean_average_precision=float(precision.mean()),
        chance_recalls={k: float(chance_recall(relevant, counts, k).mean()) for k in RECALLS},
        chance_mean_average_precision=float(chance_average_precision(relevant, counts).mean()),
    )


def chance_recall(relevant: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    """Returns how likely some of `relevant` of `counts` are the first k in random order."""
    missed = np.ones(len(counts))
    for drawn in range(k):
        left = counts - drawn
        missed *= np.where(left > 0, np.maximum(0, left - relevant) / np.maximum(1, left), 1)
    return 1 - missed


def chance_average_precision(relevant: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the expected average precision of `relevant` of `counts` in random order.

    Place p is as likely as any other for a relevant one, and then (p - 1) (R - 1) / (N - 1) of the
    others are expected before it.
    """
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, counts.max() + 1))])[counts]
    others = (relevant - 1) / np.maximum(1, counts - 1)
    expected = (harmonic + others * (counts - harmonic)) / np.maximum(1, counts)
    return np.where(relevant > 0, expected, 0)


def write_csv(neighbors: Neighbors, path: Path) -> None:
    """Writes a row for each neighbor of each query, the nearest first."""
    header = ["video", "window", "start_seconds", "rank", "similarity"]
    header += ["neighbor", "neighbor_window", "neighbor_start_seconds"]
    header += ["label"] if neighbors.queries.label is not None else []
    header += ["neighbor_label"] if neighbors.gallery.label is not None else []
    with files.atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(header)
        lines.writerows(_rows(neighbors))


def _rows(neighbors: Neighbors) -> Iterator[list[Any]]:
    queries, gallery = neighbors.queries, neighbors.gallery
    for query, numbers in enumerate(neighbors.numbers):
        for place, number in enumerate(numbers[numbers >= 0].tolist()):
            row = [*_place(queries, query), place + 1]
            row += [f"{neighbors.similarities[query, place]:.6f}", *_place(gallery, number)]
            row += [queries.label[query]] if queries.label is not None else []
            row += [gallery.label[number]] if gallery.label is not None else []
            yield row


def _place(features: Features, row: int) -> list[str]:
    window, seconds = features.window[row], features.start_seconds[row]
    return [str(features.video[row]), "" if window < 0 else str(window), f"{seconds:.3f}"]
