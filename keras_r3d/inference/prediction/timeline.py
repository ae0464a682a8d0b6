"""The scores of a video over time: a picture and a CSV file."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from keras_r3d.data.annotations.listing import printable
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.system import files
from keras_r3d.system.text import shortened, shortened_path

_SPANS = 60  # windows, of which start and end are drawn
_LETTERS = 48  # of a name
_LEAST_SECONDS = 0.1  # of the axis: a video may be a single frame
_EXACT = 9  # digits, of a float32


def write_csv(prediction: Prediction, path: Path) -> None:
    """Writes a row for each window: start and end in seconds, and the scores of all classes."""
    rows = (
        [*(f"{second:.6f}" for second in seconds), *(f"{score:.{_EXACT}g}" for score in scores)]
        for seconds, scores in zip(prediction.window_seconds, prediction.window_scores, strict=True)
    )
    header = ["start_seconds", "end_seconds", *prediction.labels]
    files.write_text(path, files.csv_text(header, rows))


def write_png(prediction: Prediction, path: Path, top: int) -> None:
    """Draws the scores of `figure`."""
    with files.atomic(path) as temporary:
        figure(prediction, top).savefig(temporary, dpi=100)


def figure(prediction: Prediction, top: int) -> Figure:
    """Draws the scores of the `top` classes that are highest in any window.

    A line joins the middles of windows. A bar shows from when to when one is, where there are not
    too many to be seen, and they do not lie over each other. The scores of a single window are bars
    over its time, which is shaded.
    """
    seconds, scores = prediction.window_seconds, prediction.window_scores
    drawn = Figure(figsize=(9, 4.2), layout="constrained")
    axes = drawn.subplots()
    middles = seconds.mean(axis=1)
    few = len(seconds) <= _SPANS
    apart = bool((seconds[1:, 0] > middles[:-1]).all())
    highest = np.argsort(-scores.max(axis=0), kind="stable")[:top]
    start = seconds[:, 0].min()
    end = max(seconds[:, 1].max(), start + _LEAST_SECONDS)
    alone = len(seconds) == 1
    if alone:
        axes.axvspan(start, end, color="0.93")
    for place, number in enumerate(highest):
        colour = f"C{place % 10}"
        dashes = ("-", "--", ":", "-.")[place // 10 % 4]
        label = shortened(printable(prediction.labels[number]), _LETTERS)
        if alone:
            label = f"{label}: {scores[0, number]:.3f}"
            axes.hlines(
                scores[0, number],
                start,
                end,
                colors=colour,
                lw=5,
                label=label,
                zorder=3 - place / 100,
            )
            continue
        axes.plot(
            middles,
            scores[:, number],
            dashes,
            color=colour,
            linewidth=1.2,
            marker="o" if few else None,
            markersize=3.5,
            label=label,
        )
        if few and apart:
            axes.hlines(
                scores[:, number], seconds[:, 0], seconds[:, 1], colors=colour, alpha=0.5, lw=3
            )
    # A single window has room at its sides, where one sees from when to when it is.
    margin = 0.1 * (end - start) if alone else 0
    axes.set_xlim(start - margin, end + margin)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("seconds")
    axes.set_ylabel("probability")
    axes.grid(alpha=0.3)
    windows = f"{len(seconds)} window{'s' if len(seconds) != 1 else ''}"
    name = shortened_path(printable(prediction.video), 2 * _LETTERS)
    axes.set_title(f"{name} · {windows}", fontsize=10, parse_math=False)
    legend = drawn.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return drawn
