"""A folder of optical flow that was computed ahead: a file for each video, under the same path.

Files are Matroska, FFV1, gray, whatever their suffix: without loss, and half the size of other
codecs that OpenCV writes. A video that gives no flow has a file, too, a text that says why: so it
is in every list and split, and counts as an error, as it would without the folder. `flow.json` says
how the flow was computed and is written first, `manifest.csv` has labels and splits and is written
last. A file that is there is whole.
"""

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_r3d._version import __version__
from keras_r3d.data import annotations
from keras_r3d.data.annotations import FRAME_RATE, Annotations, Problem, Video
from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.flow_video import (
    FlowVideo,
    StoredFlow,
    packed,
    reason,
    write_reason,
)
from keras_r3d.data.decoding.video_file import no_frame
from keras_r3d.system import files, workers
from keras_r3d.system.errors import DataError, VideoError
from keras_r3d.system.objects import outputs
from keras_r3d.system.opencv import cv2
from keras_r3d.system.work import PartMaker, Share, Spread, Work

MARKER = "flow.json"
PROBLEMS = "problems.csv"
VERSION = 1  # of files and bytes
_SUFFIX = ".mkv"
_LONGEST_REASON = 4096  # bytes
_PARTS = ".parts"  # while it is unfinished
_FRAMES_PER_SECOND = 25  # that a player is told; the true times are in the frames


@dataclasses.dataclass(frozen=True)
class FlowSettings:
    """How flow was computed.

    Attributes:
        input: one of `flow.ALGORITHMS`.
        short_side: of the frames, in pixels; 0 for those of the video.
        bound: pixels of the longest displacement that can be told.
        version: of files and bytes.
        frame_rate: of folders of pictures, where the list of videos has no other.
    """

    input: str
    short_side: int
    bound: float = flow.BOUND
    version: int = VERSION
    frame_rate: float = FRAME_RATE


def is_one(path: str | Path) -> bool:
    """Whether a path is a folder of flow."""
    return (Path(path) / MARKER).is_file()


