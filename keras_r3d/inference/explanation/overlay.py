"""Draws heat over a clip: a strip of frames as a figure, a video, and a page with it."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from keras_r3d.data.decoding import flow, video_writer
from keras_r3d.data.decoding.pixels import resize
from keras_r3d.inference.explanation.heat import Heat
from keras_r3d.pictures import contact_sheet, flow_key
from keras_r3d.pictures.contact_sheet import Cell
from keras_r3d.reports import page as pages
from keras_r3d.system.text import shortened

_COLORS = "inferno"
_STRONGEST = 0.85  # share of the heat's color where it is hottest
_FADING = 0.7  # below 1, weak heat is seen better
_MOST_FRAMES = 8  # in the strip
_SIDE = 360  # least height of a panel of the video, in pixels
_MOST_LETTERS = 60  # of a line of the strip


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


def video(clip: np.ndarray, heats: Mapping[str, Heat], seconds: np.ndarray) -> bytes:
    """Encodes the clip beside itself under each heat, at the pace of the video.

    The arguments are as of `strip`. Frames that are looped to fill a clip, which have no time of
    their own, are left out.
    """
    colored = _colored(clip)
    rows = [
        np.concatenate([_enlarged(frames) for frames in (colored, blend(colored, heat))], axis=2)
        for heat in heats.values()
    ]
    shown = own_times(seconds)
    pictures = np.concatenate(rows, axis=1)[shown]
    return video_writer.encode(zip(seconds[shown] - seconds[0], pictures, strict=True))


def own_times(seconds: np.ndarray) -> np.ndarray:
    """Tells which frames, `(frames,)`, are later than all before them."""
    return np.diff(np.maximum.accumulate(seconds), prepend=-np.inf) > 0


def page(mp4: bytes, heats: Mapping[str, Heat], seconds: np.ndarray, lines: Sequence[str]) -> str:
    """Returns a page with a `video`, and the heat of its frames over time.

    The arguments are as of `strip`; the first line is the title.
    """
    shown = own_times(seconds)
    x = seconds[shown]
    series = [
        {"name": name, "x": x, "y": heat.mean(axis=(1, 2))[shown]} for name, heat in heats.items()
    ]
    return pages.render(
        "video.html",
        title=lines[0],
        lines=lines[1:],
        video=pages.video_url(mp4),
        caption=f"The clip, {x[-1] - x[0]:.2f} s, and beside it what speaks for the class: "
        f"{', '.join(heats)}{' below' * (len(heats) > 1)}. 1 is the hottest pixel of the clip.",
        data={
            "start": x[0],
            "windows": None,
            "segments": [],
            "chart": {"title": "Mean heat of each frame", "xlabel": "second", "series": series},
        },
    )


def _colored(clip: np.ndarray) -> np.ndarray:
    return flow.colors(clip) if clip.shape[-1] == flow.CHANNELS else clip


def _enlarged(frames: np.ndarray) -> np.ndarray:
    """Scales frames up to 360 rows or more, both sides even as the encoder wants them."""
    height, width = frames.shape[1:3]
    scale = max(1.0, _SIDE / height)
    rows, columns = (2 * round(size * scale / 2) for size in (height, width))
    return np.stack([resize(np.ascontiguousarray(frame), rows, columns) for frame in frames])
