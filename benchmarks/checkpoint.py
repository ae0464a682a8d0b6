"""Reading a PyTorch checkpoint against reading the same bytes, and the memory it takes."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.options import Options
from benchmarks.turns import in_process, report
from keras_r3d.applications.weights import checkpoints


def run(options: Options) -> dict[str, Any]:
    """Measures and prints."""
    path = Path(options.file)

    def read() -> list[np.ndarray]:
        return [tensor.numpy() for tensor in checkpoints.read_checkpoint(path).tensors.values()]

    tracemalloc.start()
    try:
        megabytes = sum(array.nbytes for array in read()) / 1e6
        peak = tracemalloc.get_traced_memory()[1] / 1e6
    finally:  # or all that this process does later takes three times as long
        tracemalloc.stop()
    size = path.stat().st_size / 1e6
    steps = {"plain bytes": lambda: np.fromfile(path, np.uint8), "tensors": read}
    results = in_process(steps, size, options.rounds)
    title = f"Reading {path}, {size:.1f} MB"
    rows = report(title, results, "MB", against={"of bytes": "plain bytes"})
    print(f"  peak memory {peak:.1f} MB, {peak / size:.2f}x the file")
    return {"contenders": rows, "megabytes_of_tensors": megabytes, "peak_megabytes": peak}
