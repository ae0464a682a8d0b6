"""A picture of the confusion matrix of classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from keras_r3d.pictures import fonts
from keras_r3d.system.text import shortened

_MOST_NAMED = 60  # classes; beyond, there is no room for a name and a number each
_MOST_LETTERS = 28
_MOST_PAIRS = 60


@fonts.look()
def figure(matrix: np.ndarray, classes: Sequence[str], noun: str) -> Figure:
    """Draws counts, int64 `(classes, classes)`: rows are true classes, columns predictions.

    Of more than 60 classes only some are named, and the most frequent confusions stand beside.
    `noun` names what was counted, in the title.
    """
    names = [shortened(name, _MOST_LETTERS) for name in classes]
    all_named = len(classes) <= _MOST_NAMED
    if all_named:
        cells, letters = 0.36 * len(names), 0.09 * max(map(len, names))
        size = max(5.5, cells + letters + 1.2), max(4.5, cells + 0.8 * letters + 1.2)
        picture = Figure(figsize=size, layout="constrained")
        axes = picture.subplots()
    else:
        picture = Figure(figsize=(24, 18), layout="constrained")
        axes, beside = picture.subplots(1, 2, width_ratios=(4, 1))
        _list_pairs(beside, matrix, names)
    _draw(axes, matrix, names, numbers=all_named)
    axes.set_title(f"{int(np.trace(matrix))} of {matrix.sum()} {noun} right")
    return picture


def _draw(axes: Axes, matrix: np.ndarray, names: Sequence[str], *, numbers: bool) -> None:
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    # Where no number stands in a cell of some pixels, a single video must be seen nevertheless.
    norm = PowerNorm(1 if numbers else 0.5, 0, 1)
    axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    step = -(-len(names) // (2 * _MOST_NAMED))
    ticks = range(0, len(names), step), names[::step]
    style: dict[str, Any] = {"fontsize": 9 if numbers else 7, "parse_math": False}
    axes.set_yticks(*ticks, **style)
    slant = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(*ticks, **style | (slant if numbers else {"rotation": 90}))
    axes.set_xlabel("predicted")
    axes.set_ylabel("true" if step == 1 else f"true (one class of {step} named)")
    if not numbers:
        return
    for row, column in zip(*matrix.nonzero(), strict=True):
        count = matrix[row, column]
        color = "white" if shares[row, column] > 0.5 else "black"
        size = 9 if count < 1000 else 6
        axes.text(column, row, str(count), c=color, ha="center", va="center", fontsize=size)


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
    style: dict[str, Any] = {"va": "top", "fontsize": 9, "linespacing": 1.6, "parse_math": False}
    axes.text(0, 1, "\n".join(lines) or "none", transform=axes.transAxes, **style)
