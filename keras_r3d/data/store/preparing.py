"""Making a store: its videos are divided into shards, and each shard follows from that plan.

A shard is made of its videos alone, in the order of the list, and beside it a small index. The last
step joins the indexes; store.json, without which nothing opens the store, comes last.
"""

import contextlib
import csv
import dataclasses
import functools
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.data.annotations import Problem
from keras_r3d.data.annotations.labels import has_several, split_labels
from keras_r3d.data.store import format
from keras_r3d.data.store.encoding import Part
from keras_r3d.data.store.planning import Estimate, Job, divide, encoded, estimate, size_text
from keras_r3d.system import files, workers
from keras_r3d.system.errors import StoreError
from keras_r3d.system.objects import outputs
from keras_r3d.system.text import first_of
from keras_r3d.system.work import PartMaker, Share, Spread, Work

_PARTS = "parts"  # indexes of the shards
_JOURNAL = "prepare.jsonl"  # of stores that keras_r3d prepared before it made shards one by one


@dataclasses.dataclass(frozen=True)
class PreparedStore:
    """What was prepared.

    Attributes:
        description: of the store; None of a dry run.
        problems: videos that are left out.
        partial: videos that are cut short; what decodes of them is in the store.
        shards: of the store.
        store: its folder or URL.
        recipe: that the store is prepared for.
    """

    description: format.Description | None
    problems: list[Problem]
    partial: list[Problem]
    shards: int
    lost_classes: list[str] = dataclasses.field(default_factory=list)
    store: str = ""
    recipe: str = ""

    def __str__(self) -> str:
        if self.description is None:
            return ""
        lines = [
            f"Warning: class '{name}' has no video that can be read: it is not in the store."
            for name in self.lost_classes
        ]
        listed = f"{self.store}/{format.PROBLEMS}"
        for kind, problems in (
            ("left out", self.problems),
            ("cut short, and in the store as far as they decode", self.partial),
        ):
            lines += named_problems(problems)
            if problems:
                lines.append(f"{len(problems)} videos are {kind}: {listed}")
        total = sum(file.bytes for file in self.description.files)
        sizes = len(self.description.levels.sizes)
        return "\n".join(
            [
                *lines,
                f"Written: {self.store}: {self.description.videos} videos, "
                f"{self.description.frames:,} frames at {sizes} size{'s' * (sizes > 1)}, "
                f"{size_text(total)} in {self.shards} shard{'s' * (self.shards > 1)}. Next:",
                f"  python -m keras_r3d.view {self.store}",
                f"  python -m keras_r3d.train --recipe {self.recipe} --data_dir {self.store}",
            ]
        )


def named_problems(problems: Sequence[Problem]) -> list[str]:
    """Returns a line for each of the first problems."""
    return first_of([f"  {problem.status}: {problem.detail}" for problem in problems], 10)


def folder(work: Job, store: Path, spread: Spread | None = None) -> Work:
    """Returns the folder of a store that can be made or resumed; StoreError says why not."""
    there = outputs.sizes(store)
    if _JOURNAL in there:
        raise StoreError(
            f"{store} holds an unfinished store of an older keras_r3d, which this one cannot "
            "resume: remove it, or finish it with the older one."
        )
    if format.DESCRIPTION in there and format.PLAN not in there:
        raise StoreError(f"{store} holds a store already, which is left as it is: choose another.")
    paths = [video.path for _, video in work.samples]
    return Work(
        *(store, format.PLAN, work.request(), StoreError, paths),
        is_there=lambda number: work.file_bytes[paths[number]] >= 0,
        spread=spread or Spread(),
        parts_folder=_PARTS,
    )


def prepare(
    work: Job,
    store: Path,
    *,
    processes: int,
    limit_seconds: float,
    shard_bytes: int,
    progress: Callable[[int, int], None],
    spread: Spread | None = None,
    estimated: Callable[[Estimate], None] = lambda _: None,
) -> PreparedStore | Share:
    """Makes a store, or resumes an earlier call that was interrupted.

    `limit_seconds` is for each video; a shard gets about `shard_bytes`. `estimated` takes the
    estimate that a new store begins with.
    """
    place = folder(work, store, spread)

    def plan() -> list[int]:
        expected = estimate(
            work, processes=processes, limit_seconds=limit_seconds, folder=place.scratch
        )
        estimated(expected)
        return divide(work.weights(), expected.bytes, shard_bytes)

    def results(places: Sequence[int], scratch: Path) -> Generator[tuple[int, Any], None, None]:
        return encoded(work, places, scratch, processes, limit_seconds)

    with place.open(plan) as starts:
        shards = outputs.sizes(store / format.SHARDS)
        maker = PartMaker(
            results,
            functools.partial(_pack, work, place),
            lambda number, about: shards.get(f"{number:05d}.jpegs", 0) == about["bytes"],
        )
        if not outputs.sizes(store / format.DESCRIPTION):  # else it was killed when all but done
            (store / format.SHARDS).mkdir(exist_ok=True)
            list(place.make(starts, maker, progress))
            if place.spread.is_share:
                return place.share()
            _join(work, place, len(starts))
        outputs.remove(store / _PARTS)
    for left in store.glob(".*-of-*"):  # of shares that were killed, and made by others
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    outputs.remove(store / format.PLAN)  # the last, so that a kill leaves nothing behind
    for name in (format.DESCRIPTION, format.CLASSES, format.PROBLEMS):
        outputs.fetch(store / name)
    return _prepared(work, store, len(starts))


