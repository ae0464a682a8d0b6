"""Jobs over all videos of a folder or a list: look at them, examine them, prepare them."""

import dataclasses
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from keras_r3d import recipe as recipes
from keras_r3d.data import annotations as lists
from keras_r3d.data import doctor, sheet
from keras_r3d.data.annotations import AUTO, Annotations, Problem
from keras_r3d.data.clip_config import Clips, MultiScale
from keras_r3d.data.decoding import flow, flow_folder
from keras_r3d.data.doctor import Scan
from keras_r3d.data.store import is_store, levels, preparing, storage, verifying
from keras_r3d.data.store.encoding import Settings
from keras_r3d.data.store.preparing import Prepared, size_text
from keras_r3d.system.command import duration
from keras_r3d.system.errors import DataError, StoreError
from keras_r3d.system.work import Share

if TYPE_CHECKING:  # it brings TensorFlow along, which these jobs need not
    from keras_r3d.data.labeled_videos import Videos

Progress = Callable[[int, int], None]
Say = Callable[[str], None]

_MOST_FPS = 1000


def scan(
    data: str | os.PathLike[str],
    *,
    annotations: str = AUTO,
    min_frames: int = 16,
    min_side: int = 112,
    limit_seconds: float = 300.0,
    processes: int | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Scan:
    """Decodes every video to its end, and says what is broken, odd, or the same as another.

    Args:
        data: folder of videos, CSV file, public list, or a video.
        annotations: as of `open_videos`; where "auto" finds no labels, there are none.
        min_frames: fewer frames are a finding.
        min_side: a shorter side is a finding, in pixels.
        limit_seconds: for each file.
        processes: files at a time; None is one a core.
        progress: takes the number of files done, and of all.
        say: takes what there is to say of labels and splits.

    Returns:
        `examinations` (of each file its `findings`, frames, seconds, size), `near_duplicates`, and
        the `annotations` if there are some.

    Raises:
        DataError: there is nothing to examine, or the labels cannot be read.
        StoreError: it is a clip store, which `python -m keras_r3d.prepare --verify` examines.
    """
    data = os.fspath(data)
    if not os.path.exists(data):
        raise DataError(f"{data} does not exist: name a folder of videos, or a list of them.")
    if is_store(data):
        raise StoreError(
            f"{data} is a clip store, which `python -m keras_r3d.prepare --verify {data}` examines."
        )
    labelled, say = None, say or _silent
    if Path(data).suffix.lower() not in lists.VIDEO_SUFFIXES:
        try:
            labelled = lists.read(data, annotations, must_exist=False, quarantined=True)
        except DataError as error:
            if annotations != AUTO:
                raise
            say(f"Without labels and splits: {error}")
    if labelled:
        for note in labelled.notes:
            say(f"Note: {note}")
        paths = sorted({v.path for videos in labelled.splits.values() for v in videos})
    else:
        paths = [data] if os.path.isfile(data) else lists.videos_in(data)
    if not paths:
        raise DataError(f"{data} holds no videos.")
    return doctor.scan(
        paths,
        annotations=labelled,
        min_frames=min_frames,
        min_side=min_side,
        limit_seconds=limit_seconds,
        processes=processes or len(os.sched_getaffinity(0)),
        progress=progress or _ignore,
    )


def contact_sheet(
    videos: "Videos", clips: Clips, *, split: str = "train", per_class: int = 3, seed: int = 0
) -> list[Figure]:
    """Draws clips as a network sees them, beside each the uncut frame with the crop on it.

    Args:
        videos: as `open_videos` gives them.
        clips: how they are cut.
        split: of the videos.
        per_class: videos of each class.
        seed: draws which videos and which clips of them.

    Returns:
        Pages of up to 15 strips.

    Raises:
        DataError: there is no such split, or none of its videos can be read.
    """
    if split not in videos.splits:
        raise DataError(
            f"`split` must be one of {sorted(videos.splits)}. Received: split={split!r}"
        )
    found = list(videos.splits[split])
    return list(sheet.pages(videos.reader(clips), found, clips.data(), seed, per_class))


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
) -> Prepared:
    """Makes a clip store of videos, which trainings read many times as fast.

    Interrupted, the same call resumes.

    Args:
        data: folder of videos, CSV file, or public list.
        output: folder of the store, new or unfinished.
        annotations: as of `open_videos`.
        levels: "paper": a level for each training scale of `recipe`, so that its crops need no
            resizing (the default). Or short sides in pixels, such as "240,120".
        recipe: whose size and scales "paper" takes.
        overrides: changes of that recipe, such as "data.size=224".
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
    data, say = os.fspath(data), say or _silent
    if output is None and not dry_run:
        raise StoreError("--output is missing: the folder of the store (or pass --dry_run).")
    if not 0 <= fps <= _MOST_FPS:
        raise StoreError(f"--fps must be 0 to {_MOST_FPS}. Received: {fps}")
    if is_store(data):
        raise StoreError(f"{data} is a clip store already: name the videos.")
    if (shard_index is None) != (shard_count is None):
        raise StoreError("--shard_index and --shard_count go together: pass both, or none.")
    share = None if shard_index is None else Share(shard_index, shard_count or 1)
    kept = _levels(levels, recipe, overrides, height, short_side, clips)
    if output is not None:
        _check_outside(data, output)
    labelled = lists.read(data, annotations)
    _say_videos(say, data, labelled)
    rate = f"{fps:g} frames/s" if fps else "frame rate kept"
    sides = ", ".join(map(str, kept.sizes))
    say(f"Levels: {kept.by.replace('_', ' ')} {sides} px; JPEG quality {quality}; {rate}")
    job = preparing.job(labelled, lists.root(data), Settings(kept, quality, fps))
    disk = Path(output or ".").absolute()
    while not disk.exists():
        disk = disk.parent

    def estimated(needed: preparing.Estimate) -> None:
        free = shutil.disk_usage(disk).free
        say(
            f"By {needed.samples} of them: about {size_text(needed.bytes)} and "
            f"{duration(needed.seconds)}; {size_text(free)} are free in {disk}"
        )
        if needed.bytes > free:
            say("Warning: the disk may not hold it. If it fills up, make room, then run again.")

    limits = {
        "processes": processes or len(os.sched_getaffinity(0)),
        "limit_seconds": time_limit,
    }
    if dry_run:
        if output is None or not preparing.folder(job, Path(output)).is_begun():
            estimated(preparing.estimate(job, **limits))
        return Prepared(None, [], [], 0, [])
    prepared = preparing.prepare(
        job,
        Path(output or ""),
        **limits,
        shard_bytes=int(shard_gib * 2**30),
        share=share,
        finish=finish,
        estimated=estimated,
        progress=progress or _ignore,
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
    if clips is not None:
        if not isinstance(clips.crop, MultiScale):
            raise StoreError(
                "`clips` must have a MultiScale crop, whose scales say which sizes are kept; of "
                "others name `levels`."
            )
        return levels.for_crops(clips.size, clips.crop.scales)
    if asked in ({}, {"levels": "paper"}):
        data = recipes.load(name, overrides).data
        return levels.for_crops(data.size, data.scales)
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
) -> verifying.Report:
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
        StorageError: it cannot be reached.
    """
    path = os.fspath(store)
    if quarantine and storage.is_url(path):
        raise StoreError(f"--quarantine writes a file into the store, which {path} does not allow.")
    report = verifying.verify(path, progress=progress or _ignore)
    if report.broken and quarantine:
        listed = lists.add_to_quarantine(path, report.broken)
        report = dataclasses.replace(report, quarantine=listed)
    return report


