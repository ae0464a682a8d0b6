"""Checkpoints of TensorFlow: an index of tensors, and files of their bytes.

The index `NAME.index` is a table of sorted strings, as LevelDB's; each value is a message of
protocol buffers that says where in `NAME.data-00000-of-00001` a tensor is.

Reference:
    LevelDB, Table format. https://github.com/google/leveldb/blob/main/doc/table_format.md;
    TensorFlow, tensorflow/core/protobuf/tensor_bundle.proto.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from keras_r3d.applications.weights.containers.tensors import (
    MAX_CHARACTERS,
    CheckpointError,
    DamagedError,
    StorageRecord,
    TensorRecord,
    make_dense,
    printable,
)

SUFFIX = ".index"
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_MOST_BYTES = 2**20  # 60 times those of an I3D
_FOOTER = 48
_TRAILER = 5  # behind a block: how it is compressed, and its checksum
_DTYPES = {1: "Float", 2: "Double", 3: "Int", 9: "Long", 19: "Half"}


def index_of(path: Path) -> Path:
    """Returns the index of a checkpoint that is named by its prefix or a file of its data."""
    prefix, data, _ = path.name.partition(".data-")
    if not prefix or (not data and path.is_file()):
        return path
    index = path.with_name(prefix + SUFFIX)
    return index if os.path.isfile(index) else path


def read(file: BinaryIO, end: int) -> dict[str, tuple[TensorRecord, int, Path]]:
    """Returns by name each tensor of numbers, the byte that it begins at, and the file it is in.

    Raises DamagedError, or CheckpointError if a file is missing or the index is compressed.
    """
    if end > _MOST_BYTES:
        raise DamagedError(f"an index of {end:,} bytes")
    file.seek(0)
    content = file.read()
    if not _FOOTER <= end == len(content) or not content.endswith(_MAGIC):
        raise DamagedError("no end of an index of TensorFlow")
    try:
        entries: dict[bytes, dict] = {}
        position = 0
        for _, handle in _block(content, *_varints(content[-_FOOTER:], 4)[2:]):
            start, size = _varints(handle, 2)
            if start < position:
                raise DamagedError("blocks of the index overlap")
            position = start + size
            entries |= {name: dict(_fields(entry)) for name, entry in _block(content, start, size)}
        header = entries.pop(b"", {})
        if header.get(2, 0) != 0:
            raise DamagedError("it was written on a big-endian machine")
        shards, index = int(header.get(1, 1)), Path(file.name)
        return {
            name.decode(): _place(name.decode(), entry, shards, index)
            for name, entry in entries.items()
            if entry.get(1) in _DTYPES
        }
    except (DamagedError, CheckpointError):
        raise
    except (IndexError, TypeError, ValueError) as error:
        raise DamagedError(f"no index of TensorFlow: {error}") from error


def _place(name: str, entry: dict, shards: int, index: Path) -> tuple[TensorRecord, int, Path]:
    """Reads a BundleEntryProto: type, shape, shard, offset and size."""
    axes = [dict(_fields(axis)).get(1, 0) for axis in _repeated(entry.get(2, b""), 2)]
    shape = tuple(int(size) for size in axes)
    storage = StorageRecord(_DTYPES[entry[1]], name, math.prod(shape))
    size = storage.size * storage.numpy_dtype.itemsize
    shard, start = int(entry.get(3, 0)), int(entry.get(4, 0))
    data = index.with_name(f"{index.name[: -len(SUFFIX)]}.data-{shard:05d}-of-{shards:05d}")
    if not data.is_file():
        raise CheckpointError(
            f"There is no file {data}: a checkpoint of TensorFlow is {index.name} and {data.name}, "
            "side by side."
        )
    if entry.get(5, 0) != size or start + size > data.stat().st_size:
        raise DamagedError(f"{data.name} has no {printable(name)} of {shape}")
    return make_dense(storage, shape), start, data


def _block(content: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of a block; a key begins as the one before it."""
    block, trailer = content[start : start + size], content[start + size :][:_TRAILER]
    if len(block) != size or len(trailer) != _TRAILER or size < 4:
        raise DamagedError("a block of the index is not where it must be")
    if trailer[0] != 0:
        raise CheckpointError(
            "A checkpoint of TensorFlow whose index is compressed is not read: save it again."
        )
    if _masked(_crc32c(block + trailer[:1])) != int.from_bytes(trailer[1:], "little"):
        raise DamagedError("a checksum of the index does not agree")
    restarts = int.from_bytes(block[-4:], "little")
    position, end, key = 0, size - 4 * (restarts + 1), b""
    while position < end:
        (shared, more, length), position = _read_varints(block, position, 3)
        key = key[:shared] + block[position : position + more]
        if len(key) > MAX_CHARACTERS:
            raise DamagedError(f"a name of {len(key):,} characters")
        position += more + length
        yield key, block[position - length : position]


def _read_varints(data: bytes, position: int, count: int) -> tuple[list[int], int]:
    values = []
    for _ in range(count):
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            if shift > 63:
                raise DamagedError("a number of more than 64 bits")
        values.append(value)
    return values, position


def _varints(data: bytes, count: int) -> list[int]:
    return _read_varints(data, 0, count)[0]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields the numbers and values of a message's fields."""
    position = 0
    while position < len(message):
        (tag,), position = _read_varints(message, position, 1)
        kind = tag & 7
        if kind == 0:
            (value,), position = _read_varints(message, position, 1)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            (size,), position = _read_varints(message, position, 1)
        if size is None or position + size > len(message):
            raise DamagedError("a field of the index is damaged")
        yield tag >> 3, message[position : position + size]
        position += size


def _repeated(message: int | bytes, number: int) -> list[bytes]:
    if not isinstance(message, bytes):
        raise DamagedError("a shape that is none")
    return [value for key, value in _fields(message) if key == number and isinstance(value, bytes)]


def _crc32c(data: bytes) -> int:
    checksum = 0xFFFFFFFF
    for byte in data:
        checksum = _TABLE[(checksum ^ byte) & 255] ^ (checksum >> 8)
    return checksum ^ 0xFFFFFFFF


def _table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [(n >> 1) ^ (0x82F63B78 * (n & 1)) for n in table]
    return table


_TABLE = _table()


def _masked(checksum: int) -> int:
    """Returns a checksum as it is stored."""
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF
