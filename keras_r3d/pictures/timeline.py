"""A picture of the scores of a video over time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_r3d.pictures import fonts
from keras_r3d.system.text import shortened, shortened_path

_SPANS = 60  # windows, of which start and end are picture
_LETTERS = 48  # of a name
_LEAST_SECONDS = 0.1  # of the axis: a video may be a single frame


@fonts.any_script()
def figure(
    seconds: np.ndarray, scores: np.ndarray, labels: Sequence[str], name: str, top: int
) -> Figure:
    """Draws the scores, `(windows, classes)`, of the `top` classes that are highest in any window.

    A line joins the middles of windows, whose starts and ends are `seconds`, `(windows, 2)`. A bar
    shows from when to when a window is, where there are not too many to be seen, and they do not
    lie over each other. The scores of a single window are bars over its time, which is shaded.
    """
    picture = Figure(figsize=(9, 4.2), layout="constrained")
    axes = picture.subplots()
    start = seconds[:, 0].min()
    end = max(seconds[:, 1].max(), start + _LEAST_SECONDS)
    single = len(seconds) == 1
    if single:
        axes.axvspan(start, end, color="0.93")
    highest = np.argsort(-scores.max(axis=0), kind="stable")[:top]
    for place, number in enumerate(highest):
        label = shortened(labels[number], _LETTERS)
        color = f"C{place % 10}"
        if single:
            label = f"{label}: {scores[0, number]:.3f}"
            style: dict[str, Any] = {"lw": 5, "label": label, "zorder": 3 - place / 100}
            axes.hlines(scores[0, number], start, end, colors=color, **style)
        else:
            dashes = ("-", "--", ":", "-.")[place // 10 % 4]
            _draw_line(axes, seconds, scores[:, number], color, dashes, label)
    # A single window has room at its sides, where one sees from when to when it is.
    margin = 0.1 * (end - start) if single else 0
    axes.set(xlim=(start - margin, end + margin), ylim=(-0.02, 1.02))
    axes.set(xlabel="seconds", ylabel="probability")
    axes.grid(alpha=0.3)
    title = f"{shortened_path(name, 2 * _LETTERS)} · {len(seconds)} window{'s' * (not single)}"
    axes.set_title(title, fontsize=10, parse_math=False)
    legend = picture.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return picture


def _draw_line(
    axes: Axes, seconds: np.ndarray, scores: np.ndarray, color: str, dashes: str, label: str
) -> None:
    middles = seconds.mean(axis=1)
    few = len(seconds) <= _SPANS
    marker = "o" if few else None
    axes.plot(middles, scores, dashes, c=color, lw=1.2, marker=marker, ms=3.5, label=label)
    if few and (seconds[1:, 0] > middles[:-1]).all():
        axes.hlines(scores, seconds[:, 0], seconds[:, 1], colors=color, alpha=0.5, lw=3)
