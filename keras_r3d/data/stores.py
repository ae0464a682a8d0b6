"""Storing ahead what trainings would compute anew: clip stores, and optical flow."""

import dataclasses
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any, Unpack

from keras_r3d import recipe as recipes
from keras_r3d.data import annotations as lists
from keras_r3d.data.annotations import AUTO, FRAME_RATE, FRAME_RATES, Annotations, Problem
from keras_r3d.data.decoding import flow, flow_folder
from keras_r3d.data.store import is_store, levels, planning, preparing, storage, verifying
from keras_r3d.data.store.encoding import StoreSettings
from keras_r3d.data.store.planning import size_text
from keras_r3d.data.store.preparing import PreparedStore, named_problems
from keras_r3d.recipe.clips import Clips, MultiScale
from keras_r3d.system import cluster
from keras_r3d.system.errors import DataError, StoreError, check_range
from keras_r3d.system.objects import outputs
from keras_r3d.system.progress import duration
from keras_r3d.system.work import Share, Spread, Spreading

Progress = Callable[[int, int], None]
Say = Callable[[str], None]


@cluster.spread
def prepare_store(
    data: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    annotations: str = AUTO,
    frame_rate: float = FRAME_RATE,
    trimmed: bool = False,
    several_labels: bool = False,
    levels: str | None = None,
    recipe: str = "kinetics34",
    overrides: Sequence[str] = (),
    height: int | None = None,
    short_side: int | None = None,
    clips: Clips | None = None,
    quality: int = 90,
    fps: float = 0.0,
    processes: int | None = None,
    time_limit: float = 1800.0,
    shard_gib: float = 2.0,
    dry_run: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
    **spread: Unpack[Spreading],
) -> PreparedStore | Share:
    """Makes a clip store of videos, which trainings read many times as fast.

    Interrupted, the same call resumes.

    Args:
        data: folder of videos, CSV file, or public list.
        output: folder of the store, new or unfinished; or s3://BUCKET/NAME, gs://BUCKET/NAME.
        annotations: as of `open_videos`.
        frame_rate: of folders of pictures, in frames a second.
        trimmed: as of `open_videos`.
        several_labels: as of `open_videos`.
        levels: "paper": a level for each training scale of `recipe`, so that its crops need no
            resizing (the default). Or short sides in pixels, such as "240,120".
        recipe: whose size and scales "paper" takes.
        overrides: changes of that recipe, such as "clips.size=224".
        height: keeps one level, of this height in pixels.
        short_side: keeps one level, of this short side in pixels.
        clips: whose size and scales "paper" takes, instead of a recipe's.
        quality: of the JPEGs, 1 to 100.
        fps: frames a second to resample to; 0 keeps all.
        processes: videos at a time; None is one a core.
        time_limit: seconds for a video.
        shard_gib: about the size of a shard.
        dry_run: says what it would take, and writes nothing.
        progress: takes the number of videos done, and of all.
        say: takes what there is to say before the work begins.
        spread: `shard_index`, `shard_count` or `finish`, so that several machines share the work.

    Returns:
        What the store holds, and the videos that are left out or cut short. Printed, it is a
        report.

    Raises:
        DataError, StoreError: the videos cannot be found, or an argument is wrong.
        RecipeError: there is no such recipe.
        WriteError: the disk is full, …
    """
    data, say = os.fspath(data), say or (lambda text: None)
    if output is None and not dry_run:
        raise StoreError("`output` is missing: the folder of the store (or pass `dry_run`).")
    check_range(0, 1000, fps=fps)
    check_range(1, 100, quality=quality)
    check_range(1, time_limit=time_limit, processes=processes)
    check_range(0.001, shard_gib=shard_gib)
    if is_store(data):
        raise StoreError(f"{data} is a clip store already: name the videos.")
    spreading = Spread(**spread)
    sizes = {"levels": levels, "height": height, "short_side": short_side, "clips": clips}
    kept = _levels(
        {key: size for key, size in sizes.items() if size is not None}, recipe, overrides
    )
    reading = {"annotations": annotations, "frame_rate": frame_rate, "trimmed": trimmed}
    reading["several_labels"] = several_labels
    labeled = _read_videos(data, reading, output, say)
    rate = f"{fps:g} frames/s" if fps else "frame rate kept"
    sides = ", ".join(map(str, kept.sizes))
    say(f"Levels: {kept.by.replace('_', ' ')} {sides} px; JPEG quality {quality}; {rate}")
    job = planning.job(labeled, lists.root(data), StoreSettings(kept, quality, fps))
    folder = outputs.local(output or ".")
    disk = next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())

    def estimated(needed: planning.Estimate) -> None:
        takes = f"about {size_text(needed.bytes)} and {duration(needed.seconds)}"
        text = f"By {needed.samples} of them: {takes}"
        if output is not None and storage.is_url(os.fspath(output)):
            return say(f"{text}; a shard at a time lies in {disk.parent}")
        free = shutil.disk_usage(disk).free
        say(f"{text}; {size_text(free)} are free in {disk}")
        if needed.bytes > free:
            say("Warning: the disk may not hold it. If it fills up, make room, then run again.")

    processes = processes or len(os.sched_getaffinity(0))
    if dry_run:
        if output is None or not preparing.folder(job, folder).is_begun():
            estimated(planning.estimate(job, processes=processes, limit_seconds=time_limit))
        return PreparedStore(None, [], [], 0)
    prepared = preparing.prepare(
        job,
        folder,
        processes=processes,
        limit_seconds=time_limit,
        shard_bytes=int(shard_gib * 2**30),
        spread=spreading,
        estimated=estimated,
        progress=progress or _ignore,
    )
    if isinstance(prepared, Share):
        return prepared
    return dataclasses.replace(prepared, store=os.fspath(output or folder), recipe=recipe)


