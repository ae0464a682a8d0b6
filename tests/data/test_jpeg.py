"""Cutting compressed frames: against decoding them whole, and what damage does."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_r3d.data.store import jpeg
from keras_r3d.data.store.jpeg import JpegError

UNIT = 16  # pixels a side of the smallest coded unit


def textured(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Coarse shapes under fine noise, uint8 `(count, height, width, 3)`; no two frames alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, -(-height // 8), -(-width // 8), 3), np.uint8)
    frames = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width].astype(int)
    return np.clip(frames + rng.integers(-40, 40, frames.shape), 0, 255).astype(np.uint8)


def encoded(frames: np.ndarray, quality: int = 90, interval: int = 1):
    """Returns the frames' bytes, where each ends, and each by itself."""
    jpegs = [jpeg.encode(frame, quality, interval) for frame in frames]
    ends = np.cumsum([len(one) for one in jpegs])
    return np.frombuffer(b"".join(jpegs), np.uint8), ends, jpegs


def whole(jpegs: list[bytes], shrink: int = 1) -> np.ndarray:
    """Decodes each frame by itself, RGB."""
    flags = jpeg.SHRUNK[shrink] | cv2.IMREAD_COLOR_RGB
    return np.stack([cv2.imdecode(np.frombuffer(one, np.uint8), flags) for one in jpegs])


def may_differ(place: int, size: int, side: int, reach: int) -> np.ndarray:
    """Of the rows (or columns) of a crop: which lie where their neighbor was cut away."""
    begin, end = place // reach * reach, min(-(-(place + size) // reach) * reach, side)
    numbers = np.arange(place, place + size)
    return (numbers == begin) & (begin > 0) | (numbers == end - 1) & (end < side)


@st.composite
def cases(draw):
    height, width = draw(st.integers(16, 200)), draw(st.integers(16, 200))
    units = -(-width // UNIT)
    interval = draw(st.sampled_from([n for n in range(1, units + 1) if units % n == 0]))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    window = (top, left, draw(st.integers(1, height - top)), draw(st.integers(1, width - left)))
    return height, width, interval, window, draw(st.integers(1, 5)), draw(st.integers(1, 100))


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(0, 2**32 - 1), st.integers(208, 65_500))
def test_a_window_is_what_the_whole_frame_has_there(case, seed, most_rows):
    height, width, interval, (top, left, rows, columns), count, quality = case
    data, ends, jpegs = encoded(textured(count, height, width, seed), quality, interval)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jpeg, "MOST_ROWS", most_rows)
        windows = jpeg.cut(data, ends, (height, width), top, left, rows, columns)
    assert sum(window.frames for window in windows) == count
    found = jpeg.decode(windows, rows, columns)
    expected = whole(jpegs)[:, top : top + rows, left : left + columns]
    assert found.shape == expected.shape
    # The colors of 2x2 pixels are one value, and the decoder blends it with its neighbors. So a
    # pixel differs only where such a neighbor was cut away, in the outermost row or column of the
    # units that the window covers: nowhere, if the window ends inside of them. Up and down another
    # frame lies there, also at the top and bottom of the frame itself.
    outer_rows = may_differ(top, rows, height, UNIT)
    outer_rows |= np.isin(np.arange(top, top + rows), (0, height - 1))
    outer_columns = may_differ(left, columns, width, interval * UNIT)
    if width - left // (interval * UNIT) * (interval * UNIT) <= 4:
        outer_columns[:] = left > 0  # libjpeg blends nothing in so narrow a picture
    outer = outer_rows[:, np.newaxis] | outer_columns
    assert (found == expected)[:, ~outer].all()


def test_a_window_inside_of_the_units_is_exact_everywhere():
    data, ends, jpegs = encoded(textured(3, 96, 160), interval=2)
    window = (17, 33, 46, 62)  # of the units at rows 16-63 and columns 32-95
    top, left, height, width = window
    found = jpeg.decode(jpeg.cut(data, ends, (96, 160), *window), height, width)
    assert (found == whole(jpegs)[:, top : top + height, left : left + width]).all()
    wider = (16, 32, 48, 64)
    found = jpeg.decode(jpeg.cut(data, ends, (96, 160), *wider), 48, 64)
    expected = whole(jpegs)[:, 16:64, 32:96]
    assert (found[:, 1:-1, 1:-1] == expected[:, 1:-1, 1:-1]).all()
    for edge in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        assert (found[edge] != expected[edge]).any()


