"""How many training clips a second our loader makes, beside its floor and other loaders.

All contenders make the same clips, on one core, in turns.
"""

import contextlib
import dataclasses
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.clips import draws
from benchmarks.clips.authors import AuthorsLoader
from benchmarks.clips.contenders import (
    Contender,
    DecodingAlone,
    FromStore,
    FromVideos,
    FromVideosShared,
    JpegAlone,
    JpegAloneKept,
    Task,
)
from benchmarks.clips.draws import Draw
from benchmarks.clips.peers import Decord, PyAV, TorchCodec
from benchmarks.process import DroppedOutError, Process, Turn
from keras_r3d.data import annotations
from keras_r3d.data.opening import open_source
from keras_r3d.data.store import StoreReader
from keras_r3d.recipe import Clips, Recipe
from keras_r3d.recipe.tables import as_dict
from keras_r3d.system import files
from keras_r3d.system.errors import R3DError

# The first is ours, the second its floor.
FROM_VIDEOS: tuple[type[Contender], ...] = (
    FromVideos,
    DecodingAlone,
    FromVideosShared,
    PyAV,
    Decord,
    TorchCodec,
    AuthorsLoader,
)
# Of a store; the last ones where the videos it was made of are at hand.
FROM_STORE: tuple[type[Contender], ...] = (FromStore, JpegAlone, JpegAloneKept)
FROM_ITS_VIDEOS = tuple(one for one in FROM_VIDEOS if one is not DecodingAlone)
_MOST_CLIPS_IN_A_BATCH = 64
# Rates of GPUs assumed where none is given; not measured.
_ASSUMED_CLIPS_PER_SECOND = (100.0, 300.0, 1000.0)
_CLIPS_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Result:
    """What a contender did.

    Attributes:
        problem: why it dropped out, if it did; the rest is then not known.
        clips_per_cpu_second: by the time that its threads ran; comparisons are made by this.
        same_frames: whether the clips it showed hold the frames asked for; None: it shows none.
        levels_off: largest mean difference of a clip it showed to ours, of 255.
    """

    version: str = ""
    problem: str | None = None
    clips_per_second: float = math.nan
    clips_per_cpu_second: float = math.nan
    peak_megabytes: float = math.nan
    same_frames: bool | None = None
    levels_off: float | None = None


