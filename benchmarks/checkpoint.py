"""Reading a PyTorch checkpoint against reading the same bytes, and the memory it takes."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.options import Options
from benchmarks.turns import interleaved
from keras_r3d.applications.weights import checkpoints


def run(options: Options) -> dict[str, Any]:
    """Measures and prints."""
    path = Path(options.file)

    def read() -> list[np.ndarray]:
        return [tensor.numpy() for tensor in checkpoints.read_checkpoint(path).tensors.values()]

    megabytes = sum(array.nbytes for array in read()) / 1e6
    tracemalloc.start()
    kept = read()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    del kept
    size = path.stat().st_size / 1e6
    ways = {"plain bytes": lambda: np.fromfile(path, np.uint8), "tensors": read}
    rates = interleaved(ways, size, options.rounds)
    print(f"Reading {path}, {size:.1f} MB")
    for kind, rate in rates.items():
        print(f"  {kind:18}{rate:8.0f} MB/s{rate / rates['plain bytes']:8.2f}x")
    print(f"  peak memory       {peak:8.1f} MB  {peak / size:8.2f}x the file")
    return {
        "megabytes": size,
        "megabytes_of_tensors": megabytes,
        "megabytes_per_second": rates,
        "tensors_against_bytes": rates["tensors"] / rates["plain bytes"],
        "peak_memory_against_file": peak / size,
    }
