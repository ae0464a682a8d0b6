"""Reading a PyTorch checkpoint against reading the same bytes, and the memory it takes."""

import os
import platform
import time
import tracemalloc
from pathlib import Path

import numpy as np

from benchmarks.timing import interleaved
from keras_r3d.applications.weights import checkpoints
from keras_r3d.system import files


def run(file: str, *, rounds: int, json: str | None) -> None:
    """Measures and prints.

    Args:
        json: file that the figures are also written to.

    Raises:
        R3DError: the file cannot be read.
    """
    path = Path(file)

    def read() -> list[np.ndarray]:
        return [tensor.numpy() for tensor in checkpoints.read_checkpoint(path).tensors.values()]

    def floor() -> np.ndarray:
        return np.fromfile(path, np.uint8)

    megabytes = sum(array.nbytes for array in read()) / 1e6
    tracemalloc.start()
    kept = read()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    del kept
    size = path.stat().st_size / 1e6
    rates = interleaved({"plain bytes": floor, "tensors": read}, size, rounds)
    figures = {
        "benchmark": "checkpoint",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores ({platform.machine()})",
        "megabytes": size,
        "megabytes_of_tensors": megabytes,
        "megabytes_per_second": rates,
        "tensors_against_bytes": rates["tensors"] / rates["plain bytes"],
        "peak_memory_against_file": peak / size,
    }
    print(f"Reading {path}, {size:.1f} MB, {figures['machine']}")
    for kind, rate in rates.items():
        print(f"  {kind:18}{rate:8.0f} MB/s{rate / rates['plain bytes']:8.2f}x")
    print(f"  peak memory       {peak:8.1f} MB  {peak / size:8.2f}x the file")
    if json:
        files.write_json(json, figures)
