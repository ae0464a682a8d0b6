"""Reading files of tensors without what wrote them, and without executing anything in them.

All containers of PyTorch are read: the zip archive that `torch.save` writes since PyTorch 1.6, the
stream of pickles followed by raw values that it wrote before, and safetensors; and two that I3D is
published in, pickles of NumPy arrays and checkpoints of TensorFlow. Tensors are read from the file
one by one, when they are asked for.
"""

import dataclasses
import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from keras_r3d.applications.weights import pytorch
from keras_r3d.applications.weights.containers import (
    numpy_pickle,
    safetensors,
    tensor_bundle,
    unpickling,
)
from keras_r3d.applications.weights.containers.tensors import (
    MAX_BYTES,
    MAX_CHARACTERS,
    MAX_SHARING,
    MAX_TENSORS,
    CheckpointError,
    DamagedError,
    RefusedError,
    TensorRecord,
    printable,
)

# Of several networks in a file, what is trained is under these, averages of it under others.
USUAL = ("state_dict.", "model_state.", "model.")
COMPILED = "_orig_mod."  # where torch.compile was called, in the middle of a name, too

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_RESAVE = (
    "If you trust the file, keep its tensors alone, where PyTorch is: x = torch.load(SOURCE, "
    "map_location='cpu', weights_only=False), then torch.save(S, DEST), where S is x.state_dict() "
    "if x is a module, x['state_dict'] (or 'model') if x is a dictionary."
)


@dataclasses.dataclass
class _Storage:
    """Where the bytes of a storage are in the file, and their checksum until it is compared."""

    path: Path
    start: int = 0
    size: int = 0
    checksum: int | None = None

    def read(self, dtype: np.dtype, offset: int, count: int) -> np.ndarray:
        """Reads `count` values, from number `offset` on."""
        if self.checksum is not None:
            checksum, left = 0, self.size
            with self.path.open("rb") as file:
                file.seek(self.start)
                while left and (piece := file.read(min(left, 2**20))):
                    checksum, left = zlib.crc32(piece, checksum), left - len(piece)
            if left or checksum != self.checksum:
                raise DamagedError("a checksum does not agree")
            self.checksum = None
        values = np.fromfile(self.path, dtype, count, offset=self.start + offset * dtype.itemsize)
        if len(values) != count:
            raise DamagedError("it has become shorter")
        return values


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of a checkpoint, still in its file; axes in PyTorch's order."""

    shape: tuple[int, ...]
    dtype: str  # PyTorch's name of it, such as "Float" or "Half"
    _record: TensorRecord
    _storage: _Storage

    def numpy(self) -> np.ndarray:
        """Reads the values, in the file's type (bfloat16 as float32). Raises CheckpointError."""
        storage, offset, shape, strides = self._record
        span = self._record.span
        try:
            run = self._storage.read(storage.numpy_dtype, storage.offset + offset, span)
        except OSError as error:
            raise CheckpointError(f"A tensor can no longer be read: {error}.") from error
        except DamagedError as error:
            raise _damaged(self._storage.path, error) from error
        strides = tuple(stride * run.itemsize for stride in strides)
        values = np.lib.stride_tricks.as_strided(run, shape, strides, writeable=False)
        if span > values.size:
            values = values.copy()  # so that what lies between is not kept in memory
        if self.dtype == "BFloat16":
            values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return values


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint."""

    path: Path
    container: str  # a key of `_CONTAINERS`
    key: str  # what its tensors were under and is taken off their names, "state_dict.module"
    others: Sequence[str]  # keys of the other networks that the file has, if no key was asked for
    tensors: Mapping[str, Tensor]


def read_checkpoint(path: str | os.PathLike[str], key: str | None = None) -> Checkpoint:
    """Opens a checkpoint: names, shapes and places of the tensors of one network.

    `key` chooses one of several networks, wholly or by its beginning. Raises CheckpointError.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path} is not a file.")
        with path.open("rb") as file:
            start = file.read(1024)
            container = _container(path, start)
            content, storages = _CONTAINERS[container](path, file)
        networks = _find_networks(path, content)
        chosen = _choose(path, list(networks), key)
        records = networks[chosen]
        tensors = [
            Tensor(r.shape, r.storage.dtype, r, storages.setdefault(r.storage.key, _Storage(path)))
            for r in records.values()
        ]
        _check_sizes(tensors)
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path}.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except RefusedError as error:
        raise CheckpointError(
            f"{path} asks for {error}, which reading weights does not need; nothing of it was run. "
            f"{_RESAVE}"
        ) from error
    except DamagedError as error:
        raise _damaged(path, error) from error
    except ValueError as error:  # a path that no file can have
        raise CheckpointError(f"{str(path)!r} is not a path: {error}.") from error
    others = [] if key is not None else [other for other in networks if other != chosen]
    return Checkpoint(path, container, chosen, others, dict(zip(records, tensors, strict=True)))


def _container(path: Path, start: bytes) -> str:
    if path.name.endswith(tensor_bundle.SUFFIX):
        return "TensorFlow"
    _refuse_others(path, start)
    if numpy_pickle.looks_like(start):
        return "NumPy"
    if safetensors.looks_like(start):
        return "safetensors"
    return "zip" if start.startswith(b"PK") else "legacy"


