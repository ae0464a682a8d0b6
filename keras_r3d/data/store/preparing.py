"""Making a store: its videos are divided into shards, and each shard follows from that plan.

A shard is made of its videos alone, in the order of the list, and beside it a small index. The last
step joins the indexes; store.json, without which nothing opens the store, comes last.
"""

import contextlib
import csv
import dataclasses
import itertools
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
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
from keras_r3d.system.text import first_of
from keras_r3d.system.work import Share, Work

_PARTS = "parts"  # indexes of the shards
_JOURNAL = "prepare.jsonl"  # of stores that keras_r3d prepared before it made shards one by one
_DAMAGED = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile)


@dataclasses.dataclass(frozen=True)
class PreparedStore:
    """What was prepared.

    Attributes:
        description: of the finished store; None while shards are missing.
        problems: videos that are left out.
        partial: videos that are cut short; what decodes of them is in the store.
        shards: of the store when it is finished.
        missing: numbers of the shards that are still to be made.
        recipe: that the store is prepared for.
    """

    description: format.Description | None
    problems: list[Problem]
    partial: list[Problem]
    shards: int
    missing: list[int]
    lost_classes: list[str] = dataclasses.field(default_factory=list)
    store: Path = Path()
    recipe: str = ""

    def __str__(self) -> str:
        if self.description is None:
            missing = f"; {len(self.missing)} are missing" if self.missing else ": pass --finish"
            made = self.shards - len(self.missing)
            return f"{made} of {self.shards} shards are made{missing}." if self.shards else ""
        lines = [
            f"Warning: class '{name}' has no video that can be read: it is not in the store."
            for name in self.lost_classes
        ]
        listed = self.store / format.PROBLEMS
        for kind, problems in (
            ("left out", self.problems),
            ("cut short, and in the store as far as they decode", self.partial),
        ):
            lines += named_problems(problems)
            if problems:
                lines.append(f"{len(problems)} videos are {kind}: {listed}")
        total = sum(file.bytes for file in self.description.files)
        return "\n".join(
            [
                *lines,
                f"Written: {self.store}: {self.description.videos} videos, "
                f"{self.description.frames:,} frames at {len(self.description.levels.sizes)} "
                f"sizes, {size_text(total)} in {self.shards} shards. Next:",
                f"  python -m keras_r3d.view {self.store}",
                f"  python -m keras_r3d.train --recipe {self.recipe} --data_dir {self.store}",
            ]
        )


def named_problems(problems: Sequence[Problem]) -> list[str]:
    """Returns a line for each of the first problems."""
    return first_of([f"  {problem.status}: {problem.detail}" for problem in problems], 10)


def folder(work: Job, store: Path, share: Share | None = None) -> Work:
    """Returns the folder of a store that can be made or resumed; StoreError says why not."""
    if (store / _JOURNAL).exists():
        raise StoreError(
            f"{store} holds an unfinished store of an older keras_r3d, which this one cannot "
            "resume: remove it, or finish it with the older one."
        )
    if (store / format.DESCRIPTION).exists() and not (store / format.PLAN).exists():
        raise StoreError(f"{store} holds a store already, which is left as it is: choose another.")
    place = Work(store, format.PLAN, work.request(), StoreError, share or Share())
    place.is_begun()
    return place


def prepare(
    work: Job,
    store: Path,
    *,
    processes: int,
    limit_seconds: float,
    shard_bytes: int,
    progress: Callable[[int, int], None],
    share: Share | None = None,
    finish: bool = False,
    estimated: Callable[[Estimate], None] = lambda _: None,
) -> PreparedStore:
    """Makes a store, or resumes an earlier call that was interrupted.

    `limit_seconds` is for each video; a shard gets about `shard_bytes`. With a share, only its
    shards are made and nothing is joined; `finish` makes none, but joins those that are there.
    `estimated` takes the estimate that a new store begins with.
    """
    place = folder(work, store, share)
    if finish and not place.is_begun():
        raise StoreError(f"{store} has no shards yet: prepare them before you pass `finish`.")

    def plan() -> dict[str, Any]:
        expected = estimate(
            work, processes=processes, limit_seconds=limit_seconds, folder=place.scratch
        )
        estimated(expected)
        return {"shards": divide(work.weights(), expected.bytes, shard_bytes)}

    with place.open(plan) as planned:
        starts = [*planned["shards"], len(work.samples)]
        shards = [_Shard(store, n, *ends) for n, ends in enumerate(itertools.pairwise(starts))]
        if not (store / format.DESCRIPTION).exists():  # else it was killed when it was all but done
            missing = [shard.number for shard in shards if not shard.is_made()]
            if not finish:
                numbers = place.share.of(range(len(shards)))
                count = sum(len(shards[number].places) for number in numbers)
                unmade = [shards[number] for number in numbers if number in set(missing)]
                done = count - sum(len(shard.places) for shard in unmade)
                if done:
                    progress(done, count)
                for _ in _make(work, unmade, place, processes, limit_seconds):
                    done += 1
                    progress(done, count)
                missing = [number for number in missing if not shards[number].is_made()]
                if share is not None:
                    return PreparedStore(None, [], [], len(shards), missing)
            if missing:
                raise StoreError(
                    f"{store} lacks {len(missing)} of its {len(shards)} shards: "
                    f"{', '.join(map(str, missing))}. Make them (`shard_index`, `shard_count`), "
                    "then pass `finish` again."
                )
            _join(work, store, shards, place)
        shutil.rmtree(store / _PARTS, ignore_errors=True)
    (store / format.PLAN).unlink(missing_ok=True)  # the last, so that a kill leaves nothing behind
    return _prepared(work, store, len(shards))


