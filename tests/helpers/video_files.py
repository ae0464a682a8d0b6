"""Writes video files of any codec and container, with the truths and lies that containers hold."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation


def encode(
    path: Path,
    frames: Iterable[np.ndarray],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    *,
    rate: int = 25,
    options: dict[str, str] | None = None,
    seconds: Sequence[float] | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
    matrix: int = 5,
    full_range: bool = False,
    audio_seconds: float = 0,
) -> Path:
    """Writes a video.

    Args:
        frames: uint8 `(height, width, 3)`, RGB.
        seconds: when each frame is shown; None is `rate` a second.
        rotation: degrees clockwise that make it upright.
        aspect: width:height of a pixel.
        matrix: of H.273: 1 is BT.709, 5 BT.601, 9 BT.2020.
        audio_seconds: of silence that is written along.
    """
    base = Fraction(1, rate if codec == "mpeg2video" else 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.pix_fmt, stream.time_base = pixel_format, base
        stream.codec_context.time_base = base
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full_range else 1
        if rotation:
            stream.set_display_rotation(-rotation)
        if audio_seconds:
            sound = container.add_stream("aac" if path.suffix == ".mp4" else "libopus", rate=48000)
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
                if aspect:
                    stream.codec_context.sample_aspect_ratio = aspect
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24").reformat(
                format=pixel_format,
                dst_colorspace=matrix,
                dst_color_range=2 if full_range else 1,
                interpolation=Interpolation.BICUBIC
                | Interpolation.ACCURATE_RND
                | Interpolation.FULL_CHR_H_INT,
            )
            shown = seconds[number] if seconds is not None else number / rate
            frame.pts, frame.time_base = round(shown / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio_seconds:
            for start in range(0, int(48000 * audio_seconds), 960):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 960 * 2), np.int16), "s16")
                silence.sample_rate, silence.pts = 48000, start
                silence.time_base = Fraction(1, 48000)
                container.mux(sound.encode(silence))
            container.mux(sound.encode())
    return path


def damage_tail(path: Path, packets: int) -> Path:
    """Writes zeros over the last packets of a video."""
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    with path.open("r+b") as file:
        for position, size in places[-packets:]:
            file.seek(position)
            file.write(bytes(size))
    return path


def without_decoder(path: Path, fourcc: bytes = b"lcev") -> Path:
    """Writes a sound MP4 of a codec that FFmpeg has no decoder for, as far as the header tells."""
    encode(path, moving(4))
    path.write_bytes(path.read_bytes().replace(b"avc1", fourcc))
    return path


def moving(frames: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames in which a square wanders over a pattern; each differs from all others."""
    rows, columns = np.mgrid[:height, :width]
    pictures = np.repeat(((rows + 2 * columns) % 90 + 60)[None, ..., None], frames, 0)
    pictures = np.repeat(pictures, 3, -1).astype(np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number % (height - 12), 3 * number % (width - 12)
        picture[top : top + 12, left : left + 12] = (220, 40 + number % 200, 30)
    return pictures
