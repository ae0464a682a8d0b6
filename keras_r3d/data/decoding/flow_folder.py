"""A folder of optical flow that was computed ahead: a file for each video, under the same path.

Files are Matroska, FFV1, grey, whatever their suffix: without loss, and half the size of other
codecs that OpenCV writes. A video that gives no flow has a file, too, a text that says why: so it
is in every list and split, and counts as an error, as it would without the folder. `flow.json` says
how the flow was computed and is written first, `manifest.csv` has labels and splits and is written
last. A file that is there is whole.
"""

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_r3d.data import annotations
from keras_r3d.data.annotations import Annotations, Problem, Video
from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.flow_decoder import (
    FlowDecoder,
    StoredFlowDecoder,
    packed,
    reason,
    write_reason,
)
from keras_r3d.system import files, workers
from keras_r3d.system.errors import DataError, VideoError
from keras_r3d.system.opencv import cv2

MARKER = "flow.json"
PROBLEMS = "problems.csv"
VERSION = 1  # of files and bytes
_SUFFIX = ".mkv"
_FRAMES_PER_SECOND = 25  # that a player is told; the true times are in the frames


@dataclasses.dataclass(frozen=True)
class Settings:
    """How flow was computed.

    Attributes:
        input: one of `flow.ALGORITHMS`.
        short_side: of the frames, in pixels; 0 for those of the video.
        bound: pixels of the longest displacement that can be told.
        version: of files and bytes.
    """

    input: str
    short_side: int
    bound: float = flow.BOUND
    version: int = VERSION


@dataclasses.dataclass(frozen=True)
class Job:
    """A video whose flow is to be stored."""

    source: str
    destination: str
    settings: Settings


def is_one(path: str | Path) -> bool:
    """Whether a path is a folder of flow."""
    return (Path(path) / MARKER).is_file()