def run(
    data_dir: str,
    recipe: Recipe,
    *,
    clips: int,
    rounds: int,
    most_cores: int | None,
    gpu_clips_per_second: Sequence[float],
    json: str | None,
    videos: str | None = None,
    contenders: Sequence[type[Contender]] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measures and prints.

    Args:
        clips: clips in a turn, made whole batches; also the most videos they are drawn from.
        most_cores: most cores our loader is measured on; None: all there are.
        gpu_clips_per_second: rates of GPUs to be fed; none: examples.
        json: file that the figures are also written to.
        videos: of a store, the folder of the videos that it was made of.
        contenders: ours, its floor, others; None: all that there are.
        say: takes each line of the report.

    Returns:
        The figures.

    Raises:
        R3DError: the data cannot be read, ours or its floor drops out, more cores than there are.
    """
    cores = sorted(os.sched_getaffinity(0))
    if most_cores is not None and most_cores > len(cores):
        raise R3DError(
            f"--cores must be at most {len(cores)}, the cores at hand. Received: {most_cores}"
        )
    if recipe.clips.crop.kind != "multiscale":
        raise R3DError(
            "The benchmark makes crops of clips.crop.kind = 'multiscale'. Received: "
            f"'{recipe.clips.crop.kind}'"
        )
    if recipe.clips.input != "rgb":
        raise R3DError(
            f"The benchmark makes clips of clips.input = 'rgb'. Received: '{recipe.clips.input}'"
        )
    seed = recipe.train.seed
    opened = open_source(data_dir, recipe.clips, recipe.videos, seed=seed)
    found = opened.annotations
    batch_size = min(clips, _MOST_CLIPS_IN_A_BATCH)
    clips = math.ceil(clips / batch_size) * batch_size
    stored = isinstance(opened.reader, StoreReader)
    broken: list[str] = []
    if isinstance(opened.reader, StoreReader):
        store = opened.reader.store
        sources = draws.in_store(store, found.split("train"), clips, seed, videos)
        megabytes = sum(file.bytes for file in store.description.files) / 1e6
        megabytes *= len(sources) / len(store.videos)
        contenders = contenders or (*FROM_STORE, *(FROM_ITS_VIDEOS if videos else ()))
    elif videos:
        raise R3DError(f"--videos goes with a clip store in --data. {data_dir} is none.")
    else:
        sources, broken = draws.count(found.split("train"), clips, seed)
        megabytes = sum(os.path.getsize(one.video.path) for one in sources) / 1e6
        contenders = contenders or FROM_VIDEOS
    figures: dict[str, Any] = {
        "benchmark": "pipeline",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{len(cores)} cores ({platform.machine()})",
        "data": annotations.absolute(data_dir),
        "videos": len(sources),
        "megabytes": megabytes,
        "store": stored,
        "frames_of_a_video": statistics.mean(one.frames_in_file for one in sources),
        "width": statistics.median(one.width for one in sources),
        "height": statistics.median(one.height for one in sources),
        "recipe": as_dict(recipe.clips),
        "clips": clips,
        "rounds": rounds,
    }
    for line in broken:
        say(f"Left out: {line}")
    for line in _headline(figures, recipe.clips):
        say(line)
    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as scratch:
        task = Task(
            sources,
            found.classes,
            recipe.clips,
            batch_size=batch_size,
            seed=seed,
            scratch=scratch,
            store=annotations.absolute(data_dir) if stored else "",
            balanced=recipe.videos.balanced,
        )
        # Ours goes on with its own stream, so at each pace a turn begins where the last one ended.
        turns = {
            pace: [
                draws.plan(
                    sources,
                    recipe.clips,
                    seed,
                    range(number * clips * pace, (number + 1) * clips * pace),
                    recipe.videos.balanced,
                )
                for number in range(rounds + 1)
            ]
            for pace in {one.pace for one in contenders}
        }
        results = on_one_core(contenders, task, turns, cores[0])
        for line in _table(contenders, results):
            say(line)
        ours, floor = contenders[0], contenders[1]
        for one in (ours, floor):
            if problem := results[one].problem:
                raise R3DError(f"'{one.name}' {problem}")
        by_cores = on_cores(ours, task, turns[ours.pace], cores[: most_cores or len(cores)])
    figures["contenders"] = {one.name: dataclasses.asdict(results[one]) for one in contenders}
    for one in contenders:
        figure = figures["contenders"][one.name]
        rate = figure["clips_per_cpu_second"]
        figure["against_ours"] = rate / results[ours].clips_per_cpu_second
        figure["against_floor"] = rate / results[floor].clips_per_cpu_second
        for key, value in figure.items():
            figure[key] = None if isinstance(value, float) and math.isnan(value) else value
    per_clip = 1.0 * recipe.clips.frames
    if not stored:
        per_clip = statistics.mean(
            1 + int(draw.numbers.max()) for turn in turns[ours.pace] for draw in turn
        )
    figures["floor_frames_per_cpu_second"] = results[floor].clips_per_cpu_second * per_clip
    figures["clips_per_second_by_cores"] = by_cores
    figures["cores_needed"] = {
        f"{gpu:g}": cores_needed(gpu, by_cores)
        for gpu in gpu_clips_per_second or _ASSUMED_CLIPS_PER_SECOND
    }
    for line in _verdict(figures, assumed=not gpu_clips_per_second):
        say(line)
    if json:
        files.write_json(json, figures)
    return figures


def on_one_core(
    contenders: Sequence[type[Contender]],
    task: Task,
    turns: Mapping[int, Sequence[Sequence[Draw]]],
    core: int,
) -> dict[type[Contender], Result]:
    """Lets contenders make the clips of each turn, one after the other; the first turn warms up.

    Args:
        turns: by pace, the clips of each turn.
    """
    results: dict[type[Contender], Result] = {}
    with contextlib.ExitStack() as stack:
        running: dict[type[Contender], Process] = {}
        done: dict[type[Contender], list[Turn]] = {}

        for one in contenders:
            try:
                process = Process(one, task, [core])
                stack.callback(process.close)
                same, off = _compare(process, turns[one.pace][0][:_CLIPS_SHOWN], task.clips.size)
            except DroppedOutError as error:
                results[one] = Result(problem=str(error))
            else:
                results[one] = Result(process.version, same_frames=same, levels_off=off)
                running[one], done[one] = process, []
        for number in range(len(next(iter(turns.values())))):
            for one, process in list(running.items()):
                try:
                    done[one].append(process.turn(turns[one.pace][number]))
                except DroppedOutError as error:
                    results[one] = Result(problem=str(error))
                    del running[one]
    for one in running:
        results[one] = dataclasses.replace(
            results[one],
            clips_per_second=_rate(done[one]),
            clips_per_cpu_second=statistics.median(t.clips / t.cpu_seconds for t in done[one][1:]),
            peak_megabytes=done[one][-1].peak_megabytes,
        )
    return results


def on_cores(
    contender: type[Contender],
    task: Task,
    turns: Sequence[Sequence[Draw]],
    cores: Sequence[int],
) -> dict[int, float]:
    """Lets one contender use 1, 2, 4, 8, … and all of the cores, in turns.

    Returns:
        Clips per second by number of cores.

    Raises:
        R3DError: it drops out.
    """
    numbers = sorted({len(cores), *(2**n for n in range(len(cores).bit_length()))})
    done: dict[int, list[Turn]] = {number: [] for number in numbers}
    try:
        with contextlib.ExitStack() as stack:
            running = {}
            for number in numbers:
                running[number] = Process(contender, task, cores[:number])
                stack.callback(running[number].close)
            for turn in turns:
                for number, process in running.items():
                    done[number].append(process.turn(list(turn) * number))
    except DroppedOutError as error:
        raise R3DError(f"'{contender.name}' on several cores {error}") from error
    return {number: _rate(turns) for number, turns in done.items()}


def cores_needed(gpu_clips_per_second: float, clips_per_second_by_cores: dict[int, float]) -> int:
    """Returns how many cores feed a GPU, each as fast as one of the most measured together."""
    most = max(clips_per_second_by_cores)
    return math.ceil(gpu_clips_per_second * most / clips_per_second_by_cores[most])


def _rate(turns: Sequence[Turn]) -> float:
    return statistics.median(turn.clips / turn.seconds for turn in turns[1:])


def _compare(
    process: Process, draws_shown: Sequence[Draw], size: int
) -> tuple[bool | None, float | None]:
    """Compares clips with what our own decoder gives, and with the frames just before and after.

    Returns:
        Whether the frames asked for are the most alike, and the largest mean difference.
    """
    off: dict[int, list[float]] = {0: [], -1: [], 1: []}
    for draw in draws_shown:
        clip = process.show(draw)
        if clip is None:
            return None, None
        first, last = draw.source.first, draw.source.first + draw.source.count - 1
        for shift, levels in off.items():
            numbers = np.clip(draw.numbers + shift, first, last)
            ours = draw.cut(draws.read_frames(draw.source.video.path, numbers), size)
            levels.append(float(np.abs(ours.astype(np.int16) - clip).mean()))
    # All clips together: in one where nothing moves, noise decides.
    return sum(off[0]) == min(sum(levels) for levels in off.values()), max(off[0])


def _headline(figures: dict[str, Any], clips: Clips) -> list[str]:
    lines = [
        f"Training clips of {clips.frames} frames, {clips.size}x{clips.size}, from "
        f"{figures['videos']} videos in {figures['data']}",
        f"({figures['width']:g}x{figures['height']:g}, {figures['frames_of_a_video']:.0f} frames, "
        f"{figures['megabytes'] / figures['videos']:.2f} MB on average; read before, so in the "
        "page cache if they fit).",
        f"{figures['date']}, {figures['machine']}, one core each, median of {figures['rounds']} "
        f"turns of {figures['clips']} clips; frames are counted beforehand.",
        "Others cut, scale and flip; what else the recipe does to a clip, only ours does.",
    ]
    return lines


def _table(
    contenders: Sequence[type[Contender]], results: dict[type[Contender], Result]
) -> list[str]:
    """Compares by CPU time: what else runs on the machine moves it less."""
    ours, floor = (results[one].clips_per_cpu_second for one in contenders[:2])
    lines = [
        f"  {'':36}{'clips/s':>9}{'/CPU s':>9}{'of ours':>9}{'of floor':>9}{'peak MB':>9}"
        f"{'frames':>9}{'off by':>9}"
    ]
    for one in contenders:
        result = results[one]
        name = f"{one.name} {f'({result.version})' if result.version else ''}"
        if result.problem:
            lines.append(f"  {name:36}  {result.problem}")
            continue
        rate = result.clips_per_cpu_second
        line = f"  {name:36}{result.clips_per_second:9.2f}{rate:9.2f}"
        line += f"{rate / ours:9.2f}{rate / floor:9.2f}"
        line += f"{result.peak_megabytes:9.0f}"
        if result.levels_off is not None:
            line += f"{'same' if result.same_frames else 'OTHERS':>9}{result.levels_off:9.2f}"
        lines.append(line)
    return lines


def _verdict(figures: dict[str, Any], assumed: bool) -> list[str]:
    by_cores = figures["clips_per_second_by_cores"]
    where = "from this store" if figures["store"] else "straight from these videos"
    lines = [f"Decoding alone: {figures['floor_frames_per_cpu_second']:.0f} frames a CPU second."]
    lines += [
        f"Our loader on {cores} core{'s' if cores > 1 else ''}: {rate:.2f} clips/s, "
        f"{rate / cores / by_cores[1]:.2f} of one core's rate each."
        for cores, rate in by_cores.items()
    ]
    if assumed:
        lines.append("Rates of GPUs are assumed here; give yours with --gpu_clips_per_second.")
    lines += [
        f"A GPU that trains at {gpu} clips/s needs {cores} cores {where}."
        for gpu, cores in figures["cores_needed"].items()
    ]
    return lines
