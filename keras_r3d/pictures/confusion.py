"""A picture of which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from keras_r3d.pictures import lettering

_MOST_NAMED = 60  # classes; beyond, there is no room for a name and a number each
_MOST_LETTERS = 28
_MOST_PAIRS = 60


def figure(matrix: np.ndarray, classes: Sequence[str], what: str) -> Figure:
    """Draws a confusion matrix: rows are true classes, columns predictions.

    Of more than 60 classes only some are named, and the most frequent confusions stand beside.

    Args:
        matrix: int64 `(classes, classes)`, counts.
        what: was counted, for the title.
    """
    with lettering.fonts(classes):
        named = len(classes) <= _MOST_NAMED
        names = [
            lettering.shown(name, _MOST_LETTERS, number) for number, name in enumerate(classes)
        ]
        drawn = Figure(figsize=_inches(names), layout="constrained")
        if named:
            axes = drawn.subplots()
        else:
            axes, beside = drawn.subplots(1, 2, width_ratios=(4, 1))
            _list_pairs(beside, matrix, names)
        _draw(axes, matrix, names, numbers=named)
        axes.set_title(f"{int(np.trace(matrix))} of {matrix.sum()} {what} right")
    return drawn


def _inches(names: Sequence[str]) -> tuple[float, float]:
    if len(names) > _MOST_NAMED:
        return 24.0, 18.0
    cells, letters = 0.36 * len(names), 0.09 * max(map(len, names))
    return max(5.5, cells + letters + 1.2), max(4.5, cells + 0.8 * letters + 1.2)


def _draw(axes: Axes, matrix: np.ndarray, names: Sequence[str], *, numbers: bool) -> None:
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    # Where no number stands in a cell of some pixels, a single video must be seen nevertheless.
    norm = PowerNorm(1 if numbers else 0.5, 0, 1)
    axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    step = -(-len(names) // (2 * _MOST_NAMED))
    places = range(0, len(names), step)
    size = 9 if numbers else 7
    axes.set_xticks(
        places,
        [names[i] for i in places],
        rotation=45 if numbers else 90,
        ha="right" if numbers else "center",
        rotation_mode="anchor" if numbers else "default",
        fontsize=size,
        parse_math=False,
    )
    axes.set_yticks(places, [names[i] for i in places], fontsize=size, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true" if step == 1 else f"true (every {_ordinal(step)} class named)")
    if not numbers:
        return
    for row, column in zip(*matrix.nonzero(), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        count = matrix[row, column]
        axes.text(
            column,
            row,
            str(count),
            ha="center",
            va="center",
            color=colour,
            fontsize=9 if count < 1000 else 6,
        )


def _list_pairs(axes: Axes, matrix: np.ndarray, names: Sequence[str]) -> None:
    """Lists the most frequent confusions."""
    wrong = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [divmod(int(place), len(names)) for place in order]
    lines = [
        f"{wrong[row, column]} ×  {names[row]} → {names[column]}"
        for row, column in pairs
        if wrong[row, column]
    ]
    axes.set_axis_off()
    axes.set_title("most frequent confusions", loc="left")
    axes.text(
        0,
        1,
        "\n".join(lines) or "none",
        transform=axes.transAxes,
        va="top",
        fontsize=9,
        linespacing=1.6,
        parse_math=False,
    )


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")
