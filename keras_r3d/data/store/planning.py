"""What a store will hold: its videos, how much that is likely to be, and how it is divided."""

import contextlib
import dataclasses
import functools
import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d._version import __version__
from keras_r3d.data.annotations import Annotations, Video, exists, relative, size
from keras_r3d.data.store import encoding, format
from keras_r3d.data.store.encoding import Part, StoreSettings
from keras_r3d.system import files, workers
from keras_r3d.system.errors import StoreError
from keras_r3d.system.opencv import cv2

_SAMPLES, _TRIES = 4, 20  # videos encoded at a time to estimate, and at most


@dataclasses.dataclass(frozen=True)
class Job:
    """Videos to prepare."""

    root: str  # folder that the videos' names in the store start from
    samples: Sequence[tuple[str, Video]]  # split and video, in the order of the store
    settings: StoreSettings

    def name(self, video: Video) -> str:
        """Returns a video's name in the store."""
        return relative(video.path, self.root).replace(os.sep, "/")

    @functools.cached_property
    def file_bytes(self) -> dict[str, int]:
        """Size of each video, -1 of one that is not there."""
        paths = {video.path for _, video in self.samples}
        return {path: size(path) if exists(path) else -1 for path in paths}

    def request(self) -> dict[str, Any]:
        """Returns all that decides what the store holds, but for the videos' content."""
        digest = hashlib.sha256()
        for split, video in self.samples:
            row = (self.name(video), video.label, split, video.start_seconds, video.end_seconds)
            several = " several labels" * video.several
            line = f"{row}{several} {self.file_bytes[video.path]} {video.frame_rate:g}\n"
            digest.update(line.encode(errors="surrogateescape"))
        return {
            "version": format.VERSION,
            "videos": len(self.samples),
            "videos_sha256": digest.hexdigest(),
            "settings": dataclasses.asdict(self.settings),
            "keras_r3d": __version__,
            "opencv": cv2.__version__,
        }

    def weights(self) -> list[float]:
        """Returns each video's likely share: its file's size, which segments of one file share."""
        paths = [video.path for _, video in self.samples]
        segments = Counter(paths)
        return [max(1, self.file_bytes[path]) / segments[path] for path in paths]


def job(annotations: Annotations, root: str, settings: StoreSettings) -> Job:
    """Returns the job of preparing all videos of some annotations."""
    samples = [(split, video) for split, videos in annotations.splits.items() for video in videos]
    samples.sort(key=lambda s: (s[0], s[1].path, s[1].start_seconds, s[1].end_seconds))
    return Job(root, samples, settings)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What preparing will take, as a few videos show."""

    bytes: int  # on the disk
    seconds: float  # with the processes asked for
    samples: int  # videos that were encoded to know it


def estimate(
    work: Job, *, processes: int, limit_seconds: float, folder: Path | None = None
) -> Estimate:
    """Encodes a few videos, spread over the list, into a temporary folder inside of `folder`.

    The bytes are the same for the same videos: the plan of a store follows from them.
    """
    count, weights = len(work.samples), work.weights()
    most = min(_TRIES, count)
    # Spread over the list: every so-manyth first, then those between, where those were broken.
    places = np.linspace(0, count - 1, most).astype(int)
    step = -(-most // _SAMPLES)
    order = np.concatenate([places[start::step] for start in range(step)]).tolist()
    reasons: list[str] = []
    for first in range(0, most, _SAMPLES):
        chosen = order[first : first + _SAMPLES]
        size, tried = 0, []
        started = time.monotonic()
        with files.scratch_folder(folder) as scratch:
            for place, result in encoded(work, chosen, scratch, processes, limit_seconds):
                if isinstance(result, workers.Failure):
                    reasons.append(result.sentence(work.samples[place][1].name))
                    continue
                size += int(result.ends[:, -1].sum(dtype=np.uint64))
                size += result.ends.size * 8 + result.seconds.nbytes + 200  # of the index
                tried.append(weights[place])
        if tried:
            share = math.fsum(weights) / math.fsum(tried)  # the same in any order
            # So few may not have kept all processes busy.
            idle = len(chosen) / max(len(chosen), processes)
            seconds = (time.monotonic() - started) * share * idle
            return Estimate(int(size * share), seconds, len(tried))
    raise StoreError(
        f"None of the {len(reasons)} videos tried can be read; the first: {reasons[0]} Look for "
        "more with `python -m keras_r3d.scan`."
    )


def divide(weights: Sequence[float], expected_bytes: int, shard_bytes: int) -> list[int]:
    """Returns the first video of each shard; a shard gets no more once it is likely to be full."""
    starts, full = [0], 0.0
    ratio = expected_bytes / math.fsum(weights)
    for place, weight in enumerate(weights):
        if full >= shard_bytes:
            starts.append(place)
            full = 0.0
        full += weight * ratio
    return starts


def encoded(
    work: Job, places: Sequence[int], scratch: Path, processes: int, limit_seconds: float
) -> Generator[tuple[int, Part | workers.Failure], None, None]:
    """Encodes videos in other processes; yields the place of each in the list, and what came."""
    tasks = [(work.samples[n][1], work.settings, scratch / f"video-{n}") for n in places]
    running = workers.run(_encode, tasks, workers=processes, limit_seconds=limit_seconds)
    with contextlib.closing(running):
        for number, result in running:
            yield places[number], result


def _encode(task: tuple[Video, StoreSettings, Path]) -> Part:
    return encoding.encode(*task)


def size_text(count: float) -> str:
    """Returns a number of bytes as a person would say it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
