"""How many training clips a second our loader makes, beside its floor and other loaders.

All contenders make the same clips, on one core, in turns.
"""

import dataclasses
import math
import os
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.clips import draws
from benchmarks.clips.contenders import FROM_ITS_VIDEOS, FROM_STORE, FROM_VIDEOS
from benchmarks.clips.draws import Draw, Task
from benchmarks.options import Options
from benchmarks.turns import Contender, Entry, Result, in_turns, print_table
from keras_r3d.data import annotations
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.opening import open_source
from keras_r3d.data.store import StoreReader
from keras_r3d.recipe import Recipe
from keras_r3d.recipe.tables import as_dict
from keras_r3d.system.errors import R3DError

_MOST_CLIPS_IN_A_BATCH = 64
# Rates of GPUs assumed where none is given; not measured.
_ASSUMED_CLIPS_PER_SECOND = (100.0, 300.0, 1000.0)
_CLIPS_SHOWN = 8
_COLUMNS = {
    **{"clips/s": ("clips_per_second", ".2f"), "/CPU s": ("clips_per_cpu_second", ".2f")},
    **{"of ours": ("against_ours", ".2f"), "of floor": ("against_floor", ".2f")},
    **{
        "peak MB": ("peak_megabytes", ".0f"),
        "same": ("same_frames", ""),
        "off by": ("levels_off", ".2f"),
    },
}


def run(options: Options, contenders: Sequence[Contender] = ()) -> dict[str, Any]:
    """Measures and prints; contenders are ours, its floor, and others.

    Turns are of whole batches; videos are as many as clips at most.
    """
    experiment, available = options.load_recipe(), sorted(os.sched_getaffinity(0))
    _check(experiment, options.cores, len(available))
    data, rounds = options.data, options.rounds
    seed = experiment.train.seed
    source = open_source(data, experiment.clips, experiment.videos, seed=seed)
    training = source.annotations.split("train")
    batch_size = min(options.clips, _MOST_CLIPS_IN_A_BATCH)
    clips = math.ceil(options.clips / batch_size) * batch_size
    broken: list[str] = []
    stored = isinstance(source.reader, StoreReader)
    if isinstance(source.reader, StoreReader):
        store = source.reader.store
        sources = draws.in_store(store, training, clips, seed, options.videos)
        megabytes = sum(file.bytes for file in store.description.files) / 1e6
        megabytes *= len(sources) / len(store.videos)
        contenders = contenders or (*FROM_STORE, *(FROM_ITS_VIDEOS if options.videos else ()))
    elif options.videos:
        raise R3DError(f"`videos` goes with a clip store in `data`. {data} is none.")
    else:
        sources, broken = draws.count(training, clips, seed)
        megabytes = sum(os.path.getsize(source.video.path) for source in sources) / 1e6
        contenders = contenders or FROM_VIDEOS
    figures: dict[str, Any] = {
        "data": annotations.absolute(data),
        "videos": len(sources),
        "megabytes": megabytes,
        "store": stored,
        "frames_of_a_video": statistics.mean(source.frames_in_file for source in sources),
        "width": statistics.median(source.width for source in sources),
        "height": statistics.median(source.height for source in sources),
        "recipe": as_dict(experiment.clips),
        "clips": clips,
        "rounds": rounds,
    }
    for line in broken:
        print(f"Left out: {line}")
    frames, height, width, _ = experiment.clips.shape
    print(
        f"Training clips of {frames} frames, {height}x{width}, from {len(sources)} videos in "
        f"{figures['data']}\n({figures['width']:g}x{figures['height']:g}, "
        f"{figures['frames_of_a_video']:.0f} frames, {megabytes / len(sources):.2f} MB on average; "
        "read before, so in the page cache if they fit).\n"
        f"One core each, median of {rounds} turns of {clips} clips; frames are counted before.\n"
        "Others cut, scale and flip; what else the recipe does to a clip, only ours does."
    )
    ours, floor = contenders[:2]
    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as scratch:
        place = figures["data"] if stored else ""
        task = Task(sources, source.annotations.classes, experiment, batch_size, scratch, place)
        rows, results = on_one_core(contenders, task, clips, rounds, [ours.name, floor.name])
        figures["contenders"] = rows
        for row in rows.values():
            for key, against in (("against_ours", ours), ("against_floor", floor)):
                rate, other = (r["clips_per_cpu_second"] for r in (row, rows[against.name]))
                row[key] = rate and rate / other
        print_table(results, rows, _COLUMNS)  # by CPU time, which others on the machine move less
        turns = _plan_turns(task, clips * ours.pace, rounds)
        by_cores = on_cores(ours, task, turns, available[: options.cores or len(available)])
    drawn = [draw for turn in turns for draw in turn]
    per_clip = frames if stored else statistics.mean(1 + int(d.numbers.max()) for d in drawn)
    floor_frames = per_clip * rows[floor.name]["clips_per_cpu_second"]
    figures["floor_frames_per_cpu_second"] = floor_frames
    figures["clips_per_second_by_cores"] = by_cores
    gpus = options.gpu_clips_per_second or _ASSUMED_CLIPS_PER_SECOND
    figures["cores_needed"] = {f"{rate:g}": cores_needed(rate, by_cores) for rate in gpus}
    print(f"Decoding alone: {floor_frames:.0f} frames a CPU second.")
    for count, rate in by_cores.items():
        print(
            f"Our loader on {count} core{'s' if count > 1 else ''}: {rate:.2f} clips/s, "
            f"{rate / count / by_cores[1]:.2f} of one core's rate each."
        )
    if not options.gpu_clips_per_second:
        print("Rates of GPUs are assumed here; give yours with --gpu_clips_per_second.")
    place = "from this store" if stored else "straight from these videos"
    for gpu, count in figures["cores_needed"].items():
        print(f"A GPU that trains at {gpu} clips/s needs {count} cores {place}.")
    return figures


def _check(recipe: Recipe, cores: int | None, available: int) -> None:
    if cores is not None and cores > available:
        raise R3DError(f"`cores` must be at most {available}, the cores at hand. Received: {cores}")
    for key, value, wanted in (
        ("crop.kind", recipe.clips.crop.kind, "multiscale"),
        ("input", recipe.clips.input, "rgb"),
    ):
        if value != wanted:
            raise R3DError(
                f"The benchmark makes clips of clips.{key} = '{wanted}'. Received: '{value}'"
            )
    if recipe.clips.sampling.fps or isinstance(recipe.clips.size, tuple):
        raise R3DError(
            "The benchmark makes square clips of all frames: clips.size must be one number and "
            "clips.sampling.fps absent."
        )


def _plan_turns(task: Task, clips: int, rounds: int) -> list[list[Draw]]:
    """Plans the clips of each turn; ours goes on with its stream, so they follow each other."""
    numbers = range((rounds + 1) * clips)
    return [
        draws.plan(task.sources, task.recipe, numbers[first : first + clips])
        for first in numbers[::clips]
    ]


def on_one_core(
    contenders: Sequence[Contender],
    task: Task,
    clips: int,
    rounds: int,
    required: Sequence[str] = (),
) -> tuple[dict[str, dict[str, Any]], dict[str, Result]]:
    """Lets contenders make the same clips on one core; figures are None where one drops out."""
    core = [min(os.sched_getaffinity(0))]
    turns = {pace: _plan_turns(task, clips * pace, rounds) for pace in {c.pace for c in contenders}}
    entries = [Entry(c, core, turns[c.pace], turns[c.pace][0][:_CLIPS_SHOWN]) for c in contenders]
    results, rows = in_turns(entries, task, required), {}
    for entry, (name, result) in zip(entries, results.items(), strict=True):
        done = not result.problem
        same, off = _compare(entry.shows, result.shown, task.recipe.clips.image_size)
        rows[name] = {
            "version": result.version,
            "problem": result.problem or None,
            "clips_per_second": result.rate if done else None,
            "clips_per_cpu_second": result.cpu_rate if done else None,
            "peak_megabytes": result.peak_megabytes if done else None,
            "same_frames": same,
            "levels_off": off,
        }
    return rows, results


def on_cores(
    contender: Contender, task: Task, turns: Sequence[Sequence[Draw]], cores: Sequence[int]
) -> dict[int, float]:
    """Returns clips per second on 1, 2, 4, 8, … and all of the cores, measured in turns."""
    counts = sorted({len(cores), *(2**n for n in range(len(cores).bit_length()))})
    entries = [
        Entry(
            dataclasses.replace(contender, name=f"{contender.name}, cores: {count}"),
            cores[:count],
            [list(turn) * count for turn in turns],
        )
        for count in counts
    ]
    results = in_turns(entries, task, [entry.contender.name for entry in entries])
    return {count: result.rate for count, result in zip(counts, results.values(), strict=True)}


def cores_needed(gpu_clips_per_second: float, clips_per_second_by_cores: dict[int, float]) -> int:
    """Returns how many cores feed a GPU, each as fast as one of the most measured together."""
    most = max(clips_per_second_by_cores)
    return math.ceil(gpu_clips_per_second * most / clips_per_second_by_cores[most])


def _compare(
    draws_shown: Sequence[Draw], shown: Sequence[Frame | None], size: tuple[int, int]
) -> tuple[bool | None, float | None]:
    """Compares clips with what our own decoder gives, and with the frames just before and after.

    Returns:
        Whether the frames asked for are the most alike, and the largest mean difference.
    """
    off: dict[int, list[float]] = {0: [], -1: [], 1: []}
    for draw, clip in zip(draws_shown, shown, strict=False):  # not all, if it dropped out
        if clip is None:
            return None, None
        first, last = draw.source.first, draw.source.first + draw.source.count - 1
        for shift, levels in off.items():
            numbers = np.clip(draw.numbers + shift, first, last)
            ours = draw.cut(draws.read_frames(draw.source.video.path, numbers), size)
            levels.append(float(np.abs(ours.astype(np.int16) - clip).mean()))
    if not off[0]:
        return None, None
    # All clips together: in one where nothing moves, noise decides.
    return sum(off[0]) == min(sum(levels) for levels in off.values()), max(off[0])
