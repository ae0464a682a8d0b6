"""Jobs over all videos of a folder or a list: look at them, examine them, store their flow."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from keras_r3d import recipe as recipes
from keras_r3d.data import annotations as lists
from keras_r3d.data import sheet
from keras_r3d.data.annotations import AUTO, Annotations, Problem
from keras_r3d.data.decoding import flow, flow_folder
from keras_r3d.data.opening import open_source
from keras_r3d.data.scanning import examining, report
from keras_r3d.data.scanning.report import Scan
from keras_r3d.data.store import is_store
from keras_r3d.data.store.preparing import named_problems
from keras_r3d.recipe import Clips
from keras_r3d.system import files
from keras_r3d.system.errors import DataError, StoreError, check_range

if TYPE_CHECKING:  # it brings TensorFlow along, which these jobs need not
    from keras_r3d.data.labeled_videos import Videos

Progress = Callable[[int, int], None]
Say = Callable[[str], None]


def scan(
    data: str | os.PathLike[str],
    *,
    annotations: str = AUTO,
    min_frames: int = 16,
    min_side: int = 112,
    time_limit: float = 300.0,
    processes: int | None = None,
    csv: str | None = None,
    json: str | None = None,
    quarantine: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Scan:
    """Decodes every video to its end, and says what is broken, odd, or the same as another.

    Args:
        data: folder of videos, CSV file, public list, or a video.
        annotations: as of `open_videos`; where "auto" finds no labels, there are none.
        min_frames: fewer frames are a finding.
        min_side: a shorter side is a finding, in pixels.
        time_limit: seconds for a file.
        processes: files at a time; None is one a core.
        csv: also writes a row for each file to this CSV file.
        json: also writes the report to this JSON file.
        quarantine: adds the broken files to quarantine.txt in the folder: they are left aside.
        progress: takes the number of files done, and of all.
        say: takes what there is to say of labels and splits.

    Returns:
        `examinations` (of each file its `findings`, frames, seconds, size), `near_duplicates`, and
        the `annotations` if there are some. Printed, it is a report.

    Raises:
        DataError: there is nothing to examine, the labels cannot be read, or an argument is wrong.
        StoreError: it is a clip store, which `python -m keras_r3d.prepare --verify` examines.
        WriteError: a file cannot be written.
    """
    data = os.fspath(data)
    check_range(1, min_frames=min_frames, min_side=min_side)
    check_range(1, time_limit=time_limit, processes=processes)
    if not os.path.exists(data):
        raise DataError(f"{data} does not exist: name a folder of videos, or a list of them.")
    if is_store(data):
        raise StoreError(
            f"{data} is a clip store, which `python -m keras_r3d.prepare --verify {data}` examines."
        )
    labeled, say = None, say or silent
    if Path(data).suffix.lower() not in lists.VIDEO_SUFFIXES:
        try:
            labeled = lists.read(data, annotations, must_exist=False, quarantined=True)
        except DataError as error:
            if annotations != AUTO:
                raise
            say(f"Without labels and splits: {error}")
    if labeled:
        for note in labeled.notes:
            say(f"Note: {note}")
        paths = sorted({v.path for videos in labeled.splits.values() for v in videos})
    else:
        paths = [data] if os.path.isfile(data) else lists.videos_in(data)
    if not paths:
        raise DataError(f"{data} holds no videos.")
    examinations, near_duplicates = examining.examine_all(
        paths,
        labeled,
        min_frames=min_frames,
        min_side=min_side,
        limit_seconds=time_limit,
        processes=processes or len(os.sched_getaffinity(0)),
        progress=progress or ignore,
    )
    scanned = Scan(data, examinations, near_duplicates, labeled)
    if csv:
        files.write_text(csv, report.csv_text(scanned))
    if json:
        files.write_json(json, report.records(scanned))
    listed = None
    if scanned.broken and quarantine:
        listed = lists.add_to_quarantine(data, scanned.broken)
    written = [path for path in (csv, json) if path]
    return dataclasses.replace(scanned, written=written, quarantine=listed)


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
    chosen = list(videos.splits[split])
    return list(sheet.pages(videos.reader(clips), chosen, clips, seed, per_class))


@dataclasses.dataclass(frozen=True)
class WrittenSheet:
    """Pages of clips that were written. Printed, it is a report.

    Attributes:
        paths: of the pages.
        problems: the videos that could not be read.
        text: how the clips were drawn.
    """

    paths: list[Path]
    problems: list[Problem]
    text: str

    def __str__(self) -> str:
        first, last, count = self.paths[0], self.paths[-1], len(self.paths)
        pages = f"{first} to {last} ({count} pages)" if count > 1 else f"{first}"
        problems = [f"{problem.status}: {problem.detail}" for problem in self.problems]
        return "\n".join([*problems, f"Written: {pages}: {self.text}"])


def view_clips(
    data: str | os.PathLike[str],
    *,
    recipe: str = "kinetics34",
    overrides: Sequence[str] = (),
    output: str = "clips.png",
    per_class: int = 3,
    seed: int | None = None,
    say: Say | None = None,
) -> WrittenSheet:
    """Writes pictures of training clips as the network sees them, as a recipe cuts them.

    Args:
        data: folder of videos, CSV file, public list, or clip store.
        recipe: name of the recipe that cuts them, or path of a TOML file.
        overrides: changes of recipe keys, such as "clips.size=224".
        output: PNG file to write; further pages are NAME-2.png, … None may exist.
        per_class: videos of each class, 1 to 15.
        seed: draws other videos and clips; None is the recipe's.
        say: takes notes on the videos.

    Raises:
        DataError: the videos cannot be found, or none can be read; an argument is wrong, or a file
            exists.
        RecipeError: there is no such recipe.
        WriteError: the disk is full, …
    """
    experiment, path = recipes.load(recipe, overrides), Path(output)
    if path.suffix.lower() != ".png":
        raise DataError(f"`output` must end in .png. Received: {output}")
    check_range(1, 15, per_class=per_class)
    files.check_new(path, "output")  # before anything slow
    clips, seed = experiment.clips, experiment.train.seed if seed is None else seed
    source = open_source(os.fspath(data), clips, experiment.videos)
    for note in source.annotations.notes:
        (say or silent)(f"Note: {note}")
    videos = source.annotations.split("train")
    paths = sheet.write_pages(source.reader, videos, clips, seed, per_class, path)
    text = (
        f"training clips of recipe '{recipe}', {clips.frames} frames of {clips.size}x{clips.size} "
        f"pixels, drawn with seed {seed}"
    )
    return WrittenSheet(paths, list(source.reader.problems), text)


@dataclasses.dataclass(frozen=True)
class StoredFlow:
    """What was stored. Printed, it is a report.

    Attributes:
        path: of the folder.
        settings: how flow was computed.
        problems: the videos that gave none.
        recipe: that will train on it.
    """

    path: Path
    settings: flow_folder.FlowSettings
    problems: list[Problem]
    recipe: str | None

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
                f"{len(self.problems)} videos gave no flow ({self.path / flow_folder.PROBLEMS}): "
                "they stay in their splits and count as errors, as the videos themselves would."
            )
        return "\n".join(lines)


def store_flow(
    data: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    annotations: str = AUTO,
    input: str | None = None,
    short_side: int | None = None,
    recipe: str | None = None,
    overrides: Sequence[str] = (),
    processes: int | None = None,
    time_limit: float = 1800.0,
    progress: Progress | None = None,
    say: Say | None = None,
) -> StoredFlow:
    """Stores optical flow of videos ahead; interrupted, the same call resumes.

    Args:
        data: folder of videos, CSV file, or public list.
        output: folder of the flow, new or unfinished.
        annotations: as of `open_videos`.
        input: "farneback", "dis" or "tvl1"; None is the recipe's.
        short_side: shrinks frames to this short side first, in pixels; 0 keeps them; None is the
            recipe's.
        recipe: that will train on it.
        overrides: changes of that recipe, such as "clips.short_side=160".
        processes: videos at a time; None is one a core.
        time_limit: seconds for a video.
        progress: takes the number of videos done, and of all.
        say: takes how many videos there are.

    Returns:
        The videos that gave no flow. Printed, it is a report.

    Raises:
        DataError: the algorithm or the folder cannot be used, the videos cannot be found, none can
            be read, or an argument is wrong.
        RecipeError: there is no such recipe.
        WriteError: the disk is full, …
    """
    data, say = os.fspath(data), say or silent
    check_range(0, short_side=short_side)
    check_range(1, time_limit=time_limit, processes=processes)
    if recipe is not None:
        asked = recipes.load(recipe, overrides).clips
        input = asked.input if input is None else input
        short_side = (asked.short_side or 0) if short_side is None else short_side
    elif overrides:
        raise DataError("--set changes a key of the --recipe, which is missing.")
    if input not in flow.ALGORITHMS:
        raise DataError(
            f"--input (or the --recipe's clips.input) must be one of {list(flow.ALGORITHMS)}. "
            f"Received: {input}"
        )
    if short_side is None:
        raise DataError("--short_side is missing (0 keeps the frames), or --recipe, which has one.")
    if output is None:
        raise DataError("--output is missing: the folder of the flow.")
    if is_store(data):
        raise DataError(f"{data} is a clip store, which has no flow: name the videos.")
    if flow_folder.is_one(data):
        raise DataError(f"{data} holds flow already: name the videos.")
    check_outside(data, output)
    flow.algorithm(input)  # or it is an error, once and not for each video
    labeled = lists.read(data, annotations)
    say_videos(say, data, labeled)
    settings = flow_folder.FlowSettings(input, short_side)
    problems = flow_folder.write(
        *(labeled, lists.root(data), Path(output), settings),
        processes=processes or len(os.sched_getaffinity(0)),
        limit_seconds=time_limit,
        progress=progress or ignore,
    )
    return StoredFlow(Path(output), settings, problems, recipe)


def say_videos(say: Say, data: str, labeled: Annotations) -> None:
    for note in labeled.notes:
        say(f"Note: {note}")
    counts = ", ".join(f"{name} {len(videos)}" for name, videos in labeled.splits.items())
    say(f"{data}: {len(labeled.classes)} classes; videos: {counts}")


def check_outside(data: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Raises DataError if an output lies among the videos."""
    inside = os.path.relpath(os.path.realpath(output), os.path.realpath(data))
    if os.path.isdir(data) and inside.split(os.sep)[0] != os.pardir:
        raise DataError(
            f"--output {output} lies in {data}, where it would be taken for a class: choose a "
            "folder elsewhere."
        )


def silent(_: str) -> None:
    """Says nothing."""


def ignore(done: int, total: int) -> None:
    """Takes progress, and says nothing."""
