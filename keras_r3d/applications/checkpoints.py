"""Reading PyTorch's `.pth` files without PyTorch, and without executing anything in them.

Both containers are read: the zip archive that `torch.save` writes since PyTorch 1.6, and the stream
of pickles followed by raw values that it wrote before. Tensors are read from the file one by one,
when they are asked for.
"""

import dataclasses
import io
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.applications import unpickling
from keras_r3d.applications.unpickling import StorageRecord, TensorRecord
from keras_r3d.errors import R3DError

WRAPPERS = ("state_dict", "model_state", "model")
PREFIX = "module."  # of torch.nn.DataParallel

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
    "Where PyTorch is, and if you trust the file, keep its tensors alone: "
    "torch.save(torch.load(SOURCE, map_location='cpu', weights_only=False)['state_dict'], DEST)"
)


class CheckpointError(R3DError, ValueError):
    """A file that is not a PyTorch checkpoint, is damaged, or holds more than tensors."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of a checkpoint, still in its file.

    Attributes:
        shape: in PyTorch's order of axes.
        dtype: PyTorch's name of it, such as "Float" or "Half".
        size: of its values, in bytes.
    """

    shape: tuple[int, ...]
    dtype: str
    _record: TensorRecord
    _read: Callable[[StorageRecord], np.ndarray]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(_DTYPES[self.dtype]).itemsize

    def numpy(self) -> np.ndarray:
        """Reads the values, in the file's type (bfloat16 as float32).

        Raises:
            CheckpointError: they are damaged, or cut short.
        """
        values = self._read(self._record.storage)[self._record.offset :]
        strides = [stride * values.itemsize for stride in self._record.strides]
        values = np.lib.stride_tricks.as_strided(values, self.shape, strides, writeable=False)
        if self.dtype == "BFloat16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
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
            container, content, storage = "zip", *_open_zip(path)
        else:
            container, content, storage = "legacy", *_open_legacy(path)
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
    wrapper, records = _find_tensors(path, content)
    prefix = ""
    while all(name.startswith(prefix + PREFIX) for name in records):
        prefix += PREFIX
    tensors = {
        name.removeprefix(prefix): Tensor(record.shape, record.storage.dtype, record, storage)
        for name, record in records.items()
    }
    return Checkpoint(path, container, wrapper, prefix, tensors)


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} ({path.stat().st_size:,} bytes) is damaged or cut short ({reason}): download or "
        "copy it again and compare its size with the original's."
    )


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
            f"PyTorch's first versions is not read. {_RESAVE}"
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


_ZIP_ERRORS = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, KeyError),
    *(struct.error, ValueError, OverflowError),
)


def _open_zip(path: Path) -> tuple[Any, Callable[[StorageRecord], np.ndarray]]:
    try:
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

    def member(name: str, most: int) -> bytes:
        """Reads a member of at most `most` bytes; zipfile compares its checksum."""
        info = members.get(folder + name)
        if info is None:
            raise _damaged(path, f"the archive has no {name}")
        if info.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(
                f"{path} is compressed inside, which torch.save never does: unpack it and put it "
                "together again with `zip -0`."
            )
        if info.file_size > most or info.file_size > path.stat().st_size:
            raise _damaged(path, f"{name} claims {info.file_size:,} bytes")
        try:
            return archive.read(info)
        except _ZIP_ERRORS as error:
            raise _damaged(path, str(error)) from error

    if f"{folder}byteorder" in members and member("byteorder", 16) != b"little":
        raise CheckpointError(f"{path} was written on a big-endian machine. {_RESAVE}")
    content = unpickling.load(io.BytesIO(member("data.pkl", unpickling.MOST_BYTES)))

    last: list[Any] = [None, b""]  # tensors may share a storage

    def storage(record: StorageRecord) -> np.ndarray:
        dtype = np.dtype(_DTYPES[record.dtype])
        if last[0] != record.key:
            most = path.stat().st_size
            last[:] = record.key, member(f"data/{record.key}", most)
        if len(last[1]) < record.count * dtype.itemsize:
            raise _damaged(path, f"storage {record.key[:20]} is too short")
        return np.frombuffer(last[1], dtype, record.count)

    return content, storage


def _open_legacy(path: Path) -> tuple[Any, Callable[[StorageRecord], np.ndarray]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        stream = io.BytesIO(file.read(unpickling.MOST_BYTES))
        try:
            magic = unpickling.load(stream)
        except unpickling.UnpicklingError:
            magic = None
        if magic != _LEGACY_MAGIC:
            raise CheckpointError(
                f"{path} is a pickle, but not one that torch.save wrote, or its beginning is "
                f"damaged. {_RESAVE}"
            )
        protocol, system = unpickling.load(stream), unpickling.load(stream)
        if protocol != _LEGACY_PROTOCOL:
            raise _damaged(path, "an unknown protocol")
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise CheckpointError(f"{path} was written on a big-endian machine. {_RESAVE}")
        content, keys = unpickling.load(stream), unpickling.load(stream)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise _damaged(path, "no list of storages")

        # Behind the pickles: for each storage the number of its values, then they. How wide they
        # are stands in the first pickle only.
        widths = {
            record.storage.key: np.dtype(_DTYPES[record.storage.dtype]).itemsize
            for record in _records(content)
        }
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

    def storage(record: StorageRecord) -> np.ndarray:
        dtype = np.dtype(_DTYPES[record.dtype])
        start, count = places.get(record.key, (0, 0))
        if record.offset + record.count > count:
            raise _damaged(path, f"storage {record.key[:20]} is missing or too short")
        start += record.offset * dtype.itemsize
        return np.fromfile(path, dtype, record.count, offset=start)

    return content, storage


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
        return {k: v for k, v in items if isinstance(v, TensorRecord) and isinstance(k, str)}

    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not a dictionary of tensors. {_RESAVE}"
        )
    for wrapper in WRAPPERS:
        if found := tensors(content.get(wrapper)):
            return wrapper, found
    if found := tensors(content):
        return None, found
    keys = ", ".join(str(key)[:40] for key in list(content)[:10])
    raise CheckpointError(
        f"{path} holds no tensors under {list(WRAPPERS)} nor outermost, but: {keys or 'nothing'}."
    )
