"""Speed and memory against peers and floors: `python -m benchmarks KIND`."""

import importlib
import os
import platform
import sys
import time

from keras_r3d.system import command, files
from keras_r3d.system.errors import R3DError
from keras_r3d.system.signature import REQUIRED, read_signature

_KINDS = {
    "train": "benchmarks.train:run",
    "few": "benchmarks.few:run",
    "few_shots": "benchmarks.few:run_shots",
    "evaluate": "benchmarks.evaluate:run",
    "export": "benchmarks.exports.export:run",
    "checkpoint": "benchmarks.checkpoint:run",
    "pipeline": "benchmarks.clips.pipeline:run",
    "prepare": "benchmarks.clips.prepare:run",
    "motion": "benchmarks.clips.motion:run",
}


def _main(arguments: command.Arguments, *, kind: str, json: str | None = None) -> None:
    """Runs a benchmark.

    Args:
        kind: train (a step), few (a whole training on few videos), few_shots (its accuracy by the
            number of videos), evaluate, export, checkpoint (of PyTorch, read), pipeline (training
            clips), prepare (a store), or motion (rendered clips). KIND --help shows its flags.
        json: also writes the figures to this file.
    """
    if kind not in _KINDS:
        raise R3DError(f"`kind` must be one of {list(_KINDS)}. Received: {kind}")
    for parameter in read_signature(_KINDS[kind]):
        if parameter.default is REQUIRED and parameter.name not in arguments:
            raise R3DError(f"`{parameter.name}` is missing: {parameter.text}")
    date, cores = time.strftime("%Y-%m-%d"), len(os.sched_getaffinity(0))
    about = {"benchmark": kind, "date": date, "machine": f"{cores} cores ({platform.machine()})"}
    print(", ".join(about.values()))
    module, _, function = _KINDS[kind].partition(":")
    figures = getattr(importlib.import_module(module), function)(**arguments.of(_KINDS[kind]))
    if json:
        files.write_json(json, about | figures)


def main() -> None:
    """Entry point of the command; its flags are those of the kind."""
    kinds = [word for word in sys.argv[1:] if word in _KINDS][:1] or list(_KINDS)
    functions = [_KINDS[kind] for kind in kinds]
    has_data = any(p.name == "data" for place in functions for p in read_signature(place))
    command.run(
        _main,
        functions,
        words=["kind"],
        names={"overrides": "set"},
        aliases={"data_dir": "data"} if has_data else {},
        example="pipeline --data MY_VIDEOS --json figures.json",
    )


if __name__ == "__main__":
    main()
