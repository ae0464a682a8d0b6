"""What is wrong with the videos of a folder: each is decoded to its end."""

import dataclasses
import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.data.annotations import Annotations, Video
from keras_r3d.data.decoding.decoder import Decoder, falls_short, probe
from keras_r3d.data.scanning import duplicates
from keras_r3d.system import workers
from keras_r3d.system.errors import VideoError

BROKEN = ("unreadable", "time limit", "crash")
STATUSES = {
    "unreadable": "no frame can be had",
    "time limit": "not decoded in time",
    "crash": "the process that decodes it ends",
    "truncated": "fewer frames than the container promises",
    "wrong count": "another number of frames than the container says",
    "segment": "a labeled segment begins behind the last frame",
    "few frames": "fewer than --min_frames; clips of it repeat",
    "variable rate": "frames come at uneven times",
    "rotated": "turned upright by the metadata, here as in training",
    "tiny": "a shorter side below --min_side",
    "duplicate": "the same content as another file",
    "leak": "the same content as a file of another split or group",
    "label": "the same content as a file of another class",
    "near-duplicate": "looks the same as a file of another split or group",
}
UNEVEN_SHARE = 0.01  # of frames that come half an interval early or late


@dataclasses.dataclass(frozen=True)
class Examination:
    """What decoding a file to its end showed.

    Attributes:
        findings: status -> detail; empty for a sound file.
        hashes: of frames spread over it, as `duplicates.Sampler` has them.
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
    hashes: tuple[int, ...] = (duplicates.SAYS_NOTHING,) * duplicates.FRAMES

    @property
    def rate(self) -> float:
        """The mean number of frames a second, 0 if it cannot be told."""
        known = self.seconds > 0 and math.isfinite(self.seconds)
        return (self.frames - 1) / self.seconds if known else 0.0

    @property
    def duration(self) -> float:
        """The seconds it lasts, its last frame included; 0 if that cannot be told."""
        return self.frames / self.rate if self.rate else 0.0


@dataclasses.dataclass(frozen=True)
class NearDuplicate:
    """Two files that look the same, though they differ.

    Attributes:
        bits: of 64 that differ in a frame on average.
        places: "train", or "train, group 'A'", of both.
    """

    paths: tuple[str, str]
    places: tuple[str, str]
    bits: float


def examine_all(
    paths: Sequence[str],
    annotations: Annotations | None,
    *,
    min_frames: int,
    min_side: int,
    limit_seconds: float,
    processes: int,
    progress: Callable[[int, int], None],
) -> tuple[list[Examination], list[NearDuplicate]]:
    """Examines files in parallel, and compares them with each other.

    Args:
        annotations: labels and splits of the files, to tell leaks from duplicates.
        min_frames: fewer are a finding.
        min_side: a shorter side is a finding, in pixels.
        limit_seconds: for each file.
        progress: takes the number of files done, and of all.

    Returns:
        Examinations in the order of `paths`; and near-duplicates in different splits, or in
        different groups of a split, the most alike first.
    """
    done: dict[int, Examination] = {}
    results = workers.run(examine, paths, workers=processes, limit_seconds=limit_seconds)
    for index, result in results:
        if isinstance(result, workers.Failure):
            detail = result.detail.removeprefix(f"{paths[index]}: ")
            result = Examination(paths[index], {result.status: detail})
        done[index] = _judged(result, min_frames, min_side)
        progress(len(done), len(paths))
    return _compared([done[index] for index in range(len(paths))], annotations)


def examine(path: str) -> Examination:
    """Decodes a file to its end.

    Raises:
        VideoError: no frame of it can be had.
    """
    decoder = _HashingDecoder(path)
    info = probe(path, decoder)
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
        decoder.hashes.spread(info.frame_count),
    )


class _HashingDecoder(Decoder):
    """Hashes frames as it goes through them, so that no second pass is needed."""

    def __init__(self, path: str):
        super().__init__(path)
        self.hashes = duplicates.Sampler()

    def __iter__(self) -> Iterator[None]:
        for _ in super().__iter__():
            if self.hashes.wants(self.count - 1):
                self.hashes.add(self._hash())
            yield

    def _hash(self) -> int:
        try:
            return duplicates.frame_hash(self.image())
        except VideoError:  # one that cannot be converted; as `probe` does
            return duplicates.SAYS_NOTHING


def _judged(one: Examination, min_frames: int, min_side: int) -> Examination:
    if one.findings.keys() & set(BROKEN):
        return one
    findings = dict(one.findings)
    lacking = one.header_frames - one.frames
    counts = f"{one.frames} frames decode, the container says {one.header_frames}"
    # A container that is wrong about the rate has made up the number of frames.
    honest = abs(one.rate - one.header_rate) < 0.1 * one.header_rate
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
) -> tuple[list[Examination], list[NearDuplicate]]:
    """Adds what shows only between files."""
    places: dict[str, tuple[str, Video]] = {}
    starts: dict[str, float] = {}
    for split, videos in annotations.splits.items() if annotations else ():
        for video in videos:
            starts[video.path] = max(video.start_seconds, starts.get(video.path, 0.0))
            places.setdefault(os.path.abspath(video.path), (split, video))
    contents = _contents([one.path for one in examinations])
    labeled = [places.get(os.path.abspath(one.path)) for one in examinations]
    pairs = _near(examinations, contents, labeled)
    alike: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        for this, that in ((0, 1), (1, 0)):
            alike[pair.paths[this]].append(f"of {pair.paths[that]} ({pair.places[that]})")
    first: dict[tuple[int, str], int] = {}
    result = []
    for number, (one, content, ours) in enumerate(
        zip(examinations, contents, labeled, strict=True)
    ):
        findings = dict(one.findings)
        if one.frames and starts.get(one.path, 0.0) > one.last_second:
            findings["segment"] = f"at {starts[one.path]:g} s, the last at {one.last_second:g} s"
        before = first.setdefault(content, number) if content else number
        other, theirs = examinations[before].path, labeled[before]
        if before != number:
            findings["duplicate"] = f"of {other}"
        if ours and theirs and ours[1].label != theirs[1].label:
            findings["label"] = f"'{ours[1].label}', but {other} is '{theirs[1].label}'"
        if ours and theirs and _apart(ours, theirs):
            findings["leak"] = f"in {_place(*ours)}, but {other} is in {_place(*theirs)}"
        if one.path in alike:
            more = len(alike[one.path]) - 1
            findings["near-duplicate"] = alike[one.path][0] + (f" and {more} more" if more else "")
        result.append(dataclasses.replace(one, findings=findings))
    return result, pairs


def _near(
    examinations: list[Examination],
    contents: Sequence[tuple[int, str] | None],
    places: Sequence[tuple[str, Video] | None],
) -> list[NearDuplicate]:
    """Finds files that look the same; those of the same content are told as duplicates."""
    known = [(number, *place) for number, place in enumerate(places) if place]
    split = _codes([split for _, split, _ in known])
    group = _codes([video.group or None for *_, video in known])
    content = _codes([contents[number] for number, *_ in known])

    def apart(some: slice) -> NDArray[np.bool_]:
        grouped = (group[some, None] >= 0) & (group >= 0)
        other = (split[some, None] != split) | (grouped & (group[some, None] != group))
        return other & ((content[some, None] != content) | (content < 0))

    hashes = [examinations[number].hashes for number, *_ in known]
    pairs = []
    for first, second, bits in duplicates.near(hashes, apart):
        one, other = known[first], known[second]
        paths = examinations[one[0]].path, examinations[other[0]].path
        pairs.append(NearDuplicate(paths, (_place(*one[1:]), _place(*other[1:])), bits))
    return pairs


def _apart(ours: tuple[str, Video], theirs: tuple[str, Video]) -> bool:
    """Whether two videos are in different splits, or in different groups."""
    groups = ours[1].group, theirs[1].group
    return ours[0] != theirs[0] or (all(groups) and groups[0] != groups[1])


def _place(split: str, video: Video) -> str:
    return f"{split}, group '{video.group}'" if video.group else split


def _codes(values: Sequence[Hashable | None]) -> NDArray[np.int64]:
    """Numbers values, equal ones alike; None is -1."""
    numbers: dict[Hashable, int] = {}
    return np.array(
        [-1 if value is None else numbers.setdefault(value, len(numbers)) for value in values],
        np.int64,
    )


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
