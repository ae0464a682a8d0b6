"""Cuts a window out of compressed frames, so that only what the window covers is decoded.

The frames are baseline JPEGs with restart markers every few blocks of pixels. The decoder starts
afresh after a marker, so the segments between markers that cover the window can be taken out of
several frames and put below each other behind one header: an ordinary JPEG again, decoded by one
call. A table in each frame's header, which other decoders skip, says where the segments are.

Reference:
    ITU-T Rec. T.81 (1992), Digital compression and coding of continuous-tone still images,
    annex B (markers) and E.1.4 (restart).
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.system.errors import R3DError
from keras_r3d.system.opencv import cv2

Bytes = NDArray[np.uint8]
Frame = NDArray[np.uint8]

MOST_ROWS = 65_500  # pixels; libjpeg's limit
_SOF0, _SOI, _EOI, _SOS, _DRI = 0xC0, 0xD8, 0xD9, 0xDA, 0xDD
_LONGEST = 2**16 - 1  # bytes of a section, by the standard; and of a segment, by the table
_TABLE = 0xEB  # APP11: for applications
_TABLE_START = bytes((0xFF, _SOI, 0xFF, _TABLE))
_TABLE_NAME = b"keras_r3d segments\0"
SHRUNK = {
    1: 0,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_FRAMES = {_SOF0, *(code for code in range(0xC1, 0xD0) if code not in (0xC4, 0xC8, 0xCC))}


class JpegError(R3DError, ValueError):
    """Bytes that are not the JPEG that was expected."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Places of the pixels of a frame in its bytes, by its header."""

    header: bytes  # all before the entropy-coded data, without the table
    height: int
    width: int
    size_at: int  # offset in `header` of the height, after which comes the width
    block_height: int  # of the smallest coded unit (MCU), in pixels
    block_width: int
    interval: int  # units between restart markers

    @property
    def segments_in_row(self) -> int:
        """Number of segments between restart markers in a row of units."""
        return -(-self.width // self.block_width) // self.interval

    @property
    def segments(self) -> int:
        """Number of segments of the frame."""
        return -(-self.height // self.block_height) * self.segments_in_row


@functools.lru_cache(maxsize=256)
def read_layout(header: bytes) -> Layout:
    """Reads the header of a frame, without its table.

    JpegError says that it is no baseline JPEG, or has no restart marker at the end of every row.
    """
    interval = 0
    frame = None
    for code, start, _ in _sections(header):
        if code == _DRI:
            interval = int.from_bytes(header[start : start + 2], "big")
        elif code == _SOF0:
            frame = start
        elif code in _FRAMES:
            raise JpegError("is not a baseline JPEG (progressive or lossless).")
    if frame is None:
        raise JpegError("has no frame header: it is not a JPEG, or damaged.")
    height = int.from_bytes(header[frame + 1 : frame + 3], "big")
    width = int.from_bytes(header[frame + 3 : frame + 5], "big")
    components = header[frame + 5] if frame + 5 < len(header) else 0
    factors = header[frame + 7 : frame + 7 + 3 * components : 3]
    across, down = (max((f >> bits & 15 for f in factors), default=0) for bits in (4, 0))
    if not (across and down and len(factors) == components):
        raise JpegError("has a damaged header.")
    if components == 1:
        across = down = 1  # a single component is not interleaved
    units = -(-width // (8 * across))
    if not (height and units and interval) or units % interval:
        raise JpegError(
            f"({width}x{height}) must have restart markers that divide its rows of {units} units. "
            f"Received: one every {interval} units"
        )
    return Layout(header, height, width, frame + 1, 8 * down, 8 * across, interval)


def _sections(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker code, start and end of the content of each section of a header."""
    if data[:2] != bytes((0xFF, _SOI)):
        raise JpegError("does not begin as a JPEG does.")
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            raise JpegError("has a damaged header.")
        code, end = data[place + 1], place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if end > len(data) or end < place + 4:
            raise JpegError("has a damaged header.")
        yield code, place + 4, end
        if code == _SOS:
            return
        place = end
    raise JpegError("has no scan: it is not a JPEG, or damaged.")


def _header_size(data: bytes) -> int:
    """Returns the number of bytes before the entropy-coded data."""
    return next(end for code, _, end in _sections(data) if code == _SOS)


def _table(frame: Bytes) -> tuple[int, int]:
    """Returns the begin and end of a frame's table."""
    head = frame[: len(_TABLE_START) + 2 + len(_TABLE_NAME)].tobytes()
    if not head.startswith(_TABLE_START) or not head.endswith(_TABLE_NAME):
        raise JpegError("does not begin with a table of its segments: it is damaged.")
    size = int.from_bytes(head[len(_TABLE_START) : len(_TABLE_START) + 2], "big")
    return len(head), len(_TABLE_START) + size


@dataclasses.dataclass(frozen=True)
class Window:
    """A JPEG of the same window of several frames, one below the other."""

    jpeg: Bytes  # the file
    frames: int  # number of frames
    frame_height: int  # rows of pixels of each, before the crop
    top: int  # of the crop in each
    left: int


def cut(
    data: Bytes,
    ends: NDArray[np.int64],
    size: tuple[int, int],
    top: int,
    left: int,
    height: int,
    width: int,
) -> list[Window]:
    """Cuts a window out of frames without decoding them.

    Args:
        data: uint8 `(bytes,)`, the frames, one after the other; all of one size, encoded alike.
        ends: int64 `(frames,)`, end of each in `data`.
        size: expected height and width of the frames.
        top, left, height, width: the window in pixels.

    Where the window's border is a border of coded units, its outermost row or column of pixels may
    differ slightly from the decoded frame's: the decoder blends colors, kept for 2x2 pixels, with
    neighbors that were cut off. All others are equal to the bit (tests/data/test_jpeg.py). There
    are as few JPEGs as the limit of their height allows (16 frames of 4,000 rows fit into one).
    """
    length, layout = _header(data[: ends[0]])
    pixels = f"{layout.width}x{layout.height} pixels"
    if (layout.height, layout.width) != size:
        raise JpegError(f"is of {pixels}; {size[1]}x{size[0]} were expected.")
    if min(top, left) < 0 or top + height > layout.height or left + width > layout.width:
        raise JpegError(
            f"is of {pixels}: the window {width}x{height} at ({left}, {top}) is not inside."
        )
    row, last_row = top // layout.block_height, (top + height - 1) // layout.block_height
    reach = layout.interval * layout.block_width
    column, last_column = left // reach, (left + width - 1) // reach
    rows = np.arange(row, last_row + 1) * layout.segments_in_row
    columns = np.arange(column, last_column + 2)
    # `(frames, rows, columns + 1)`: begin of each segment, and end of the last one.
    chosen = _segments(data, ends, length, layout)[:, rows[:, np.newaxis] + columns]
    frame_height = len(rows) * layout.block_height
    window_width = min((last_column + 1) * reach, layout.width) - column * reach
    most = MOST_ROWS // frame_height
    return [
        Window(
            _join(data, chosen[begin : begin + most], layout, frame_height, window_width),
            len(chosen[begin : begin + most]),
            frame_height,
            top - row * layout.block_height,
            left - column * reach,
        )
        for begin in range(0, len(chosen), most)
    ]


def _header(frame: Bytes) -> tuple[int, Layout]:
    """Returns the number of bytes before the entropy-coded data, and the layout in them."""
    _, table_end = _table(frame)
    rest = bytes((0xFF, _SOI)) + frame[table_end : table_end + 4096].tobytes()
    length = _header_size(rest)
    return table_end + length - 2, read_layout(rest[:length])


def _segments(
    data: Bytes, ends: NDArray[np.int64], length: int, layout: Layout
) -> NDArray[np.int64]:
    """Returns the begin of each segment, and the end of the last, `(frames, segments + 1)`.

    A segment includes the two bytes of the marker behind it.
    """
    starts = np.concatenate(([0], ends[:-1]))
    table, table_end = _table(data)
    if ends[-1] > len(data) or (ends - starts <= length).any():
        raise JpegError("is damaged: it is cut short.")
    if table_end - table != 2 * layout.segments:
        raise JpegError("is damaged: its table is not of its size.")
    tables = np.concatenate([data[start + table : start + table_end] for start in starts.tolist()])
    bounds = np.empty((len(ends), layout.segments + 1), np.int64)
    bounds[:, 0] = starts + length
    bounds[:, 1:] = tables.view(">u2").reshape(len(ends), -1)
    np.cumsum(bounds, axis=1, out=bounds)
    if (bounds[:, -1] != ends).any():
        raise JpegError("is damaged: its segments are not as long as its table says.")
    return bounds


def _join(
    data: Bytes, chosen: NDArray[np.int64], layout: Layout, frame_height: int, width: int
) -> Bytes:
    header = bytearray(layout.header)
    header[layout.size_at : layout.size_at + 2] = (len(chosen) * frame_height).to_bytes(2, "big")
    header[layout.size_at + 2 : layout.size_at + 4] = width.to_bytes(2, "big")
    view = data.data
    # Each piece, a row of segments, ends with the two bytes of the marker that follows it.
    pieces = zip(chosen[:, :, 0].ravel().tolist(), chosen[:, :, -1].ravel().tolist(), strict=True)
    joined = bytearray().join([header, *[view[begin:end] for begin, end in pieces]])
    jpeg = np.frombuffer(joined, np.uint8)
    ends = len(header) + np.cumsum(np.diff(chosen, axis=2))
    jpeg[ends - 1] = 0xD0 + (np.arange(len(ends)) & 7)
    jpeg[ends[-1] - 1] = _EOI
    return jpeg


def decode(windows: Sequence[Window], height: int, width: int, shrink: int = 1) -> Frame:
    """Decodes windows of `height` and `width` pixels of the frame.

    Each side is decoded smaller by `shrink`, 1, 2, 4 or 8 (by averages of squares), on multiples of
    which the crop must lie. Returns uint8 `(frames, height / shrink, width / shrink, 3)`, RGB: a
    view of the decoded pixels.
    """
    parts = []
    for window in windows:
        pixels = cv2.imdecode(window.jpeg, SHRUNK[shrink] | cv2.IMREAD_COLOR_RGB)
        if pixels is None or pixels.shape[0] * shrink != window.frames * window.frame_height:
            raise JpegError("cannot be decoded: it is damaged.")
        frames = pixels.reshape(window.frames, -1, *pixels.shape[1:])
        top, left = window.top // shrink, window.left // shrink
        parts.append(frames[:, top : top + height // shrink, left : left + width // shrink])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def encode(frame: Frame, quality: int, interval: int) -> bytes:
    """Encodes a frame, BGR, with restart markers and a table of its segments.

    There are `interval` units of 16x16 pixels between markers; it divides the units of a row.
    JpegError says that the segments are too many or too long for the table.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    data = cv2.imencode(".jpg", frame, options)[1]
    body = data[_header_size(data.tobytes()) :]
    # In entropy-coded data 0xff is followed by 0 or a marker, never by a value.
    markers = np.flatnonzero((body[:-1] == 0xFF) & (body[1:] != 0))
    lengths = np.diff(markers + 2, prepend=0)
    if lengths.max() > _LONGEST:
        raise JpegError(f"has a segment of {lengths.max()} bytes; {_LONGEST} are the limit.")
    content = _TABLE_NAME + lengths.astype(">u2").tobytes()
    if 2 + len(content) > _LONGEST:
        raise JpegError("has more segments than a table can hold.")
    return _TABLE_START + (2 + len(content)).to_bytes(2, "big") + content + data[2:].tobytes()


def best_interval(width: int, most: int) -> int:
    """Returns the largest number of units, up to `most`, that divides a row of `width` pixels."""
    units = -(-width // 16)
    return max(number for number in range(1, most + 1) if units % number == 0)
