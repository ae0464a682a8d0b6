"""Planning and joining a scan of made-up videos, however many: only decoding is a stub."""

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.options import Options
from keras_r3d.data.scanning import duplicates, examining
from keras_r3d.data.scanning.examining import Examination
from keras_r3d.system import workers
from keras_r3d.system.work import Spread


def run(options: Options) -> dict[str, Any]:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as place:
        paths = [f"{place}/class/{number:07}.mp4" for number in range(options.clips)]
        Path(paths[0]).parent.mkdir()
        Path(paths[0]).touch()  # for the check that this machine sees the videos
        folder, begun, rng = Path(place, "parts"), list[float](), np.random.default_rng(1)

        def decoded(_: Any, tasks: list[tuple[str, float]], **__: Any) -> Iterator[Any]:
            begun.append(time.monotonic())
            for number, (path, _) in enumerate(tasks):
                hashes = rng.integers(0, 2**63, duplicates.FRAMES).tolist()
                yield number, Examination(path, {}, 250, 250, 340, 256, 10.0, hashes=tuple(hashes))

        def scan(spread: Spread) -> float:
            started = time.monotonic()
            examining.examine_all(
                paths,
                None,
                min_frames=16,
                min_side=32,
                limit_seconds=60,
                processes=1,
                progress=lambda done, total: None,
                folder=folder,
                spread=spread,
            )
            return time.monotonic() - started

        with mock.patch.object(workers, "run", decoded):
            started = time.monotonic()
            made = scan(Spread(shard_index=0, shard_count=1))
            planned = begun[0] - started
            joined = scan(Spread(finish=True))
        files = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
        figures = {
            **{"videos": options.clips, "plan_seconds": planned, "parts_seconds": made - planned},
            **{"join_seconds": joined, "files": len(files), "megabytes": sum(files) / 1e6},
            "plan_megabytes": (folder / "plan.json").stat().st_size / 1e6,
            "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        }
    for name, value in figures.items():
        print(f"  {name:16} {value:12,.2f}")
    return figures
