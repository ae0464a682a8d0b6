"""The pickles inside PyTorch checkpoints, interpreted without Python's unpickler.

Nothing named in a pickle is ever imported or called: a small machine follows the instructions that
`torch.save` writes and builds plain values, and records of tensors, from a short list of names.
Whatever else a pickle asks for is refused by name.
"""

import dataclasses
import pickletools
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

# Far above any checkpoint's; what is beyond them was made to fill the memory.
MOST_BYTES = 16 * 2**20
MOST_INSTRUCTIONS = 1_000_000
MOST_DIMENSIONS = 16
MOST_ARGUMENTS = 10
MOST_CHARACTERS = 500  # of a name
MOST_BITS = 128  # of a number; the legacy container begins with one of 77


class UnpicklingError(ValueError):
    """A pickle that is damaged, or asks for more than tensors and plain values."""


class RefusedError(UnpicklingError):
    """A pickle that asks for something other than tensors and plain values."""


def shown(text: str, most: int = 100) -> str:
    """Makes text from a file fit for a message: short, and nothing that a terminal obeys."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])


@dataclasses.dataclass(frozen=True)
class StorageRecord:
    """A run of `count` values of one type, named `key` in its container.

    Attributes:
        dtype: PyTorch's storage class without "Storage", such as "Float".
        offset: of the first value inside the stored run (legacy views), counted in values.
    """

    dtype: str
    key: str
    count: int
    offset: int = 0


@dataclasses.dataclass(frozen=True)
class TensorRecord:
    """A tensor as a view of a storage; offset and strides count values."""

    storage: StorageRecord
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Name:
    """A global that a pickle may name: what it stands for when it is called."""

    path: str
    call: Callable[..., Any] | None = None


STORAGES = (
    *("Float", "Double", "Half", "BFloat16"),
    *("Long", "Int", "Short", "Char", "Byte", "Bool"),
)


# What follows builds nothing larger than what the pickle spelt out, however often it is asked to,
# copies no long tuple, hashes nothing that can be made to collide, and puts no value into a message
# before it is known to be small.


def _mapping(items: Any = ()) -> dict[Any, Any]:
    if isinstance(items, dict):
        return items
    mapping: dict[Any, Any] = {}
    if items:  # the pairs of a Python 2 OrderedDict
        for key, value in _expect(items, list):
            _set_item(mapping, key, value)
        items.clear()
    return mapping


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorRecord:
    """`torch._utils._rebuild_tensor_v2`; what follows the strides belongs to training."""
    if not isinstance(storage, StorageRecord):
        raise UnpicklingError("a tensor without a storage")
    if len(shape) != len(strides) or len(shape) > MOST_DIMENSIONS:
        raise UnpicklingError(f"a tensor of {len(shape)} dimensions and {len(strides)} strides")
    for number in (offset, *shape, *strides):
        if not 0 <= _expect(number, int) < 2**63:
            raise UnpicklingError("a tensor of an impossible size")
    values, last, extent = 1, offset, 8
    for size, stride in zip(shape, strides, strict=True):
        values *= size
        last += (size - 1) * stride
        extent *= max(size, 1)
    if extent >= 2**63:
        raise UnpicklingError("a tensor of an impossible size")
    # NumPy counts also the steps that are never taken.
    strides = [stride if size > 1 else 0 for size, stride in zip(shape, strides, strict=True)]
    if values and (last >= storage.count or values > storage.count):
        raise UnpicklingError(
            f"a tensor of the shape {tuple(shape)} in a storage of {storage.count} values"
        )
    return TensorRecord(storage, offset, tuple(shape), tuple(strides))


def _parameter(data: Any, *_: Any) -> TensorRecord:
    if not isinstance(data, TensorRecord):
        raise UnpicklingError("a parameter without a tensor")
    return data


NAMES: dict[str, Callable[..., Any] | None] = {
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,  # milestones of a learning-rate schedule
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": lambda sizes: _expect(sizes, tuple),
    **{f"torch.{name}Storage": None for name in STORAGES},
    **{f"torch.cuda.{name}Storage": None for name in STORAGES},
}


def load(stream: BinaryIO, most: int = MOST_INSTRUCTIONS) -> Any:
    """Reads one pickle and leaves the stream behind it.

    Args:
        most: number of instructions that it may have.

    Returns:
        Plain values (dict, list, tuple, str, int, float, bool, None) and `TensorRecord`s.

    Raises:
        RefusedError: it names a class or function, or uses an instruction, that no checkpoint of
            tensors needs.
        UnpicklingError: it is damaged or cut short.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count == most:
                raise RefusedError(f"more than {most:,} instructions")
            machine.step(opcode.name, argument)
        return machine.pop()
    except UnpicklingError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error) as error:
        raise UnpicklingError(f"{type(error).__name__}: {shown(str(error), 200)}") from error


_MARK = object()
_NOTHING = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINSTRING", "SHORT_BINSTRING"),  # str of Python 2
}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING_TO_DO = {"PROTO", "FRAME", "STOP"}


