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
from keras_r3d.system.errors import (
    DataError,
    RunError,
)

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
_LOCK = "lock"  # in it; held by the process that trains


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

    def model_path(self) -> Path:
        """Returns the path of the best model.

        Raises:
            RunError: the training has not kept one.
        """
        path = self.path / BEST_MODEL
        if not path.is_file():
            raise RunError(
                f"{self.path} has no {BEST_MODEL}: the training stopped before its first epoch "
                "ended. The command that trained it goes on with it."
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
                Splits of their own count; without, all are taken but those that the run knows, by
                their path inside the data folder, to be of another split.

        Raises:
            DataError: there is no such split, or videos are gone.
            StoreError, UnreachableError: the store cannot be opened.
            DataError: optical flow cannot be had, or is not stored as the recipe says.
        """
        # OpenCV and all, which most of this module needs not.
        from keras_r3d.data import opening

        trained_on = self.summary["data_dir"]
        of_store = opening.is_store(trained_on)
        try:
            recorded = annotations.read(
                self.path / VIDEOS, "", must_exist=data_dir is None and not of_store
            )
        except DataError as error:
            raise DataError(
                f"{error} If they moved, pass --data_dir with their new place."
            ) from error
        if data_dir is None and not of_store:
            return recorded.split(split), opening.video_reader(trained_on, self.recipe.data)
        opened = opening.open_source(data_dir or trained_on, self.recipe.data)
        found = opened.annotations
        if data_dir is None:
            # The store's own, not those written down: the reader knows them.
            there = {_key(v): v for videos in found.splits.values() for v in videos}
            gone = [v.name for v in recorded.split(split) if _key(v) not in there]
            if gone:
                raise DataError(
                    f"{len(gone)} videos of the run are no longer in {opened.path}: {gone[0]}, …"
                )
            return [there[_key(v)] for v in recorded.split(split)], opened.reader
        if set(found.splits) != {"train"}:
            return found.split(split), opened.reader
        known = {
            os.path.relpath(video.path, self.summary["video_root"]): name
            for name, videos in recorded.splits.items()
            for video in videos
        }
        return [
            video
            for video in found.splits["train"]
            if known.get(os.path.relpath(video.path, opened.root), split) == split
        ], opened.reader

    def report_problems(
        self, problems: Sequence[Problem], say: Callable[[str], None] = print
    ) -> None:
        """Adds broken videos to `problems.csv` and the summary, and names them (ten at most)."""
        path = self.path / PROBLEMS
        known: dict[str, tuple[str, ...]] = {}
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                known = {row[0]: tuple(row) for row in list(csv.reader(file))[1:]}
        for problem in problems:
            name = annotations.absolute(problem.name)  # however the data folder was named
            known[name] = (name, problem.status, problem.detail)
        self.update_summary(broken_videos=len(known))
        if not problems:
            return
        rows = [known[name] for name in sorted(known)]
        files.write_text(path, files.csv_text(["video", "status", "detail"], rows))
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


def ended(path: Path) -> bool:
    """Whether a folder holds a run that was trained and evaluated, or something else than a run."""
    if not (path / RECIPE).is_file():
        return not _broken_off(path)
    try:
        summary = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # Of few videos, "seconds" of all stages are the last that is written.
    return summary.get("status") == "trained" and bool({"evaluation", "seconds"} & set(summary))


def check_free(path: Path) -> None:
    """Raises RunError if a new run cannot be made at `path`."""
    if path.exists() and not path.is_dir():
        raise RunError(f"--workdir {path} is a file: choose a folder that does not exist yet.")
    if (path / RECIPE).exists():
        raise RunError(
            f"--workdir {path} already holds a run, which is left as it is: choose another folder, "
            "or remove this one first."
        )
    if path.is_dir() and any(path.iterdir()) and not _broken_off(path):
        raise RunError(
            f"--workdir {path} is not empty and is left as it is: choose a folder that does not "
            "exist yet."
        )


def check_new(path: Path | None) -> None:
    """Raises RunError if a folder for results exists already."""
    if path is not None and path.exists():
        raise RunError(f"--output {path} exists and is left as it is: choose another folder.")


def _broken_off(path: Path) -> bool:
    """Whether a folder holds no more than a training leaves that was killed while it made it."""
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
    """Keeps other trainings out of a run, and removes what a killed one left half written.

    Raises:
        RunError: another process trains in it.
        WriteError: it cannot be written.
    """
    make(path / STATE)
    taken = RunError(
        f"Another process trains in {path}: wait for its end, or choose another --workdir."
    )
    with files.locked(path / STATE / _LOCK, taken):
        for folder in (path, path / STATE):
            files.remove_leftovers(folder)
        yield


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
            f"--workdir {path} {there}: {RECIPE} was expected in it. Train first with "
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
