"""The nearest neighbors of embeddings, and how many of them have the same label.

Similarity is the cosine. A video is not its own neighbor, nor are its other windows or segments.
"""

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

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
        lines = [f"{f'{self.queries} queries':24}{'found':>9}{'chance':>9}"]
        rows = {f"recall@{k}": (self.recalls[k], self.chance_recalls[k]) for k in self.recalls}
        rows["mean average precision"] = (
            self.mean_average_precision,
            self.chance_mean_average_precision,
        )
        lines += [f"{name:24}{figure:9.1%}{chance:9.1%}" for name, (figure, chance) in rows.items()]
        if self.alone:
            lines.append(
                f"{self.alone} queries have a label that no other video has: counted as 0."
            )
        return "\n".join(lines)


def check_alike(queries: Features, gallery: Features) -> None:
    """Raises ArgumentError if two files hold embeddings of different models or layers."""
    for key in ("model_sha256", "layer", "dimension"):
        one, other = queries.metadata[key], gallery.metadata[key]
        if one != other:
            raise ArgumentError(
                f"{queries.source} and {gallery.source} must hold embeddings of one model and "
                f"layer. Their {key}: {one} and {other}"
            )


def find(queries: Features, gallery: Features, k: int) -> Neighbors:
    """Finds the k nearest of a gallery, which may be the queries themselves.

    Raises:
        ArgumentError: the two cannot be compared, or a query has nothing to be compared with.
    """
    check_alike(queries, gallery)
    own, others = _codes(queries.path, gallery.path)
    labels = None
    if queries.label is not None and gallery.label is not None:
        labels = _codes(queries.label, gallery.label)
    if len(np.unique(np.concatenate([own, others]))) < 2:
        raise ArgumentError(f"{gallery.source} holds one video only: neighbors are other videos.")
    vectors, gallery_vectors = unit(queries.embedding), unit(gallery.embedding)
    k = min(k, len(gallery_vectors))
    numbers = np.empty((len(vectors), k), np.int64)
    nearest = np.empty((len(vectors), k), np.float32)
    hits: list[np.ndarray] = []
    block = max(1, _SIMILARITIES // len(gallery_vectors))
    for first in range(0, len(vectors), block):
        rows = slice(first, first + block)
        similarities = vectors[rows] @ gallery_vectors.T
        excluded = own[rows, None] == others[None]
        similarities[excluded] = -np.inf
        order = _nearest(similarities, k)
        numbers[rows] = order
        nearest[rows] = np.take_along_axis(similarities, order, axis=1)
        if labels is not None:
            right = (labels[0][rows, None] == labels[1][None]) & ~excluded
            ranked = np.take_along_axis(right, np.argsort(-similarities, axis=1), axis=1)
            hits.append(_measures(ranked, (~excluded).sum(axis=1)))
    missing = np.isneginf(nearest)
    numbers[missing], nearest[missing] = -1, np.nan
    figures = _figures(np.concatenate(hits)) if hits else None
    return Neighbors(queries, gallery, numbers, nearest, figures)


def _codes(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers texts: equal ones have equal numbers."""
    codes = np.unique(np.concatenate([ours, theirs]), return_inverse=True)[1]
    return codes[: len(ours)], codes[len(ours) :]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors `(n, d)` to length 1, float32; one of zeros stays."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _nearest(similarities: np.ndarray, k: int) -> np.ndarray:
    """Returns the columns of the k largest of each row, int64, the largest first."""
    chosen = np.sort(np.argpartition(-similarities, k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(similarities, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def _measures(right: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Measures rankings.

    Args:
        right: bool `(queries, gallery)`, which ranks have the query's label.
        of: int `(queries,)`, how many ranks count; those behind are the query's own video.

    Returns:
        float64 `(queries, 2 + 2 * len(RECALLS) + 1)`: average precision and that of a random
        order, recalls and those of a random order, and whether no rank is right.
    """
    relevant = right.sum(axis=1)
    queries, places = np.nonzero(right)
    before = np.arange(len(queries)) - (np.cumsum(relevant) - relevant)[queries]
    sums = np.bincount(queries, (before + 1) / (places + 1), minlength=len(right))
    average = sums / np.maximum(1, relevant)
    columns = [average, chance_average_precision(relevant, of)]
    columns += [right[:, :k].any(axis=1) for k in RECALLS]
    columns += [chance_recall(relevant, of, k) for k in RECALLS]
    return np.stack([*columns, relevant == 0], axis=1).astype(np.float64)


def chance_recall(relevant: np.ndarray, of: np.ndarray, k: int) -> np.ndarray:
    """Returns how likely one or more of `relevant` among `of` are the first k in random order."""
    missed = np.ones(len(of))
    for drawn in range(k):
        left = of - drawn
        missed *= np.where(left > 0, np.maximum(0, left - relevant) / np.maximum(1, left), 1)
    return 1 - missed


def chance_average_precision(relevant: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Returns the expected average precision of `relevant` among `of` in random order.

    Place p is as likely as any other for a relevant one, and then (p - 1) (R - 1) / (N - 1) of the
    others are expected before it.
    """
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, of.max() + 1))])[of]
    others = (relevant - 1) / np.maximum(1, of - 1)
    expected = (harmonic + others * (of - harmonic)) / np.maximum(1, of)
    return np.where(relevant > 0, expected, 0)


def _figures(measures: np.ndarray) -> Figures:
    means = measures.mean(axis=0).tolist()
    count = len(RECALLS)
    return Figures(
        queries=len(measures),
        alone=int(measures[:, -1].sum()),
        recalls=dict(zip(RECALLS, means[2 : 2 + count], strict=True)),
        mean_average_precision=means[0],
        chance_recalls=dict(zip(RECALLS, means[2 + count : 2 + 2 * count], strict=True)),
        chance_mean_average_precision=means[1],
    )


def write_csv(neighbors: Neighbors, path: Path) -> None:
    """Writes a row for each neighbor of each query, the nearest first.

    Raises:
        WriteError: the disk is full, …
    """
    header = ["video", "window", "start_seconds", "rank", "similarity"]
    header += ["neighbor", "neighbor_window", "neighbor_start_seconds"]
    if neighbors.queries.label is not None:
        header.append("label")
    if neighbors.gallery.label is not None:
        header.append("neighbor_label")
    with (
        files.atomic(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(header)
        lines.writerows(_rows(neighbors))


def _rows(neighbors: Neighbors) -> Iterator[list[str]]:
    queries, gallery = neighbors.queries, neighbors.gallery
    for query, (numbers, similarities) in enumerate(
        zip(neighbors.numbers, neighbors.similarities, strict=True)
    ):
        for rank, (number, similarity) in enumerate(
            zip(numbers.tolist(), similarities.tolist(), strict=True), start=1
        ):
            if number < 0:
                break
            row = [*_place(queries, query), str(rank), f"{similarity:.6f}"]
            row += _place(gallery, number)
            row += [
                str(one.label[n])
                for one, n in ((queries, query), (gallery, number))
                if one.label is not None
            ]
            yield row


def _place(features: Features, row: int) -> list[str]:
    window = int(features.window[row])
    seconds = f"{features.start_seconds[row]:.3f}"
    return [str(features.video[row]), "" if window < 0 else str(window), seconds]
