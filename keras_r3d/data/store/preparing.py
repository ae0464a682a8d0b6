"""Making a store: videos are encoded in parallel and appended in the order of their list.

What is appended is written down in a journal. After a kill the files are cut back to the journal's
last line and the work goes on from there; store.json, without which nothing opens the store, comes
last.
"""

import contextlib
import csv
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from keras_r3d._version import __version__
from keras_r3d.data.annotations import Annotations, Problem, Video
from keras_r3d.data.store import encoding, format
from keras_r3d.data.store.encoding import Part, Settings
from keras_r3d.system import files, workers
from keras_r3d.system.errors import StoreError, VideoError
from keras_r3d.system.opencv import cv2

_JOURNAL = "prepare.jsonl"
_PARTS = "parts"
_PARTIAL = ".partial-"  # names of files.atomic begin so
_CHECKPOINT_SECONDS = 1.0
_SAMPLES, _TRIES = 4, 20  # videos encoded at a time to estimate, and at most


@dataclasses.dataclass(frozen=True)
class Job:
    """Videos to prepare.

    Attributes:
        root: folder that the videos' names in the store start from.
        samples: split and video, in the order of the store.
    """

    root: str
    samples: Sequence[tuple[str, Video]]
    settings: Settings

    def name(self, video: Video) -> str:
        """Returns a video's name in the store."""
        return os.path.relpath(video.path, self.root).replace(os.sep, "/")

    def fingerprint(self) -> str:
        """Returns a hash of all that decides what the store holds, but for the videos' content."""
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(self.settings)).encode())
        for split, video in self.samples:
            size = os.path.getsize(video.path) if os.path.isfile(video.path) else -1
            row = (self.name(video), video.label, split, video.start_seconds, video.end_seconds)
            digest.update(f"{row} {size}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


def job(annotations: Annotations, root: str, settings: Settings) -> Job:
    """Returns the job of preparing all videos of some annotations."""
    samples = [(split, video) for split, videos in annotations.splits.items() for video in videos]
    samples.sort(key=lambda one: (one[0], one[1].path, one[1].start_seconds, one[1].end_seconds))
    return Job(root, samples, settings)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What preparing will take, as a few videos show.

    Attributes:
        bytes: on the disk.
        seconds: with the processes asked for.
        samples: videos that were encoded to know it.
    """

    bytes: int
    seconds: float
    samples: int


def estimate(
    work: Job, *, processes: int, limit_seconds: float, folder: Path | None = None
) -> Estimate:
    """Encodes a few videos, spread over the list, into a temporary folder that is removed.

    Args:
        folder: in which the temporary one is made; None: where the system has such.

    Raises:
        StoreError: none of them can be read.
        WriteError: the disk is full, …
    """
    count = len(work.samples)
    most = min(_TRIES, count)
    # Spread over the list: every so-manyth first, then those between, where those were broken.
    places = np.linspace(0, count - 1, most).astype(int)
    step = -(-most // _SAMPLES)
    order = np.concatenate([places[start::step] for start in range(step)])
    reasons: list[Problem] = []
    for first in range(0, most, _SAMPLES):
        chosen = [work.samples[place][1] for place in order[first : first + _SAMPLES]]
        sizes, seconds = _try(chosen, work.settings, processes, limit_seconds, folder, reasons)
        if sizes:
            # So few may not have kept all processes busy.
            rounds = count / max(len(chosen), processes)
            return Estimate(int(np.mean(sizes) * count), seconds * rounds, len(sizes))
    raise StoreError(
        f"None of the {len(reasons)} videos tried can be read; the first: {reasons[0].detail} Look "
        "for more with `python -m keras_r3d.scan`."
    )


def _try(
    videos: Sequence[Video],
    settings: Settings,
    processes: int,
    limit_seconds: float,
    folder: Path | None,
    reasons: list[Problem],
) -> tuple[list[int], float]:
    """Encodes videos; returns the bytes of each that can be, and the seconds for all.

    Args:
        reasons: gets those of the others.
    """
    with tempfile.TemporaryDirectory(prefix=".keras_r3d-", dir=folder) as scratch:
        tasks = [_Task(v, settings, Path(scratch) / str(n)) for n, v in enumerate(videos)]
        sizes = []
        started = time.monotonic()
        running = workers.run(_encode, tasks, workers=processes, limit_seconds=limit_seconds)
        with contextlib.closing(running):
            for index, result in running:
                if result is None:
                    part = encoding.load(tasks[index].folder)
                    sizes.append(int(part.ends[:, -1].sum(dtype=np.uint64)) + _index_bytes(part))
                elif isinstance(result, files.WriteError):
                    raise result
                else:
                    reasons.append(_reason(tasks[index].source, result))
        return sizes, time.monotonic() - started


def _index_bytes(part: Part) -> int:
    return part.ends.size * 8 + part.seconds.nbytes + 200


def prepare(
    work: Job,
    store: Path,
    *,
    processes: int,
    limit_seconds: float,
    shard_bytes: int,
    progress: Callable[[int, int], None],
) -> tuple[format.Description, list[Problem]]:
    """Makes a store, or goes on where an earlier call was interrupted.

    Args:
        store: folder; must not exist, be empty, or hold an unfinished store of the same job.
        limit_seconds: for each video.
        shard_bytes: a shard gets no further video once it has so many.
        progress: takes the number of videos done, and of all.

    Returns:
        What store.json says, and the videos that could not be read (they are not in the store).

    Raises:
        StoreError: the folder holds something else; no video could be read.
        WriteError: the disk is full, …; call again to go on.
    """
    fingerprint = check(work, store)
    plan = _plan(fingerprint)
    try:
        with _alone(store):
            _check_folder(plan, store)  # now that no other process changes it
            if (store / format.DESCRIPTION).exists():
                return _finished(store)
            resumed = (store / format.PLAN).exists()
            files.write_json(store / format.PLAN, plan)
            for folder in (format.INDEX, format.SHARDS, _PARTS):
                (store / folder).mkdir(exist_ok=True)
            with _Writer(work, store, shard_bytes) as writer:
                if resumed:
                    progress(writer.done, len(work.samples))
                _append_all(work, store, writer, processes, limit_seconds, progress)
            return _finish(work, store, writer, fingerprint)
    except files.WriteError:
        raise
    except OSError as error:
        raise files.WriteError(files.explain(store, error)) from error


def unfinished(store: Path) -> bool:
    """Whether a folder holds a store that can be gone on with."""
    return (store / format.PLAN).is_file()


def check(work: Job, store: Path) -> str:
    """Returns the hash of a job that can be done, or gone on with, in a folder.

    Raises:
        StoreError: the folder holds something else.
    """
    fingerprint = work.fingerprint()
    _check_folder(_plan(fingerprint), store)
    return fingerprint


def _plan(fingerprint: str) -> dict[str, Any]:
    return {
        "version": format.VERSION,
        "job": fingerprint,
        "keras_r3d": __version__,
        "opencv": cv2.__version__,
    }


def _check_folder(plan: dict[str, Any], store: Path) -> None:
    """Raises StoreError if a store cannot be made, or gone on with, in a folder."""
    path = store / format.PLAN
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StoreError(f"{path} is damaged: {error}. Remove {store}.") from error
        if before != plan:
            raise StoreError(
                f"{store} holds an unfinished store of other videos or settings (or of another "
                "keras_r3d or OpenCV), which is left as it is: choose another folder, or remove it."
            )
    elif (store / format.DESCRIPTION).exists():
        raise StoreError(f"{store} holds a store already, which is left as it is: choose another.")
    elif store.is_file():
        raise StoreError(f"{store} is a file: choose a folder that does not exist yet.")
    elif store.is_dir() and any(
        # These two are there when a process is killed before it has written its plan.
        inside.name != _JOURNAL and not inside.name.startswith(_PARTIAL)
        for inside in store.iterdir()
    ):
        raise StoreError(
            f"{store} is not empty and is left as it is: choose a folder that does not exist yet."
        )


@contextlib.contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Keeps a second process from working on the same store."""
    store.mkdir(parents=True, exist_ok=True)
    taken = StoreError(f"{store} is being prepared by another process: wait for it, or stop it.")
    with files.locked(store / _JOURNAL, taken):
        # Of a process that was killed.
        for path in [*store.glob(f"{_PARTIAL}*"), *(store / _PARTS).glob(f"{_PARTIAL}*")]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        yield


@dataclasses.dataclass(frozen=True)
class _Task:
    source: Video
    settings: Settings
    folder: Path


def _encode(task: _Task) -> str | files.WriteError | None:
    """Encodes a video in another process; returns what went wrong."""
    try:
        encoding.encode(task.source, task.settings, task.folder)
    except files.WriteError as error:
        if task.folder.is_dir():  # a process of an earlier call, left alone, was first
            return None
        return files.WriteError(str(error))  # an OSError with arguments of its own does not travel
    except VideoError as error:
        return str(error)
    return None


def _reason(video: Video, result: str | workers.Failure) -> Problem:
    if isinstance(result, workers.Failure):
        return Problem(video.name, result.status, f"{video.name}: {result.detail}.")
    return Problem(video.name, "unreadable", result)


def _append_all(
    work: Job,
    store: Path,
    writer: "_Writer",
    processes: int,
    limit_seconds: float,
    progress: Callable[[int, int], None],
) -> None:
    def folder(number: int) -> Path:
        return store / _PARTS / f"{number:08d}"

    numbers = range(writer.done, len(work.samples))
    results: dict[int, Any] = {}
    for number in numbers:
        if encoding.is_whole(folder(number)):
            results[number] = None
        elif folder(number).is_dir():
            shutil.rmtree(folder(number))
    missing = [number for number in numbers if number not in results]
    tasks = [_Task(work.samples[n][1], work.settings, folder(n)) for n in missing]
    running = workers.run(_encode, tasks, workers=processes, limit_seconds=limit_seconds)
    with contextlib.closing(running):
        while writer.done < len(work.samples):
            if writer.done in results:
                number = writer.done
                result = results.pop(number)
                if result is None:
                    writer.append(encoding.load(folder(number)))
                else:
                    writer.leave_out(_reason(work.samples[number][1], result))
                progress(writer.done, len(work.samples))
                continue
            index, result = next(running)
            if isinstance(result, files.WriteError):
                raise result
            results[missing[index]] = result


class _Writer:
    """Appends videos to the files of a store.

    Attributes:
        done: videos appended or left out.
        rows: of videos.csv.
        problems: videos left out.
    """

    def __init__(self, work: Job, store: Path, shard_bytes: int):
        self._work = work
        self._store = store
        self._shard_bytes = shard_bytes
        self.shard = 0
        self._journal_lines: list[str] = []
        self._appended: list[Path] = []
        self._checkpointed = time.monotonic()
        self.done = 0
        self.rows: list[list[Any]] = []
        self.problems: list[Problem] = []

    def __enter__(self) -> "_Writer":
        shard_end = self._read_journal()
        with contextlib.ExitStack() as stack:
            levels = len(self._work.settings.levels.sizes)
            frames = sum(row[5] for row in self.rows)
            counts = {"video": len(self.rows), "level": levels * len(self.rows), "frame": frames}
            self._columns = {}
            for column in format.COLUMNS:
                count = counts[column.split("_")[0]]
                if column in ("frame_end", "frame_crc32"):
                    count *= levels
                if column == "level_size":
                    count *= 2
                self._columns[column] = stack.enter_context(
                    self._open(
                        format.column_name(column), count * format.column_type(column).itemsize
                    )
                )
            self._output = stack.enter_context(self._open(format.shard_name(self.shard), shard_end))
            for path in (self._store / format.SHARDS).iterdir():
                if path.name > (self._store / format.shard_name(self.shard)).name:
                    path.unlink()  # begun, but not in the journal
            self._journal = stack.enter_context(self._open(_JOURNAL, self._journal_end))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._stack:
            try:
                self._checkpoint()
            except OSError:
                if exception[0] is None:
                    raise
                # The block has failed already, most likely for the same reason.
            self._stack.callback(self._output.close)

    def append(self, part: Part) -> None:
        """Appends a video."""
        split, video = self._work.samples[self.done]
        if self._output.tell() >= self._shard_bytes:
            self._sync(self._output)
            self._output.close()
            self.shard += 1
            self._output = self._open(format.shard_name(self.shard), 0)
        start = offset = self._output.tell()
        offsets = []
        for level, end in enumerate(part.ends[:, -1].tolist()):
            offsets.append(offset)
            with part.level(level).open("rb") as file:
                shutil.copyfileobj(file, self._output, 2**20)
            offset += end
            if self._output.tell() != offset:
                raise StoreError(
                    f"{part.level(level)} is damaged: remove {part.folder}, then run again."
                )
        for column, values in {
            "video_frames": part.seconds.size,
            "video_shard": self.shard,
            "level_offset": offsets,
            "level_size": part.sizes,
            "frame_end": part.ends,
            "frame_crc32": part.crc32,
            "frame_seconds": part.seconds,
        }.items():
            self._columns[column].write(np.array(values, format.column_type(column)).tobytes())
        row = [
            *(self._work.name(video), video.label, split, video.start_seconds),
            *(video.end_seconds if video.end_seconds < float("inf") else "", part.seconds.size),
            *(offset - start, part.sha256, part.source_bytes, part.source_sha256),
        ]
        self.rows.append(row)
        self._note({"row": row, "shard": self.shard, "end": offset}, part.folder)

    def leave_out(self, problem: Problem) -> None:
        """Notes a video that is not in the store."""
        problem = Problem(
            *(
                text.encode(errors="surrogateescape").decode(errors="backslashreplace")
                for text in dataclasses.astuple(problem)
            )
        )
        self.problems.append(problem)
        self._note({"problem": dataclasses.astuple(problem)}, None)

    def _note(self, line: dict[str, Any], folder: Path | None) -> None:
        self._journal_lines.append(json.dumps(line) + "\n")
        if folder is not None:
            self._appended.append(folder)
        self.done += 1
        if time.monotonic() - self._checkpointed > _CHECKPOINT_SECONDS:
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Writes down what is appended, once it is on the disk."""
        for file in (self._output, *self._columns.values()):
            self._sync(file)
        # Forgotten before they are written: after an interrupt this is called again, and a line
        # that is lost is only work done anew; one written twice damages the store.
        lines, self._journal_lines = self._journal_lines, []
        folders, self._appended = self._appended, []
        self._journal.write("".join(lines).encode())
        self._sync(self._journal)
        for folder in folders:
            shutil.rmtree(folder)
        self._checkpointed = time.monotonic()

    def _read_journal(self) -> int:
        """Returns where the last shard ends."""
        ends = {0: 0}
        self._journal_end = 0
        path = self._store / _JOURNAL
        for line in path.read_bytes().splitlines(keepends=True) if path.is_file() else ():
            if not line.endswith(b"\n"):
                break  # the process was killed while it wrote
            try:
                entry = json.loads(line)
                if "problem" in entry:
                    self.problems.append(Problem(*entry["problem"]))
                else:
                    self.shard = entry["shard"]
                    ends[self.shard] = entry["end"]
                    self.rows.append(entry["row"])
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(f"{path} is damaged ({error!r}): remove {self._store}.") from error
            self.done += 1
            self._journal_end += len(line)
        for number in range(self.shard):
            shard = self._store / format.shard_name(number)
            if not shard.is_file() or shard.stat().st_size != ends[number]:
                raise StoreError(
                    f"{shard} does not have the {ends[number]:,} bytes that {_JOURNAL} says: it "
                    f"was damaged. Remove {self._store}."
                )
        return ends[self.shard]

    def _open(self, name: str, size: int) -> BinaryIO:
        """Opens a file to append to it, cut back to what the journal knows."""
        path = self._store / name
        path.touch()
        if path.stat().st_size < size:
            raise StoreError(
                f"{path} is shorter than {_JOURNAL} says: it was damaged. Remove {self._store}."
            )
        file = path.open("r+b")
        file.truncate(size)
        file.seek(size)
        return file

    def _sync(self, file: BinaryIO) -> None:
        file.flush()
        os.fsync(file.fileno())


def _finish(
    work: Job, store: Path, writer: _Writer, fingerprint: str
) -> tuple[format.Description, list[Problem]]:
    if not writer.rows:
        raise StoreError(
            f"None of the {len(work.samples)} videos can be read; the first: "
            f"{writer.problems[0].detail} Nothing is left to prepare: remove {store}."
        )
    classes = sorted({row[1] for row in writer.rows})
    files.write_text(store / format.CLASSES, "".join(f"{name}\n" for name in classes))
    files.write_text(store / format.VIDEOS, files.csv_text(format.VIDEO_COLUMNS, writer.rows))
    if writer.problems:
        rows = [dataclasses.astuple(problem) for problem in writer.problems]
        files.write_text(
            store / format.PROBLEMS, files.csv_text(["video", "status", "detail"], rows)
        )
    names = [format.VIDEOS, format.CLASSES, *map(format.column_name, format.COLUMNS)]
    described = []
    for name in names:
        path = store / name
        described.append(format.File(name, path.stat().st_size, files.sha256(path)))
    for number in range(writer.shard + 1):
        name = format.shard_name(number)
        described.append(format.File(name, (store / name).stat().st_size))
    settings = work.settings
    description = format.Description(
        settings.levels,
        len(writer.rows),
        sum(row[5] for row in writer.rows),
        settings.quality,
        settings.fps,
        tuple(described),
        {"path": work.root, "videos": len(work.samples), "sha256": fingerprint},
    )
    files.write_text(store / format.DESCRIPTION, description.dumps())
    return _finished(store)


def _finished(store: Path) -> tuple[format.Description, list[Problem]]:
    """Removes what only preparing needs; returns what was prepared."""
    path = store / format.DESCRIPTION
    description = format.loads(path.read_text(encoding="utf-8"), str(path))
    problems = []
    if (store / format.PROBLEMS).is_file():
        with (store / format.PROBLEMS).open(newline="", encoding="utf-8") as file:
            problems = [Problem(*row) for row in list(csv.reader(file))[1:]]
    if (store / _PARTS).is_dir():
        shutil.rmtree(store / _PARTS)
    (store / _JOURNAL).unlink(missing_ok=True)
    (store / format.PLAN).unlink()  # the last, so that the rest is removed after a kill, too
    return description, problems
