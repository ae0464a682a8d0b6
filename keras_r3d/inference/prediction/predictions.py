"""Predictions of several videos, one after the other, and the files written of them.

A file is called NAME.unfinished until all videos are done, so one of the name that was asked for is
complete. After an interruption, or a kill, what was done until then lies in NAME.unfinished; the
next prediction into NAME replaces it, out of the scores that were kept.
"""

import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_r3d.data.annotations import listing
from keras_r3d.inference.prediction import annotated_copy
from keras_r3d.inference.prediction.kept import KeptPredictions
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError, R3DError, WriteError
from keras_r3d.system.objects import outputs
from keras_r3d.system.text import shown
from keras_r3d.system.work import Share

_UNFINISHED = ".unfinished"

_SUFFIXES = {
    "timeline": (".csv", ".png"),
    "annotate": (".mp4",),
    "html": (".html",),
}  # of files in these folders
_WHAT = {"annotate": "copy", "html": "page"}
_OF_ONE = {"annotate": tuple(annotated_copy.CODECS), "html": (".html",)}  # of one video's file
_SECONDS = 10.0  # between two writings of what is done
_LEAST_PAUSE = 20  # times as long as a writing took


class Predictions(Iterator[Prediction]):
    """Predictions of several videos, in their order, as they come; writes files on the way.

    Args:
        videos: their names: paths, with the seconds of segments.
        predictions: of these videos; the other arguments are those of `VideoClassifier.predict`.
        kept: what keeps them in parts until all files are written. Where others make parts, too, no
            file is written.

    Attributes:
        videos: their names.
        statuses: of the videos that are done.
        lacking: of the video that came last, what was to be written but could not, in sentences.
        complete: whether all that was to be written could be, so far.
        written: files, once all videos are done.
        share: what is made, once this process's share is, if others make parts, too.
        resumes: whether the same call resumes.

    Raises:
        ArgumentError: something is there already, or cannot be of that name.
    """

    def __init__(
        self,
        videos: Sequence[str],
        predictions: Iterable[Prediction],
        kept: KeptPredictions | None = None,
        *,
        json: str | os.PathLike[str] | None = None,
        csv: str | os.PathLike[str] | None = None,
        timeline: str | os.PathLike[str] | None = None,
        annotate: str | os.PathLike[str] | None = None,
        html: str | os.PathLike[str] | None = None,
        top: int = 5,
        timeout: float = 300.0,
    ):
        self.videos, self.statuses = videos, list[str]()
        self.lacking, self.complete, self.written = list[str](), True, list[Path]()
        self.share: Share | None = None
        self.resumes, self._kept = kept is not None, kept
        self._predictions, self._names = iter(predictions), iter(listing.names(videos))
        self._top, self._timeout = top, timeout
        self._records: list[dict[str, Any]] = []
        self._header, self._rows = list[str](), list[list[Any]]()
        self._saved, self._next_save = 0, time.monotonic() + _SECONDS
        asked = {"json": json, "csv": csv, "timeline": timeline, "annotate": annotate, "html": html}
        self._paths = {
            kind: outputs.local(path, kind) for kind, path in asked.items() if path is not None
        }
        for kind, path in self._paths.items():
            files.check_new(path, kind)
        self._single = {  # files of one video
            kind: self._paths.pop(kind)
            for kind in _OF_ONE.keys() & self._paths.keys()
            if _is_file(kind, self._paths[kind], len(videos))
        }
        for kind, path in self._paths.items():
            _check_place(kind, path)
        if kept is not None and kept.is_share:
            self._paths, self._single = {}, {}

    def __next__(self) -> Prediction:
        if not self._records:
            for kind in self._paths.keys() & _SUFFIXES.keys():
                folder = _unfinished(self._paths[kind])
                files.make_folder(folder)
                for file in folder.iterdir():
                    file.unlink()
        try:
            prediction = next(self._predictions)
            self._add(prediction)
        except StopIteration:
            self._finish()
            raise
        except BaseException:  # also Ctrl-C and SIGTERM, which are no `Exception`
            self.keep()
            if isinstance(self._predictions, Generator):
                self._predictions.close()
            raise
        return prediction

    def keep(self) -> list[Path]:
        """Writes what is done so far, for whoever stops here; returns the unfinished files."""
        if not self._records:
            return []
        began = time.monotonic()
        paths = {kind: _unfinished(path) for kind, path in self._paths.items()}
        if self._saved < len(self._records):
            if "json" in paths:
                files.write_json(paths["json"], self._records)
            if "csv" in paths:
                files.write_text(paths["csv"], files.csv_text(self._header, self._rows))
            self._saved = len(self._records)
        ended = time.monotonic()
        self._next_save = ended + max(_SECONDS, _LEAST_PAUSE * (ended - began))
        return [path for path in paths.values() if path.exists() and shown(path) == str(path)]

    def _add(self, prediction: Prediction) -> None:
        """Writes what is wanted of the next video."""
        name = next(self._names)
        self._records.append(prediction.record(self._top))
        self._header = prediction.columns(self._top)
        self._rows += prediction.rows(self._top)
        self.statuses.append(prediction.status)
        wanted = [
            (kind, _unfinished(self._paths[kind]) / files.file_name(name, suffix))
            for kind, suffixes in _SUFFIXES.items()
            for suffix in suffixes
            if kind in self._paths
        ]
        wanted += self._single.items()
        failures: dict[str, str] = {}
        for kind, path in wanted if prediction.status != "error" else ():
            if kind in failures:
                continue
            try:
                prediction.save(path, self._top, self._timeout)
            except R3DError as error:
                if isinstance(error, WriteError) and kind == "timeline":
                    raise
                failures[kind] = f"no {_WHAT.get(kind, kind)}: {error}"
        self.lacking = list(failures.values())
        self.complete = self.complete and not failures
        if time.monotonic() >= self._next_save:
            self.keep()

    def _finish(self) -> None:
        """Gives all files their names; ArgumentError if meanwhile another file has one."""
        if self.written:
            return
        self.keep()
        for path in self._paths.values():
            if os.path.lexists(path):
                raise ArgumentError(
                    f"{path} was written by something else meanwhile, and is left as it is: the "
                    f"results are in {_unfinished(path)}."
                )
            os.rename(_unfinished(path), path)
        singles = [path for path in self._single.values() if path.exists()]
        self.written = [*self._paths.values(), *singles]
        outputs.publish(self.written)
        if self._kept is not None and self._kept.is_share:
            self.share = self._kept.share()
        elif self._kept is not None:
            self._kept.remove()


