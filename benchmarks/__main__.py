"""Speed and memory against peers and floors: `python -m benchmarks KIND`."""

import dataclasses
import importlib
import os
import platform
import time
from typing import Any

from benchmarks.options import Options
from keras_r3d.system import command, files
from keras_r3d.system.errors import R3DError

_OPTIONS = "benchmarks.options:Options"
# The function, the option that it cannot do without, and its own defaults.
_KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "train": ("benchmarks.train:run", "", {}),
    "few": ("benchmarks.few:run", "", {"recipe": "few"}),
    "few_shots": ("benchmarks.few:run_shots", "data", {"recipe": "few"}),
    "evaluate": ("benchmarks.evaluate:run", "data", {}),
    "export": ("benchmarks.exports.export:run", "", {"model": "r3d18", "clips": 4, "cores": 1}),
    "checkpoint": ("benchmarks.checkpoint:run", "file", {}),
    "pipeline": ("benchmarks.clips.pipeline:run", "data", {}),
    "prepare": ("benchmarks.clips.prepare:run", "data", {}),
    "memory": ("benchmarks.clips.memory:run", "data", {}),
    "scale": ("benchmarks.scale:run", "", {"clips": 300_000}),
    "motion": ("benchmarks.clips.motion:run", "", {"clips": 536}),
}
_MISSING = {
    "data": "videos: a folder of them, a list, or a clip store (prepare: none; memory: a file).",
    "file": "a PyTorch checkpoint.",
}


def _main(arguments: command.Arguments, *, kind: str, json: str | None = None) -> None:
    """Runs a benchmark.

    Args:
        kind: train (a step), few (a whole training on few videos), few_shots (its accuracy by the
            number of videos), evaluate, export, checkpoint (of PyTorch, read), pipeline (training
            clips), prepare (a store), memory (of open videos), scale (plan and last step of a
            scan), or motion (rendered clips).
        json: also writes the figures to this file.
    """
    if kind not in _KINDS:
        raise R3DError(f"`kind` must be one of {list(_KINDS)}. Received: {kind}")
    place, needed, defaults = _KINDS[kind]
    options = Options(**defaults | arguments.of(_OPTIONS))
    if needed and not getattr(options, needed):
        raise R3DError(f"`{needed}` is missing: {_MISSING[needed]}")
    date, cores = time.strftime("%Y-%m-%d"), len(os.sched_getaffinity(0))
    about = {"benchmark": kind, "date": date, "machine": f"{cores} cores ({platform.machine()})"}
    print(", ".join(about.values()))
    module, _, function = place.partition(":")
    figures = getattr(importlib.import_module(module), function)(options)
    if json:
        files.write_json(json, about | {"options": dataclasses.asdict(options)} | figures)


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_OPTIONS],
        words=["kind"],
        names={"overrides": "set"},
        aliases={"data_dir": "data"},
        example="pipeline --data MY_VIDEOS --json figures.json",
    )


if __name__ == "__main__":
    main()
