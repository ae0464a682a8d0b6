"""A picture of how far the confidence of a model can be believed."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from keras_r3d.pictures import fonts


@fonts.look()
def figure(
    counts: NDArray, confidence: NDArray, accuracy: NDArray, error: float, noun: str
) -> Figure:
    """Draws accuracy over confidence, and below how many predictions each bin holds.

    Bars below the diagonal: surer than right. A dot is the mean confidence of a bin. Bins are
    of equal width from 0 to 1; their confidence and accuracy are NaN where they are empty. `error`
    is the expected calibration error; `noun` names what was predicted.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, figure 1.
    """
    total = int(counts.sum())
    edges = np.linspace(0, 1, len(counts) + 1)
    middles, width = (edges[:-1] + edges[1:]) / 2, edges[1]
    picture = Figure(figsize=(6, 7), layout="constrained")
    top, bottom = picture.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    style = {"color": "lightsteelblue", "edgecolor": "white"}
    top.bar(middles, np.nan_to_num(accuracy), width, label="accuracy of the bin", **style)
    top.plot([0, 1], [0, 1], "--", color="tab:red", label="confidence = accuracy")
    label = "at its mean confidence"
    top.plot(confidence, accuracy, "o", color="black", markersize=4, label=label)
    top.set(ylim=(0, 1.02), ylabel="accuracy")
    picture.legend(loc="outside lower center", ncols=3, fontsize=8)
    summary = f"expected calibration error (ECE) {error:.3f}" if total else "none has a score"
    top.set_title(f"{total} {noun}: {summary}")
    bars = bottom.bar(middles, counts, width, color="gray", edgecolor="white")
    bottom.bar_label(bars, [str(count) if count else "" for count in counts], fontsize=7)
    bottom.set(xlim=(0, 1), ylim=(0, max(1, counts.max()) * 1.2), xticks=np.linspace(0, 1, 6))
    bottom.set(xlabel="confidence: the probability of the predicted class", ylabel="number")
    bottom.yaxis.get_major_locator().set_params(integer=True)
    for axes in (top, bottom):
        axes.grid()
    return picture
