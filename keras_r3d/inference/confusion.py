"""A picture of which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure


def figure(matrix: np.ndarray, classes: Sequence[str], what: str) -> Figure:
    """Draws a confusion matrix: rows are true classes, columns predictions.

    Args:
        matrix: int64 `(classes, classes)`, counts.
        what: was counted, for the title.
    """
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    inches = min(24.0, max(5.0, 2.5 + 0.45 * len(classes)))
    drawn = Figure(figsize=(inches, inches), layout="constrained")
    axes = drawn.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= 60:
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(len(classes)), classes, parse_math=False)
        for row, column in zip(*matrix.nonzero(), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{int(np.trace(matrix))} of {matrix.sum()} {what} right")
    return drawn
