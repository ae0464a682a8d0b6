"""Drawing heat over a clip: a strip of frames as a figure, and a video."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_r3d.data.decoding import video_writer
from keras_r3d.data.decoding.decoder import resize
from keras_r3d.inference.explanation.heat import Heat
from keras_r3d.pictures import flow_key
from keras_r3d.system import files
from keras_r3d.system.opencv import cv2
from keras_r3d.system.text import shortened

_COLOURS = "inferno"
_STRONGEST = 0.85  # share of the heat's colour where it is hottest
_FADING = 0.7  # below 1, weak heat is seen better
_MOST_FRAMES = 8  # in the strip
_SIDE = 360  # least height of a panel of the video, in pixels
_LEAST_SECONDS = 4.0  # a shorter clip is shown again
_MOST_LETTERS = 60  # of a line of the strip
_FOOT = 34  # height of the line below the pictures of the video
_LETTER = 12  # width of one in the video, in pixels


def blend(clip: np.ndarray, heat: Heat) -> np.ndarray:
    """Lays the heat over a grey copy of the clip, the clearer the hotter.

    Args:
        clip: uint8 `(frames, height, width, channels)`; 3 channels are RGB.
        heat: `(frames, height, width)`, 0-1.

    Returns:
        uint8 `(frames, height, width, 3)`, RGB.
    """
    grey = as_rgb(clip).mean(axis=-1, keepdims=True)
    colour = 255 * matplotlib.colormaps[_COLOURS](heat)[..., :3]
    share = _STRONGEST * heat[..., None] ** _FADING
    return (grey * (1 - share) + colour * share).round().astype(np.uint8)


def as_rgb(clip: np.ndarray) -> np.ndarray:
    """Shows any number of channels: three as they are, others as the mean of all.

    Args:
        clip: `(frames, height, width, channels)`, 0-255.

    Returns:
        uint8 `(frames, height, width, 3)`.
    """
    if clip.shape[-1] != 3:
        clip = np.repeat(clip.mean(axis=-1, keepdims=True), 3, axis=-1)
    return np.clip(clip, 0, 255).astype(np.uint8)


def strip(
    clip: np.ndarray,
    heats: Mapping[str, Heat],
    seconds: np.ndarray,
    lines: Sequence[str],
    *,
    of_flow: bool = False,
) -> Figure:
    """Draws up to 8 frames, left to right in time; below them the same under each heat.

    Args:
        clip: uint8 `(frames, height, width, channels)`.
        heats: name -> `(frames, height, width)`, 0-1.
        seconds: float `(frames,)`, of each in the video.
        lines: title.
        of_flow: the clip shows the colours of optical flow: a key to them is added.
    """
    shown = np.linspace(0, len(clip) - 1, min(_MOST_FRAMES, len(clip))).round().astype(int)
    rows = {"clip": as_rgb(clip), **{name: blend(clip, heat) for name, heat in heats.items()}}
    width = max(6.4, 1.5 * len(shown)) + 0.8
    figure = Figure(figsize=(width, 1.6 * len(rows) + 1.0), layout="constrained")
    title = "\n".join(shortened(line, _MOST_LETTERS) for line in lines)
    figure.suptitle(title, fontsize=10, parse_math=False)
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    for axes_row, (name, pictures) in zip(grid, rows.items(), strict=True):
        for axes, number in zip(axes_row, shown, strict=True):
            axes.imshow(pictures[number])
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_frame_on(of_flow)  # which is white where nothing moves
            for spine in axes.spines.values():
                spine.set_color("0.6")
        axes_row[0].set_ylabel(name, fontsize=9)
    for axes, number in zip(grid[-1], shown, strict=True):
        axes.set_xlabel(f"{seconds[number]:.2f} s", fontsize=9)
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 1), _COLOURS)
    bar = figure.colorbar(scale, ax=grid, ticks=[0, 1], fraction=0.03, pad=0.01)
    bar.ax.set_yticklabels(["none", "most"], fontsize=8)
    if of_flow:
        flow_key.add(figure)
    return figure


def write_video(
    path: Path,
    clip: np.ndarray,
    heat: Heat,
    seconds: np.ndarray,
    lines: Sequence[str],
    *,
    of_flow: bool = False,
) -> None:
    """Writes the clip beside itself under the heat as MP4, at the pace of the video.

    It is repeated until it lasts 4 seconds.

    Args:
        clip: uint8 `(frames, height, width, channels)`.
        heat: `(frames, height, width)`, 0-1.
        seconds: float `(frames,)`, of each in the video.
        lines: stand above the pictures.
        of_flow: the clip shows the colours of optical flow: the disc of directions is added.

    Raises:
        WriteError: the file cannot be written.
        R3DError: OpenCV cannot write videos.
    """
    pictures = [_enlarged(frames) for frames in (as_rgb(clip), blend(clip, heat))]
    beside = np.concatenate(pictures, axis=2)
    head = _lettered(lines, beside.shape[2], 26 * len(lines) + 14, "center")
    frames = []
    for picture, second in zip(beside, seconds, strict=True):
        foot = _lettered([f"{second:.2f} s"], beside.shape[2], _FOOT, "center")
        if of_flow:
            foot[2:-2, 2 : _FOOT - 2] = flow_key.wheel(_FOOT - 4)
        frames.append(np.concatenate([head, picture, foot]))
    between = np.diff(seconds)
    pace = 1 / between.mean() if len(between) and between.mean() > 0 else 10.0
    pace = float(np.clip(pace, 1, 60))
    times = max(1, int(np.ceil(_LEAST_SECONDS * pace / len(frames))))
    with files.atomic(path) as temporary:
        bgr = [cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in frames]
        video_writer.write(temporary, bgr * times, pace)


def _enlarged(frames: np.ndarray) -> np.ndarray:
    """Scales frames up to 360 rows or more, both sides even as the encoder wants them."""
    height, width = frames.shape[1:3]
    scale = max(1.0, _SIDE / height)
    rows, columns = (2 * round(size * scale / 2) for size in (height, width))
    return np.stack([resize(np.ascontiguousarray(one), rows, columns) for one in frames])


def _lettered(lines: Sequence[str], width: int, height: int, align: str) -> np.ndarray:
    """Returns text as a picture, white on black, uint8 `(height, width, 3)`."""
    dots = 100
    figure = Figure(figsize=(width / dots, height / dots), dpi=dots, facecolor="black")
    figure.text(
        0.5,
        0.5,
        "\n".join(shortened(line, width // _LETTER) for line in lines),
        color="white",
        fontsize=12,
        ha="center",
        va="center",
        multialignment=align,
        parse_math=False,
    )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