def _damaged(path: Path, reason: Exception) -> CheckpointError:
    size = f" ({path.stat().st_size:,} bytes)" if path.is_file() else ""
    return CheckpointError(
        f"{path}{size} is damaged or cut short ({printable(str(reason), 200)}): download or copy "
        "it again and compare its size with the original's."
    )


def _check_sizes(tensors: Collection[Tensor]) -> None:
    """Refuses tensors that are not in the file, so that shapes can be believed."""
    claimed = 0
    for tensor in tensors:
        storage = tensor._record.storage
        width = storage.numpy_dtype.itemsize
        if (storage.offset + storage.size) * width > tensor._storage.size:
            raise DamagedError(f"storage {storage.key[:20]} is missing or too short")
        claimed += math.prod(tensor.shape) * width
    stored = sum(file.stat().st_size for file in {tensor._storage.path for tensor in tensors})
    if claimed > MAX_SHARING * stored:
        raise DamagedError(f"its tensors claim {claimed:,} bytes")


def _refuse_others(path: Path, start: bytes) -> None:
    """Says of the usual mistakes what they are."""
    text = start.lstrip().lower()
    mistakes = {
        "is empty: download or copy it again.": not start,
        "is a web page, not a checkpoint: the download was answered with a page, as Google Drive "
        "does for large files. Open the address in a browser, confirm, and save the file itself.": (
            text.startswith(b"<") or b"<html" in text
        ),
        "is a Git-LFS pointer, not the checkpoint: run `git lfs pull` in its repository, or "
        "download the file itself.": start.startswith(b"version https://git-lfs"),
        "is a tar archive. If it holds a checkpoint, unpack it; the tar format of PyTorch's first "
        "versions is not read.": start[257:262] == b"ustar",
        "is an HDF5 file, not a PyTorch checkpoint: if it holds weights of Keras, name it "
        ".h5.": start.startswith(b"\x89HDF"),
        f"is not a PyTorch checkpoint: it begins with {start[:8]!r}, a checkpoint with b'PK' (zip) "
        "or b'\\x80' (legacy), a safetensors file with the length of its header.": not (
            start.startswith((b"PK", b"\x80")) or safetensors.looks_like(start)
        ),
    }
    for sentence, holds in mistakes.items():
        if holds:
            raise CheckpointError(f"{path} {sentence}")


