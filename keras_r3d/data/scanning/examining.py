"""What is wrong with the videos of a folder: each is decoded to its end."""

import contextlib
import dataclasses
import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_r3d._version import __version__
from keras_r3d.data.annotations import FRAME_RATE, Annotations, Video, exists, sha256, size
from keras_r3d.data.decoding.frame_folder import open_pictures
from keras_r3d.data.decoding.video_file import no_frame, outside
from keras_r3d.data.scanning import duplicates
from keras_r3d.system import files, workers
from keras_r3d.system.errors import DataError, VideoError
from keras_r3d.system.work import PartMaker, Share, Spread, Work

STATUSES = {
    "unreadable": "no frame can be had",
    "time limit": "not decoded in time",
    "crash": "the process that decodes it ends",
    "codec": "nothing here decodes it, though it may be sound: --quarantine leaves it out",
    "truncated": "fewer frames than the container promises",
    "segment": "a labeled segment begins after the video ends",
    "few frames": "fewer than --min_frames; clips of it repeat",
    "variable rate": "frames come at uneven times",
    "rotated": "turned upright by the metadata, here as in training",
    "tiny": "a shorter side below --min_side",
    "duplicate": "the same content as another file",
    "leak": "the same content as a file of another split or group",
    "label": "the same content as a file of another class",
    "near-duplicate": "looks the same as a file of another split or group",
}
_UNEVEN_SHARE = 0.01  # of frames that come half an interval early or late
Place = tuple[str, Video]  # split, and the video or one of the segments of a file


@dataclasses.dataclass(frozen=True)
class Examination:
    """What decoding a file to its end showed; `findings`: status -> detail, none if it is sound."""

    path: str
    findings: dict[str, str]
    frames: int = 0
    header_frames: int = 0
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    end_second: float = 0.0
    rotation: int = 0
    hashes: tuple[int, ...] = (duplicates.SAYS_NOTHING,) * duplicates.FRAMES

    @property
    def is_broken(self) -> bool:
        """Whether no frames of it can be had, anywhere."""
        return not self.frames and "codec" not in self.findings

    @property
    def rate(self) -> float:
        """The mean number of frames a second, 0 if it cannot be told."""
        timed = self.seconds > 0 and math.isfinite(self.seconds)
        return (self.frames - 1) / self.seconds if timed else 0.0

    @property
    def duration(self) -> float:
        """The seconds it lasts, its last frame included; 0 if that cannot be told."""
        return self.frames / self.rate if self.rate else 0.0


@dataclasses.dataclass(frozen=True)
class NearDuplicate:
    """Two files that look the same, though `bits` of 64 differ in a frame on average.

    `places`: "train", or "train, group 'A'", of both.
    """

    paths: tuple[str, str]
    places: tuple[str, str]
    bits: float


def examine_all(
    paths: Sequence[str],
    annotations: Annotations | None,
    *,
    frame_rate: float = FRAME_RATE,
    min_frames: int,
    min_side: int,
    limit_seconds: float,
    processes: int,
    progress: Callable[[int, int], None],
    folder: Path,
    spread: Spread | None = None,
) -> tuple[list[Examination], list[NearDuplicate]] | Share:
    """Examines files in parallel, and compares them with each other.

    Near-duplicates are those in different splits, or groups of a split; the most alike come first.
    What is done is kept in `folder`, which is left there.
    """
    rates: dict[str, float] = {}
    for videos in annotations.splits.values() if annotations else ():
        rates |= {video.path: video.frame_rate for video in videos}
    tasks = [(path, rates.get(path, frame_rate)) for path in paths]
    request = {"files": len(paths), "sha256": files.sha256_of(str(task).encode() for task in tasks)}
    request |= {"keras_r3d": __version__}
    work = Work(
        *(folder, "plan.json", request, DataError, paths),
        is_there=lambda number: exists(paths[number]),
        spread=spread or Spread(),
    )

    def results(numbers: Sequence[int], _: Path) -> Generator[tuple[int, Any], None, None]:
        chosen = [tasks[number] for number in numbers]
        running = workers.run(_examine, chosen, workers=processes, limit_seconds=limit_seconds)
        with contextlib.closing(running):
            for index, result in running:
                yield numbers[index], result

    def pack(_: int, results: Iterator[tuple[int, Any]]) -> tuple[list[Any], dict[str, Any]]:
        rows = []
        for number, result in results:
            if isinstance(result, workers.Failure):
                detail = result.detail.removeprefix(f"{paths[number]}: ")
                result = Examination(paths[number], {result.status: detail})
            rows.append(dataclasses.asdict(result))
        return rows, {}

    with work.open() as starts:
        list(work.make(starts, PartMaker(results, pack), progress))
        if work.spread.is_share:
            return work.share()
        rows = [row for number in range(len(starts)) for row in work.read(number)[0]]
        read = (Examination(**row | {"hashes": tuple(row["hashes"])}) for row in rows)
        examined = [_judged(file, min_frames, min_side) for file in read]
        return _compared(examined, annotations)


def _examine(task: tuple[str, float]) -> Examination:
    return examine(*task)