def _levels(asked: dict[str, Any], recipe: str, overrides: Sequence[str]) -> levels.Levels:
    """Returns the sizes of frames that a store keeps, by one of its arguments for them, or none."""
    if len(asked) > 1:
        raise StoreError(f"Of `levels`, `height` and `short_side`, one only. Received: {asked}")
    if asked in ({}, {"levels": "paper"}):
        asked = {"clips": recipes.load(recipe, overrides).clips}
    ((option, value),) = asked.items()
    if option == "clips":
        if not isinstance(value.crop, MultiScale):
            raise StoreError(
                f"Only the scales of multiscale crops say which sizes to keep, and these are "
                f"{value.crop.kind}: pass `levels`, such as 240,120."
            )
        if isinstance(value.size, tuple):
            raise StoreError(
                f"Only square clips say which sizes to keep, and these are of {list(value.size)} "
                "pixels: pass `levels`, such as 240,120."
            )
        return levels.for_crops(value.size, value.crop.scales)
    try:
        sizes = {int(word) for word in str(value).split(",")}
    except ValueError:
        sizes = set()
    if not sizes or min(sizes) < 16:
        raise StoreError(
            f"`{option}` must be of 16 pixels or more"
            + " (`paper`, or short sides such as 240,120)" * (option == "levels")
            + f". Received: {value}"
        )
    by = "height" if option == "height" else "short_side"
    return levels.Levels(by, tuple(sorted(sizes, reverse=True)))


def _read_videos(
    data: str, reading: dict[str, Any], output: str | os.PathLike[str] | None, say: Say
) -> Annotations:
    """Reads which videos there are, if the output does not lie among them, and says how many."""
    if output is not None:
        if storage.is_url(place := os.fspath(output)):
            inside = f"{place}/".startswith(f"{data.rstrip('/')}/")
        else:
            below = os.path.relpath(os.path.realpath(place), os.path.realpath(data))
            inside = os.path.isdir(data) and below.split(os.sep)[0] != os.pardir
        if inside:
            raise DataError(
                f"`output` {output} lies in {data}, where it would be taken for a class: choose a "
                "folder elsewhere."
            )
    check_range(*FRAME_RATES, frame_rate=reading["frame_rate"])
    labeled = lists.read(data, **reading)
    for note in labeled.notes:
        say(f"Note: {note}")
    counts = ", ".join(f"{name} {len(videos)}" for name, videos in labeled.splits.items())
    say(f"{data}: {len(labeled.classes)} classes; videos: {counts}")
    return labeled


def _ignore(done: int, total: int) -> None:
    """Takes progress, and says nothing."""


def verify_store(
    store: str | os.PathLike[str], *, quarantine: bool = False, progress: Progress | None = None
) -> verifying.Verification:
    """Reads all of a clip store and compares it with its checksums.

    Args:
        store: folder or URL.
        quarantine: list damaged videos in its quarantine.txt, so that trainings and evaluations
            leave them aside.
        progress: takes the number of videos done, and of all.

    Returns:
        `damage` in sentences, and `broken`, the paths of the damaged videos. Printed, it is a
        report.

    Raises:
        StoreError: it cannot be opened.
        UnreachableError: it cannot be reached.
    """
    path = os.fspath(store)
    if quarantine and storage.is_url(path):
        raise StoreError(f"`quarantine` writes a file into the store, which {path} does not allow.")
    report = verifying.verify(path, progress=progress or _ignore)
    if report.broken and quarantine:
        listed = lists.add_to_quarantine(path, report.broken)
        report = dataclasses.replace(report, quarantine=listed)
    return report


