"""A picture of the scores of a video over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_r3d.pictures import fonts
from keras_r3d.system.text import shortened, shortened_path

_SPANS = 60  # windows, of which start and end are picture
_LETTERS = 48  # of a name
_SEGMENT_LETTERS = 14  # of a label on a segment
_ROW = 0.28  # inches of a row of segments
_LEAST_SECONDS = 0.1  # of the axis: a video may be a single frame


@fonts.any_script()
def figure(
    seconds: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[str],
    name: str,
    top: int,
    segments: Mapping[str, Sequence[tuple[float, float, str]]] | None = None,
) -> Figure:
    """Draws the scores, `(windows, classes)`, of the `top` classes that are highest in any window.

    A line joins the middles of windows, whose starts and ends are `seconds`, `(windows, 2)`. A bar
    shows from when to when a window is, where there are not too many to be seen, and they do not
    lie over each other. The scores of a single window are bars over its time, which is shaded.
    Below, rows of `segments` have bars from start to end in seconds, with their labels.
    """
    rows = _ROW * len(segments or ())
    picture = Figure(figsize=(9, 4.2 + rows), layout="constrained")
    axes, *below = picture.subplots(
        1 + bool(rows), squeeze=False, sharex=True, height_ratios=[4.2, rows][: 1 + bool(rows)]
    ).flat
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
    axes.set(ylabel="probability")
    axes.grid(alpha=0.3)
    colors = {labels[number]: f"C{place % 10}" for place, number in enumerate(highest)}
    for strip in below:
        _draw_segments(strip, segments or {}, colors)
    (below or [axes])[-1].set_xlabel("seconds")
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


def _draw_segments(
    axes: Axes,
    rows: Mapping[str, Sequence[tuple[float, float, str]]],
    colors: Mapping[str, str],
) -> None:
    for place, segments in enumerate(rows.values()):
        for start, end, label in segments:
            color = colors.get(label, "0.6")
            axes.broken_barh([(start, end - start)], (place + 0.1, 0.8), color=color, alpha=0.6)
            style: dict[str, Any] = {"ha": "center", "va": "center", "clip_on": True}
            text = shortened(label, _SEGMENT_LETTERS)
            axes.text((start + end) / 2, place + 0.5, text, fontsize=6, parse_math=False, **style)
    axes.set(yticks=np.arange(len(rows)) + 0.5, yticklabels=list(rows), ylim=(len(rows), 0))
