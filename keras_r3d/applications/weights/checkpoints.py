"""Reading PyTorch's `.pth` files without PyTorch, and without executing anything in them.

Both containers are read: the zip archive that `torch.save` writes since PyTorch 1.6, and the stream
of pickles followed by raw values that it wrote before. Tensors are read from the file one by one,
when they are asked for.
"""

import dataclasses
import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.applications.weights import unpickling
from keras_r3d.applications.weights.unpickling import StorageRecord, TensorRecord, shown
from keras_r3d.system.errors import WeightsError

WRAPPERS = ("state_dict", "model_state", "model")
PREFIX = "module."  # of torch.nn.DataParallel
# Far above any checkpoint's; what is beyond them was made to fill time or memory.
MOST_TENSORS = 20_000
MOST_SHARING = 4  # bytes of all tensors against those of the file
MOST_DIRECTORY_BYTES = 4 * 2**20

_DTYPES = {
    "Float": "<f4",
    "Double": "<f8",
    "Half": "<f2",
    "BFloat16": "<u2",  # the upper half of a float32
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_RESAVE = (
    "If you trust the file, keep its tensors alone, where PyTorch is: x = torch.load(SOURCE, "
    "map_location='cpu', weights_only=False), then torch.save(S, DEST), where S is x.state_dict() "
    "if x is a module, x['state_dict'] (or 'model') if x is a dictionary."
)


# Reads `count` values of a storage from the one numbered `first` on.
ReadValues = Callable[[StorageRecord, int, int], np.ndarray]


class CheckpointError(WeightsError):
    """A file that is not a PyTorch checkpoint, is damaged, or holds more than tensors."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of a checkpoint, still in its file.

    Attributes:
        shape: in PyTorch's order of axes.
        dtype: PyTorch's name of it, such as "Float" or "Half".
    """

    shape: tuple[int, ...]
    dtype: str
    _record: TensorRecord
    _read: ReadValues

    def numpy(self) -> np.ndarray:
        """Reads the values, in the file's type (bfloat16 as float32).

        Raises:
            CheckpointError: they are damaged, or cut short.
        """
        record, count = self._record, math.prod(self.shape)
        steps = zip(record.shape, record.strides, strict=True)
        span = 1 + sum((size - 1) * stride for size, stride in steps) if count else 0
        try:
            run = self._read(record.storage, record.offset, span)
        except OSError as error:
            raise CheckpointError(f"A tensor can no longer be read: {error}.") from error
        strides = [stride * run.itemsize for stride in record.strides]
        values = np.lib.stride_tricks.as_strided(run, self.shape, strides, writeable=False)
        if span > count:
            values = values.copy()  # so that what lies between is not kept in memory
        if self.dtype == "BFloat16":
            wide = values.astype(np.uint32)
            wide <<= np.uint32(16)
            values = wide.view(np.float32)
        return values


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint.

    Attributes:
        container: "zip" or "legacy".
        wrapper: key of the dictionary that the tensors were under; None for a bare one.
        prefix: what all names began with and is taken off, such as "module.".
        tensors: by name.
    """

    path: Path
    container: str
    wrapper: str | None
    prefix: str
    tensors: Mapping[str, Tensor]


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens a checkpoint: names, shapes and places of its tensors.

    Raises:
        CheckpointError: there is no such file, it is something else, is damaged or cut short, or
            asks for code to be run.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path} is not a file.")
        with path.open("rb") as file:
            start = file.read(1024)
        _refuse_others(path, start)
        if start.startswith(b"PK"):
            container, content, values = "zip", *_open_zip(path)
        else:
            container, content, values = "legacy", *_open_legacy(path)
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path}.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except unpickling.RefusedError as error:
        raise CheckpointError(
            f"{path} asks for {error}, which reading weights does not need; nothing of it was run. "
            f"{_RESAVE}"
        ) from error
    except unpickling.UnpicklingError as error:
        raise _damaged(path, str(error)) from error
    except CheckpointError:
        raise
    except ValueError as error:  # a path that no file can have
        raise CheckpointError(f"{str(path)!r} is not a path: {error}.") from error
    wrapper, records = _find_tensors(path, content)
    _check_sizes(path, records, values)
    prefix = ""
    while all(name.startswith(prefix + PREFIX) for name in records):
        prefix += PREFIX
    tensors = {
        name.removeprefix(prefix): Tensor(record.shape, record.storage.dtype, record, values)
        for name, record in records.items()
    }
    return Checkpoint(path, container, wrapper, prefix, tensors)


def _damaged(path: Path, reason: str) -> CheckpointError:
    size = f" ({path.stat().st_size:,} bytes)" if path.is_file() else ""
    return CheckpointError(
        f"{path}{size} is damaged or cut short ({shown(reason, 200)}): download or copy it again "
        "and compare its size with the original's."
    )


def _check_sizes(path: Path, records: Mapping[str, TensorRecord], values: ReadValues) -> None:
    """Refuses tensors that are not in the file, so that shapes can be believed."""
    for storage in {record.storage for record in records.values()}:
        values(storage, 0, 0)
    claimed = sum(
        math.prod(record.shape) * np.dtype(_DTYPES[record.storage.dtype]).itemsize
        for record in records.values()
    )
    if claimed > MOST_SHARING * path.stat().st_size:
        raise _damaged(path, f"its tensors claim {claimed:,} bytes")


def _refuse_others(path: Path, start: bytes) -> None:
    """Says of the usual mistakes what they are."""
    text = start.lstrip().lower()
    if not start:
        raise CheckpointError(f"{path} is empty: download or copy it again.")
    if text.startswith(b"<") or b"<html" in text:
        raise CheckpointError(
            f"{path} is a web page, not a checkpoint: the download was answered with a page, as "
            "Google Drive does for large files. Open the address in a browser, confirm, and save "
            "the file itself."
        )
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a Git-LFS pointer, not the checkpoint: run `git lfs pull` in its "
            "repository, or download the file itself."
        )
    if start[257:262] == b"ustar":
        raise CheckpointError(
            f"{path} is a tar archive. If it holds a checkpoint, unpack it; the tar format of "
            "PyTorch's first versions is not read."
        )
    if start.startswith(b"\x89HDF"):
        raise CheckpointError(
            f"{path} is an HDF5 file, not a PyTorch checkpoint: if it holds weights of Keras, name "
            "it .weights.h5."
        )
    if not start.startswith((b"PK", b"\x80")):
        raise CheckpointError(
            f"{path} is not a PyTorch checkpoint: it begins with {start[:8]!r}, a checkpoint with "
            "b'PK' (zip) or b'\\x80' (legacy)."
        )


class _SmallReads(io.FileIO):
    """A file that refuses large reads: a zip's list of members is no place for megabytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"a list of members of {size:,} bytes")
        return super().read(size)


_ZIP_ERRORS = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, KeyError),
    *(struct.error, ValueError, OverflowError),
)


