"""The pickles inside PyTorch checkpoints, read without running anything that they name.

Python's own unpickler reads them, in the form written in Python: only there can instructions be
left out, as those that build objects and sets are. Names in a pickle stand for functions of ours,
and no instruction builds more than a few hundred bytes.
"""

import math
import pickle
import pickletools
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from keras_r3d.system.errors import WeightsError

MAX_BYTES = 4 * 2**20  # far above any checkpoint's
MAX_DIMENSIONS = MAX_ARGUMENTS = 16
MAX_CHARACTERS = 500  # of a name


class CheckpointError(WeightsError):
    """A file that is not a PyTorch checkpoint, is damaged, or holds more than tensors."""


class DamagedError(ValueError):
    """A checkpoint that is damaged, cut short, or claims what cannot be."""


class RefusedError(DamagedError):
    """A pickle that asks for something other than tensors and plain values."""


# NumPy's types by PyTorch's names of them; of a BFloat16, the upper half of a float32, its bits.
DTYPES = {
    **{"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": "<u2"},
    **{"Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "?"},
}


# A pickle can set attributes of what has a `__dict__` or `__setstate__`: nothing below has.
class StorageRecord(NamedTuple):
    """A run of `size` values named `key`, `offset` values behind the beginning of what is stored.

    `dtype` is PyTorch's class of the storage without "Storage", such as "Float".
    """

    dtype: str
    key: str
    size: int
    offset: int = 0

    @property
    def numpy_dtype(self) -> np.dtype:
        return np.dtype(DTYPES[self.dtype])


class TensorRecord(NamedTuple):
    """A tensor as a view of a storage; offset and strides count values."""

    storage: StorageRecord
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Global(NamedTuple):
    """A name in a pickle, and the function of ours that is called in its place, if any."""

    path: str
    call: Callable[..., Any] | None


class _Mapping(dict[str, Any]):
    """A dictionary of short texts: tuples can nest too deep to hash, numbers be made to collide."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, (str, int, float, type(None))):
            raise RefusedError(f"a dictionary with a {type(key).__name__} as a key")
        if len(key := str(key)) > MAX_CHARACTERS:
            raise RefusedError(f"a name of {len(key):,} characters")
        super().__setitem__(key, value)

    def __setstate__(self, state: Any) -> None:
        """Ignores attributes, such as the versions that a state_dict notes."""


def printable(text: str, length: int = 100) -> str:
    """Shortens text from a file for a message, and leaves out what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text[:length])


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise DamagedError(f"a {type(value).__name__} in the place of a {kind.__name__}")
    return value


def _sizes(*values: Any) -> bool:
    return all(0 <= _expect(value, int) < 2**63 for value in values)


def _mapping(pairs: Any = ()) -> _Mapping:
    mapping = pairs if isinstance(pairs, _Mapping) else _Mapping()
    if mapping is not pairs and pairs:  # of a Python 2 OrderedDict
        for key, value in _expect(pairs, list):
            mapping[key] = value
        pairs.clear()  # lest many calls with one list fill the memory
    return mapping


def make_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorRecord:
    """Returns a tensor; raises DamagedError if it does not fit its storage."""
    _expect(storage, StorageRecord)
    if len(_expect(shape, tuple)) != len(_expect(strides, tuple)) or len(shape) > MAX_DIMENSIONS:
        raise DamagedError(f"a tensor of {len(shape)} dimensions and {len(strides)} strides")
    if not _sizes(offset, *shape, *strides) or math.prod(max(8, 8 * n) for n in shape) >= 2**63:
        raise DamagedError("a tensor of an impossible size")
    # NumPy counts also the steps that are never taken.
    strides = tuple(step if size > 1 else 0 for size, step in zip(shape, strides, strict=True))
    span = 1 + offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) and max(span, math.prod(shape)) > storage.size:
        raise DamagedError(f"a tensor of the shape {shape} in a storage of {storage.size} values")
    return TensorRecord(storage, offset, shape, strides)


