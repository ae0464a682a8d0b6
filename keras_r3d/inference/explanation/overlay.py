"""Draws heat over a clip: a strip of frames as a figure, and a video."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_r3d.data.decoding import flow, video_writer
from keras_r3d.data.decoding.pixels import resize
from keras_r3d.inference.explanation.heat import Heat
from keras_r3d.pictures import contact_sheet, flow_key, fonts
from keras_r3d.pictures.contact_sheet import Cell
from keras_r3d.reports import page as pages
from keras_r3d.system import files
from keras_r3d.system.text import shortened

_COLORS = "inferno"
_STRONGEST = 0.85  # share of the heat's color where it is hottest
_FADING = 0.7  # below 1, weak heat is seen better
_MOST_FRAMES = 8  # in the strip
_SIDE = 360  # least height of a panel of the video, in pixels
_LEAST_SECONDS = 4.0  # a shorter clip is shown again
_MOST_LETTERS = 60  # of a line of the strip
_LINE, _FOOT = 26, 34  # heights of lines above and below the pictures of the video
_LETTER = 12  # width of one in the video, in pixels


def blend(frames: np.ndarray, heat: Heat) -> np.ndarray:
    """Lays the heat, 0-1, over a gray copy of frames, uint8 RGB, the clearer the hotter."""
    gray = frames.mean(axis=-1, keepdims=True)
    color = 255 * matplotlib.colormaps[_COLORS](heat)[..., :3]
    share = _STRONGEST * heat[..., None] ** _FADING
    return (gray * (1 - share) + color * share).round().astype(np.uint8)


def strip(
    clip: np.ndarray, heats: Mapping[str, Heat], seconds: np.ndarray, lines: Sequence[str]
) -> Figure:
    """Draws up to 8 frames, left to right in time; below them the same under each heat.

    Args:
        clip: uint8 `(frames, height, width, channels)`, RGB, or flow x and y.
        heats: name -> `(frames, height, width)`, 0-1.
        seconds: float `(frames,)`, of each in the video.
        lines: title.
    """
    numbers = np.linspace(0, len(clip) - 1, min(_MOST_FRAMES, len(clip))).round().astype(int)
    frames, is_flow = _colored(clip), clip.shape[-1] == flow.CHANNELS
    rows = {"clip": frames, **{name: blend(frames, heat) for name, heat in heats.items()}}
    color = "0.6" if is_flow else ""  # flow is white where nothing moves
    sheet = contact_sheet.figure(
        [[Cell(pixels[number], color=color) for number in numbers] for pixels in rows.values()],
        (max(1.6, 7.0 / len(numbers)), 1.7),
        "\n".join(shortened(line, _MOST_LETTERS) for line in lines),
        row_names=list(rows),
        column_names=[f"{seconds[number]:.2f} s" for number in numbers],
    )
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 1), _COLORS)
    bar = sheet.colorbar(scale, ax=sheet.axes, ticks=[0, 1], fraction=0.03, pad=0.01)
    bar.ax.set_yticklabels(["none", "most"], fontsize=8)
    if is_flow:
        flow_key.add(sheet)
    return sheet


def write_video(
    path: Path, clip: np.ndarray, heat: Heat, seconds: np.ndarray, lines: Sequence[str]
) -> None:
    """Writes the clip beside itself under the heat as MP4, at the pace of the video.

    It is repeated until it lasts 4 seconds; `lines` stand above the pictures, the rest is as in
    `strip`. Optical flow has the disc of directions in it.
    """
    pictures = _beside(clip, heat)
    width = pictures.shape[2]
    head = _lettered(lines, width, _LINE * len(lines) + 14)
    frames = []
    for picture, second in zip(pictures, seconds, strict=True):
        foot = _lettered([f"{second:.2f} s"], width, _FOOT)
        if clip.shape[-1] == flow.CHANNELS:
            foot[2:-2, 2 : _FOOT - 2] = flow_key.wheel(_FOOT - 4)
        frames.append(np.ascontiguousarray(np.concatenate([head, picture, foot])[..., ::-1]))
    lasts = seconds[-1] - seconds[0]
    pace = float(np.clip((len(seconds) - 1) / lasts, 1, 60)) if lasts > 0 else 10.0
    times = max(1, math.ceil(_LEAST_SECONDS * pace / len(frames)))
    with files.atomic(path) as temporary:
        video_writer.write(temporary, frames * times, pace)


def page(
    clip: np.ndarray, heats: Mapping[str, Heat], seconds: np.ndarray, lines: Sequence[str]
) -> str:
    """Returns a page with the clip beside itself under each heat, and the heat over time.

    The arguments are as of `strip`; the first line is the title.
    """
    pictures = np.concatenate([_beside(clip, heat) for heat in heats.values()], axis=1)
    times = seconds - seconds[0]
    # Frames that are looped to fill a clip have no time of their own.
    shown = np.concatenate([[True], np.diff(np.maximum.accumulate(times)) > 0])
    mp4 = video_writer.encode(zip(times[shown], pictures[shown], strict=True))
    lasts = float(times[shown][-1])
    series = [
        {"name": name, "x": seconds[shown], "y": heat.mean(axis=(1, 2))[shown]}
        for name, heat in heats.items()
    ]
    return pages.render(
        "video.html",
        title=lines[0],
        lines=lines[1:],
        video=pages.video_url(mp4),
        caption=f"The clip, {lasts:.2f} s, and beside it what speaks for the class: "
        f"{', '.join(heats)}{' below' * (len(heats) > 1)}. 1 is the hottest pixel of the clip.",
        data={
            "start": float(seconds[0]),
            "windows": None,
            "chart": {"title": "Mean heat of each frame", "xlabel": "second", "series": series},
        },
    )


def _beside(clip: np.ndarray, heat: Heat) -> np.ndarray:
    """Draws the clip beside itself under the heat."""
    colored = _colored(clip)
    panels = [_enlarged(frames) for frames in (colored, blend(colored, heat))]
    return np.concatenate(panels, axis=2)


def _colored(clip: np.ndarray) -> np.ndarray:
    return flow.colors(clip) if clip.shape[-1] == flow.CHANNELS else clip


def _enlarged(frames: np.ndarray) -> np.ndarray:
    """Scales frames up to 360 rows or more, both sides even as the encoder wants them."""
    height, width = frames.shape[1:3]
    scale = max(1.0, _SIDE / height)
    rows, columns = (2 * round(size * scale / 2) for size in (height, width))
    return np.stack([resize(np.ascontiguousarray(frame), rows, columns) for frame in frames])


@fonts.look()
def _lettered(lines: Sequence[str], width: int, height: int) -> np.ndarray:
    """Draws text as a picture, white on black, uint8 `(height, width, 3)`."""
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="black")
    text = "\n".join(shortened(line, width // _LETTER) for line in lines)
    style: dict[str, Any] = {"color": "white", "fontsize": 12, "ha": "center", "va": "center"}
    figure.text(0.5, 0.5, text, multialignment="center", parse_math=False, **style)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
