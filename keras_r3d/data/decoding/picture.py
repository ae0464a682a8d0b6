"""A decoded frame as it is shown, and rectangles of it in the pixels a network sees.

Cutting, scaling, turning upright and conversion to RGB are one chain of FFmpeg's filters, so only
what is seen is converted: by the frame's own color matrix and range, whatever its sampling.
"""

import dataclasses
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from keras_r3d.data.sampling.cropping import Crop, whole

Frame = NDArray[np.uint8]

FAILURES = (av.FFmpegError, OSError)  # of FFmpeg; the second for codes that PyAV has no class for

_UPRIGHT = {0: [], 90: [("transpose", "clock")], 180: [("hflip", ""), ("vflip", "")]}
_UPRIGHT[270] = [("transpose", "cclock")]
_MATRICES = {1, 2, 4, 5, 6, 7, 9}  # of H.273, that FFmpeg converts YUV by
_UNSPECIFIED = 2  # FFmpeg then takes BT.601, as players do for small pictures
_KEPT_CHAINS = 64


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded frame.

    Attributes:
        frame: as decoded, or shrunk.
        shape: height and width as shown: upright, of square pixels.
        rotation: 0, 90, 180 or 270 degrees clockwise make it upright.
    """

    frame: av.VideoFrame
    shape: tuple[int, int]
    rotation: int

    @property
    def nbytes(self) -> int:
        return sum(plane.buffer_size for plane in self.frame.planes)

    def rgb(self) -> Frame:
        """Returns all of it, uint8 `(height, width, 3)`."""
        out = np.empty((*self.shape, 3), np.uint8)
        Cutter()(out, self, whole(*self.shape))
        return out


def shown_shape(
    height: int, width: int, aspect: Fraction | None, rotation: int, short_side: int
) -> tuple[int, int]:
    """Returns height and width of a frame as shown, and shrunk.

    Args:
        aspect: width:height of a pixel.
        short_side: of a larger frame, in pixels; 0 keeps its size.
    """
    shape = (height, max(1, round(width * (aspect or 1))))
    shape = shape[::-1] if rotation % 180 else shape
    scale = min(1.0, short_side / min(shape)) if short_side else 1.0
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


class Taker:
    """Makes pictures of decoded frames; for one thread."""

    def __init__(self) -> None:
        self._shrinker = VideoReformatter()

    def take(
        self, frame: av.VideoFrame, full: tuple[int, int], shape: tuple[int, int], rotation: int = 0
    ) -> Picture:
        """Returns a picture of `shape`, to which a frame is shrunk that is shown in `full`."""
        frame.color_trc = frame.color_primaries = _UNSPECIFIED  # not converted, whatever they are
        if frame.format.name.startswith("yuv") and frame.colorspace not in _MATRICES:
            frame.colorspace = _UNSPECIFIED
        if shape != full:
            rows, columns = shape[::-1] if rotation % 180 else shape
            frame = self._shrinker.reformat(
                frame,
                columns,
                rows,
                "yuv444p" if frame.format.name.startswith("yuv") else "rgb24",  # all of its color
                interpolation=Interpolation.AREA,
                threads=1,
            )
        return Picture(frame, shape, rotation)


class Cutter:
    """Cuts rectangles out of pictures; for one thread."""

    def __init__(self) -> None:
        self._chains: dict[tuple, tuple[Graph, FilterContext, FilterContext]] = {}

    def __call__(self, out: Frame, picture: Picture, crop: Crop) -> None:
        """Cuts a rectangle, and scales it to fill `out`: averaging areas where it shrinks.

        Args:
            out: uint8 `(height, width, 3)`, RGB; or `(height, width)`, gray.
            crop: in pixels of `picture.shape`.
        """
        frame = picture.frame
        coded = frame.width, frame.height, frame.format.name
        colors = int(frame.colorspace), int(frame.color_range)
        key = (*coded, *colors, picture.shape, picture.rotation, crop, out.shape)
        if key not in self._chains:
            if len(self._chains) == _KEPT_CHAINS:
                self._chains.clear()
            self._chains[key] = _chain(*key)
        _, source, sink = self._chains[key]
        source.push(frame)
        plane = cast(av.VideoFrame, sink.pull()).planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        out[...] = rows[: out.shape[0], : out[0].size].reshape(out.shape)


def _chain(
    width: int,
    height: int,
    pixel_format: str,
    matrix: int,
    color_range: int,
    shape: tuple[int, int],
    rotation: int,
    crop: Crop,
    out: tuple[int, ...],
) -> tuple[Graph, FilterContext, FilterContext]:
    """Makes filters; returns them with the first, which takes frames, and the last."""
    rectangle = _coded(crop, shape, rotation, height, width)
    rows, columns = out[1::-1] if rotation % 180 else out[:2]
    filters = []
    if rectangle != (0, 0, height, width):
        top, left, tall, wide = rectangle
        if av.VideoFormat(pixel_format).components[0].bits > 8:
            left -= left % 2  # at an odd one FFmpeg reads chroma of two bytes from between them
        filters.append(("crop", f"w={wide}:h={tall}:x={left}:y={top}:exact=1"))
    shrinks = rows <= rectangle[2] and columns <= rectangle[3]
    how = "area" if shrinks else "bilinear"
    filters.append(("scale", f"{columns}:{rows}:flags={how}+accurate_rnd+full_chroma_int"))
    filters += _UPRIGHT[rotation]
    filters += [("hflip", "")] if crop.flip else []
    filters.append(("format", "rgb24" if len(out) == 3 else "gray"))
    graph = Graph()
    graph.threads = 1
    first = graph.add(
        "buffer",
        f"video_size={width}x{height}:pix_fmt={pixel_format}:time_base=1/1000:pixel_aspect=1/1"
        f":colorspace={matrix}:range={color_range}",
    )
    last = graph.add("buffersink")
    graph.link_nodes(first, *(graph.add(*described) for described in filters), last).configure()
    return graph, first, last


def _coded(
    crop: Crop, shape: tuple[int, int], rotation: int, height: int, width: int
) -> tuple[int, int, int, int]:
    """Returns top, left, height and width of a crop in the frame as it is coded."""
    top, left, tall, wide = crop.top, crop.left, crop.height, crop.width
    high, broad = shape
    if rotation == 90:
        top, left, tall, wide, high, broad = broad - left - wide, top, wide, tall, broad, high
    elif rotation == 180:
        top, left = high - top - tall, broad - left - wide
    elif rotation == 270:
        top, left, tall, wide, high, broad = left, high - top - tall, wide, tall, broad, high
    down, right = Fraction(height, high), Fraction(width, broad)
    tall, wide = max(1, round(tall * down)), max(1, round(wide * right))
    return min(round(top * down), height - tall), min(round(left * right), width - wide), tall, wide
