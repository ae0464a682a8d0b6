"""How many videos a class are enough: accuracy of `few` and of training from scratch."""

import csv
import dataclasses
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from keras_r3d import recipe
from keras_r3d.data import opening
from keras_r3d.data.annotations import Video
from keras_r3d.inference.embeddings import ridge
from keras_r3d.inference.evaluation import evaluating
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.system import files
from keras_r3d.system.devices import choose
from keras_r3d.training import run as training
from keras_r3d.training.few import embeddings, setup

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Point:
    """Accuracies on the test split, one for each draw of so many training videos a class."""

    method: str
    per_class: int
    accuracies: tuple[float, ...]

    def __str__(self) -> str:
        low, high = min(self.accuracies), max(self.accuracies)
        mean, deviation = float(np.mean(self.accuracies)), float(np.std(self.accuracies))
        return (
            f"{self.method:14}{self.per_class:3} a class: {mean:6.1%} ± {deviation:.1%} "
            f"({low:.1%} to {high:.1%}, {len(self.accuracies)} draws)"
        )


def run(
    data_dir: str,
    *,
    weights: str,
    per_class: Sequence[int],
    draws: int,
    scratch_draws: int,
    scratch_recipe: str,
    picture: str | None,
    json: str | None,
    say: Say = print,
) -> list[Point]:
    """Draws training videos again and again, trains on them and evaluates the test split.

    Args:
        data_dir: videos with a train and a test split.
        weights: of recipe `few`.
        per_class: videos a class that are drawn.
        draws: of each number, for `few`.
        scratch_draws: likewise for training from scratch, which takes minutes each.
        scratch_recipe: name of the recipe that trains from scratch.
        picture: PNG file to draw the curves into.
        json: file for the figures.
        say: takes each line of the report.
    """
    points = _few(data_dir, weights, per_class, draws, say)
    if scratch_draws:
        points += _scratch(data_dir, scratch_recipe, per_class, scratch_draws, say)
    if picture:
        with files.atomic(picture) as temporary:
            _draw(points).savefig(temporary, dpi=110)
    if json:
        files.write_json(json, [dataclasses.asdict(point) for point in points])
    return points


def _few(
    data_dir: str, weights: str, per_class: Sequence[int], draws: int, say: Say
) -> list[Point]:
    experiment = recipe.load("few", [f'model.weights="{weights}"'])
    few = setup.prepare(experiment, data_dir, choose(), say)
    found = few.annotations
    train, test = found.split("train"), found.split("test")
    with tempfile.TemporaryDirectory() as folder:
        run, reader = Path(folder) / "run", few.source.reader
        run.mkdir()
        cache = embeddings.Cache(run, few.request(), reader)
        rows = embeddings.embed(few.embedder(), reader, [*train, *test], cache)
    known = setup.label(few, train, rows[: len(train)], say).labeled
    points = []
    for count in per_class:
        accuracies = []
        for draw in range(draws):
            chosen = np.zeros(len(known.labels), bool)
            chosen[_drawn(known.labels.tolist(), count, draw)] = True
            fitted = ridge.fit(known.taken(chosen), few.names)
            scored = [
                few.score(video, one, fitted)
                for video, one in zip(test, rows[len(train) :], strict=True)
            ]
            figures = Evaluation(found.classes, scored).figures()
            accuracies.append(figures["video_top1"])
        points.append(Point("few", count, tuple(accuracies)))
        say(str(points[-1]))
    return points


def _scratch(
    data_dir: str, name: str, per_class: Sequence[int], draws: int, say: Say
) -> list[Point]:
    experiment = recipe.load(name)
    found = opening.open_source(data_dir, experiment.clips, experiment.videos, seed=1).annotations
    train, test = found.split("train"), found.split("test")
    points = []
    for count in per_class:
        accuracies = []
        for draw in range(draws):
            drawn = [train[n] for n in _drawn([v.label for v in train], count, draw)]
            # As many steps as with all videos, or there would hardly be any.
            clips = math.ceil(experiment.train.clips_per_video * len(train) / len(drawn))
            as_many = recipe.override(experiment, [f"train.clips_per_video={clips}"])
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "videos.csv"
                _write_list(path, drawn, test)
                done = training.train_network(as_many, path, Path(folder) / "run", say=_ignore)
                figures = evaluating.evaluate_run(done).figures()
            accuracies.append(figures["video_top1"])
        points.append(Point(f"from scratch ({name})", count, tuple(accuracies)))
        say(str(points[-1]))
    return points


def _drawn(labels: Sequence, count: int, draw: int) -> list[int]:
    """Draws so many videos of each class, the same ones for every method."""
    rng = np.random.default_rng([draw, count])
    numbers: list[int] = []
    for label in sorted(set(labels)):
        own = [number for number, one in enumerate(labels) if one == label]
        numbers += rng.choice(own, min(count, len(own)), replace=False).tolist()
    return numbers


def _write_list(path: Path, train: Sequence[Video], test: Sequence[Video]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["path", "label", "split"])
        lines.writerows([video.path, video.label, "train"] for video in train)
        lines.writerows([video.path, video.label, "test"] for video in test)


def _ignore(_: str) -> None:
    """Says nothing."""


def _draw(points: Sequence[Point]) -> Figure:
    """Draws the mean accuracy over the number of videos, and the spread of the draws."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for method in dict.fromkeys(point.method for point in points):
        own = [point for point in points if point.method == method]
        counts = [point.per_class for point in own]
        accuracies = [np.array(point.accuracies) for point in own]
        (line,) = axes.plot(counts, [a.mean() for a in accuracies], "o-", label=method)
        spread = [np.percentile(a, (10, 90)) for a in accuracies]
        axes.fill_between(
            *(counts, [low for low, _ in spread], [high for _, high in spread]),
            color=line.get_color(),
            alpha=0.2,
        )
    axes.set_xticks(sorted({point.per_class for point in points}))
    axes.set_xlabel("training videos of each class")
    axes.set_ylabel("test videos right")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure
