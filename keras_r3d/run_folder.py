"""The folder of one training: what is in it under which name, making a new one, opening an old one.

`evaluate` and `export` read all they need from here, so they cannot disagree with the training
about frames, size, mean, labels or which video belongs to which split.
"""

import contextlib
import csv
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_r3d import recipe
from keras_r3d.data import annotations
from keras_r3d.data.annotations import Problem, Video
from keras_r3d.system import files
from keras_r3d.system.errors import DataError, RunError

if TYPE_CHECKING:
    from keras_r3d.data.decoding.reader import Reader

RECIPE = "recipe.toml"
CLASSES = "classes.txt"
VIDEOS = "videos.csv"
SUMMARY = "summary.json"
BEST_MODEL = "best.keras"
LAST_MODEL = "last.keras"
LOG = "log.csv"
CURVES = "curves.png"
CLIPS = "clips.png"
EVALUATION = "evaluation.json"
CONFUSION = "confusion.png"
RELIABILITY = "reliability.png"
MISTAKES = "mistakes.png"
PER_CLASS = "per_class.csv"
EVALUATIONS = "evaluations"
PROBLEMS = "problems.csv"
TENSORBOARD = "tensorboard"
EXPORT = "export"
STATE = "state"
_LOCK = "lock"  # in it; locked by the process that trains