class _Machine:
    """The stack and the memory of one pickle."""

    def __init__(self):
        self.stack: list[Any] = []
        self.memo: list[Any] = []

    def remember(self, index: int) -> None:
        if index > MOST_INSTRUCTIONS:
            raise UnpicklingError("an impossible place in the memory")
        self.memo += [_NOTHING] * (index + 1 - len(self.memo))
        self.memo[index] = self.stack[-1]

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        for start in range(len(self.stack) - 1, -1, -1):
            if self.stack[start] is _MARK:
                items = self.stack[start + 1 :]
                del self.stack[start:]
                return items
        raise UnpicklingError("an end without a beginning")

    def step(self, opcode: str, argument: Any) -> None:
        """Follows one instruction."""
        push = self.stack.append
        if opcode in _LITERALS:
            if type(argument) is int and argument.bit_length() > MOST_BITS:
                raise UnpicklingError(f"a number of {argument.bit_length():,} bits")
            push(argument)
        elif opcode in _CONSTANTS:
            push(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            push(_EMPTY[opcode]())
        elif opcode == "MARK":
            push(_MARK)
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            self.remember(argument)
        elif opcode == "MEMOIZE":
            self.remember(len(self.memo))
        elif opcode in ("BINGET", "LONG_BINGET"):
            if self.memo[argument] is _NOTHING:
                raise UnpicklingError("an empty place in the memory")
            push(self.memo[argument])
        elif opcode in _TUPLES:
            count = _TUPLES[opcode]
            items = [self.pop() for _ in range(count)]
            push(tuple(reversed(items)))
        elif opcode == "TUPLE":
            push(tuple(self.pop_to_mark()))
        elif opcode in ("APPEND", "APPENDS"):
            items = [self.pop()] if opcode == "APPEND" else self.pop_to_mark()
            _expect(self.stack[-1], list).extend(items)
        elif opcode in ("SETITEM", "SETITEMS"):
            items = [self.pop(), self.pop()][::-1] if opcode == "SETITEM" else self.pop_to_mark()
            mapping = _expect(self.stack[-1], dict)
            for key, value in zip(items[::2], items[1::2], strict=True):
                _set_item(mapping, key, value)
        elif opcode == "GLOBAL":
            push(_name(*argument.split(" ", 1)))
        elif opcode == "STACK_GLOBAL":
            name, module = self.pop(), self.pop()
            push(_name(_expect(module, str), _expect(name, str)))
        elif opcode == "REDUCE":
            arguments, name = _expect(self.pop(), tuple), _expect(self.pop(), _Name)
            if len(arguments) > MOST_ARGUMENTS:
                raise UnpicklingError(f"a call with {len(arguments)} arguments")
            if name.call is None:
                raise RefusedError(f"a call of '{name.path}'")
            push(name.call(*arguments))
        elif opcode == "BUILD":
            self.pop()  # attributes, such as the versions that a state_dict notes
            _expect(self.stack[-1], dict)
        elif opcode == "BINPERSID":
            push(_storage(_expect(self.pop(), tuple)))
        elif opcode not in _NOTHING_TO_DO:
            raise RefusedError(f"the instruction {opcode}")


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise UnpicklingError(f"a {type(value).__name__} in the place of a {kind.__name__}")
    return value


def _set_item(mapping: dict[Any, Any], key: Any, value: Any) -> None:
    # Tuples as keys could nest deeper than Python can hash.
    if not isinstance(key, (str, int, float, type(None))):
        raise RefusedError(f"a dictionary with a {type(key).__name__} as a key")
    # Numbers can be chosen so that their hashes collide, texts cannot.
    key = str(key)
    if len(key) > MOST_CHARACTERS:
        raise RefusedError(f"a name of {len(key):,} characters")
    mapping[key] = value


def _name(module: str, name: str) -> _Name:
    path = f"{module[:100]}.{name[:100]}"
    if path not in NAMES:
        raise RefusedError(f"'{shown(path, 201)}'")
    return _Name(path, NAMES[path])


def _storage(identity: tuple[Any, ...]) -> StorageRecord:
    """("storage", class, key, device, number of values[, view of another storage])."""
    if not 5 <= len(identity) <= 6:
        raise UnpicklingError(f"a storage of {len(identity)} parts")
    kind, name, key, _, count, *view = identity
    if _expect(kind, str) != "storage":
        raise RefusedError(f"a persistent '{shown(kind)}'")
    if len(_expect(key, str)) > MOST_CHARACTERS:
        raise UnpicklingError(f"a storage with a name of {len(key):,} characters")
    dtype = _expect(name, _Name).path.rpartition(".")[2].removesuffix("Storage")
    if dtype not in STORAGES:
        raise UnpicklingError(f"a storage of {dtype}")
    if not 0 <= _expect(count, int) < 2**59:
        raise UnpicklingError("a storage of an impossible size")
    if not view or view[0] is None:
        return StorageRecord(dtype, key, count)
    # A legacy view: `count` is the whole storage's; the view has a key, an offset and a size.
    _, offset, size = view[0]
    if not 0 <= _expect(offset, int) <= offset + _expect(size, int) <= count:
        raise UnpicklingError("a view beyond its storage")
    return StorageRecord(dtype, key, size, offset)
