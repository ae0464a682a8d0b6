"""Damaged and hostile video files: no crash, no hang, no error but ours."""

import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from video_files import encode, moving

from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.system.errors import VideoError

FILES = {
    "h264.mp4": "libx264",
    "h264.mkv": "libx264",
    "h264.ts": "libx264",
    "h264.flv": "libx264",
    "h265.mp4": "libx265",
    "mpeg4.avi": "mpeg4",
    "mpeg4.mov": "mpeg4",
    "mpeg2.mpg": "mpeg2video",
    "vp9.webm": "libvpx-vp9",
    "av1.mp4": "libsvtav1",
}
MUTATIONS = 200  # of each file
SECONDS, BYTES = 20, 4 * 2**30  # that a file may take


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Overwrites, cuts out, repeats or cuts off some of a file; mostly near its headers."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        place = int(len(changed) * rng.random() ** (3 if rng.random() < 0.5 else 1))
        match rng.integers(5):
            case 0:
                changed[place : place + 1] = bytes([rng.integers(256)])
            case 1:
                changed[place : place + 4] = rng.bytes(4)
            case 2:
                del changed[place : place + int(rng.integers(1, 200))]
            case 3:
                part = changed[place : place + int(rng.integers(1, 200))]
                changed[place:place] = part
            case 4:
                changed[place : place + 4] = b"\xff\xff\xff\xff"
    if rng.random() < 0.2:
        del changed[int(len(changed) * rng.random()) :]
    return bytes(changed)


def decode(path: str) -> None:
    file = VideoFile(path, 24)
    index = file.index()
    assert (np.diff(index.seconds) >= 0).all()
    for number, picture in file.frames(index, np.arange(0, len(index.seconds), 3)):
        assert 0 <= number < len(index.seconds)
        assert picture.rgb().dtype == np.uint8


def ends(path: str) -> str:
    """Decodes a file in a process of its own; returns how that ended, "" for well."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + BYTES, now + BYTES))
        code = 1
        try:
            decode(path)
            code = 0
        except VideoError:
            code = 0
        except BaseException as error:
            os.write(2, f"{path}: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return "" if status == 0 else f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "1"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FILES)
def test_mutations_end_in_frames_or_in_a_sentence(tmp_path, name):
    pictures = moving(24, 64, 64)
    data = encode(tmp_path / name, pictures, FILES[name], options={"g": "8"}).read_bytes()
    rng = np.random.default_rng(len(name))
    path = tmp_path / f"mutated.{name}"
    failed = {}
    for number in range(MUTATIONS):
        path.write_bytes(mutated(data, rng))
        if how := ends(str(path)):
            failed[number] = how
    assert not failed
