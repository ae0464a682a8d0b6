"""The files that predicting many videos writes: called NAME.unfinished until all are done.

So a file of the name that was asked for is complete. After an interruption, or a kill, what was
done until then lies in NAME.unfinished; the next prediction into NAME begins anew and replaces it.
"""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_r3d import run_folder
from keras_r3d.data.annotations import listing
from keras_r3d.inference.prediction import annotating, timeline
from keras_r3d.inference.prediction.prediction import Prediction, records_csv
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError, VideoError

KINDS = ("json", "csv", "timeline", "annotate")
UNFINISHED = ".unfinished"

_SUFFIXES = {"timeline": {".png", ".csv"}, "annotate": {".mp4"}}  # of files in these folders
_SECONDS = 10.0  # between two writings of what is done
_LEAST_PAUSE = 20  # times as long as a writing took


class PredictionFiles:
    """Writes predictions, one after the other.

    Args:
        wanted: "json" and "csv" -> file; "timeline" -> folder; "annotate" -> folder, or a file of
            the only video. None is not wanted.
        videos: paths of all videos, in the order in which they are added.
        top: classes that are named.
        timeout: seconds after which a video that gives no more frame is given up.

    Raises:
        ArgumentError: something is there already, or cannot be of that name.
    """

    def __init__(
        self, wanted: Mapping[str, Path | None], videos: Sequence[str], top: int, timeout: float
    ):
        self._names = iter(listing.names(videos))
        self._top, self._timeout = top, timeout
        self._records: list[dict[str, Any]] = []
        self._saved, self._next_save = 0, time.monotonic() + _SECONDS
        given = {kind: path for kind in KINDS if (path := wanted.get(kind)) is not None}
        self._copy = given.pop("annotate", None)
        if self._copy is not None and not _is_copy(self._copy, len(videos)):
            given["annotate"], self._copy = self._copy, None
        self._paths = given
        for kind, path in given.items():
            _check_free(kind, path)
            _check_unfinished(kind, path)
        if self._copy is not None:
            _check_free("annotate", self._copy)

    @property
    def statuses(self) -> list[str]:
        """Those of the videos that are done."""
        return [record["status"] for record in self._records]

    def begin(self) -> None:
        """Makes the folders, empty.

        Raises:
            WriteError: they cannot be made.
        """
        for kind in self._paths.keys() & _SUFFIXES.keys():
            folder = unfinished(self._paths[kind])
            run_folder.make(folder)
            for file in folder.iterdir():
                file.unlink()

    def add(self, found: Prediction) -> list[str]:
        """Writes what is wanted of the next video.

        Returns:
            What is wanted but cannot be, in sentences.

        Raises:
            WriteError: the disk is full, …
        """
        name = next(self._names)
        self._records.append(found.record(self._top))
        lacking = []
        if found.status != "error":
            lacking += self._draw(found, name) + self._annotate(found, name)
        if time.monotonic() >= self._next_save:
            self.save()
        return lacking

    def save(self) -> list[Path]:
        """Writes what is done; returns where."""
        began = time.monotonic()
        paths = {kind: unfinished(path) for kind, path in self._paths.items()}
        if self._saved < len(self._records):
            if "json" in paths:
                files.write_json(paths["json"], self._records)
            if "csv" in paths:
                files.write_text(paths["csv"], records_csv(self._records, self._top))
            self._saved = len(self._records)
        ended = time.monotonic()
        self._next_save = ended + max(_SECONDS, _LEAST_PAUSE * (ended - began))
        return [path for path in paths.values() if path.exists()]

    def finish(self) -> list[Path]:
        """Gives all files their names, and returns them.

        Raises:
            ArgumentError: meanwhile another file has such a name.
            WriteError: the disk is full, …
        """
        self.save()
        for path in self._paths.values():
            if os.path.lexists(path):
                raise ArgumentError(
                    f"{path} was written by something else meanwhile, and is left as it is: the "
                    f"results are in {unfinished(path)}."
                )
            os.rename(unfinished(path), path)
        copies = [self._copy] if self._copy is not None and self._copy.exists() else []
        return [*self._paths.values(), *copies]

    def _draw(self, found: Prediction, name: str) -> list[str]:
        if (folder := self._paths.get("timeline")) is None:
            return []
        if not len(found.window_scores):
            return ["no timeline: the fused models have other windows each."]
        timeline.write_csv(found, unfinished(folder) / f"{name}.csv")
        timeline.write_png(found, unfinished(folder) / f"{name}.png", self._top)
        return []

    def _annotate(self, found: Prediction, name: str) -> list[str]:
        copy = self._copy
        if folder := self._paths.get("annotate"):
            copy = unfinished(folder) / f"{name}.mp4"
        if copy is None:
            return []
        try:
            annotating.annotate(found, copy, self._timeout)
        except (annotating.ArgumentError, VideoError) as error:
            return [f"no copy: {error}"]
        return []


def unfinished(path: Path) -> Path:
    """Returns what a file or folder is called until it is complete."""
    return path.with_name(path.name + UNFINISHED)


def _is_copy(path: Path, videos: int) -> bool:
    """Whether `--annotate` names a file."""
    suffix = path.suffix.lower()
    if suffix in annotating.CODECS:
        if videos != 1:
            raise ArgumentError(
                f"--annotate {path} is a file, but there are {videos} videos: name a folder."
            )
        return True
    if suffix and videos == 1:
        raise ArgumentError(
            f"--annotate must end in .mp4 or .avi, or name a folder. Received: {path}"
        )
    return False


def _check_free(kind: str, path: Path) -> None:
    """Refuses what is there, or has no folder to lie in, before hours of work."""
    if os.path.lexists(path):
        raise ArgumentError(f"--{kind} {path} exists and is left as it is: choose another name.")
    if kind not in _SUFFIXES and not path.absolute().parent.is_dir():
        raise ArgumentError(f"--{kind} {path}: there is no such folder.")


def _check_unfinished(kind: str, path: Path) -> None:
    """Refuses to replace what no prediction left behind."""
    left = unfinished(path)
    if not os.path.lexists(left):
        return
    suffixes = _SUFFIXES.get(kind)
    if suffixes is None:
        strange = [] if left.is_file() else [left]
    elif left.is_dir() and not left.is_symlink():
        strange = [
            file
            for file in left.iterdir()
            if not file.is_file() or not (file.suffix in suffixes or files.is_leftover(file))
        ]
    else:
        strange = [left]
    if strange:
        raise ArgumentError(
            f"--{kind} {path}: {strange[0]} is in the way, which no prediction has left behind. "
            "Choose another name."
        )