@dataclasses.dataclass(frozen=True)
class Run:
    """An opened run folder.

    Attributes:
        summary: `summary.json`: status, data folder, versions, results.
    """

    path: Path
    recipe: recipe.Recipe
    classes: list[str]
    summary: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the folder, also where its path ends in `.` or `..`."""
        return os.path.basename(os.path.abspath(self.path))

    @property
    def trained(self) -> bool:
        """Whether all epochs were trained."""
        return self.summary.get("status") == "trained"

    def model_path(self) -> Path:
        """Returns the path of the best model.

        Raises:
            RunError: the training has not kept one.
        """
        path = self.path / BEST_MODEL
        if not path.is_file():
            raise RunError(
                f"{self.path} has no {BEST_MODEL}: the training stopped before its first epoch "
                "ended. Run the command that trained it again to resume."
            )
        return path

    def load_model(self):
        """Loads the best model with Keras.

        Raises:
            RunError: there is none, or its file is damaged.
        """
        import keras  # takes seconds, and most of this module needs none of it

        path = self.model_path()
        try:
            return keras.models.load_model(path)
        except Exception as error:  # Keras, zipfile and h5py raise many kinds
            raise RunError(f"{path} is damaged, Keras cannot load it: {error}") from error

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.summary.get('status', 'unknown')})"

    @property
    def compared_split(self) -> str:
        """The split that exports are compared on: of the recipe; "train" where that has no videos,
        as after a training on few videos without a test split."""
        recorded = annotations.read(self.path / VIDEOS, "", must_exist=False).splits
        split = self.recipe.eval.split
        return split if recorded.get(split) else "train"

    def open_split(
        self, split: str, data_dir: str | Path | None = None
    ) -> tuple[list[Video], "Reader"]:
        """Returns the videos of a split, as they were split in training, and what reads them.

        Args:
            data_dir: other videos instead, or the same in another place or form (a clip store).
                Their own splits count, if they have some; else all videos are taken but those that
                the run knows, by their path inside the data folder, to be of another split.

        Raises:
            DataError: there is no such split, or videos are gone.
            DataError, StoreError, UnreachableError: as `keras_r3d.data.opening.open_source`.
        """
        # Needs OpenCV and more, which most of this module does not.
        from keras_r3d.data import opening

        trained_on = self.summary["data_dir"]
        of_store = opening.is_store(trained_on)
        must_exist = data_dir is None and not of_store
        try:
            recorded = annotations.read(self.path / VIDEOS, "", must_exist=must_exist)
        except DataError as error:
            raise DataError(f"{error} If they moved, pass their new place as `data`.") from error
        if must_exist:
            return recorded.split(split), opening.video_reader(trained_on, self.recipe.clips)
        source = opening.open_source(data_dir or trained_on, self.recipe.clips, self.recipe.videos)
        if data_dir is None:
            # The store's own, not those written down: the reader knows them.
            own = {_key(v): v for videos in source.annotations.splits.values() for v in videos}
            videos = recorded.split(split)
            missing = [video.name for video in videos if _key(video) not in own]
            if missing:
                raise DataError(
                    f"{len(missing)} videos of the run are no longer in {source.path}: "
                    f"{missing[0]}, …"
                )
            return [own[_key(video)] for video in videos], source.reader
        if set(source.annotations.splits) != {"train"}:
            return source.annotations.split(split), source.reader
        splits = {
            os.path.relpath(video.path, self.summary["video_root"]): name
            for name, videos in recorded.splits.items()
            for video in videos
        }
        return [
            video
            for video in source.annotations.splits["train"]
            if splits.get(os.path.relpath(video.path, source.root), split) == split
        ], source.reader

    def report_problems(
        self, problems: Sequence[Problem], say: Callable[[str], None] | None = None
    ) -> None:
        """Adds broken videos to `problems.csv` and the summary; names ten of them, if `say` is."""
        path = self.path / PROBLEMS
        rows: dict[str, tuple[str, ...]] = {}
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = {row[0]: tuple(row) for row in list(csv.reader(file))[1:]}
        for problem in problems:
            name = annotations.absolute(problem.name)  # however the data folder was named
            rows[name] = (name, problem.status, problem.detail)
        self.update_summary(broken_videos=len(rows))
        if not problems:
            return
        header = ["video", "status", "detail"]
        files.write_text(path, files.csv_text(header, [rows[name] for name in sorted(rows)]))
        if say is None:
            return
        say(f"{len(problems)} broken videos ({path}):")
        for problem in problems[:10]:
            say(f"  {problem.status}: {problem.detail}")
        if len(problems) > 10:
            say(f"  … and {len(problems) - 10} more")

    def update_summary(self, **values: Any) -> None:
        """Adds to `summary.json`."""
        self.summary.update(values)
        files.write_json(self.path / SUMMARY, self.summary)


def _key(video: Video) -> tuple[str, float, float]:
    return video.path, video.start_seconds, video.end_seconds


def next_free(root: Path, name: str) -> Path:
    """Returns `root/name`, or the first of `root/name-2`, `root/name-3`, … that does not exist."""
    path, number = root / name, 2
    while path.exists():
        path, number = root / f"{name}-{number}", number + 1
    return path


def default_path(root: Path, name: str) -> Path:
    """Returns the last of `root/NAME`, `root/NAME-2`, … if it has not ended, else a new one."""
    path, last, number = root / name, None, 2
    while path.exists():
        last, path, number = path, root / f"{name}-{number}", number + 1
    return path if last is None or _ended(last) else last


def _ended(path: Path) -> bool:
    """Whether a folder holds a run that was trained and evaluated, or something else than a run."""
    if not (path / RECIPE).is_file():
        return not _broken_off(path)
    try:
        summary = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # "seconds" of all stages is the last that a training on few videos writes.
    return summary.get("status") == "trained" and bool({"evaluation", "seconds"} & set(summary))


def check_free(path: Path) -> None:
    """Raises RunError if a new run cannot be made at `path`."""
    if path.exists() and not path.is_dir():
        raise RunError(f"`workdir` {path} is a file: choose a folder that does not exist yet.")
    if (path / RECIPE).exists():
        raise RunError(
            f"`workdir` {path} already holds a run, which is left as it is: choose another folder, "
            "or remove this one first."
        )
    if path.is_dir() and any(path.iterdir()) and not _broken_off(path):
        raise RunError(
            f"`workdir` {path} is not empty and is left as it is: choose a folder that does not "
            "exist yet."
        )


def check_new(path: Path | None) -> None:
    """Raises RunError if a folder for results exists already."""
    if path is not None:
        files.check_new(path, "output", RunError)


def _broken_off(path: Path) -> bool:
    """Whether a training was killed while it made this folder, which holds nothing else."""
    if not (path / STATE / _LOCK).is_file() or any((path / STATE).glob("*.npz")):
        return False
    known = {STATE, SUMMARY, CLASSES, VIDEOS}
    return all(file.name in known or files.is_leftover(file) for file in path.iterdir())


def create(
    path: Path,
    experiment: recipe.Recipe,
    classes: Sequence[str],
    videos: str,
    summary: dict[str, Any],
) -> Run:
    """Makes the folder of a new run.

    Args:
        videos: text of `videos.csv`, all videos with their splits.

    Raises:
        RunError: the folder holds something already.
        WriteError: it cannot be written.
    """
    check_free(path)
    make(path)
    run = Run(path, experiment, list(classes), {})
    files.write_text(path / CLASSES, "".join(f"{name}\n" for name in classes))
    files.write_text(path / VIDEOS, videos)
    run.update_summary(**summary)
    files.write_text(path / RECIPE, recipe.dumps(experiment))  # the last: now it is a run
    return run


def make(path: Path) -> None:
    """Makes a folder, if it is not there, and those above it.

    Raises:
        WriteError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.WriteError(files.explain(path, error)) from error


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Locks a run against other trainings, and removes what a killed one left half written.

    Raises:
        RunError: another process trains in it.
        WriteError: it cannot be written.
    """
    make(path / STATE)
    taken = RunError(
        f"Another process trains in {path}: wait for its end, or choose another `workdir`."
    )
    with files.locked(path / STATE / _LOCK, taken):
        for folder in (path, path / STATE):
            files.remove_leftovers(folder)
        yield


def move_aside(path: Path, say: Callable[[str], None]) -> None:
    """Renames the folder of a run; one that holds none is left as it is.

    Raises:
        RunError: another process trains in it.
        WriteError: it cannot be renamed.
    """
    if not (path / RECIPE).is_file():
        return
    aside = next_free(path.parent, f"{path.name}-before")
    with held(path):
        try:
            path.rename(aside)
        except OSError as error:
            raise files.WriteError(files.explain(aside, error)) from error
    say(f"The run that was in {path} is now in {aside}.")


def open_run(path: str | Path) -> Run:
    """Opens the folder of an earlier training.

    Raises:
        RunError: the folder is missing or is not a run.
        RecipeError: its recipe was changed to something that cannot be read.
    """
    path = Path(path)
    if not (path / RECIPE).is_file():
        there = "is not the folder of a run" if path.is_dir() else "does not exist"
        raise RunError(
            f"`workdir` {path} {there}: {RECIPE} was expected in it. Train first with "
            f"`python -m keras_r3d.train --recipe … --workdir {path}`."
        )
    try:
        classes = (path / CLASSES).read_text(encoding="utf-8").splitlines()
        summary = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"The run folder {path} is damaged: {CLASSES} or {SUMMARY} cannot be read ({error})."
        ) from error
    return Run(path, recipe.load(str(path / RECIPE)), classes, summary)
