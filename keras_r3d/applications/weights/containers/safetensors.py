"""The header of a safetensors file, JSON that says where in the file each tensor is.

Reference:
    Hugging Face, Safetensors, Format. https://huggingface.co/docs/safetensors
"""

import json
import math
from typing import Any, BinaryIO

from keras_r3d.applications.weights.containers.tensors import (
    MAX_BYTES,
    MAX_CHARACTERS,
    CheckpointError,
    DamagedError,
    StorageRecord,
    TensorRecord,
    make_dense,
    printable,
)

# PyTorch's names of the types.
_DTYPES = {
    **{"F16": "Half", "F32": "Float", "F64": "Double", "BF16": "BFloat16", "BOOL": "Bool"},
    **{"I8": "Char", "I16": "Short", "I32": "Int", "I64": "Long", "U8": "Byte"},
}


def looks_like(start: bytes) -> bool:
    """Whether a file begins as one: with the length of its header, eight bytes, and a brace."""
    return start[6:9] == b"\0\0{"


def read(file: BinaryIO, end: int) -> dict[str, tuple[TensorRecord, int]]:
    """Returns by name each tensor of a file of `end` bytes, and the byte that it begins at.

    Raises DamagedError unless the tensors fill the file, CheckpointError if a type is not read.
    """
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_BYTES, end - 8):
        raise DamagedError(f"a header of {length:,} bytes")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"its header is no JSON: {printable(str(error))}") from error
    header.pop("__metadata__", None)
    tensors, position = {}, 8 + length
    places = {name: _checked(name, entry) for name, entry in header.items()}
    for name, (dtype, shape, begin, behind) in sorted(places.items(), key=lambda item: item[1][2:]):
        if dtype not in _DTYPES:
            raise CheckpointError(
                f"{file.name}: {printable(name)} is of the type {printable(dtype)}, which is not "
                "read: where it was made, save it as float32."
            )
        storage = StorageRecord(_DTYPES[dtype], name, math.prod(shape))
        size = storage.size * storage.numpy_dtype.itemsize
        if (begin, behind) != (position - 8 - length, begin + size):
            raise DamagedError(f"{printable(name)} is not where it must be")
        tensors[name] = make_dense(storage, shape), position
        position += size
    if position != end:
        raise DamagedError(f"its tensors end at {position:,} bytes")
    return tensors


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name that occurs twice")
    return dict(pairs)


def _checked(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Returns the type, shape and place of a tensor, if they are plain values."""
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, behind]}:
            numbers = (*shape, begin, behind)
            plain = all(type(number) is int and 0 <= number < 2**63 for number in numbers)
            if plain and len(name) <= MAX_CHARACTERS:
                return dtype, tuple(shape), begin, behind
    raise DamagedError(f"no tensor: {printable(name)}")
