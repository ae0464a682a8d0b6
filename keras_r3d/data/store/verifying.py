"""Comparing a store with its checksums."""

import dataclasses
import hashlib
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from keras_r3d.data.store.opened import Store
from keras_r3d.system import files
from keras_r3d.system.errors import StoreError

_AT_A_TIME = 4  # videos
_SUBMITTED = 256  # videos
_FRAMES = 64  # read at a time


@dataclasses.dataclass(frozen=True)
class Report:
    """What comparing showed.

    Attributes:
        videos: compared.
        bytes: of their frames.
        damage: sentences.
        broken: paths of the damaged videos.
    """

    videos: int
    bytes: int
    damage: list[str]
    broken: list[str]


def verify(path: str, *, progress: Callable[[int, int], None]) -> Report:
    """Reads all of a store and compares it with its checksums.

    Raises:
        StoreError: it cannot be opened.
        UnreachableError: its server does not answer, or refuses.
    """
    store = Store(path)
    damage: list[str] = []
    for file in store.description.files:
        found = store.storage.size(file.name) if store.storage.exists(file.name) else None
        if found is None:
            damage.append(f"{file.name}: there is no such file")
        elif found != file.bytes:
            damage.append(f"{file.name}: has {found:,} bytes, {file.bytes:,} were expected")
        elif file.sha256:
            copy = store.storage.local_copy(file.name, file.bytes, file.sha256)
            if files.sha256(copy) != file.sha256:
                damage.append(f"{file.name}: does not have its checksum")
    broken = []
    count = len(store.videos)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for first in range(0, count, _SUBMITTED):
            numbers = range(first, min(first + _SUBMITTED, count))
            reasons = pool.map(lambda number: _damage(store, number), numbers)
            for number, reason in zip(numbers, reasons, strict=True):
                if reason:
                    damage.append(f"{store.names[number]}: {reason}")
                    broken.append(store.videos[number].path)
                progress(number + 1, count)
    size = sum(file.bytes for file in store.description.files)
    return Report(count, size, damage, broken)


def _damage(store: Store, number: int) -> str | None:
    """Returns what is wrong with a video."""
    digest = hashlib.sha256()
    for level in range(len(store.levels.sizes)):
        span = store.span(number, level)
        for first in range(0, len(span.ends), _FRAMES):
            last = min(first + _FRAMES, len(span.ends)) - 1
            begin = int(span.ends[first - 1]) if first else 0
            try:
                data = memoryview(store.read(span, first, last))
            except StoreError as error:
                return str(error)
            digest.update(data)
            for frame in range(first, last + 1):
                end = int(span.ends[frame])
                start = int(span.ends[frame - 1]) if frame else 0
                if zlib.crc32(data[start - begin : end - begin]) != span.crc32[frame]:
                    return f"frame {frame} of level {level} does not have its checksum"
    if digest.hexdigest() != store.sha256[number]:
        return "does not have its checksum"
    return None
