"""Writes PyTorch checkpoints in both containers, without PyTorch.

The pickles are put together instruction by instruction, so that tests can also write what
`torch.save` never would.
"""

import dataclasses
import io
import json
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    "float32": "Float",
    "float64": "Double",
    "float16": "Half",
    "int64": "Long",
    "uint16": "BFloat16",
}


@dataclasses.dataclass(frozen=True)
class Global:
    """A name that the pickle asks for; called with `arguments` unless they are None."""

    module: str
    name: str
    arguments: tuple | None = None


@dataclasses.dataclass(frozen=True)
class View:
    """A tensor as a view of an array that others may share."""

    base: np.ndarray
    offset: int
    shape: tuple
    strides: tuple


def global_(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


class Pickler:
    """Pickles plain values, arrays (as tensors) and Globals; collects the storages."""

    def __init__(self, legacy: bool):
        self.legacy = legacy
        self.storages: dict[str, np.ndarray] = {}
        self.keys: dict[int, str] = {}

    def dump(self, value) -> bytes:
        return b"\x80\x02" + self.body(value) + b"."

    def body(self, value) -> bytes:
        if value is None or isinstance(value, bool):
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        if isinstance(value, str):
            text = value.encode()
            return b"X" + struct.pack("<I", len(text)) + text
        if isinstance(value, int):
            size = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.body, value)) + b"t"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.body, value)) + b"e"
        if isinstance(value, OrderedDict):
            return global_("collections", "OrderedDict") + b")R" + self.items(value)
        if isinstance(value, dict):
            return b"}" + self.items(value)
        if isinstance(value, Global):
            name = global_(value.module, value.name)
            return name if value.arguments is None else name + self.body(value.arguments) + b"R"
        if isinstance(value, np.ndarray):
            contiguous = np.array(value, order="C")
            strides = tuple(s // value.itemsize for s in contiguous.strides)
            value = View(contiguous, 0, value.shape, strides)
        return self.tensor(value)

    def items(self, value: dict) -> bytes:
        return b"(" + b"".join(self.body(k) + self.body(v) for k, v in value.items()) + b"u"

    def tensor(self, view: View) -> bytes:
        key = self.keys.setdefault(id(view.base), str(len(self.keys)))
        self.storages[key] = view.base
        storage = Global("torch", f"{STORAGES[view.base.dtype.name]}Storage")
        identity = ("storage", storage, key, "cpu", view.base.size) + ((None,) * self.legacy)
        arguments = (view.offset, view.shape, view.strides, False, OrderedDict())
        return (
            global_("torch._utils", "_rebuild_tensor_v2")
            + b"("
            + self.body(identity)
            + b"Q"
            + b"".join(map(self.body, arguments))
            + b"tR"
        )


def write_zip(
    path: Path, content, *, compression=zipfile.ZIP_STORED, pickled: bytes | None = None
) -> Path:
    """Writes what `torch.save` writes since PyTorch 1.6; or another pickle beside its storages."""
    pickler = Pickler(legacy=False)
    dumped = pickler.dump(content)
    pickled = dumped if pickled is None else pickled
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for key, values in pickler.storages.items():
            archive.writestr(f"archive/data/{key}", values.tobytes())
        archive.writestr("archive/version", "3\n")
    return path


def write_legacy(path: Path, content) -> Path:
    """Writes what `torch.save` wrote before."""
    pickler = Pickler(legacy=True)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    stream = io.BytesIO()
    for value in (MAGIC, 1001, system, content):
        stream.write(pickler.dump(value))
    stream.write(pickler.dump(sorted(pickler.storages)))
    for key in sorted(pickler.storages):
        values = pickler.storages[key]
        stream.write(struct.pack("<q", values.size) + values.tobytes())
    path.write_bytes(stream.getvalue())
    return path


def write_safetensors(path: Path, content: dict[str, np.ndarray], *, header=None) -> Path:
    """Writes a safetensors file, whose header a function may change."""
    types = {"float32": "F32", "float16": "F16", "int64": "I64", "uint16": "BF16", "bool": "BOOL"}
    head, values = {"__metadata__": {"format": "pt"}}, b""
    for name, array in content.items():
        places = [len(values), len(values) + array.nbytes]
        entry = {"dtype": types[array.dtype.name], "shape": list(array.shape)}
        head[name] = {**entry, "data_offsets": places}
        values += array.tobytes()
    text = header(head) if header else json.dumps(head)
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode() + values)
    return path


WRITERS = {"zip": write_zip, "legacy": write_legacy}


def write_raw(path: Path, container: str, pickled: bytes) -> Path:
    """Writes a checkpoint around a pickle that was made by hand."""
    if container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
        return path
    pickler = Pickler(legacy=True)
    head = b"".join(pickler.dump(v) for v in (MAGIC, 1001, {"little_endian": True}))
    path.write_bytes(head + pickled + pickler.dump([]))
    return path
