"""What is wrong with the videos of a folder: each is decoded to its end."""

import dataclasses
import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from keras_r3d.data import workers
from keras_r3d.data.annotations import Annotations
from keras_r3d.data.video import VideoError, falls_short, probe

BROKEN = ("unreadable", "time limit", "crash")
STATUSES = {
    "unreadable": "no frame can be had",
    "time limit": "not decoded in time",
    "crash": "the process that decodes it ends",
    "truncated": "fewer frames than the container promises",
    "wrong count": "another number of frames than the container says",
    "segment": "a labelled segment begins behind the last frame",
    "few frames": "fewer than --min_frames; clips of it repeat",
    "variable rate": "frames come at uneven times",
    "rotated": "turned upright by the metadata, here as in training",
    "tiny": "a shorter side below --min_side",
    "duplicate": "the same content as another file",
    "leak": "the same content as a file of another split",
    "label": "the same content as a file of another class",
}
UNEVEN_SHARE = 0.01  # of frames that come half an interval early or late


@dataclasses.dataclass(frozen=True)
class Examination:
    """What decoding a file to its end showed.

    Attributes:
        findings: status -> detail; empty for a sound file.
    """

    path: str
    findings: dict[str, str]
    frames: int = 0
    header_frames: int = 0
    header_rate: float = 0.0
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    last_second: float = 0.0
    rotation: int = 0


def scan(
    paths: Sequence[str],
    *,
    annotations: Annotations | None,
    min_frames: int,
    min_side: int,
    limit_seconds: float,
    processes: int,
    progress: Callable[[int, int], None],
) -> list[Examination]:
    """Examines files in parallel, and compares them with each other.

    Args:
        annotations: labels and splits of the files, to tell leaks from duplicates.
        min_frames: fewer are a finding.
        min_side: a shorter side is a finding, in pixels.
        limit_seconds: for each file.
        progress: takes the number of files done, and of all.

    Returns:
        One examination a file, in the order of `paths`.
    """
    done: dict[int, Examination] = {}
    results = workers.run(examine, paths, workers=processes, limit_seconds=limit_seconds)
    for index, result in results:
        if isinstance(result, workers.Failure):
            result = Examination(paths[index], {result.status: result.detail})
        done[index] = _judged(result, min_frames, min_side)
        progress(len(done), len(paths))
    return _compared([done[index] for index in range(len(paths))], annotations)


def examine(path: str) -> Examination:
    """Decodes a file to its end."""
    try:
        info = probe(path)
    except VideoError as error:
        return Examination(path, {"unreadable": str(error).removeprefix(f"{path}: ")})
    findings = {}
    intervals = np.diff(info.seconds)
    if len(intervals):
        usual = float(np.median(intervals))
        uneven = float(np.mean(abs(intervals - usual) > 0.5 * usual))
        if uneven > UNEVEN_SHARE:
            findings["variable rate"] = (
                f"{100 * uneven:.0f} % of the frames are early or late; usually {1 / usual:.2f}/s"
            )
    if info.rotation:
        findings["rotated"] = f"by {info.rotation} degrees"
    return Examination(
        path,
        findings,
        info.frame_count,
        info.header_count,
        info.header_rate,
        info.width,
        info.height,
        float(info.seconds[-1] - info.seconds[0]),
        float(info.seconds[-1]),
        info.rotation,
    )


def _judged(one: Examination, min_frames: int, min_side: int) -> Examination:
    if one.findings.keys() & set(BROKEN):
        return one
    findings = dict(one.findings)
    lacking = one.header_frames - one.frames
    counts = f"{one.frames} frames decode, the container says {one.header_frames}"
    # A container that is wrong about the rate has made up the number of frames.
    honest = abs(rate(one) - one.header_rate) < 0.1 * one.header_rate
    if falls_short(one.header_frames, one.frames) and (honest or one.frames < 2):
        findings["truncated"] = counts
    elif lacking:
        findings["wrong count"] = counts
    if one.frames < min_frames:
        findings["few frames"] = f"{one.frames}, fewer than {min_frames}"
    if min(one.width, one.height) < min_side:
        findings["tiny"] = f"{one.width}x{one.height}, below {min_side}"
    return dataclasses.replace(one, findings=findings)


def _compared(
    examinations: list[Examination], annotations: Annotations | None
) -> list[Examination]:
    """Adds what shows only between files."""
    places: dict[str, tuple[str, str]] = {}
    starts: dict[str, float] = {}
    for split, videos in annotations.splits.items() if annotations else ():
        for video in videos:
            starts[video.path] = max(video.start_seconds, starts.get(video.path, 0.0))
            places.setdefault(os.path.abspath(video.path), (video.label, split))
    first: dict[tuple[int, str], str] = {}
    result = []
    for one, content in zip(examinations, _contents([e.path for e in examinations]), strict=True):
        findings = dict(one.findings)
        if one.frames and starts.get(one.path, 0.0) > one.last_second:
            findings["segment"] = f"at {starts[one.path]:g} s, the last at {one.last_second:g} s"
        other = first.setdefault(content, one.path) if content else one.path
        if other != one.path:
            ours, theirs = (places.get(os.path.abspath(path)) for path in (one.path, other))
            findings["duplicate"] = f"of {other}"
            if ours and theirs and ours[0] != theirs[0]:
                findings["label"] = f"'{ours[0]}', but {other} is '{theirs[0]}'"
            if ours and theirs and ours[1] != theirs[1]:
                findings["leak"] = f"in {ours[1]}, but {other} is in {theirs[1]}"
        result.append(dataclasses.replace(one, findings=findings))
    return result


def _contents(paths: Sequence[str]) -> list[tuple[int, str] | None]:
    """Tells contents apart by size and hash; a size that only one file has needs no hash."""
    sizes = [os.path.getsize(path) if os.path.isfile(path) else 0 for path in paths]
    count: dict[int, int] = defaultdict(int)
    for size in sizes:
        count[size] += 1
    contents: list[tuple[int, str] | None] = []
    for path, size in zip(paths, sizes, strict=True):
        if count[size] == 1 or size == 0:
            contents.append(None)
            continue
        with open(path, "rb") as file:
            contents.append((size, hashlib.file_digest(file, "sha256").hexdigest()))
    return contents


def rate(one: Examination) -> float:
    """Returns the mean number of frames a second, 0 if it cannot be told."""
    return (one.frames - 1) / one.seconds if one.seconds > 0 and math.isfinite(one.seconds) else 0.0