def examine(path: str, frame_rate: float = FRAME_RATE) -> Examination:
    """Decodes a video to its end, or raises VideoError if no frame of it can be had."""
    file = open_pictures(path, rate=frame_rate)
    index = file.index()
    hashed = duplicates.hashed_frames(len(index.seconds))
    hashes: dict[int, int] = {}
    numbers = []
    for number, picture in file.frames(index):
        numbers.append(number)
        shape, rotation = picture.shape, picture.rotation
        if number in hashed:
            hashes[number] = duplicates.frame_hash(picture)
    file.close()
    if not numbers:
        raise VideoError(no_frame(path))
    findings = {}
    intervals = np.diff(index.seconds)
    if len(intervals):
        usual = float(np.median(intervals))
        uneven = float(np.mean(abs(intervals - usual) > 0.5 * usual))
        if uneven > _UNEVEN_SHARE:
            findings["variable rate"] = (
                f"{100 * uneven:.0f} % of the frames are early or late; usually {1 / usual:.2f}/s"
            )
    if rotation:
        findings["rotated"] = f"by {rotation} degrees"
    frames = len(numbers)
    if index.shortage(path, len(index.seconds), frames):
        findings["truncated"] = f"{frames} frames decode, the container promises {index.promised}"
    first, last = index.seconds[[numbers[0], numbers[-1]]].tolist()
    mean = (last - first) / max(1, frames - 1)
    return Examination(
        path,
        findings,
        frames,
        index.promised,
        shape[1],
        shape[0],
        last - first,
        last + mean,
        rotation,
        tuple(hashes.get(number, duplicates.SAYS_NOTHING) for number in hashed),
    )


def _judged(file: Examination, min_frames: int, min_side: int) -> Examination:
    """Adds what the file's own frames and header show."""
    if not file.frames:
        return file
    findings = dict(file.findings)
    if file.frames < min_frames:
        findings["few frames"] = f"{file.frames}, fewer than {min_frames}"
    if min(file.width, file.height) < min_side:
        findings["tiny"] = f"{file.width}x{file.height}, below {min_side}"
    return dataclasses.replace(file, findings=findings)


def _compared(
    examinations: list[Examination], annotations: Annotations | None
) -> tuple[list[Examination], list[NearDuplicate]]:
    """Adds what shows only between files."""
    by_path: dict[str, Place] = {}
    starts: dict[str, float] = defaultdict(float)  # of the last segment of each file
    for split, videos in annotations.splits.items() if annotations else ():
        for video in videos:
            starts[video.path] = max(video.start_seconds, starts[video.path])
            by_path.setdefault(os.path.abspath(video.path), (split, video))
    contents = _contents([file.path for file in examinations])
    places = [by_path.get(os.path.abspath(file.path)) for file in examinations]
    pairs = _near(examinations, contents, places)
    alike: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        for this, that in ((0, 1), (1, 0)):
            alike[pair.paths[this]].append(f"of {pair.paths[that]} ({pair.places[that]})")
    first: dict[tuple[int, str], int] = {}
    compared = []
    for number, (file, content) in enumerate(zip(examinations, contents, strict=True)):
        findings = dict(file.findings)
        if file.frames and starts[file.path] > file.end_second:
            findings["segment"] = outside(starts[file.path], file.end_second)
        before = first.setdefault(content, number) if content else number
        other, ours, theirs = examinations[before].path, places[number], places[before]
        if before != number:
            findings["duplicate"] = f"of {other}"
        if ours and theirs:
            label, groups = theirs[1].label, (ours[1].group, theirs[1].group)
            if ours[1].label != label:
                findings["label"] = f"'{ours[1].label}', but {other} is '{label}'"
            if ours[0] != theirs[0] or (all(groups) and groups[0] != groups[1]):
                findings["leak"] = f"in {_name(*ours)}, but {other} is in {_name(*theirs)}"
        if nearest := alike.get(file.path):
            more = f" and {len(nearest) - 1} more" if len(nearest) > 1 else ""
            findings["near-duplicate"] = nearest[0] + more
        compared.append(dataclasses.replace(file, findings=findings))
    return compared, pairs


def _near(
    examinations: list[Examination],
    contents: Sequence[tuple[int, str] | None],
    places: Sequence[Place | None],
) -> list[NearDuplicate]:
    """Finds files that look the same; those of the same content are told as duplicates."""
    labeled = [(number, place) for number, place in enumerate(places) if place]
    split = _codes([split for _, (split, _) in labeled])
    group = _codes([video.group or None for _, (_, video) in labeled])
    content = _codes([contents[number] for number, _ in labeled])

    def apart(one: NDArray[np.int64], two: NDArray[np.int64]) -> NDArray[np.bool_]:
        grouped = (group[one] >= 0) & (group[two] >= 0) & (group[one] != group[two])
        other = (split[one] != split[two]) | grouped
        return other & ((content[one] != content[two]) | (content[one] < 0))

    pairs = []
    hashes = [examinations[number].hashes for number, _ in labeled]
    for first, second, bits in duplicates.near(hashes, apart):
        (this, place), (that, other) = labeled[first], labeled[second]
        paths = examinations[this].path, examinations[that].path
        pairs.append(NearDuplicate(paths, (_name(*place), _name(*other)), bits))
    return pairs


def _name(split: str, video: Video) -> str:
    return f"{split}, group '{video.group}'" if video.group else split


def _codes(values: Sequence[Hashable | None]) -> NDArray[np.int64]:
    """Numbers values, equal ones alike; None is -1."""
    numbers: dict[Hashable, int] = {None: -1}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _contents(paths: Sequence[str]) -> list[tuple[int, str] | None]:
    """Tells contents apart by size and hash; a size that only one file has needs no hash."""
    sizes = [size(path) if exists(path) else 0 for path in paths]
    count = Counter(sizes)
    contents: list[tuple[int, str] | None] = []
    for path, total in zip(paths, sizes, strict=True):
        contents.append((total, sha256(path)) if total and count[total] > 1 else None)
    return contents
