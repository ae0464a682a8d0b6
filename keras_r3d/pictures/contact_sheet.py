"""Contact sheets: pictures of video frames in rows, with titles."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_r3d.pictures import flow_key, fonts

_GAP = 2  # pixels between the frames of a strip


@dataclasses.dataclass(frozen=True)
class Cell:
    """A picture of a sheet."""

    pixels: np.ndarray | None  # uint8 `(height, width, 3)`, RGB; None is a gray field that says so
    title: str = ""  # above it; may have several lines
    color: str = ""  # of the title, and of a frame around the picture; "" draws none


@fonts.look()
def figure(
    rows: Sequence[Sequence[Cell | None]],
    inches: tuple[float, float],  # width and height of a cell, with its title
    heading: str = "",
    *,
    font_size: float = 8,
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    flow: bool = False,  # adds a key to its colors
) -> Figure:
    """Draws rows of pictures, of equal length; None leaves a place empty."""
    columns = max(map(len, rows), default=1)
    above = 0.2 * (1 + heading.count("\n")) + 0.2 if heading else 0.0
    size = (columns * inches[0] + 0.2, max(1, len(rows)) * inches[1] + above)
    sheet = Figure(figsize=size, layout="constrained")
    if heading:
        sheet.suptitle(heading, fontsize=10, parse_math=False)
    grid = sheet.subplots(max(1, len(rows)), columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for axes_row, cells in zip(grid, rows, strict=False):
        for axes, cell in zip(axes_row, cells, strict=False):
            if cell is not None:
                _draw(axes, cell, font_size)
    for axes, name in zip(grid[:, 0], row_names, strict=False):
        axes.set_ylabel(name, fontsize=font_size, parse_math=False)
    for axes, name in zip(grid[-1], column_names, strict=False):
        axes.set_xlabel(name, fontsize=font_size)
    if flow:
        flow_key.add(sheet)
    return sheet


def strip(frames: np.ndarray, flow: bool = False) -> np.ndarray:
    """Puts frames, uint8 `(frames, height, width, 3)`, side by side; those of flow in a border."""
    if flow:
        frames = flow_key.bordered(frames)
    gap = np.full((*frames.shape[:2], _GAP, 3), 255, np.uint8)
    return np.concatenate(list(np.concatenate([frames, gap], axis=2)), axis=1)


def _draw(axes: Axes, cell: Cell, font_size: float) -> None:
    pixels = cell.pixels
    if pixels is None:
        pixels = np.full((160, 160, 3), 128, np.uint8)
        axes.text(80, 80, "cannot be read", ha="center", color="white", fontsize=7)
    axes.imshow(pixels)
    if cell.color:
        axes.set_frame_on(True)
        for spine in axes.spines.values():
            spine.set(edgecolor=cell.color, linewidth=1 if cell.color in ("black", "0.6") else 3)
    if cell.title:
        color = cell.color or "black"
        axes.set_title(cell.title, fontsize=font_size, color=color, parse_math=False)