class _Shard:
    """A shard of a store that is being made, of the videos from `first` to `stop` in the list."""

    def __init__(self, store: Path, number: int, first: int, stop: int):
        self.number, self.places = number, range(first, stop)
        self.path = store / format.shard_name(number)
        self.index_path = store / _PARTS / f"{number:05d}.npz"

    def is_made(self) -> bool:
        """Whether shard and index are there, whole (some is lost if the power fails)."""
        try:
            return bool(self.path.stat().st_size == self.read()["bytes"])
        except _DAMAGED:
            return False

    def read(self) -> dict[str, Any]:
        """Returns what its index says beside the columns."""
        with np.load(self.index_path) as arrays:
            return dict(json.loads(arrays["about"].tobytes()))


def _make(
    work: Job, shards: Sequence[_Shard], place: Work, processes: int, limit_seconds: float
) -> Iterator[None]:
    """Makes shards, one after the other; yields after each video."""
    for sub in (format.SHARDS, _PARTS):
        (place.folder / sub).mkdir(exist_ok=True)
    places = [number for shard in shards for number in shard.places]
    running = encoded(work, places, place.scratch, processes, limit_seconds)
    results: dict[int, Part | workers.Failure] = {}
    with contextlib.closing(running):
        for shard in shards:
            rows: list[list[Any]] = []
            problems: list[Problem] = []
            columns: dict[str, list[np.ndarray]] = {column: [] for column in format.COLUMNS}
            temporary = place.scratch / shard.path.name
            with temporary.open("wb") as output:
                for number in shard.places:
                    while number not in results:
                        results.update([next(running)])
                    result = results.pop(number)
                    split, video = work.samples[number]
                    if isinstance(result, workers.Failure):
                        detail = result.sentence(video.name)
                        problems.append(_problem(video.name, result.status, detail))
                    else:
                        if result.short:
                            problems.append(_problem(video.name, "short", result.short))
                        start = output.tell()
                        _append(output, result, shard.number, columns)
                        end = video.end_seconds if video.end_seconds < float("inf") else ""
                        rows.append(
                            [
                                *(work.name(video), video.label, split, video.start_seconds, end),
                                *(result.seconds.size, output.tell() - start, result.sha256),
                                *(result.source_bytes, result.source_sha256),
                            ]
                        )
                    yield
                about = {"bytes": output.tell(), "rows": rows}
                about["problems"] = [dataclasses.astuple(problem) for problem in problems]
            place.put(temporary, shard.path)
            index = place.scratch / shard.index_path.name
            text = np.frombuffer(json.dumps(about).encode(), np.uint8)
            arrays = {name: np.concatenate(parts) for name, parts in columns.items() if parts}
            np.savez(index, about=text, **arrays)
            place.put(index, shard.index_path)


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


def _join(work: Job, store: Path, shards: Sequence[_Shard], place: Work) -> None:
    """Writes the index of the store out of those of its shards, and store.json."""
    abouts = [shard.read() for shard in shards]
    rows = [row for about in abouts for row in about["rows"]]
    problems = [row for about in abouts for row in about["problems"]]
    if not rows:
        raise StoreError(
            f"None of the {len(work.samples)} videos can be read; the first: {problems[0][2]} "
            f"Nothing is left to prepare: remove {store}."
        )
    (store / format.INDEX).mkdir(exist_ok=True)
    filled = [(shard, about) for shard, about in zip(shards, abouts, strict=True) if about["rows"]]
    with contextlib.ExitStack() as stack:
        columns = {
            column: stack.enter_context((place.scratch / column).open("wb"))
            for column in format.COLUMNS
        }
        for shard, _ in filled:
            with np.load(shard.index_path) as arrays:
                for column, file in columns.items():
                    file.write(arrays[column].tobytes())
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
    described += [format.File(format.shard_name(s.number), about["bytes"]) for s, about in filled]
    for shard, about in zip(shards, abouts, strict=True):
        if not about["rows"]:  # all of its videos are broken
            shard.path.unlink(missing_ok=True)
    source = {"path": work.root, "videos": len(work.samples)}
    source["sha256"] = place.request["videos_sha256"]
    frames, settings = sum(row[5] for row in rows), work.settings
    description = format.Description(
        *(settings.levels, len(rows), frames, settings.quality, settings.fps),
        *(tuple(described), source),
    )
    files.write_text(store / format.DESCRIPTION, description.dumps())


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
        missing=[],
        lost_classes=sorted({x for _, video in work.samples for x in video.labels} - set(kept)),
    )