def _unfinished(path: Path) -> Path:
    """Returns what a file or folder is called until it is complete."""
    return path.with_name(path.name + _UNFINISHED)


def _is_file(kind: str, path: Path, videos: int) -> bool:
    """Whether `annotate` or `html` names a file."""
    suffix = path.suffix.lower()
    is_file = suffix in _OF_ONE[kind]
    if is_file and videos != 1:
        raise ArgumentError(
            f"`{kind}` {path} is a file, but there are {videos} videos: name a folder."
        )
    if suffix and not is_file and videos == 1:
        raise ArgumentError(
            f"`{kind}` must end in {' or '.join(_OF_ONE[kind])}, or name a folder. Received: {path}"
        )
    return is_file


def _check_place(kind: str, path: Path) -> None:
    """Refuses what has no folder, or replaces what no prediction left, before hours of work."""
    left, suffixes = _unfinished(path), _SUFFIXES.get(kind)
    if suffixes is None and not path.absolute().parent.is_dir():
        raise ArgumentError(f"`{kind}` {path}: there is no such folder.")
    strange = [left] if os.path.lexists(left) else []
    if suffixes is None and left.is_file():
        strange = []
    elif suffixes is not None and left.is_dir() and not left.is_symlink():
        strange = [
            file
            for file in left.iterdir()
            if not file.is_file() or not (file.suffix in suffixes or files.is_leftover(file))
        ]
    if strange:
        raise ArgumentError(
            f"`{kind}` {path}: {strange[0]} is in the way, which no prediction has left behind. "
            "Choose another name."
        )
