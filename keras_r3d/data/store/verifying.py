"""Comparing a store with its checksums."""

import dataclasses
import hashlib
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from keras_r3d.data.store.opened import Store
from keras_r3d.data.store.planning import size_text
from keras_r3d.system import files
from keras_r3d.system.errors import StoreError
from keras_r3d.system.text import first_of

_AT_A_TIME = 4  # videos
_SUBMITTED = 256  # videos
_FRAMES = 64  # read at a time


@dataclasses.dataclass(frozen=True)
class Verification:
    """What comparing showed.

    Attributes:
        videos: compared.
        bytes: of their frames.
        damage: sentences.
        broken: paths of the damaged videos.
        quarantine: file that lists them now.
    """

    store: str
    videos: int
    bytes: int
    damage: list[str]
    broken: list[str]
    quarantine: Path | None = None

    def __str__(self) -> str:
        lines = first_of([f"  damaged: {line}" for line in self.damage], 20)
        lines.append(
            f"{self.store}: {self.videos} videos, {size_text(self.bytes)} compared; "
            f"{len(self.damage)} damaged"
        )
        if self.quarantine:
            lines.append(
                f"Written: {self.quarantine}; trainings and evaluations of {self.store} leave them "
                "aside."
            )
        return "\n".join(lines)


def verify(path: str, *, progress: Callable[[int, int], None]) -> Verification:
    """Reads all of a store and compares it with its checksums."""
    store = Store(path)
    damage: list[str] = []
    for file in store.description.files:
        size = store.storage.size(file.name) if store.storage.exists(file.name) else None
        if size is None:
            damage.append(f"{file.name}: there is no such file")
        elif size != file.bytes:
            damage.append(f"{file.name}: has {size:,} bytes, {file.bytes:,} were expected")
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
    return Verification(path, count, size, damage, broken)


def _damage(store: Store, number: int) -> str | None:
    """Returns what is wrong with a video."""
    digest = hashlib.sha256()
    for level in range(len(store.levels.sizes)):
        span = store.span(number, level)
        bounds = [0, *span.ends.tolist()]
        for first in range(0, len(span.ends), _FRAMES):
            last = min(first + _FRAMES, len(span.ends)) - 1
            try:
                data = memoryview(store.read(span, first, last))
            except StoreError as error:
                return str(error)
            digest.update(data)
            for frame in range(first, last + 1):
                start, end = (place - bounds[first] for place in bounds[frame : frame + 2])
                if zlib.crc32(data[start:end]) != span.crc32[frame]:
                    return f"frame {frame} of level {level} does not have its checksum"
    if digest.hexdigest() != store.sha256[number]:
        return "does not have its checksum"
    return None
