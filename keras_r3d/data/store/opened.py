"""An opened store: which videos it has, and where each frame lies."""

import csv
import dataclasses
import functools
import math
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keras_r3d.data.annotations import QUARANTINE, Video, is_file, located
from keras_r3d.data.store import format, storage
from keras_r3d.data.store.levels import Size
from keras_r3d.system.errors import StoreError


@dataclasses.dataclass(frozen=True)
class Span:
    """Frames of a video at one level, in a shard."""

    shard: str  # name of the file
    offset: int  # of the first frame
    ends: NDArray[np.int64]  # (frames,), where each ends, counted from `offset`
    crc32: NDArray[np.uint32]  # (frames,)


def is_store(path: str | Path) -> bool:
    """Whether a path is one of a store, also under a URL, whose server is asked."""
    names = (format.DESCRIPTION, format.PLAN)
    if not storage.is_url(str(path)):
        return any((Path(path) / name).is_file() for name in names)
    return not is_file(str(path)) and any(map(storage.Storage(path).exists, names))


class Store:
    """A store that is open for reading, from several threads at once.

    The index is mapped into memory, not read; what it says is checked against the shards when they
    are read.

    Attributes:
        root: folder or URL.
        splits: split name -> videos. Their paths start with `root` and go on as in the source.
        videos: all, in the order of the index.
        names: path of each in the source.
        sha256: of the frames of each.
        short: what is wrong with those that are cut short, by number.

    Raises:
        StoreError: it is missing, unfinished, damaged, or of another version.
        UnreachableError: its server does not answer, or refuses.
    """

    def __init__(self, root: str | Path):
        root = root if storage.is_url(str(root)) else os.path.abspath(root)
        self.storage = storage.Storage(root)
        self.root = self.storage.root
        if not self.storage.exists(format.DESCRIPTION):
            problem = f"is no clip store: it has no {format.DESCRIPTION}."
            if self.storage.exists(format.PLAN):
                again = "run the same `python -m keras_r3d.prepare` again to resume."
                problem = f"is not finished: {again}"
            raise StoreError(f"{self.root} {problem}")
        path = f"{self.root}/{format.DESCRIPTION}"
        self.description = format.loads(self.storage.text(format.DESCRIPTION), path)
        self.levels = self.description.levels
        count, frames = self.description.videos, self.description.frames
        levels = len(self.levels.sizes)
        self._frames = self._column("video_frames", (count,))
        self._shard = self._column("video_shard", (count,))
        self._offset = self._column("level_offset", (count, levels))
        self._size = self._column("level_size", (count, levels, 2))
        self._end = self._column("frame_end", (frames * levels,))
        self._crc32 = self._column("frame_crc32", (frames * levels,))
        self._seconds = self._column("frame_seconds", (frames,))
        # Of each video, in the columns of frames.
        self._first = np.concatenate(([0], np.cumsum(self._frames, dtype=np.int64)))
        self._bytes = {file.name: file.bytes for file in self.description.files}
        last = format.shard_name(int(self._shard.max()))
        problem = ""
        if self._first[-1] != frames:
            problem = f"counts {self._first[-1]} frames, {format.DESCRIPTION} {frames}"
        elif not self._frames.all():
            problem = "has a video of 0 frames"
        elif last not in self._bytes:
            problem = f"names {last}, which is not"
        if problem:
            where = ""  # the index was read, if that is not where the store is
            if self.storage.remote:
                where = f", or its copy in {self._copy(format.VIDEOS).parent} is (remove that)"
            raise StoreError(f"{self.root}: the index {problem}: it is damaged{where}.")
        self._read_videos(count)
        self.short = self._read_short()

    def _copy(self, name: str) -> Path:
        """Returns a file of the index on this machine."""
        file = self.description.file(name)
        return self.storage.local_copy(name, file.bytes, file.sha256)

    def _column(self, column: str, shape: tuple[int, ...]) -> np.ndarray:
        name, kind = format.column_name(column), format.column_type(column)
        size, expected = self.description.file(name).bytes, math.prod(shape) * kind.itemsize
        if size != expected:
            raise StoreError(
                f"{self.root}/{name} must have {expected} bytes for shape {shape}. "
                f"{format.DESCRIPTION} says {size}: it is damaged."
            )
        # Plain arrays over the mapped memory: indexing a memmap takes ten times as long.
        return np.memmap(self._copy(name), kind, "r", shape=shape).view(np.ndarray)

    def _read_videos(self, count: int) -> None:
        self.splits: dict[str, list[Video]] = defaultdict(list)
        self.videos: list[Video] = []
        self.names: list[str] = []
        self.sha256: list[str] = []
        try:
            with self._copy(format.VIDEOS).open(newline="", encoding="utf-8") as text:
                rows = csv.reader(text)
                columns = tuple(next(rows, ()))
                several = columns == format.video_columns(several=True)
                if not several and columns != format.VIDEO_COLUMNS:
                    raise ValueError(f"its columns must be {','.join(format.VIDEO_COLUMNS)}")
                for name, label, split, start, end, _, _, sha256, _, _ in rows:
                    place = f"{self.root}/{name}"
                    if not self.storage.remote:
                        place = os.path.normpath(place)
                    times = float(start), float(end or math.inf)
                    video = Video(place, label, *times, several=several)
                    self.names.append(name)
                    self.sha256.append(sha256)
                    self.videos.append(video)
                    self.splits[split].append(video)
        except (ValueError, csv.Error) as error:
            raise StoreError(f"{self.root}/{format.VIDEOS} is damaged: {error}") from error
        if len(self.videos) != count:
            raise StoreError(
                f"{self.root}/{format.VIDEOS} must list {count} videos. Received: "
                f"{len(self.videos)}"
            )

    def _read_short(self) -> dict[int, str]:
        """Reads which videos were found to be cut short when the store was prepared."""
        if not self.storage.exists(format.PROBLEMS):
            return {}
        rows = csv.reader(self.storage.text(format.PROBLEMS).splitlines(keepends=True))
        short = {row[0]: row[2] for row in rows if row[1:2] == ["short"]}
        details: dict[int, str] = {}
        for number, video in enumerate(self.videos if short else ()):
            path = located(self.names[number], str(self.description.source.get("path")))
            name = dataclasses.replace(video, path=path).name
            if name in short:
                details[number] = short[name]
        return details

    def quarantined(self) -> set[Video]:
        """Returns the videos that quarantine.txt lists."""
        if not self.storage.exists(QUARANTINE):
            return set()
        lines = {line.strip() for line in self.storage.text(QUARANTINE).splitlines()}
        return {video for name, video in zip(self.names, self.videos, strict=True) if name in lines}

    @functools.cached_property
    def numbers(self) -> dict[Video, int]:
        """The number of each video in the index."""
        return {video: number for number, video in enumerate(self.videos)}

    def frames(self, number: int) -> int:
        """Returns the number of frames of a video."""
        return int(self._frames[number])

    def sizes(self, number: int) -> list[Size]:
        """Returns the size of a video's frames at each level, the largest first."""
        sizes = [(height, width) for height, width in self._size[number].tolist()]
        if not all(height and width for height, width in sizes):
            raise StoreError(f"the index of the store {self.root} is damaged: it has sizes of 0.")
        return sizes

    def seconds(self, number: int) -> NDArray[np.float64]:
        """Returns when each frame of a video is shown in the source, float64 `(frames,)`."""
        return np.asarray(self._seconds[self._first[number] : self._first[number + 1]])

    def span(self, number: int, level: int) -> Span:
        """Returns where the frames of a video lie at a level."""
        count = int(self._frames[number])
        first = int(self._first[number]) * len(self.levels.sizes) + level * count
        return Span(
            format.shard_name(int(self._shard[number])),
            int(self._offset[number, level]),
            self._end[first : first + count].astype(np.int64),
            self._crc32[first : first + count],
        )

    def read(self, span: Span, first: int, last: int) -> bytes:
        """Reads frames `first` to `last` of a span, as they lie."""
        start = span.offset + (int(span.ends[first - 1]) if first else 0)
        end = span.offset + int(span.ends[last])
        if not start < end <= self._bytes[span.shard]:
            raise StoreError(
                f"{self.root}: the index says that frames {first} to {last} lie in bytes {start} "
                f"to {end} of {span.shard}, which has {self._bytes[span.shard]}: it is damaged."
            )
        return self.storage.read(span.shard, start, end - start)
