"""What FFmpeg's own programs make of a video file."""

import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np

_SQUARE = "scale=trunc(iw*sar+0.5):ih:flags=area+accurate_rnd+full_chroma_int,setsar=1,format=rgb24"


@dataclasses.dataclass(frozen=True)
class Shown:
    """The frames that `ffmpeg` shows: `seconds` from the container's start, first and last one."""

    container: str
    codec: str
    seconds: np.ndarray
    ends: list[np.ndarray]


def shown(path: Path) -> Shown:
    """Decodes a file; pixels are made square, and turned upright."""
    text = _run(
        *("ffprobe", "-v", "quiet", "-of", "json", "-select_streams", "v:0", "-show_frames"),
        *("-show_entries", "stream=codec_name:format=format_name,start_time"),
        *("-show_entries", "frame=pts_time,best_effort_timestamp_time", f"file:{path}"),
    )
    said = json.loads(text) if text.strip().endswith(b"}") else {}  # what it crashed on
    streams, frames = said.get("streams", []), said.get("frames", [])
    start = float(said.get("format", {}).get("start_time", 0))
    times = [frame.get("pts_time", frame.get("best_effort_timestamp_time")) for frame in frames]
    seconds = np.array([np.nan if time is None else float(time) for time in times]) - start
    ends = _run(
        *("ffmpeg", "-v", "quiet", "-i", f"file:{path}", "-map", "0:v:0", "-fps_mode"),
        *("passthrough", "-vf", f"select='eq(n,0)+eq(n,{len(frames) - 1})',{_SQUARE}"),
        *("-f", "image2pipe", "-c:v", "ppm", "-"),
    )
    return Shown(
        said.get("format", {}).get("format_name", ""),
        streams[0].get("codec_name", "unknown") if streams else "",
        seconds,
        _pictures(ends),
    )


def _run(*words: str) -> bytes:
    return subprocess.run(words, capture_output=True, timeout=300).stdout


def _pictures(ppm: bytes) -> list[np.ndarray]:
    """Reads PPM files, one after the other."""
    pictures = []
    while ppm:
        _, size, _, pixels = ppm.split(b"\n", 3)
        width, height = map(int, size.split())
        count = width * height * 3
        pictures.append(np.frombuffer(pixels[:count], np.uint8).reshape(height, width, 3))
        ppm = pixels[count:]
    return pictures
