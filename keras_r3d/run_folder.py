"""The folder of one training: what is in it under which name, making a new one, opening an old one.

`evaluate` and `export` read all they need from here, so they cannot disagree with the training
about frames, size, mean, labels or which video belongs to which split.
"""

import contextlib
import csv
import dataclasses
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_r3d import recipe as recipes
from keras_r3d.data import annotations
from keras_r3d.data.annotations import Problem, Video
from keras_r3d.recipe import Recipe
from keras_r3d.system import files
from keras_r3d.system.errors import DataError, RunError
from keras_r3d.system.objects import outputs
from keras_r3d.system.text import shown

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
REPORT = "report.html"
EVALUATIONS = "evaluations"
PROBLEMS = "problems.csv"
SEGMENT_RULE = "segment_rule.json"
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
    recipe: Recipe
    classes: list[str]
    summary: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the folder, also where its path ends in `.` or `..`."""
        return os.path.basename(os.path.abspath(self.path))

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """Of several labels: the scores from which on `best.keras` names each class."""
        limits = self.summary.get("thresholds")
        return None if limits is None else tuple(limits)

    @property
    def trained(self) -> bool:
        """Whether all epochs were trained."""
        return self.summary.get("status") == "trained"

    def model_path(self) -> Path:
        """Returns the path of the best model; raises RunError if the training has kept none."""
        path = self.path / BEST_MODEL
        if not path.is_file():
            raise RunError(
                f"{self.path} has no {BEST_MODEL}: the training stopped before its first epoch "
                "ended. Run the command that trained it again to resume."
            )
        return path

    def __repr__(self) -> str:
        return f"Run({shown(self.path)!r}, {self.summary.get('status', 'unknown')})"

    @property
    def compared_split(self) -> str:
        """The split that exports are compared on: of the recipe; "train" where that has no videos,
        as after a training on few videos without a test split."""
        recorded = annotations.read(self.path / VIDEOS, "", must_exist=False).splits
        split = self.recipe.eval.split
        return split if recorded.get(split) else "train"

    def open_split(
        self,
        split: str,
        data_dir: str | Path | None = None,
        frame_rate: float | None = None,
    ) -> tuple[list[Video], "Reader"]:
        """Returns the videos of a split, as they were split in training, and what reads them.

        Args:
            data_dir: other videos instead, or the same in another place or form (a clip store).
                Their own splits count, if they have some; else all videos are taken but those that
                the run knows, by their path inside the data folder, to be of another split.
            frame_rate: of folders of pictures there; None is the recipe's.

        Raises:
            DataError, StoreError, UnreachableError: there is no such split, videos are gone, or as
                `keras_r3d.data.opening.open_source`.
        """
        # Needs OpenCV and more, which most of this module does not.
        from keras_r3d.data import opening

        trained_on = self.summary["data_dir"]
        as_recorded = data_dir is None and not opening.has_own_list(trained_on)
        try:
            recorded = annotations.read(self.path / VIDEOS, "", must_exist=as_recorded)
        except DataError as error:
            raise DataError(f"{error} If they moved, pass their new place as `data`.") from error
        if as_recorded:
            return recorded.split(split), opening.video_reader(trained_on, self.recipe.clips)
        listed = self.recipe.videos
        if frame_rate is not None:
            listed = dataclasses.replace(listed, frame_rate=frame_rate)
        source = opening.open_source(data_dir or trained_on, self.recipe.clips, listed)
        splits = source.annotations.splits
        if data_dir is None:
            # The store's own, not those written down: the reader knows them.
            stored = {_key(video): video for videos in splits.values() for video in videos}
            videos = recorded.split(split)
            if missing := [video.name for video in videos if _key(video) not in stored]:
                raise DataError(
                    f"{len(missing)} videos of the run are no longer in {source.path}: "
                    f"{missing[0]}, …"
                )
            return [stored[_key(video)] for video in videos], source.reader
        if set(splits) != {"train"}:
            return source.annotations.split(split), source.reader
        split_of = {
            annotations.relative(video.path, self.summary["video_root"]): name
            for name, videos in recorded.splits.items()
            for video in videos
        }
        pairs = (
            (video, annotations.relative(video.path, source.root)) for video in splits["train"]
        )
        return [v for v, path in pairs if split_of.get(path, split) == split], source.reader

    def report_problems(
        self, problems: Sequence[Problem], say: Callable[[str], None] | None = None
    ) -> None:
        """Adds broken videos to `problems.csv` and the summary; names ten of them, if `say` is."""
        path = self.path / PROBLEMS
        rows: dict[str, list[str]] = {}
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = {row[0]: row for row in list(csv.reader(file))[1:]}
        for problem in problems:
            name = annotations.absolute(problem.name)  # however the data folder was named
            rows[name] = [name, problem.status, problem.detail]
        self.update_summary(broken_videos=len(rows))
        if problems:
            header = ["video", "status", "detail"]
            files.write_text(path, files.csv_text(header, [rows[name] for name in sorted(rows)]))
            outputs.publish([path])
        if not problems or say is None:
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
        outputs.publish([self.path / SUMMARY])


def _key(video: Video) -> tuple[str, float, float]:
    return video.path, video.start_seconds, video.end_seconds


def next_free(root: Path, name: str) -> Path:
    """Returns `root/name`, or the first of `root/name-2`, `root/name-3`, … that does not exist."""
    return next(path for path in _numbered(root, name) if not path.exists())


def default_path(root: Path, name: str) -> Path:
    """Returns the last of `root/NAME`, `root/NAME-2`, … if it has not ended, else a new one."""
    runs = list(itertools.takewhile(Path.exists, _numbered(root, name)))
    return runs[-1] if runs and not _ended(runs[-1]) else next_free(root, name)


def _numbered(root: Path, name: str) -> Iterator[Path]:
    yield root / name
    yield from (root / f"{name}-{number}" for number in itertools.count(2))


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
    made = {STATE, SUMMARY, CLASSES, VIDEOS}
    return all(file.name in made or files.is_leftover(file) for file in path.iterdir())


def create(
    path: Path, experiment: Recipe, classes: Sequence[str], videos: str, summary: dict[str, Any]
) -> Run:
    """Makes the folder of a new run; `videos` is the text of `videos.csv`, with their splits."""
    check_free(path)
    files.make_folder(path)
    run = Run(path, experiment, list(classes), {})
    files.write_text(path / CLASSES, "".join(f"{name}\n" for name in classes))
    files.write_text(path / VIDEOS, videos)
    run.update_summary(**summary)
    files.write_text(path / RECIPE, recipes.dumps(experiment))  # the last: now it is a run
    return run


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Locks a run against other trainings, and removes what a killed one left half written.

    Raises RunError if another process trains in it.
    """
    files.make_folder(path / STATE)
    taken = RunError(
        f"Another process trains in {path}: wait for its end, or choose another `workdir`."
    )
    with files.locked(path / STATE / _LOCK, taken):
        for folder in (path, path / STATE):
            files.remove_leftovers(folder)
        yield


def move_aside(path: Path, say: Callable[[str], None]) -> None:
    """Renames the folder of a run; one that holds none is left as it is."""
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
    """Opens the folder of an earlier training, also at a URL; raises RunError if it is no run."""
    path = Path(outputs.fetched(path, "workdir"))
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
    return Run(path, recipes.load(str(path / RECIPE)), classes, summary)
