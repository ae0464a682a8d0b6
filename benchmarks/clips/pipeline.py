"""How many training clips a second our loader makes, beside its floor and other loaders.

All contenders make the same clips, on one core, in turns.
"""

import dataclasses
import functools
import math
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.clips import draws
from benchmarks.clips.contenders import FROM_ITS_VIDEOS, FROM_STORE, FROM_VIDEOS
from benchmarks.clips.draws import Draw, Task
from benchmarks.options import Options
from benchmarks.turns import Contender, Result, in_turns, report
from keras_r3d.data import annotations
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.opening import open_source
from keras_r3d.data.store import StoreReader
from keras_r3d.system.errors import R3DError

_MOST_CLIPS_IN_A_BATCH = 64
# Rates of GPUs assumed where none is given; not measured.
_ASSUMED_CLIPS_PER_SECOND = (100.0, 300.0, 1000.0)
_CLIPS_SHOWN = 8


def run(options: Options, contenders: Sequence[Contender] = ()) -> dict[str, Any]:
    """Measures and prints; contenders are ours, its floor, and others."""
    experiment, available = options.load_recipe(), sorted(os.sched_getaffinity(0))
    most = options.cores or len(available)
    if most > len(available):
        raise R3DError(f"`cores` must be at most {len(available)}, those at hand. Received: {most}")
    if experiment.clips.input != "rgb" or experiment.clips.sampling.fps:
        raise R3DError(
            "The benchmark makes clips of all frames: clips.input must be 'rgb' and "
            "clips.sampling.fps absent."
        )
    data, seed = options.data, experiment.train.seed
    source = open_source(data, experiment.clips, experiment.videos, seed=seed)
    training = source.annotations.split("train")
    batch_size = min(options.clips, _MOST_CLIPS_IN_A_BATCH)
    clips = math.ceil(options.clips / batch_size) * batch_size  # turns are of whole batches
    broken: list[str] = []
    store = source.reader.store if isinstance(source.reader, StoreReader) else None
    if store:
        sources = draws.in_store(store, training, clips, seed, options.videos)
        megabytes = sum(file.bytes for file in store.description.files) / len(store.videos) / 1e6
        contenders = contenders or (*FROM_STORE, *(FROM_ITS_VIDEOS if options.videos else ()))
    elif options.videos:
        raise R3DError(f"`videos` goes with a clip store in `data`. {data} is none.")
    else:
        sources, broken = draws.count(training, clips, seed)
        megabytes = statistics.mean(os.path.getsize(s.video.path) for s in sources) / 1e6
        contenders = contenders or FROM_VIDEOS
    for line in broken:
        print(f"Left out: {line}")
    frames, height, width, _ = experiment.clips.shape
    place = annotations.absolute(data)
    described = {
        "width": statistics.median(source.width for source in sources),
        "height": statistics.median(source.height for source in sources),
        "frames": statistics.mean(source.frames_in_file for source in sources),
        "megabytes": megabytes,
    }
    title = (
        f"{clips} training clips in a turn, of {frames} frames, {height}x{width}, on one core\n"
        f"from {len(sources)} videos in {place}, on average: "
        f"{', '.join(f'{key} {value:.2f}' for key, value in described.items())}; read before, so "
        "in the page cache if they fit.\nOthers cut, scale and flip; what else the recipe does to "
        "a clip, only ours does. Of ours, of floor: by CPU time."
    )
    ours, floor = contenders[:2]
    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as scratch:
        stored = place if store else ""
        task = Task(sources, source.annotations.classes, experiment, batch_size, scratch, stored)
        plan = planner(task, clips, options.rounds)
        results, more = on_one_core(contenders, task, plan, [ours.name, floor.name])
        against = {"of ours": ours.name, "of floor": floor.name}
        rows = report(title, results, "clips", against=against, by="cpu rate", more=more)
        counts = sorted({most, *(2**n for n in range(most.bit_length()))})
        several = {f"on {count} of {most} cores": count for count in counts}
        results = in_turns(
            [
                dataclasses.replace(ours, name=name, pace=ours.pace * count, cores=count)
                for name, count in several.items()
            ],
            *(task, plan, list(several)),
            cores=available,
        )
    by_cores = report("Our loader", results, "clips", against={"of one": next(iter(several))})
    drawn = [draw for turn in plan(ours.pace) for draw in turn]
    per_clip = frames if store else statistics.mean(1 + int(d.numbers.max()) for d in drawn)
    floor_frames = per_clip * rows[floor.name]["cpu rate"]
    print(f"Decoding alone: {floor_frames:.0f} frames a CPU second.")
    if not options.gpu_clips_per_second:
        print("Rates of GPUs are assumed here; give yours with --gpu_clips_per_second.")
    rates = {several[name]: row["rate"] for name, row in by_cores.items()}
    gpus = options.gpu_clips_per_second or _ASSUMED_CLIPS_PER_SECOND
    needed = {f"{rate:g}": cores_needed(rate, rates) for rate in gpus}
    for gpu, count in needed.items():
        print(f"A GPU that trains at {gpu} clips/s needs {count} cores for these videos.")
    return {
        **{"contenders": rows, "by_cores": by_cores, "cores_needed": needed},
        **{"videos": len(sources), "clips": clips, "a_video": described},
        "floor_frames_per_cpu_second": floor_frames,
    }


def planner(task: Task, clips: int, rounds: int) -> Callable[[int], list[list[Draw]]]:
    """Returns what plans turns by pace; ours goes on with its stream, so they follow each other."""

    @functools.cache
    def plan(pace: int) -> list[list[Draw]]:
        starts = range(0, (rounds + 1) * clips * pace, clips * pace)
        return [draws.plan(task.sources, task.recipe, range(s, s + clips * pace)) for s in starts]

    return plan


def on_one_core(
    contenders: Sequence[Contender],
    task: Task,
    plan: Callable[[int], list[list[Draw]]],
    required: Sequence[str] = (),
) -> tuple[dict[str, Result], dict[str, dict[str, Any]]]:
    """Lets contenders make the same clips on one core, and tells how alike theirs are."""
    shows, core = plan(1)[0][:_CLIPS_SHOWN], [min(os.sched_getaffinity(0))]
    results = in_turns(contenders, task, plan, required, cores=core, shows=shows)
    return results, {name: _compare(shows, result.shown) for name, result in results.items()}


def cores_needed(gpu_clips_per_second: float, clips_per_second_by_cores: dict[int, float]) -> int:
    """Returns how many cores feed a GPU, each as fast as one of the most measured together."""
    most = max(clips_per_second_by_cores)
    return math.ceil(gpu_clips_per_second * most / clips_per_second_by_cores[most])


def _compare(draws_shown: Sequence[Draw], shown: Sequence[Frame | None]) -> dict[str, Any]:
    """Compares clips with what our own decoder gives of these frames, and of those beside them."""
    off: dict[int, list[float]] = {0: [], -1: [], 1: []}
    for draw, clip in zip(draws_shown, shown, strict=False):  # not all, if it dropped out
        if clip is None:
            return {}
        first, last = draw.source.first, draw.source.first + draw.source.count - 1
        for shift, levels in off.items():
            numbers = np.clip(draw.numbers + shift, first, last)
            ours = draw.cut(draws.read_frames(draw.source.video.path, numbers))
            levels.append(float(np.abs(ours.astype(np.int16) - clip).mean()))
    if not off[0]:
        return {}
    # All clips together: in one where nothing moves, noise decides.
    same = sum(off[0]) == min(sum(levels) for levels in off.values())
    return {"same": same, "off by": max(off[0])}
