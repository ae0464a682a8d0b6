"""The pickles inside PyTorch checkpoints, read without running anything that they name.

Python's own unpickler, in the form written in Python, whose instructions can be left out: those
that build objects and sets are. What a pickle calls by its name is a function of ours.
"""

import pickle
import pickletools
import struct
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from keras_r3d.applications.weights.containers.tensors import (
    DTYPES,
    MAX_CHARACTERS,
    MAX_DIMENSIONS,
    CheckpointError,
    DamagedError,
    RefusedError,
    StorageRecord,
    are_sizes,
    make_tensor,
    printable,
)

__all__ = ["CheckpointError", "DamagedError", "RefusedError", "load", "printable"]


class _Global(NamedTuple):
    """A name in a pickle, and the function of ours that is called in its place, if any."""

    path: str
    function: Callable[..., Any] | None

    def __call__(self, *arguments: Any) -> Any:
        if self.function is None or len(arguments) > MAX_DIMENSIONS:
            raise RefusedError(f"a call of '{self.path}' with {len(arguments)} arguments")
        return self.function(*arguments)


class _Mapping(dict[str, Any]):
    """A dictionary of short texts: tuples can nest too deep to hash, numbers be made to collide."""

    __slots__ = ()

    def __init__(self, pairs: Any = ()):
        for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
            self[key] = value
        if pairs:
            pairs.clear()  # lest many calls with the same ones fill the memory

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, (str, int, float, type(None))):
            raise RefusedError(f"a dictionary with a {type(key).__name__} as a key")
        if len(key := str(key)) > MAX_CHARACTERS:
            raise RefusedError(f"a name of {len(key):,} characters")
        super().__setitem__(key, value)

    def __setstate__(self, state: Any) -> None:
        """Ignores attributes, such as the versions that a state_dict notes."""


_FUNCTIONS: dict[str, Callable[..., Any] | None] = {
    **dict.fromkeys(("collections.OrderedDict", "collections.Counter"), _Mapping),
    **{f"torch._utils._rebuild_tensor{version}": make_tensor for version in ("", "_v2")},
    **dict.fromkeys(("torch._utils._rebuild_parameter", "torch.Size"), lambda value, *_: value),
    **{f"torch.{place}{t}Storage": None for place in ("", "cuda.") for t in DTYPES},
}
_INSTRUCTIONS = """
    PROTO FRAME STOP MARK MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE
    BUILD BINPERSID NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT
    BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING EMPTY_DICT SETITEM SETITEMS
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS
"""


class Dispatch(dict[int, Callable[[Any], None]]):
    def __missing__(self, code: int) -> Callable[[Any], None]:
        names = [opcode.name for opcode in pickletools.opcodes if ord(opcode.code) == code]
        raise RefusedError(f"the instruction {names[0]}") if names else DamagedError("no pickle")


class Unpickler(pickle._Unpickler):
    names: ClassVar[dict[str, Callable[..., Any] | None]] = _FUNCTIONS
    stack: list[Any]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    dispatch = Dispatch(
        (getattr(pickle, name)[0], pickle._Unpickler.dispatch[getattr(pickle, name)[0]])
        for name in _INSTRUCTIONS.split()
    )
    dispatch[pickle.EMPTY_DICT[0]] = lambda self: self.append(_Mapping())

    def load_global(self: Any) -> None:
        module, name = self.readline(), self.readline()
        if not name.endswith(b"\n"):
            raise EOFError("a name is cut short")
        self.append(self.find_class(module[:-1].decode(), name[:-1].decode()))

    dispatch[pickle.GLOBAL[0]] = load_global

    def find_class(self, module: str, name: str) -> _Global:
        if (path := f"{module}.{name}") not in self.names:
            raise RefusedError(f"'{printable(path, 200)}'")
        return _Global(path, self.names[path])

    def persistent_load(self, pid: Any) -> StorageRecord:
        """Reads ("storage", class, key, device, number of values[, view of another storage])."""
        match pid:
            case "storage", _Global(path), str(key), _, int(size), *view if len(view) < 2:
                # The size is the whole storage's, also of a legacy view: a key, offset and size.
                _, offset, part = (view and view[0]) or (None, 0, size)
                dtype = path.rpartition(".")[2].removesuffix("Storage")
                if dtype in DTYPES and are_sizes(size, offset, part) and offset + part <= size:
                    return StorageRecord(dtype, key, part, offset)
        raise DamagedError("a storage of an impossible type or size")


def load(stream: Any, unpickler: type[Unpickler] = Unpickler) -> Any:
    """Reads one pickle from a stream of at most `MAX_BYTES`, and leaves the stream behind it.

    It holds plain values (dict, list, tuple, str, int, float, bool, None) and records of tensors.
    Raises RefusedError if it asks for more, DamagedError if it is damaged or cut short.
    """
    try:
        return unpickler(stream, encoding="latin1").load()
    except DamagedError:
        raise
    except (
        *(pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError),
        *(AttributeError, OverflowError, struct.error),
    ) as error:
        raise DamagedError(f"{type(error).__name__}: {printable(str(error), 200)}") from error