@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize("interval", [1, 5])
def test_shrunk_windows_are_exact_everywhere(shrink, interval):
    data, ends, jpegs = encoded(textured(3, 88, 155), interval=interval)
    for top, left, height, width in [(0, 0, 88, 152), (16, 32, 48, 64), (8, 72, 80, 80)]:
        found = jpeg.decode(
            jpeg.cut(data, ends, (88, 155), top, left, height, width), height, width, shrink
        )
        expected = whole(jpegs, shrink)[
            :,
            top // shrink : (top + height) // shrink,
            left // shrink : (left + width) // shrink,
        ]
        assert found.shape == (3, height // shrink, width // shrink, 3)
        assert (found == expected).all()


def test_more_rows_than_a_jpeg_holds_are_split():
    data, ends, jpegs = encoded(textured(4100, 16, 16), quality=50)
    windows = jpeg.cut(data, ends, (16, 16), 2, 3, 12, 10)
    assert [window.frames for window in windows] == [4093, 7]
    assert (jpeg.decode(windows, 12, 10) == whole(jpegs)[:, 2:14, 3:13]).all()


def test_frames_of_the_most_rows_fit():
    data, ends, jpegs = encoded(textured(2, 1100, 16), interval=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jpeg, "MOST_ROWS", 1104)
        windows = jpeg.cut(data, ends, (1100, 16), 0, 0, 1100, 16)
    assert [window.frames for window in windows] == [1, 1]
    # Nothing lies above or below: exact to the border.
    assert (jpeg.decode(windows, 1100, 16)[:, :-1] == whole(jpegs)[:, :-1]).all()


def test_each_frame_is_an_ordinary_jpeg():
    (frame,) = textured(1, 45, 70)
    data = jpeg.encode(frame, 80, 5)
    assert data.startswith(b"\xff\xd8\xff\xeb")
    assert data.endswith(b"\xff\xd9")
    sections = list(jpeg._sections(data))
    assert next(code for code, _, _ in sections) == 0xEB
    assert {0xC0, 0xDB, 0xC4, 0xDD, 0xDA} <= {code for code, _, _ in sections}
    body = data[sections[-1][2] :]
    markers = [body[i + 1] for i in range(len(body) - 1) if body[i] == 0xFF and body[i + 1]]
    assert markers == [0xD0, 0xD1, 0xD9]  # three rows of units, one segment each
    plain = cv2.imencode(
        ".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 80, cv2.IMWRITE_JPEG_RST_INTERVAL, 5]
    )[1]
    assert (cv2.imdecode(np.frombuffer(data, np.uint8), -1) == cv2.imdecode(plain, -1)).all()


def test_pillow_opens_a_frame():
    image = pytest.importorskip("PIL.Image")
    import io

    (data,) = encoded(textured(1, 45, 70))[2]
    with image.open(io.BytesIO(data)) as opened:
        assert (opened.format, opened.size) == ("JPEG", (70, 45))
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    assert np.abs(pixels - whole([data])[0]).max() <= 8  # of another build of libjpeg


def test_a_segment_longer_than_the_table_can_say_is_refused():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (16, 3200, 3), np.uint8)
    assert jpeg.encode(noise, 100, 4)
    with pytest.raises(JpegError, match=r"has a segment of [0-9]+ bytes; 65535 are the limit"):
        jpeg.encode(noise, 100, 200)


def test_more_segments_than_a_table_holds_are_refused():
    with pytest.raises(JpegError, match="more segments than a table can hold"):
        jpeg.encode(np.zeros((2912, 2912, 3), np.uint8), 50, 1)


@pytest.mark.parametrize(
    ("width", "most", "expected"),
    [(16, 4, 1), (240, 4, 3), (1280, 4, 4), (1920, 1, 1), (1072, 4, 1), (100, 8, 7)],
)
def test_the_interval_divides_the_row(width, most, expected):
    assert jpeg.best_interval(width, most) == expected


@pytest.mark.parametrize(
    "window", [(-1, 0, 16, 16), (0, -1, 16, 16), (1, 0, 48, 16), (0, 41, 16, 16), (0, 0, 49, 56)]
)
def test_a_window_outside_is_refused(window):
    data, ends, _ = encoded(textured(2, 48, 56))
    with pytest.raises(JpegError, match=r"of 56x48 pixels: the window .* is not inside"):
        jpeg.cut(data, ends, (48, 56), *window)


