"""Making clip stores, and comparing them with their checksums."""

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from keras_r3d import recipe as recipes
from keras_r3d.data import annotations as lists
from keras_r3d.data.annotations import AUTO
from keras_r3d.data.jobs import (
    Progress,
    Say,
    check_outside,
    ignore,
    say_videos,
    silent,
)
from keras_r3d.data.store import is_store, levels, planning, preparing, storage, verifying
from keras_r3d.data.store.encoding import StoreSettings
from keras_r3d.data.store.planning import size_text
from keras_r3d.data.store.preparing import PreparedStore
from keras_r3d.recipe.clips import Clips, MultiScale
from keras_r3d.system.errors import StoreError, check_range
from keras_r3d.system.progress import duration
from keras_r3d.system.work import Share

_MOST_FPS = 1000


def prepare_store(
    data: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    annotations: str = AUTO,
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
    shard_index: int | None = None,
    shard_count: int | None = None,
    finish: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> PreparedStore:
    """Makes a clip store of videos, which trainings read many times as fast.

    Interrupted, the same call resumes.

    Args:
        data: folder of videos, CSV file, or public list.
        output: folder of the store, new or unfinished.
        annotations: as of `open_videos`.
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
        shard_index: makes only the shards whose number leaves this when divided by `shard_count`,
            so that several machines can share the work; then call again with `finish`.
        shard_count: how many processes or machines share the work.
        finish: joins the shards that are there, and makes none.
        dry_run: says what it would take, and writes nothing.
        progress: takes the number of videos done, and of all.
        say: takes what there is to say before the work begins.

    Returns:
        What the store holds, and the videos that are left out or cut short. Printed, it is a
        report.

    Raises:
        DataError, StoreError: the videos cannot be found, or an argument is wrong.
        RecipeError: there is no such recipe.
        WriteError: the disk is full, …
    """
    data, say = os.fspath(data), say or silent
    if output is None and not dry_run:
        raise StoreError("--output is missing: the folder of the store (or pass --dry_run).")
    if not 0 <= fps <= _MOST_FPS:
        raise StoreError(f"--fps must be 0 to {_MOST_FPS}. Received: {fps}")
    check_range(1, 100, quality=quality)
    check_range(1, time_limit=time_limit, processes=processes)
    check_range(0.001, shard_gib=shard_gib)
    if is_store(data):
        raise StoreError(f"{data} is a clip store already: name the videos.")
    if (shard_index is None) != (shard_count is None):
        raise StoreError("--shard_index and --shard_count go together: pass both, or none.")
    share = None if shard_index is None else Share(shard_index, shard_count or 1)
    kept = _levels(levels, recipe, overrides, height, short_side, clips)
    if output is not None:
        check_outside(data, output)
    labeled = lists.read(data, annotations)
    say_videos(say, data, labeled)
    rate = f"{fps:g} frames/s" if fps else "frame rate kept"
    sides = ", ".join(map(str, kept.sizes))
    say(f"Levels: {kept.by.replace('_', ' ')} {sides} px; JPEG quality {quality}; {rate}")
    job = planning.job(labeled, lists.root(data), StoreSettings(kept, quality, fps))
    disk = Path(output or ".").absolute()
    while not disk.exists():
        disk = disk.parent

    def estimated(needed: planning.Estimate) -> None:
        free = shutil.disk_usage(disk).free
        say(
            f"By {needed.samples} of them: about {size_text(needed.bytes)} and "
            f"{duration(needed.seconds)}; {size_text(free)} are free in {disk}"
        )
        if needed.bytes > free:
            say("Warning: the disk may not hold it. If it fills up, make room, then run again.")

    processes = processes or len(os.sched_getaffinity(0))
    if dry_run:
        if output is None or not preparing.folder(job, Path(output)).is_begun():
            estimated(planning.estimate(job, processes=processes, limit_seconds=time_limit))
        return PreparedStore(None, [], [], 0, [])
    prepared = preparing.prepare(
        job,
        Path(output or ""),
        processes=processes,
        limit_seconds=time_limit,
        shard_bytes=int(shard_gib * 2**30),
        share=share,
        finish=finish,
        estimated=estimated,
        progress=progress or ignore,
    )
    return dataclasses.replace(prepared, store=Path(output or ""), recipe=recipe)


def _levels(
    text: str | None,
    name: str,
    overrides: Sequence[str],
    height: int | None,
    short_side: int | None,
    clips: Clips | None,
) -> levels.Levels:
    """Returns the sizes of frames that a store keeps."""
    values = {"levels": text, "height": height, "short_side": short_side, "clips": clips}
    asked = {key: value for key, value in values.items() if value is not None}
    if len(asked) > 1:
        raise StoreError(f"Of --levels, --height and --short_side, one only. Received: {asked}")
    if clips is None and asked in ({}, {"levels": "paper"}):
        clips = recipes.load(name, overrides).clips
    if clips is not None:
        if not isinstance(clips.crop, MultiScale):
            raise StoreError(
                f"Only the scales of multiscale crops say which sizes to keep, and these are "
                f"{clips.crop.kind}: pass `levels`, such as 240,120."
            )
        return levels.for_crops(clips.size, clips.crop.scales)
    ((option, value),) = asked.items()
    try:
        sizes = {int(word) for word in str(value).split(",")}
    except ValueError:
        sizes = set()
    if not sizes or min(sizes) < 16:
        raise StoreError(
            f"--{option} must be of 16 pixels or more"
            + " (`paper`, or short sides such as 240,120)" * (option == "levels")
            + f". Received: {value}"
        )
    by = "height" if option == "height" else "short_side"
    return levels.Levels(by, tuple(sorted(sizes, reverse=True)))


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
        raise StoreError(f"--quarantine writes a file into the store, which {path} does not allow.")
    report = verifying.verify(path, progress=progress or ignore)
    if report.broken and quarantine:
        listed = lists.add_to_quarantine(path, report.broken)
        report = dataclasses.replace(report, quarantine=listed)
    return report