@dataclasses.dataclass(frozen=True)
class StoredFlow:
    """What was stored. Printed, it is a report."""

    path: str  # folder or URL
    settings: flow_folder.FlowSettings  # how flow was computed
    problems: list[Problem]  # the videos that gave none
    recipe: str | None  # that will train on it

    def __str__(self) -> str:
        settings = self.settings
        side = f"short side {settings.short_side}" if settings.short_side else "frames of full size"
        lines = [
            *named_problems(self.problems),
            f"Written: {self.path}: flow by {settings.input}, {side}. Next:",
            f"  python -m keras_r3d.train --recipe {self.recipe or 'RECIPE'} --data_dir "
            f"{self.path}",
        ]
        if self.problems:
            lines.append(
                f"{len(self.problems)} videos gave no flow ({self.path}/{flow_folder.PROBLEMS}): "
                "they stay in their splits and count as errors, as the videos themselves would."
            )
        return "\n".join(lines)


@cluster.spread
def store_flow(
    data: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    annotations: str = AUTO,
    frame_rate: float = FRAME_RATE,
    trimmed: bool = False,
    several_labels: bool = False,
    input: str | None = None,
    short_side: int | None = None,
    recipe: str | None = None,
    overrides: Sequence[str] = (),
    processes: int | None = None,
    time_limit: float = 1800.0,
    progress: Progress | None = None,
    say: Say | None = None,
    **spread: Unpack[Spreading],
) -> StoredFlow | Share:
    """Stores optical flow of videos ahead; interrupted, the same call resumes.

    Args:
        data: folder of videos, CSV file, or public list.
        output: folder of the flow, new or unfinished; or s3://BUCKET/NAME, gs://BUCKET/NAME.
        annotations: as of `open_videos`.
        frame_rate: of folders of pictures, in frames a second.
        trimmed: as of `open_videos`.
        several_labels: as of `open_videos`.
        input: "farneback", "dis" or "tvl1"; None is the recipe's.
        short_side: shrinks frames to this short side first, in pixels; 0 keeps them; None is the
            recipe's.
        recipe: that will train on it.
        overrides: changes of that recipe, such as "clips.short_side=160".
        processes: videos at a time; None is one a core.
        time_limit: seconds for a video.
        progress: takes the number of videos done, and of all.
        say: takes how many videos there are.
        spread: as of `prepare_store`.

    Returns:
        The videos that gave no flow. Printed, it is a report.

    Raises:
        DataError: the algorithm or the folder cannot be used, the videos cannot be found, none can
            be read, or an argument is wrong.
        RecipeError: there is no such recipe.
        WriteError: the disk is full, …
    """
    data = os.fspath(data)
    check_range(0, short_side=short_side)
    check_range(1, time_limit=time_limit, processes=processes)
    if recipe is not None:
        asked = recipes.load(recipe, overrides).clips
        input = asked.input if input is None else input
        short_side = (asked.short_side or 0) if short_side is None else short_side
    elif overrides:
        raise DataError("`overrides` changes a key of the `recipe`, which is missing.")
    if input not in flow.ALGORITHMS:
        raise DataError(
            f"`input` (or clips.input of the `recipe`) must be one of {list(flow.ALGORITHMS)}. "
            f"Received: {input}"
        )
    if short_side is None:
        raise DataError("`short_side` is missing (0 keeps the frames), or `recipe`, which has one.")
    if output is None:
        raise DataError("`output` is missing: the folder of the flow.")
    if is_store(data):
        raise DataError(f"{data} is a clip store, which has no flow: name the videos.")
    if flow_folder.is_one(data):
        raise DataError(f"{data} holds flow already: name the videos.")
    flow.algorithm(input)  # or it is an error, once and not for each video
    reading = {"annotations": annotations, "frame_rate": frame_rate, "trimmed": trimmed}
    reading["several_labels"] = several_labels
    labeled = _read_videos(data, reading, output, say or (lambda text: None))
    settings = flow_folder.FlowSettings(input, short_side, frame_rate=frame_rate)
    problems = flow_folder.write(
        *(labeled, lists.root(data), outputs.local(output), settings),
        processes=processes or len(os.sched_getaffinity(0)),
        limit_seconds=time_limit,
        progress=progress or _ignore,
        spread=Spread(**spread),
    )
    if isinstance(problems, Share):
        return problems
    return StoredFlow(os.fspath(output), settings, problems, recipe)