def _open_zip(path: Path) -> tuple[Any, ReadValues]:
    try:
        with _SmallReads(path) as small, zipfile.ZipFile(small):
            pass  # so far it is safe to open
        archive = zipfile.ZipFile(path)  # stays open as long as tensors may be asked for
        members = {member.filename: member for member in archive.infolist()}
    except _ZIP_ERRORS as error:
        raise _damaged(path, str(error)) from error
    pickled = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if not pickled:
        what = (
            "a Keras model: name it .keras" if "model.weights.h5" in members else "something else"
        )
        raise CheckpointError(
            f"{path} is a zip archive without data.pkl, so not a PyTorch checkpoint but {what}."
        )
    folder = pickled[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in members:
        raise CheckpointError(
            f"{path} is a TorchScript program, not a checkpoint of tensors. Where PyTorch is: "
            "torch.save(torch.jit.load(SOURCE, map_location='cpu').state_dict(), DEST)"
        )

    size = path.stat().st_size

    def find(name: str, most: int) -> zipfile.ZipInfo:
        """Finds a member of at most `most` bytes."""
        info = members.get(folder + name)
        if info is None:
            raise _damaged(path, f"the archive has no {name[:30]}")
        if info.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(
                f"{path} is compressed inside, which torch.save never does: unpack it and put it "
                "together again with `zip -0`."
            )
        if info.compress_size != info.file_size:
            raise _damaged(path, f"{name[:30]} claims two sizes")
        if info.file_size > most or info.header_offset + info.file_size > size:
            raise _damaged(path, f"{name[:30]} claims {info.file_size:,} bytes")
        return info

    def read_member(name: str, most: int) -> bytes:
        """Reads a member; zipfile compares its checksum."""
        try:
            return archive.read(find(name, most))
        except _ZIP_ERRORS as error:
            raise _damaged(path, str(error)) from error

    if f"{folder}byteorder" in members and read_member("byteorder", 16) != b"little":
        raise CheckpointError(f"{path} was written on a big-endian machine. {_RESAVE}")
    content = unpickling.load(io.BytesIO(read_member("data.pkl", unpickling.MOST_BYTES)))
    checked: set[str] = set()

    def values(record: StorageRecord, first: int, count: int) -> np.ndarray:
        dtype = np.dtype(_DTYPES[record.dtype])
        info = find(f"data/{record.key}", size)
        if info.file_size < record.count * dtype.itemsize:
            raise _damaged(path, f"storage {record.key[:20]} is too short")
        try:
            if count == 0:
                return np.empty(0, dtype)
            if count == record.count:
                return np.frombuffer(archive.read(info), dtype, count)
            # A piece of a storage that tensors share: its checksum once, then the piece alone.
            if record.key not in checked:
                with archive.open(info) as member:
                    while member.read(2**20):
                        pass
                checked.add(record.key)
            with path.open("rb") as file:
                file.seek(info.header_offset + 26)  # lengths of the name and of the extra field
                lengths = struct.unpack("<HH", file.read(4))
            start = info.header_offset + 30 + sum(lengths)
            if start + info.file_size > size:
                raise _damaged(path, f"storage {record.key[:20]} ends behind the file")
            return _from_file(path, dtype, count, start + first * dtype.itemsize)
        except _ZIP_ERRORS as error:
            raise _damaged(path, str(error)) from error

    return content, values


def _open_legacy(path: Path) -> tuple[Any, ReadValues]:
    size = path.stat().st_size
    with path.open("rb") as file:
        stream = io.BytesIO(file.read(unpickling.MOST_BYTES))
        try:
            magic = unpickling.load(stream, most=10)
        except unpickling.UnpicklingError:
            magic = None
        if magic != _LEGACY_MAGIC:
            raise CheckpointError(
                f"{path} is a pickle, but not one that torch.save wrote, or its beginning is "
                "damaged."
            )
        protocol = unpickling.load(stream, most=10)
        system = unpickling.load(stream, most=1000)
        if protocol != _LEGACY_PROTOCOL:
            raise _damaged(path, "an unknown protocol")
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise CheckpointError(f"{path} was written on a big-endian machine. {_RESAVE}")
        content, keys = unpickling.load(stream), unpickling.load(stream)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise _damaged(path, "no list of storages")

        # Behind the pickles: for each storage the number of its values, then they. How wide they
        # are stands in the first pickle only.
        widths: dict[str, int] = {}
        for record in _records(content):
            key, width = record.storage.key, np.dtype(_DTYPES[record.storage.dtype]).itemsize
            if widths.setdefault(key, width) != width:
                raise _damaged(path, f"storage {key[:20]} is of two types")
        places: dict[str, tuple[int, int]] = {}
        place = stream.tell()
        for key in keys:
            file.seek(place)
            head = file.read(8)
            count = int.from_bytes(head, "little", signed=True)
            place += 8
            if key not in widths:
                raise _damaged(path, f"storage {key[:20]} belongs to no tensor")
            if len(head) < 8 or not 0 <= count <= (size - place) // widths[key]:
                raise _damaged(path, f"storage {key[:20]} ends behind the file")
            places[key] = place, count
            place += count * widths[key]

    def values(record: StorageRecord, first: int, count: int) -> np.ndarray:
        dtype = np.dtype(_DTYPES[record.dtype])
        start, stored = places.get(record.key, (0, 0))
        if record.offset + record.count > stored:
            raise _damaged(path, f"storage {record.key[:20]} is missing or too short")
        start += (record.offset + first) * dtype.itemsize
        return _from_file(path, dtype, count, start)

    return content, values


def _from_file(path: Path, dtype: np.dtype, count: int, start: int) -> np.ndarray:
    values = np.fromfile(path, dtype, count, offset=start)
    if len(values) != count:
        raise _damaged(path, "it has become shorter")
    return values


def _records(content: Any) -> list[TensorRecord]:
    """All tensors of a checkpoint, however deep they lie, without recursion."""
    found, seen, waiting = [], set(), [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, TensorRecord):
            found.append(value)
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return found


def _find_tensors(path: Path, content: Any) -> tuple[str | None, dict[str, TensorRecord]]:
    """Finds the dictionary of tensors: bare, or under one of the usual names."""

    def tensors(value: Any) -> dict[str, TensorRecord]:
        items = value.items() if isinstance(value, dict) else ()
        found = {name: value for name, value in items if isinstance(value, TensorRecord)}
        if len(found) > MOST_TENSORS:
            raise CheckpointError(f"{path} has {len(found):,} tensors, more than any network.")
        return found

    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not a dictionary of tensors. {_RESAVE}"
        )
    for wrapper in WRAPPERS:
        if found := tensors(content.get(wrapper)):
            return wrapper, found
    if found := tensors(content):
        return None, found
    keys = ", ".join(shown(key, 40) for key in list(content)[:10])
    raise CheckpointError(
        f"{path} holds no tensors under {list(WRAPPERS)} nor outermost, but: {keys or 'nothing'}."
    )
