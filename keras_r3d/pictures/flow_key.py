"""Legend for the colors of optical flow: a key, and borders of frames."""

import numpy as np
from matplotlib.figure import Figure

from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.pixels import Frame

_BAND = 0.62  # inches, below a figure
_TEXT = (
    "Optical flow: what moves towards a side of the disc has the color of that side.\n"
    "White is no motion, the full color the fastest of each strip."
)
_BORDER = 140  # gray
_SIDES_OF_BORDER = 64  # of a frame to one of its border


def wheel(size: int) -> Frame:
    """Draws a disc with the color of motion from its center at each place, on white."""
    steps = np.linspace(-1, 1, size)
    x, y = np.meshgrid(steps, steps)
    length = np.hypot(x, y)
    arrows = np.where((length <= 1)[..., None], np.stack([x, y], axis=-1), 0) * flow.BOUND
    disc = flow.colors(flow.encode(arrows.astype(np.float32)))
    disc[np.abs(length - 1) < 2 / size] = _BORDER
    return disc


def bordered(frames: Frame) -> Frame:
    """Puts a gray border around frames, which are white where nothing moves."""
    edge = max(1, frames.shape[1] // _SIDES_OF_BORDER)
    around = [(0, 0), (edge, edge), (edge, edge), (0, 0)]
    return np.pad(frames, around, constant_values=_BORDER)


def add(figure: Figure) -> None:
    """Makes a figure with constrained layout higher, and puts the key below what it shows."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + _BAND)
    share = _BAND / (height + _BAND)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, share, 1, 1 - share))  # type: ignore[call-arg]
    side = 0.8 * _BAND
    place = (0.1 / width, 0.1 * share, side / width, 0.8 * share)
    axes = figure.add_axes(place)
    axes.set_in_layout(False)
    axes.set_axis_off()
    axes.imshow(wheel(128))
    text = figure.text((side + 0.2) / width, share / 2, _TEXT, fontsize=7, va="center")
    text.set_in_layout(False)