def read_settings(path: str | Path) -> FlowSettings:
    """Returns how the flow of a folder was computed.

    Raises:
        DataError: that cannot be read.
    """
    marker = Path(path) / MARKER
    try:
        return FlowSettings(**json.loads(marker.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{marker} cannot be read ({error}): write the flow anew.") from error


def check(path: str | Path, input: str, short_side: int) -> None:
    """Raises DataError if a folder of flow is unfinished, or is not what a recipe asks for."""
    stored, asked = read_settings(path), FlowSettings(input, short_side)
    if input == "rgb":
        raise DataError(
            f"{path} holds optical flow ({stored.input}), but the recipe's clips.input is 'rgb': "
            "pass the videos themselves, or a recipe for flow."
        )
    differing = [
        f"{key} is {value!r}, asked for was {getattr(asked, key)!r}"
        for key, value in dataclasses.asdict(stored).items()
        if value != getattr(asked, key) and key != "frame_rate"  # the times are in the files
    ]
    if differing:
        raise DataError(
            f"{path} holds other flow than the recipe says (clips.input, clips.short_side): "
            f"{', '.join(differing)}. Store it anew with `python -m keras_r3d.flow VIDEOS --output "
            f"ANOTHER --input {input} --short_side {short_side}`."
        )
    if not (Path(path) / annotations.MANIFEST).is_file():
        raise DataError(
            f"{path} is unfinished, it has no {annotations.MANIFEST}: run the same `python -m "
            "keras_r3d.flow` again to resume."
        )


def write(
    labeled: Annotations,
    root: str,
    folder: Path,
    settings: FlowSettings,
    *,
    processes: int,
    limit_seconds: float,
    progress: Callable[[int, int], None],
    spread: Spread | None = None,
) -> list[Problem] | Share:
    """Stores the flow of all videos, or resumes an earlier call that was interrupted.

    Args:
        root: that the paths of the videos start from.
        limit_seconds: for each video.
        progress: takes the number of files done, and of all.
        spread: who makes the parts.

    Returns:
        The videos that gave no flow, which `problems.csv` lists, too. They are tried again when the
        same call is made again.

    Raises:
        DataError: the folder holds something else, or a video lies outside of `root`, or none can
            be read.
        WriteError: it cannot be written.
    """
    by_path = {v.path: v for videos in labeled.splits.values() for v in videos}
    inside = {path: _inside(path, root) for path in by_path}
    paths = sorted(inside, key=inside.__getitem__)
    marker = Work(folder, MARKER, dataclasses.asdict(settings), DataError)
    spread = spread or Spread()
    if not marker.is_begun() and not spread.finish:
        files.make_folder(folder)
        files.write_json(folder / MARKER, marker.request)
        outputs.publish([folder / MARKER])
    listed = {"keras_r3d": __version__, "videos": len(paths)}
    listed["sha256"] = files.sha256_of(map(os.fsencode, paths))
    work = Work(
        *(folder / _PARTS, "plan.json", listed, DataError, paths),
        is_there=lambda number: annotations.exists(paths[number]),
        spread=spread,
    )

    def results(numbers: Sequence[int], scratch: Path) -> Generator[tuple[int, Any], None, None]:
        is_made = _made(folder)
        waiting = [n for n in numbers if not is_made(inside[paths[n]])]
        yield from ((number, None) for number in set(numbers) - set(waiting))
        tasks = [(by_path[paths[n]], settings, scratch / f"{n}{_SUFFIX}") for n in waiting]
        running = workers.run(store, tasks, workers=processes, limit_seconds=limit_seconds)
        with contextlib.closing(running):
            for index, result in running:
                yield waiting[index], result or tasks[index][2]

    def pack(_: int, results: Iterator[tuple[int, Any]]) -> tuple[list[Any], dict[str, Any]]:
        """Puts files in their places; keeps which videos gave no flow."""
        problems = []
        for number, result in results:
            path, destination = paths[number], folder / inside[paths[number]]
            destination.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(result, workers.Failure):
                problems.append((path, result.status, result.sentence(path)))
                write_reason(destination, problems[-1][-1])
                outputs.publish([destination])
            elif result is not None:
                work.put(result, destination)
                outputs.release(destination)
        return problems, {}

    with work.open() as starts:
        list(work.make(starts, PartMaker(results, pack), progress))
        if spread.is_share:
            return work.share()
        rows = [row for number in range(len(starts)) for row in work.read(number)[0]]
        problems = sorted((Problem(*row) for row in rows), key=lambda problem: problem.name)
        if len(problems) == len(paths):
            work.remove()  # the next call tries them again
            raise DataError(
                f"None of the {len(paths)} videos can be read, for one: {problems[0].detail}"
            )
        table = files.csv_text(["video", "status", "detail"], map(dataclasses.astuple, problems))
        files.write_text(folder / PROBLEMS, table)
        outputs.publish([folder / PROBLEMS])
        files.write_text(folder / annotations.MANIFEST, _manifest(labeled, inside))
        outputs.publish([folder / annotations.MANIFEST])
    work.remove()
    return problems


def _made(folder: Path) -> Callable[[str], bool]:
    """Returns whether there is flow under a path in a folder, and no reason why there is none."""
    there = outputs.all_sizes(folder)
    if there is not None:  # at a URL, where it can only be told by the size
        return lambda name: there.get(name, 0) > _LONGEST_REASON
    return lambda name: (folder / name).is_file() and reason(str(folder / name)) is None


def store(task: tuple[Video, FlowSettings, Path]) -> None:
    """Stores the flow of a video.

    Args:
        task: the video, how flow is computed, and the file to write, which ends in `.mkv`.

    Raises:
        VideoError: it gives no flow.
        WriteError: the disk is full, …
    """
    source, settings, output = task
    written = 0
    writer = None
    try:
        video = FlowVideo(source.path, settings.input, settings.short_side, source.frame_rate)
        index = video.index()
        for number, frame in video.frames(index):
            image = packed(frame, index.seconds[number])
            writer = writer or _writer(output, image.shape)
            writer.write(image)
            written += 1
    finally:
        if writer is not None:
            writer.release()
    if not written:
        raise VideoError(no_frame(source.path))
    if written != (read := len(StoredFlow(str(output)).index().seconds)):
        raise files.WriteError(
            f"Could not write {output}: of {written} frames {read} are in the file. Is the disk "
            "full? Free some space there, then run again."
        )


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
    inside = annotations.relative(path, root)
    if inside.split(os.sep)[0] == os.pardir:
        raise DataError(
            f"{path} lies outside of {root}, so there is no place for its flow: put the list of "
            "videos into a folder above all of them."
        )
    return inside


def _manifest(labeled: Annotations, inside: dict[str, str]) -> str:
    label = "labels" if labeled.several else "label"
    rows = [
        {
            **{"path": inside[video.path], label: video.label, "split": split},
            "group": video.group,
            "start_seconds": video.start_seconds or "",
            "end_seconds": "" if math.isinf(video.end_seconds) else video.end_seconds,
        }
        for split, videos in labeled.splits.items()
        for video in videos
    ]
    columns = ["path", label, "split", "group", "start_seconds", "end_seconds"]
    columns = columns[:3] + [name for name in columns[3:] if any(row[name] != "" for row in rows)]
    return files.csv_text(columns, ([row[name] for name in columns] for row in rows))
