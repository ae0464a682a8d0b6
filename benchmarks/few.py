"""Training on few videos: how long it takes, and how many videos of a class are enough."""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.evaluate import one_after_the_other, parts
from benchmarks.options import Options
from benchmarks.turns import in_process, peak_megabytes, report
from keras_r3d import recipe as recipes
from keras_r3d.data import demo
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.opening import open_source
from keras_r3d.inference.embeddings import ridge
from keras_r3d.inference.evaluation import evaluating
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.pictures import fonts
from keras_r3d.recipe import Recipe
from keras_r3d.system import files
from keras_r3d.system.devices import choose
from keras_r3d.system.work import Share
from keras_r3d.training import run as training
from keras_r3d.training.few import embeddings, setup

_SCRATCH = "gestures"  # recipe that trains from scratch


def run(options: Options) -> dict[str, Any]:
    """Measures a whole training, and its embedding beside decoding and the network alone."""
    experiment = options.load_recipe()
    data = options.data or str(demo.render() / "test")
    before = peak_megabytes()
    trainings = _train_twice(data, experiment)
    peak = peak_megabytes()
    few = setup.prepare(experiment, data, choose(), lambda line: None)
    splits = [split for split in ("train", few.test_split) if split]
    videos = [video for split in splits for video in few.annotations.split(split)]

    def open_reader() -> Reader:
        """Opens one that knows no video yet, as that of a training."""
        seed = experiment.train.seed
        return open_source(data, experiment.clips, experiment.videos, seed=seed).reader

    model = few.embedder()
    clips, steps = parts(model, open_reader, videos)
    steps["embedding"] = lambda: _embed(few, model, open_reader(), videos)
    results = in_process(steps, len(videos), options.rounds)
    title = f"Training on few videos: {len(videos)} of {data}, {clips} clips"
    rows = report(title, results, "videos")
    most = one_after_the_other(results)
    print(
        f"  On the same cores {most:.2f} videos/s is the most: "
        f"{results['embedding'].rate / most:.2f} of it is reached."
    )
    for name, seconds in trainings.items():
        stages = ", ".join(f"{stage} {took:.1f} s" for stage, took in seconds.items())
        print(f"  Whole training, {name}: {stages}")
    print(f"  Peak memory of the trainings: {peak:.0f} MB ({before:.0f} MB before: libraries)")
    return {
        **{"contenders": rows, "trainings": trainings, "videos": len(videos), "clips": clips},
        **{"most_videos_per_second": most, "megabytes_before": before, "peak_megabytes": peak},
    }


def _train_twice(data: str, experiment: Recipe) -> dict[str, dict[str, float]]:
    """Returns the seconds of each stage, and of all."""
    trainings = {}
    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as folder:
        for name in ("first", "again"):  # the second finds the embeddings of the first beside it
            started, place = time.monotonic(), Path(folder) / name
            trained = training.train_network(experiment, data, place, say=lambda line: None)
            seconds = time.monotonic() - started
            trainings[name] = {**trained.summary["seconds"], "all": round(seconds, 2)}
    return trainings


def _embed(
    few: setup.Few, model: Classifier, reader: Reader, videos: Sequence[Video]
) -> list[embeddings.Embedded]:
    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as folder:
        run = Path(folder) / "run"  # a cache also looks beside it
        run.mkdir()
        rows = embeddings.Cache(run, few.request(), reader).embed(model, videos)
        assert not isinstance(rows, Share)
        return rows


def run_shots(options: Options) -> dict[str, Any]:
    """Draws training videos again and again, trains on them and evaluates the test split."""
    experiment, data = options.load_recipe(), options.data
    points = []
    for method, count_draws, start in (
        ("few", options.draws, lambda: _start_few(data, experiment)),
        (f"from scratch ({_SCRATCH})", options.scratch_draws, lambda: _start_scratch(data)),
    ):
        if not count_draws:
            continue
        labels, train = start()
        for count in map(int, options.per_class):
            right = [train(_draw(labels, count, draw)) for draw in range(count_draws)]
            points.append({"method": method, "per_class": count, "accuracies": right})
            print(
                f"{method:14}{count:3} a class: {np.mean(right):6.1%} ± {np.std(right):.1%} "
                f"({min(right):.1%} to {max(right):.1%}, {count_draws} draws)"
            )
    if options.picture:
        fonts.save(_plot(points), options.picture, dpi=110)
    return {"points": points}


def _draw(labels: Sequence[Any], count: int, draw: int) -> list[int]:
    """Draws `count` videos of each class, the same for every method."""
    rng, numbers = np.random.default_rng([draw, count]), []
    for label in sorted(set(labels)):
        of_class = [number for number, other in enumerate(labels) if other == label]
        numbers += rng.choice(of_class, min(count, len(of_class)), replace=False).tolist()
    return numbers


# Labels of the training videos, and what trains on some of them and returns its accuracy.
Training = tuple[Sequence[Any], Callable[[list[int]], float]]


def _start_few(data: str, experiment: Recipe) -> Training:
    """Embeds all videos once; each training fits a classifier."""
    few = setup.prepare(experiment, data, choose(), print)
    train, test = few.annotations.split("train"), few.annotations.split("test")
    rows = _embed(few, few.embedder(), few.source.reader, [*train, *test])
    labeled = setup.label(few, train, rows[: len(train)], print).labeled
    tested = list(zip(test, rows[len(train) :], strict=True))

    def accuracy(numbers: list[int]) -> float:
        chosen = np.isin(np.arange(len(labeled.labels)), numbers)
        fitted = ridge.fit(labeled.taken(chosen), few.names)
        scored = [few.score(video, row, fitted) for video, row in tested]
        return Evaluation(few.annotations.classes, scored).figures()["video_top1"]

    return labeled.labels.tolist(), accuracy


def _start_scratch(data: str) -> Training:
    experiment = recipes.load(_SCRATCH)
    source = open_source(data, experiment.clips, experiment.videos, seed=1)
    train, test = source.annotations.split("train"), source.annotations.split("test")

    def accuracy(numbers: list[int]) -> float:
        # As many steps as with all videos, or there would hardly be any.
        clips = math.ceil(experiment.train.clips_per_video * len(train) / len(numbers))
        as_many = recipes.override(experiment, [f"train.clips_per_video={clips}"])
        splits = {"train": [train[number] for number in numbers], "test": test}
        rows = [(v.path, v.label, split) for split, videos in splits.items() for v in videos]
        with tempfile.TemporaryDirectory() as folder:
            path, place = Path(folder) / "videos.csv", Path(folder) / "run"
            files.write_text(path, files.csv_text(["path", "label", "split"], rows))
            trained = training.train_network(as_many, path, place, say=lambda line: None)
            return evaluating.evaluate_run(trained).figures()["video_top1"]

    return [video.label for video in train], accuracy


def _plot(points: Sequence[dict[str, Any]]) -> Figure:
    """Draws the mean accuracy over the number of videos, and the spread of the draws."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for method in dict.fromkeys(point["method"] for point in points):
        curve = [point for point in points if point["method"] == method]
        counts, right = zip(*((p["per_class"], p["accuracies"]) for p in curve), strict=True)
        means = [np.mean(draws) for draws in right]
        (line,) = axes.plot(counts, means, "o-", label=method)
        low, high = np.transpose([np.percentile(draws, (10, 90)) for draws in right])
        axes.fill_between(counts, low, high, color=line.get_color(), alpha=0.2)
    axes.set_xticks(sorted({point["per_class"] for point in points}))
    axes.set(xlabel="training videos of each class", ylabel="test videos right", ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure
