"""A picture of how far the confidence of a model can be believed."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def figure(
    counts: NDArray, confidence: NDArray, accuracy: NDArray, error: float, what: str
) -> Figure:
    """Draws accuracy over confidence, and below how many predictions each bin holds.

    Bars below the diagonal: surer than right. A dot is the mean confidence of a bin.

    Args:
        counts: `(bins,)`, predictions in each of bins of equal width from 0 to 1.
        confidence: `(bins,)`, their mean confidence; NaN of an empty bin.
        accuracy: `(bins,)`, the share of them that are right; NaN of an empty bin.
        error: the expected calibration error.
        what: was predicted, for the title.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, figure 1.
    """
    total = int(counts.sum())
    edges = np.linspace(0, 1, len(counts) + 1)
    middles, width = (edges[:-1] + edges[1:]) / 2, edges[1]
    drawn = Figure(figsize=(6, 7), layout="constrained")
    top, bottom = drawn.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.bar(
        middles,
        np.nan_to_num(accuracy),
        width,
        color="lightsteelblue",
        edgecolor="white",
        label="accuracy of the bin",
    )
    top.plot([0, 1], [0, 1], "--", color="tab:red", label="confidence = accuracy")
    top.plot(
        confidence,
        accuracy,
        "o",
        color="black",
        markersize=4,
        label="at its mean confidence",
    )
    top.set_ylim(0, 1.02)
    top.set_ylabel("accuracy")
    drawn.legend(loc="outside lower center", ncols=3, fontsize=8)
    found = f"expected calibration error (ECE) {error:.3f}" if total else "none has a score"
    top.set_title(f"{total} {what}: {found}", fontsize=11)
    bottom.bar(middles, counts, width, color="grey", edgecolor="white")
    for middle, count in zip(middles, counts, strict=True):
        if count:
            bottom.annotate(
                str(count),
                (middle, count),
                (0, 1),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
    bottom.set_ylim(0, max(1, counts.max()) * 1.2)
    bottom.set_xlim(0, 1)
    bottom.set_xticks(np.linspace(0, 1, 6))
    bottom.set_ylabel("number")
    bottom.yaxis.get_major_locator().set_params(integer=True)
    bottom.set_xlabel("confidence: the probability of the predicted class")
    for axes in (top, bottom):
        axes.set_axisbelow(True)
        axes.grid(alpha=0.3)
    return drawn