def read_settings(path: str | Path) -> Settings:
    """Returns how the flow of a folder was computed.

    Raises:
        DataError: that cannot be read.
    """
    marker = Path(path) / MARKER
    try:
        return Settings(**json.loads(marker.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{marker} cannot be read ({error}): write the flow anew.") from error


def check(path: str | Path, input: str, short_side: int) -> None:
    """Raises DataError if a folder of flow is unfinished, or is not what a recipe asks for."""
    found = read_settings(path)
    asked = Settings(input, short_side)
    if input == "rgb":
        raise DataError(
            f"{path} holds optical flow ({found.input}), but the recipe's data.input is 'rgb': "
            "pass the videos themselves, or a recipe for flow."
        )
    if found != asked:
        differing = ", ".join(
            f"{key} is {value!r}, asked for was {getattr(asked, key)!r}"
            for key, value in dataclasses.asdict(found).items()
            if value != getattr(asked, key)
        )
        raise DataError(
            f"{path} holds other flow than the recipe says (data.input, data.short_side): "
            f"{differing}. Store it anew with `python -m keras_r3d.flow VIDEOS --output ANOTHER "
            f"--input {input} --short_side {short_side}`."
        )
    if not (Path(path) / annotations.MANIFEST).is_file():
        raise DataError(
            f"{path} is unfinished, it has no {annotations.MANIFEST}: run `python -m "
            "keras_r3d.flow` again, which goes on with it."
        )


def write(
    found: Annotations,
    root: str,
    folder: Path,
    settings: Settings,
    *,
    processes: int,
    limit_seconds: float,
    progress: Callable[[int, int], None],
) -> list[Problem]:
    """Stores the flow of all videos; goes on with what is there already.

    Args:
        root: that the paths of the videos start from.
        limit_seconds: for each video.
        progress: takes the number of files done, and of all.

    Returns:
        The videos that gave no flow, which `problems.csv` lists, too. They are tried again when the
        folder is gone on with.

    Raises:
        DataError: the folder holds something else, or a video lies outside of `root`, or none can
            be read.
        WriteError: it cannot be written.
    """
    splits = {
        split: [(video, _inside(video.path, root)) for video in videos]
        for split, videos in found.splits.items()
    }
    _begin(folder, settings)
    sources = {inside: video.path for own in splits.values() for video, inside in own}
    jobs = [Job(sources[one], str(folder / one), settings) for one in sorted(sources)]
    waiting = [job for job in jobs if not _is_done(Path(job.destination))]
    done = len(jobs) - len(waiting)
    problems = {}
    results = workers.run(store, waiting, workers=processes, limit_seconds=limit_seconds)
    for number, result in results:
        source = waiting[number].source
        if isinstance(result, str):
            raise files.WriteError(result)
        if isinstance(result, workers.Failure):
            result = Problem(source, result.status, f"{source}: {result.detail}.")
        if isinstance(result, Problem):
            problems[source] = result
            destination = Path(waiting[number].destination)
            destination.parent.mkdir(parents=True, exist_ok=True)
            write_reason(destination, result.detail)
        done += 1
        progress(done, len(jobs))
    listed = [problems[name] for name in sorted(problems)]
    if len(problems) == len(jobs):
        raise DataError(f"None of the {len(jobs)} videos can be read, for one: {listed[0].detail}")
    rows = [(one.name, one.status, one.detail) for one in listed]
    files.write_text(folder / PROBLEMS, files.csv_text(["video", "status", "detail"], rows))
    files.write_text(folder / annotations.MANIFEST, _manifest(splits))
    return listed


def _is_done(destination: Path) -> bool:
    return destination.is_file() and reason(str(destination)) is None


def store(job: Job) -> Problem | str | None:
    """Stores the flow of one video.

    Returns:
        None; or what is wrong with the video; or why its flow cannot be written.
    """
    destination = Path(job.destination)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        decoder = FlowDecoder(job.source, job.settings.input, job.settings.short_side)
        with files.atomic(destination) as temporary:
            _write(decoder, destination, temporary)
    except VideoError as error:
        return Problem(job.source, "unreadable", str(error))
    except files.WriteError as error:
        return str(error)
    except OSError as error:
        return files.explain(destination.parent, error)
    return None


def _write(decoder: FlowDecoder, destination: Path, temporary: Path) -> None:
    file = temporary.with_name(temporary.name + _SUFFIX)  # by which OpenCV knows the container
    written = 0
    writer = None
    try:
        for second, frame in decoder.timed():
            image = packed(frame, second)
            if writer is None:
                writer = _writer(file, image.shape)
            writer.write(image)
            written += 1
    finally:
        if writer is not None:
            writer.release()
    if written != (read := sum(1 for _ in StoredFlowDecoder(str(file)))):
        raise files.WriteError(
            f"Could not write {destination}: of {written} frames {read} are in the file. Is the "
            "disk full? Free some space there, then run again."
        )
    os.replace(file, temporary)


def _writer(path: Path, shape: tuple[int, ...]) -> Any:
    size = (shape[1], shape[0])
    options = [cv2.VIDEOWRITER_PROP_IS_COLOR, 0]
    codec = cv2.VideoWriter.fourcc(*"FFV1")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, _FRAMES_PER_SECOND, size, options)
    if not writer.isOpened():
        raise files.WriteError(
            f"Could not write {path}: this build of OpenCV has no FFV1, or the folder cannot be "
            "written. Use OpenCV as `pip install opencv-python` has it."
        )
    return writer


def _inside(path: str, root: str) -> str:
    inside = os.path.relpath(path, root)
    if inside.split(os.sep)[0] == os.pardir:
        raise DataError(
            f"{path} lies outside of {root}, so there is no place for its flow: put the list of "
            "videos into a folder above all of them."
        )
    return inside


def _begin(folder: Path, settings: Settings) -> None:
    """Writes the marker, or compares it."""
    if is_one(folder):
        found = read_settings(folder)
        if found != settings:
            raise DataError(
                f"--output {folder} holds other flow, {dataclasses.asdict(found)}, and is left as "
                "it is: choose another folder."
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"--output {folder} is not empty and is left as it is: choose another.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.WriteError(files.explain(folder, error)) from error
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        files.remove_leftovers(path)
    files.write_json(folder / MARKER, dataclasses.asdict(settings))


def _manifest(splits: dict[str, list[tuple[Video, str]]]) -> str:
    rows = [
        (inside, video.label, split, *map(_seconds, (video.start_seconds, video.end_seconds)))
        for split, own in splits.items()
        for video, inside in own
    ]
    columns = ["path", "label", "split", "start_seconds", "end_seconds"]
    if not any(itertools.chain.from_iterable(row[3:] for row in rows)):
        return files.csv_text(columns[:3], (row[:3] for row in rows))
    return files.csv_text(columns, rows)


def _seconds(value: float) -> str:
    return "" if value in (0.0, math.inf) else repr(value)