def _pack(
    work: Job, place: Work, number: int, results: Iterator[tuple[int, Part | workers.Failure]]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Writes a shard; returns what its part of the index says of it, and the columns."""
    rows: list[list[Any]] = []
    problems: list[Problem] = []
    columns: dict[str, list[np.ndarray]] = {column: [] for column in format.COLUMNS}
    path = place.folder / format.shard_name(number)
    temporary = place.scratch / path.name
    with temporary.open("wb") as output:
        for item, result in results:
            split, video = work.samples[item]
            if isinstance(result, workers.Failure):
                detail = result.sentence(video.name)
                problems.append(_problem(video.name, result.status, detail))
                continue
            if result.short:
                problems.append(_problem(video.name, "short", result.short))
            start = output.tell()
            _append(output, result, number, columns)
            end = video.end_seconds if video.end_seconds < float("inf") else ""
            rows.append(
                [
                    *(work.name(video), video.label, split, video.start_seconds, end),
                    *(result.seconds.size, output.tell() - start, result.sha256),
                    *(result.source_bytes, result.source_sha256),
                ]
            )
        about: dict[str, Any] = {"bytes": output.tell(), "rows": rows}
        about["problems"] = [dataclasses.astuple(problem) for problem in problems]
    if rows:  # else all of its videos are broken
        place.put(temporary, path)
        outputs.release(path)
    return about, {name: np.concatenate(some) for name, some in columns.items() if some}


def _append(output: Any, part: Part, shard: int, columns: dict[str, list[np.ndarray]]) -> None:
    """Appends a video to a shard, and its rows to the columns of the index."""
    offsets = []
    for level in range(len(part.ends)):
        offsets.append(output.tell())
        with part.level(level).open("rb") as file:
            shutil.copyfileobj(file, output, 2**20)
    shutil.rmtree(part.folder)
    for column, values in {
        "video_frames": part.seconds.size,
        "video_shard": shard,
        "level_offset": offsets,
        "level_size": part.sizes,
        "frame_end": part.ends,
        "frame_crc32": part.crc32,
        "frame_seconds": part.seconds,
    }.items():
        columns[column].append(np.array(values, format.column_type(column)).ravel())


def _problem(*texts: str) -> Problem:
    """Returns a problem that can be written as text: file names may be any bytes."""
    return Problem(
        *(text.encode(errors="surrogateescape").decode(errors="backslashreplace") for text in texts)
    )


def _join(work: Job, place: Work, shards: int) -> None:
    """Writes the index of the store out of those of its shards, and store.json."""
    store, rows, problems, sizes = place.folder, list[Any](), list[Any](), list[int]()
    (store / format.INDEX).mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        columns = {
            column: stack.enter_context((place.scratch / column).open("wb"))
            for column in format.COLUMNS
        }
        for number in range(shards):
            about, arrays = place.read(number)
            rows += about["rows"]
            problems += about["problems"]
            sizes.append(about["bytes"])
            for column, values in arrays.items():
                columns[column].write(values.tobytes())
    if not rows:
        raise StoreError(
            f"None of the {len(work.samples)} videos can be read; the first: {problems[0][2]} "
            f"Nothing is left to prepare: remove {store}."
        )
    for column in format.COLUMNS:
        place.put(place.scratch / column, store / format.column_name(column))
    several = has_several(video for _, video in work.samples)
    classes = sorted({x for row in rows for x in (split_labels(row[1]) if several else row[1:2])})
    files.write_text(store / format.CLASSES, "".join(f"{name}\n" for name in classes))
    files.write_text(store / format.VIDEOS, files.csv_text(format.video_columns(several), rows))
    if problems:
        text = files.csv_text(["video", "status", "detail"], problems)
        files.write_text(store / format.PROBLEMS, text)
    index = [format.VIDEOS, format.CLASSES, *map(format.column_name, format.COLUMNS)]
    described = [
        format.File(name, (store / name).stat().st_size, files.sha256(store / name))
        for name in index
    ]
    described += [format.File(format.shard_name(n), size) for n, size in enumerate(sizes) if size]
    source = {"path": work.root, "videos": len(work.samples)}
    source["sha256"] = place.request["videos_sha256"]
    frames, settings = sum(row[5] for row in rows), work.settings
    description = format.Description(
        *(settings.levels, len(rows), frames, settings.quality, settings.fps),
        *(tuple(described), source),
    )
    outputs.publish(store / name for name in (format.CLASSES, format.VIDEOS, format.PROBLEMS))
    files.write_text(store / format.DESCRIPTION, description.dumps())
    outputs.publish([store / format.DESCRIPTION])


def _prepared(work: Job, store: Path, shards: int) -> PreparedStore:
    """Reads what a finished store holds."""
    path, problems = store / format.DESCRIPTION, []
    if (store / format.PROBLEMS).is_file():
        with (store / format.PROBLEMS).open(newline="", encoding="utf-8") as file:
            problems = [Problem(*row) for row in list(csv.reader(file))[1:]]
    kept = (store / format.CLASSES).read_text(encoding="utf-8").splitlines()
    return PreparedStore(
        format.loads(path.read_text(encoding="utf-8"), str(path)),
        [problem for problem in problems if problem.status != "short"],
        [problem for problem in problems if problem.status == "short"],
        shards,
        lost_classes=sorted({x for _, video in work.samples for x in video.labels} - set(kept)),
    )