def test_frames_of_another_size_are_refused():
    data, ends, _ = encoded(textured(2, 48, 56))
    for size in ((48, 57), (47, 56)):
        with pytest.raises(JpegError, match=rf"56x48 pixels; {size[1]}x{size[0]} were expected"):
            jpeg.cut(data, ends, size, 0, 0, 16, 16)


def test_other_jpegs_are_refused():
    (frame,) = textured(1, 48, 64)

    def cut(data: bytes):
        return jpeg.cut(
            np.frombuffer(data, np.uint8), np.array([len(data)]), (48, 64), 0, 0, 16, 16
        )

    def with_table(*options) -> bytes:
        plain = cv2.imencode(".jpg", frame, options)[1].tobytes()
        return jpeg.encode(frame, 90, 1)[: -len(own) + 2] + plain[2:]

    own = cv2.imencode(
        ".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_RST_INTERVAL, 1]
    )[1]
    for data, said in [
        (own.tobytes(), "does not begin with a table"),
        (with_table(), "must have restart markers that divide its rows of 4 units"),
        (with_table(cv2.IMWRITE_JPEG_RST_INTERVAL, 3), r"\(64x48\).*one every 3 units"),
        (with_table(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), "is not a baseline JPEG"),
        (b"", "table"),
        (b"\x89PNG\r\n", "table"),
    ]:
        with pytest.raises(JpegError, match=said):
            cut(data)


def test_frames_that_are_not_alike_are_refused():
    (small,), (large,) = encoded(textured(1, 48, 64))[2], encoded(textured(1, 64, 64))[2]
    data = np.frombuffer(small + large, np.uint8)
    with pytest.raises(JpegError, match="damaged"):
        jpeg.cut(data, np.array([len(small), len(data)]), (48, 64), 0, 0, 16, 16)


def survives(data: np.ndarray, ends: np.ndarray, window, shrink: int = 1) -> bool:
    """Whether damaged frames give pixels, of the right shape, rather than a JpegError."""
    top, left, height, width = window
    try:
        windows = jpeg.cut(data, ends, (40, 56), top, left, height, width)
        found = jpeg.decode(windows, height, width, shrink)
    except JpegError:
        return False
    assert found.shape == (len(ends), height // shrink, width // shrink, 3)
    return True


def test_damage_gives_pixels_or_an_error(capfd):
    data, ends, _ = encoded(textured(2, 40, 56), quality=60)
    windows = [(0, 0, 40, 56), (16, 16, 16, 32)]
    rng = np.random.default_rng(0)
    outcomes = []
    header = int(ends[0]) - 200  # and a little of what follows
    places = [*range(header), *rng.integers(0, len(data), 500)]
    for number, place in enumerate(places):  # a byte
        for value in (0, 255, int(rng.integers(256)), data[place] ^ 1 << rng.integers(8)):
            broken = data.copy()
            broken[place] = value
            outcomes.append(survives(broken, ends, windows[number % 2], (1, 2, 8)[number % 3]))
    assert 0.2 < np.mean(outcomes) < 0.95  # pixels can look wrong; that is what the CRC-32 is for
    for length in range(0, len(data), 7):  # cut short, told and not told
        assert not survives(data[:length], ends, windows[0])
        shorter = np.minimum(ends, length)
        assert not survives(data[:length], shorter, windows[0])
    for _ in range(300):  # garbage
        broken = data.copy()
        place, length = rng.integers(len(data)), rng.integers(1, 400)
        broken[place : place + length] = rng.integers(0, 256, len(broken[place : place + length]))
        survives(broken, ends, windows[0])
        survives(rng.integers(0, 256, len(data)).astype(np.uint8), ends, windows[1])
        survives(data, np.sort(rng.integers(0, len(data) + 50, 2)), windows[1])
    capfd.readouterr()  # of libjpeg's warnings


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 30))
def test_any_header_is_a_layout_or_an_error(garbage, kept):
    data = jpeg.encode(np.zeros((16, 16, 3), np.uint8), 50, 1)
    for header in (garbage, data[:kept] + garbage, b"\xff\xd8\xff\xc0\x00" + garbage):
        try:
            layout = jpeg.read_layout(header)
        except JpegError:
            continue
        assert layout.segments > 0
