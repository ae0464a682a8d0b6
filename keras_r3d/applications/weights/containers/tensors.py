"""Tensors of checkpoint files: where their values lie, and whether that can be."""

import math
from typing import Any, NamedTuple

import numpy as np

from keras_r3d.system.errors import WeightsError

# Far above any checkpoint's; what is beyond them was made to fill time or memory.
MAX_BYTES = 4 * 2**20  # of a pickle, a header, an archive's list of members
MAX_TENSORS = 20_000
MAX_SHARING = 4  # bytes of all tensors against those of the file
MAX_DIMENSIONS = 16  # and arguments of a call
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

    @property
    def span(self) -> int:
        """How many values of the storage lie from its first to its last."""
        steps = zip(self.shape, self.strides, strict=True)
        return 1 + sum((n - 1) * step for n, step in steps) if math.prod(self.shape) else 0


def printable(text: str, length: int = 100) -> str:
    """Shortens text from a file for a message, and leaves out what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text[:length])


def are_sizes(*values: Any) -> bool:
    """Whether all are numbers of bytes, values or steps that a file can have."""
    return all(type(value) is int and 0 <= value < 2**63 for value in values)


def make_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorRecord:
    """Returns a tensor; raises DamagedError if it does not fit its storage."""
    if not all(map(isinstance, (storage, shape, strides), (StorageRecord, tuple, tuple))):
        raise DamagedError("a tensor without storage, shape or strides")
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise DamagedError(f"a tensor of {len(shape)} dimensions and {len(strides)} strides")
    if not are_sizes(offset, *shape, *strides) or math.prod(8 * max(1, n) for n in shape) >= 2**63:
        raise DamagedError("a tensor of an impossible size")
    # NumPy counts also the steps that are never taken.
    strides = tuple(step if size > 1 else 0 for size, step in zip(shape, strides, strict=True))
    tensor = TensorRecord(storage, offset, shape, strides)
    if max(offset + tensor.span, math.prod(shape)) > storage.size:
        raise DamagedError(f"a tensor of the shape {shape} in a storage of {storage.size} values")
    return tensor


def make_dense(storage: StorageRecord, shape: Any, in_fortran: bool = False) -> TensorRecord:
    """Returns a tensor that is all of its storage, the last axis innermost, or the first."""
    if not isinstance(shape, tuple) or not are_sizes(*shape):
        raise DamagedError("a tensor of an impossible shape")
    if len(shape) > MAX_DIMENSIONS:
        raise DamagedError(f"a tensor of {len(shape)} dimensions")
    if math.prod(shape) != storage.size:
        raise DamagedError(f"{storage.size} values for a tensor of the shape {shape}")
    order = shape if in_fortran else shape[::-1]
    strides = tuple(math.prod(order[:place]) for place in range(len(order)))
    return make_tensor(storage, 0, shape, strides if in_fortran else strides[::-1])
