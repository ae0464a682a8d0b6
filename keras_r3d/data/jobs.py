"""Jobs over all videos of a folder or a list: look at them, examine them, prepare them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from keras_r3d.data import annotations as lists
from keras_r3d.data import doctor, sheet
from keras_r3d.data.annotations import AUTO, Annotations, Problem
from keras_r3d.data.clip_config import Clips, MultiScale
from keras_r3d.data.decoding import flow, flow_folder
from keras_r3d.data.doctor import Scan
from keras_r3d.data.store import is_store, levels, preparing
from keras_r3d.data.store.encoding import Settings
from keras_r3d.data.store.format import Description
from keras_r3d.system.errors import DataError, StoreError

if TYPE_CHECKING:  # it brings TensorFlow along, which these jobs need not
    from keras_r3d.data.labeled_videos import Videos

Progress = Callable[[int, int], None]
Say = Callable[[str], None]

_MOST_FPS = 1000
_GIB = 2**30


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
    output: str | os.PathLike[str],
    *,
    clips: Clips | None = None,
    short_sides: Sequence[int] = (),
    quality: int = 90,
    fps: float = 0.0,
    annotations: str = AUTO,
    processes: int | None = None,
    limit_seconds: float = 1800.0,
    shard_gib: float = 2.0,
    progress: Progress | None = None,
) -> tuple[Description, list[Problem]]:
    """Makes a clip store of videos, which trainings read many times as fast.

    Interrupted, the same call resumes.

    Args:
        data: folder of videos, CSV file, or public list.
        output: folder of the store, new or unfinished.
        clips: sizes of frames are kept for their crops (`MultiScale`), so that none has to be
            resized; None is the paper's.
        short_sides: sizes instead, in pixels.
        quality: of the JPEGs, 1 to 100.
        fps: frames a second to resample to; 0 keeps all.
        annotations: as of `open_videos`.
        processes: videos at a time; None is one a core.
        limit_seconds: for a video.
        shard_gib: size at which a shard is full.
        progress: takes the number of videos done, and of all.

    Returns:
        What the store holds, and the videos that are left out.

    Raises:
        DataError, StoreError: the videos cannot be found, or an argument is wrong.
        WriteError: the disk is full, …
    """
    settings = Settings(store_levels(clips, short_sides), quality, fps)
    work = preparing.job(*store_source(data, output, annotations, fps), settings)
    return preparing.prepare(
        work,
        Path(output),
        processes=processes or len(os.sched_getaffinity(0)),
        limit_seconds=limit_seconds,
        shard_bytes=int(shard_gib * _GIB),
        progress=progress or _ignore,
    )


def store_levels(clips: Clips | None = None, short_sides: Sequence[int] = ()) -> levels.Levels:
    """Returns the sizes of frames that a store keeps, as `prepare_store` takes them."""
    if short_sides:
        if clips is not None:
            raise StoreError("`clips` and `short_sides` both say which sizes are kept: name one.")
        if min(short_sides) < 16:
            raise StoreError(f"`short_sides` must be 16 or more. Received: {list(short_sides)}")
        return levels.Levels("short_side", tuple(sorted(set(short_sides), reverse=True)))
    clips = clips or Clips()
    if not isinstance(clips.crop, MultiScale):
        raise StoreError(
            "`clips` must have a MultiScale crop, whose scales say which sizes are kept; of others "
            "name `short_sides`."
        )
    return levels.for_crops(clips.size, clips.crop.scales)


def store_source(
    data: str | os.PathLike[str],
    output: str | os.PathLike[str] | None,
    annotations: str = AUTO,
    fps: float = 0.0,
) -> tuple[Annotations, str]:
    """Returns the videos of a new store and their root; arguments as of `prepare_store`."""
    data = os.fspath(data)
    if not 0 <= fps <= _MOST_FPS:
        raise StoreError(f"--fps must be 0 to {_MOST_FPS}. Received: {fps}")
    if is_store(data):
        raise StoreError(f"{data} is a clip store already: name the videos.")
    if output is not None:
        _check_outside(data, output)
    return lists.read(data, annotations), lists.root(data)


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
    for note in found.notes:
        say(f"Note: {note}")
    counts = ", ".join(f"{name} {len(videos)}" for name, videos in found.splits.items())
    say(f"{data}: {len(found.classes)} classes; videos: {counts}")
    return flow_folder.write(
        found,
        lists.root(data),
        Path(output),
        flow_folder.Settings(input, short_side),
        processes=processes or len(os.sched_getaffinity(0)),
        limit_seconds=limit_seconds,
        progress=progress or _ignore,
    )


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