class _SmallReads(io.FileIO):
    """A file that refuses large reads: a zip's list of members is no place for megabytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_BYTES:
            raise zipfile.BadZipFile(f"a list of members of {size:,} bytes")
        return super().read(size)


def _open_zip(path: Path, file: BinaryIO) -> tuple[Any, dict[str, _Storage]]:
    try:
        with _SmallReads(path) as small, zipfile.ZipFile(small) as archive:
            members = {member.filename: member for member in archive.infolist()}
    except (
        *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, KeyError),
        *(struct.error, ValueError, OverflowError),
    ) as error:
        raise DamagedError(str(error)) from error
    pickled = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if not pickled:
        keras_model = "model.weights.h5" in members
        content = "a Keras model: name it .keras" if keras_model else "something else"
        raise CheckpointError(
            f"{path} is a zip archive without data.pkl, so not a PyTorch checkpoint but {content}."
        )
    folder = pickled[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in members:
        raise CheckpointError(
            f"{path} is a TorchScript program, not a checkpoint of tensors. Where PyTorch is: "
            "torch.save(torch.jit.load(SOURCE, map_location='cpu').state_dict(), DEST)"
        )
    end = path.stat().st_size

    def find(member: zipfile.ZipInfo, largest: int = end) -> _Storage:
        name, size = member.filename.removeprefix(folder)[:30], member.file_size
        if member.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(
                f"{path} is compressed inside, which torch.save never does: unpack it and put it "
                "together again with `zip -0`."
            )
        if member.compress_size != size:
            raise DamagedError(f"{name} claims two sizes")
        if size > largest or member.header_offset + 30 + size > end:
            raise DamagedError(f"{name} claims {size:,} bytes")
        file.seek(member.header_offset)
        signature, *lengths = struct.unpack("<4s22xHH", file.read(30))  # of the name and the rest
        start = member.header_offset + 30 + sum(lengths)
        if signature != b"PK\x03\x04" or start + size > end:
            raise DamagedError(f"{name} is not where the archive says")
        return _Storage(path, start, size, member.CRC)

    def read(name: str, largest: int) -> bytes:
        storage = find(members[folder + name], largest)
        return storage.read(np.dtype(np.uint8), 0, storage.size).tobytes()

    if f"{folder}byteorder" in members and read("byteorder", 16) != b"little":
        raise CheckpointError(f"{path} was written on a big-endian machine. {_RESAVE}")
    content = unpickling.load(io.BytesIO(read("data.pkl", MAX_BYTES)))
    data = f"{folder}data/"
    return content, {
        name.removeprefix(data): find(member)
        for name, member in members.items()
        if name.startswith(data)
    }


def _open_legacy(path: Path, file: BinaryIO) -> tuple[Any, dict[str, _Storage]]:
    file.seek(0)
    stream = io.BytesIO(file.read(MAX_BYTES))
    try:
        magic = unpickling.load(stream)
    except DamagedError:
        magic = None
    if magic != _LEGACY_MAGIC:
        raise CheckpointError(
            f"{path} is a pickle, but not one that torch.save wrote, or its beginning is damaged."
        )
    protocol, system = unpickling.load(stream), unpickling.load(stream)
    if protocol != _LEGACY_PROTOCOL:
        raise DamagedError("an unknown protocol")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointError(f"{path} was written on a big-endian machine. {_RESAVE}")
    content, keys = unpickling.load(stream), unpickling.load(stream)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DamagedError("no list of storages")

    # Behind the pickles: for each storage the number of its values, then they. How wide they are
    # stands in the first pickle only.
    widths: dict[str, int] = {}
    for record in _records(content):
        key, width = record.storage.key, record.storage.numpy_dtype.itemsize
        if widths.setdefault(key, width) != width:
            raise DamagedError(f"storage {key[:20]} is of two types")
    storages: dict[str, _Storage] = {}
    start, end = stream.tell(), path.stat().st_size
    for key in keys:
        if key not in widths:
            raise DamagedError(f"storage {key[:20]} belongs to no tensor")
        file.seek(start)
        head = file.read(8)
        size = widths[key] * int.from_bytes(head, "little", signed=True)
        start += 8
        if len(head) < 8 or not 0 <= size <= end - start:
            raise DamagedError(f"storage {key[:20]} ends behind the file")
        storages[key] = _Storage(path, start, size)
        start += size
    return content, storages


def _records(content: Any) -> list[TensorRecord]:
    """Lists all tensors of a checkpoint, however deep they lie, without recursion."""
    records, seen, waiting = [], set(), [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, TensorRecord):
            records.append(value)
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return records


def _open_listed(read: Callable[[BinaryIO, int], Mapping[str, Any]]):
    """Opens a container that says of each tensor where it is, and perhaps in which other file."""

    def open_container(path: Path, file: BinaryIO) -> tuple[Any, dict[str, _Storage]]:
        content, storages = {}, {}
        for name, (record, start, *other) in read(file, path.stat().st_size).items():
            size = record.storage.size * record.storage.numpy_dtype.itemsize
            file_of = other[0] if other else path
            content[name], storages[name] = record, _Storage(file_of, start, size)
        return content, storages

    return open_container


OF_PYTORCH = ("zip", "legacy", "safetensors")
_CONTAINERS: dict[str, Callable[[Path, BinaryIO], tuple[Any, dict[str, _Storage]]]] = {
    "zip": _open_zip,
    "legacy": _open_legacy,
    "safetensors": _open_listed(safetensors.read),
    "NumPy": _open_listed(numpy_pickle.read),
    "TensorFlow": _open_listed(tensor_bundle.read),
}


def _find_networks(path: Path, content: Any) -> dict[str, dict[str, TensorRecord]]:
    """Returns the tensors of each network by the keys and the prefix that they are under.

    Where there is no network of ours, the first dictionary of tensors is returned.
    """
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not a dictionary of tensors. {_RESAVE}"
        )
    networks: dict[str, dict[str, TensorRecord]] = {}
    others: dict[str, dict[str, TensorRecord]] = {}
    seen, waiting = {id(content)}, [("", content)]
    for place, mapping in waiting:  # the outermost first
        tensors = {key: value for key, value in mapping.items() if isinstance(value, TensorRecord)}
        if len(tensors) > MAX_TENSORS:
            raise CheckpointError(f"{path} has {len(tensors):,} tensors, more than any network.")
        plain = {name.replace(COMPILED, ""): tensor for name, tensor in tensors.items()}
        if len(plain) < len(tensors):
            raise DamagedError("two of its tensors have one name")
        for prefix, network in pytorch.split_networks(plain).items():
            networks[(place + prefix).removesuffix(".")] = network
        if tensors and not others:
            others[place.removesuffix(".")] = plain
        for key, value in mapping.items() if len(place) < MAX_CHARACTERS else ():
            if isinstance(value, dict) and id(value) not in seen and len(seen) < MAX_TENSORS:
                seen.add(id(value))
                waiting.append((f"{place}{key}.", value))
    if not networks and not others:
        keys = ", ".join(printable(key, 40) for key in list(content)[:10])
        raise CheckpointError(f"{path} holds no tensors, but: {keys or 'nothing'}.")
    return networks or others


def _choose(path: Path, keys: Sequence[str], key: str | None) -> str:
    """Returns the key of a network: that asked for, else the first of `USUAL`, else the first."""
    if key is None:
        return next((name for name in keys if f"{name}.".startswith(USUAL)), keys[0])
    fitting = [name for name in keys if name == key]
    fitting = fitting or [name for name in keys if name.startswith(f"{key}.")]
    if len(fitting) != 1:
        choices = ", ".join(f"{path}#{printable(name)}" for name in keys[:10])
        raise CheckpointError(f"Weights must be one of {choices}. Received: {path}#{key}")
    return fitting[0]
