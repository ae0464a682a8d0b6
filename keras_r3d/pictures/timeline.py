"""A picture of the scores of a video over time."""

import itertools
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

Part = tuple[float, float, str, float]  # of a video: start and end in seconds, class, score


@fonts.look()
def figure(
    seconds: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[str],
    name: str,
    top: int,
    segments: Mapping[str, Sequence[Part]],
) -> Figure:
    """Draws the scores, `(windows, classes)`, of the `top` classes that are highest in any window.

    A line joins the middles of windows, whose starts and ends are `seconds`, `(windows, 2)`. A bar
    shows from when to when a window is, where there are not too many to be seen, and they do not
    lie over each other. The scores of a single window are bars beside the names of their classes.
    Below, rows of `segments` have bars from start to end in seconds, with their labels; those that
    overlap are below each other.
    """
    lanes = {name: _lanes(parts) for name, parts in segments.items()}
    rows, single = _ROW * sum(map(len, lanes.values())), len(seconds) == 1
    highest = np.argsort(-scores.max(axis=0), kind="stable")[:top]
    height = 0.6 + _ROW * len(highest) if single else 4.2
    picture = Figure(figsize=(9, height + rows), layout="constrained")
    axes, *below = picture.subplots(
        1 + bool(rows), squeeze=False, height_ratios=[height, rows][: 1 + bool(rows)]
    ).flat
    start = seconds[:, 0].min()
    end = max(seconds[:, 1].max(), start + _LEAST_SECONDS)
    names = [shortened(labels[number], _LETTERS) for number in highest]
    colors = [f"C{place % 10}" for place in range(len(highest))]
    title = f"{shortened_path(name, 2 * _LETTERS)} · {len(seconds)} window{'s' * (not single)}"
    if single:
        title += f", {start:.2f}-{seconds[0, 1]:.2f} s"
        bars = axes.barh(range(len(highest)), scores[0, highest], color=colors)
        axes.bar_label(bars, fmt="%.3f", padding=4)
        axes.set_yticks(range(len(highest)), names, parse_math=False)
        axes.set(xlim=(0, 1.08), xlabel="probability")
        axes.invert_yaxis()
    else:
        for place, number in enumerate(highest):
            dashes = ("-", "--", ":", "-.")[place // 10 % 4]
            _draw_line(axes, seconds, scores[:, number], colors[place], dashes, names[place])
        axes.set(xlim=(start, end), ylim=(-0.02, 1.02), ylabel="probability")
        axes.grid()
        legend = picture.legend(loc="outside lower center", ncols=2)
        for text in legend.get_texts():
            text.set_parse_math(False)
        (below or [axes])[-1].set_xlabel("seconds")
    for strip in below:
        _draw_segments(strip, lanes, dict(zip(names, colors, strict=True)))
        strip.set_xlim(start, end)
    axes.set_title(title, parse_math=False)
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
    rows: Mapping[str, Sequence[Sequence[Part]]],
    colors: Mapping[str, str],
) -> None:
    lanes = [lane for row in rows.values() for lane in row]
    for place, lane in enumerate(lanes):
        for start, end, label, _ in lane:
            color = colors.get(shortened(label, _LETTERS), "0.6")
            axes.broken_barh([(start, end - start)], (place + 0.1, 0.8), color=color, alpha=0.6)
            style: dict[str, Any] = {"ha": "center", "va": "center", "clip_on": True}
            text = shortened(label, _SEGMENT_LETTERS)
            axes.text((start + end) / 2, place + 0.5, text, fontsize=6, parse_math=False, **style)
    firsts = [0, *itertools.accumulate(map(len, rows.values()))][:-1]
    axes.set(yticks=np.add(firsts, 0.5), yticklabels=list(rows), ylim=(len(lanes), 0))


def _lanes(parts: Sequence[Part]) -> list[list[Part]]:
    """Returns parts in as many lanes as are needed that none overlaps in its lane, at least one."""
    lanes: list[list[Part]] = [[]]
    for part in sorted(parts):
        free = (lane for lane in lanes if not lane or lane[-1][1] <= part[0])
        if (lane := next(free, None)) is None:
            lanes.append(lane := [])
        lane.append(part)
    return lanes