_CALLS: dict[str, Callable[..., Any] | None] = {
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,  # milestones of a learning-rate schedule
    "torch._utils._rebuild_tensor": make_tensor,
    "torch._utils._rebuild_tensor_v2": make_tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: _expect(data, TensorRecord),
    "torch.Size": lambda sizes: _expect(sizes, tuple),
    **{f"torch.{place}{t}Storage": None for place in ("", "cuda.") for t in DTYPES},
}
_INSTRUCTIONS = """
    PROTO FRAME STOP MARK MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET
    STACK_GLOBAL BINPERSID BUILD NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT
    BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS SETITEM SETITEMS
"""


class _Dispatch(dict[int, Callable[[Any], None]]):
    def __missing__(self, code: int) -> Callable[[Any], None]:
        names = [opcode.name for opcode in pickletools.opcodes if ord(opcode.code) == code]
        raise RefusedError(f"the instruction {names[0]}") if names else DamagedError("no pickle")


class _Unpickler(pickle._Unpickler):
    stack: list[Any]
    readline: Callable[[], bytes]
    dispatch = _Dispatch(
        (getattr(pickle, name)[0], pickle._Unpickler.dispatch[getattr(pickle, name)[0]])
        for name in _INSTRUCTIONS.split()
    )

    def find_class(self, module: str, name: str) -> _Global:
        if (path := f"{module}.{name}") not in _CALLS:
            raise RefusedError(f"'{printable(path, 200)}'")
        return _Global(path, _CALLS[path])

    def load_global(self) -> None:
        module, name = self.readline(), self.readline()
        if not name.endswith(b"\n"):
            raise EOFError("a name is cut short")
        self.stack.append(self.find_class(module[:-1].decode(), name[:-1].decode()))

    def load_empty_dictionary(self) -> None:
        self.stack.append(_Mapping())

    def load_reduce(self) -> None:
        arguments, named = _expect(self.stack.pop(), tuple), _expect(self.stack.pop(), _Global)
        if named.call is None or len(arguments) > MAX_ARGUMENTS:
            raise RefusedError(f"a call of '{named.path}' with {len(arguments)} arguments")
        self.stack.append(named.call(*arguments))

    dispatch[pickle.GLOBAL[0]] = load_global
    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dictionary
    dispatch[pickle.REDUCE[0]] = load_reduce

    def persistent_load(self, pid: Any) -> StorageRecord:
        """Reads ("storage", class, key, device, number of values[, view of another storage])."""
        if not 5 <= len(_expect(pid, tuple)) <= 6:
            raise DamagedError(f"a storage of {len(pid)} parts")
        kind, named, key, _, size, *view = pid
        if _expect(kind, str) != "storage":
            raise RefusedError(f"a persistent '{printable(kind)}'")
        dtype = _expect(named, _Global).path.rpartition(".")[2].removesuffix("Storage")
        # The size is the whole storage's, also of a legacy view, which has a key, offset and size.
        _, offset, part = view[0] if view and view[0] is not None else (None, 0, size)
        names_fit = dtype in DTYPES and len(_expect(key, str)) <= MAX_CHARACTERS
        if not names_fit or not _sizes(size, offset, part) or offset + part > size:
            raise DamagedError("a storage of an impossible type or size")
        return StorageRecord(dtype, key, part, offset)


def load(stream: BinaryIO) -> Any:
    """Reads one pickle from a stream of at most `MAX_BYTES`, and leaves the stream behind it.

    It holds plain values (dict, list, tuple, str, int, float, bool, None) and records of tensors.
    Raises RefusedError if it asks for more, DamagedError if it is damaged or cut short.
    """
    try:
        return _Unpickler(stream, encoding="latin1").load()
    except DamagedError:
        raise
    except (
        *(pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError),
        *(AttributeError, OverflowError, struct.error),
    ) as error:
        raise DamagedError(f"{type(error).__name__}: {printable(str(error), 200)}") from error