def store_flow(
    data: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    input: str = "dis",
    short_side: int = 0,
    annotations: str = AUTO,
    processes: int | None = None,
    limit_seconds: float = 1800.0,
    progress: Progress | None = None,
    say: Say | None = None,
) -> list[Problem]:
    """Stores optical flow of videos ahead; interrupted, the same call resumes.

    Args:
        data: folder of videos, CSV file, or public list.
        output: folder of the flow, new or unfinished.
        input: "farneback", "dis" or "tvl1".
        short_side: shrink frames to this short side first, in pixels; 0 does not.
        annotations, processes, limit_seconds, progress: as of `prepare_store`.
        say: takes how many videos there are.

    Returns:
        The videos that gave no flow.

    Raises:
        DataError: the algorithm or the folder cannot be used, or no video can be read.
        DataError: the videos cannot be found.
    """
    data = os.fspath(data)
    if is_store(data):
        raise DataError(f"{data} is a clip store, which has no flow: name the videos.")
    if flow_folder.is_one(data):
        raise DataError(f"{data} holds flow already: name the videos.")
    _check_outside(data, output)
    flow.algorithm(input)  # or it is an error, once and not for each video
    found, say = lists.read(data, annotations), say or _silent
    _say_videos(say, data, found)
    return flow_folder.write(
        found,
        lists.root(data),
        Path(output),
        flow_folder.Settings(input, short_side),
        processes=processes or len(os.sched_getaffinity(0)),
        limit_seconds=limit_seconds,
        progress=progress or _ignore,
    )


def _say_videos(say: Say, data: str, labelled: Annotations) -> None:
    for note in labelled.notes:
        say(f"Note: {note}")
    counts = ", ".join(f"{name} {len(videos)}" for name, videos in labelled.splits.items())
    say(f"{data}: {len(labelled.classes)} classes; videos: {counts}")


def _check_outside(data: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Raises DataError if an output lies among the videos."""
    inside = os.path.relpath(os.path.realpath(output), os.path.realpath(data))
    if os.path.isdir(data) and inside.split(os.sep)[0] != os.pardir:
        raise DataError(
            f"--output {output} lies in {data}, where it would be taken for a class: choose a "
            "folder elsewhere."
        )


def _silent(_: str) -> None:
    """Says nothing."""


def _ignore(done: int, total: int) -> None:
    """Takes progress, and says nothing."""
