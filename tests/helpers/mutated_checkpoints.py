"""Reads damaged and hostile copies of a checkpoint: `FOLDER 0` few, `FOLDER 1` many.

A process of its own, because it limits its memory. Prints how many were refused, and were read.
"""

import pickletools
import random
import resource
import struct
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pth

import keras_r3d

# The package without its `__init__`, which would import Keras: reading checkpoints needs none.
applications = types.ModuleType("keras_r3d.applications")
applications.__path__ = [str(Path(keras_r3d.__file__).parent / "applications")]
sys.modules[applications.__name__] = applications
from keras_r3d.applications.weights import checkpoints  # noqa: E402
from keras_r3d.applications.weights.containers import tensors  # noqa: E402

MEMORY = 500 * 2**20
FORBIDDEN = ("os.", "subprocess.", "exec", "compile", "import", "pickle.find_class", "shutil.")
ALLOWED = ("os.scandir", "os.listdir", "os.remove")
# What the insertions are made of, beside single instructions.
PIECES = [
    b"cos\nsystem\n",
    b"cbuiltins\neval\n(X\x03\x00\x00\x001+1tR",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n",
    b"ctorch\nFloatStorage\n",
    b"X\xff\xff\xff\x7f",
    b"\x8d" + struct.pack("<Q", 2**62),
    b"\x8e" + struct.pack("<Q", 2**40),
    b"\x96" + struct.pack("<Q", 2**40),
    b"\x8b" + struct.pack("<i", 2**31 - 1),
    b"\x95" + struct.pack("<Q", 2**40),
    b"r\xff\xff\xff\xff",
    b"j\xff\xff\xff\x7f",
    b"\x8a\x08" + struct.pack("<q", 2**62),
    b"(" * 1000,
    b"\x85" * 5000,
    b"q\x000h\x00h\x00\x86" * 100 + b"\x94",
]
PIECES += [opcode.code.encode("latin1") for opcode in pickletools.opcodes] * 2
BOMBS = {
    "dictionaries": b"\x80\x02" + b"}" * (tensors.MAX_BYTES - 3) + b".",
    "marks": b"\x80\x02" + b"(" * (tensors.MAX_BYTES - 3) + b".",
    "tensors": (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00(X\x07\x00\x00\x00storagectorch\n"
        b"FloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQK\x00"
        b"(" + b"K\x01" * 16 + b"t(" + b"K\x01" * 16 + b"ttq\x01(" + b"h\x00h\x01R" * 800_000
    ),
}


def content() -> dict:
    rng = np.random.default_rng(0)
    tensors = {
        "module.conv1.weight": rng.standard_normal((4, 3, 2, 2, 2)).astype(np.float32),
        "module.bn1.running_var": rng.standard_normal(4).astype(np.float32),
        "module.bn1.num_batches_tracked": np.array(7, np.int64),
    }
    groups = [{"lr": 0.1, "nesterov": False, "params": [1, 2]}]
    return {"state_dict": OrderedDict(tensors), "epoch": 7, "optimizer": {"param_groups": groups}}


def mutated(rng: random.Random, data: bytes) -> bytes:
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0 if data[at : at + 1]:
                data[at] ^= 1 << rng.randrange(8)
            case 1 if data[at : at + 1]:
                data[at] = rng.randrange(256)
            case 2:
                del data[at:]
            case 3:
                del data[at : at + rng.randrange(1, 20)]
            case 4:
                data[at:at] = rng.choice(PIECES)
            case 5:
                data[at:at] = data[rng.randrange(len(data) + 1) :][: rng.randrange(1, 60)]
    return bytes(data)


def outcome(path: Path) -> str:
    try:
        checkpoint = checkpoints.read_checkpoint(path)
        for tensor in checkpoint.tensors.values():
            tensor.numpy()
    except checkpoints.CheckpointError:
        return "refused"
    return "read"


def watch(event: str, details: tuple) -> None:
    if event.startswith(FORBIDDEN) and event not in ALLOWED:
        raise SystemExit(f"A checkpoint led to {event} {details}")


def main(folder: Path, bombs: bool) -> None:
    rng = random.Random(0)
    path = folder / "mutated.pth"
    whole = [write(path, content()).read_bytes() for write in pth.WRITERS.values()]
    pickled = pth.Pickler(legacy=False).dump(content())
    for data in whole:
        path.write_bytes(data)
        assert outcome(path) == "read"  # and what is imported once is imported
    assert outcome(pth.write_raw(path, "zip", b"?")) == "refused"
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.addaudithook(watch)
    for name, bomb in BOMBS.items() if bombs else ():
        assert outcome(pth.write_raw(path, "zip", bomb)) == "refused", name
    outcomes = {"refused": 0, "read": 0}
    for _ in range(10_000 if bombs else 300):
        if rng.random() < 0.5:
            pth.write_zip(path, content(), pickled=mutated(rng, pickled))
        else:
            path.write_bytes(mutated(rng, rng.choice(whole)))
        outcomes[outcome(path)] += 1
    print(outcomes["refused"], outcomes["read"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "1")
