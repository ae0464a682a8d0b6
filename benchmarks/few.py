"""Training on few videos: whole, and its embedding beside decoding and the network alone."""

import dataclasses
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluate import decoded
from benchmarks.process import peak_megabytes
from benchmarks.timing import interleaved
from keras_r3d.data import demo
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.opening import open_source
from keras_r3d.recipe import Recipe
from keras_r3d.system import files
from keras_r3d.system.devices import choose
from keras_r3d.training import run as training
from keras_r3d.training.few import embeddings, setup

_DECODING, _NETWORK, _EMBEDDING = "decoding alone", "network alone", "embedding"


def run(
    data_dir: str | None,
    experiment: Recipe,
    weights: str | None,
    *,
    rounds: int,
    json: str | None,
) -> dict[str, Any]:
    """Measures and prints.

    Args:
        data_dir: folder of videos, list of them, or clip store. None: 96 of the demo's videos.
        experiment: a recipe with [few].
        weights: in place of the recipe's.
        json: file that the figures are also written to.

    Returns:
        The figures.

    Raises:
        R3DError: the weights cannot be had, or the videos not be trained on.
    """
    if weights is not None:
        model = dataclasses.replace(experiment.model, weights=weights)
        experiment = dataclasses.replace(experiment, model=model)
    data_dir = data_dir or str(demo.render() / "test")
    figures: dict[str, Any] = {
        "benchmark": "few",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{len(os.sched_getaffinity(0))} cores ({platform.machine()})",
        "data": data_dir,
        "weights": experiment.model.weights,
        "rounds": rounds,
        "megabytes_before": peak_megabytes(),
        "trainings": _trained(data_dir, experiment),
        "peak_megabytes": peak_megabytes(),
        **_embedded(data_dir, experiment, rounds),
    }
    _print(figures)
    if json:
        files.write_json(json, figures)
    return figures


def _trained(data_dir: str, experiment: Recipe) -> dict[str, dict[str, float]]:
    """Trains twice; returns the seconds of each stage, and of all."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as folder:
        for name in ("first", "again"):  # the second finds the embeddings of the first beside it
            started = time.monotonic()
            trained = training.train_network(experiment, data_dir, Path(folder) / name, say=_ignore)
            seconds = time.monotonic() - started
            found[name] = {**trained.summary["seconds"], "all": round(seconds, 2)}
    return found


def _ignore(_: str) -> None:
    """Says nothing."""


def _embedded(data_dir: str, experiment: Recipe, rounds: int) -> dict[str, Any]:
    """Embeds videos, decodes them, and scores as many clips, in turns."""
    few = setup.prepare(experiment, data_dir, choose(), _ignore)
    model, request = few.embedder(), few.request()
    split, batch_size = few.test_split, experiment.eval.batch_size
    videos = [v for one in ("train", split) if one for v in few.annotations.split(one)]

    def reader() -> Reader:
        """Opens one that knows no video yet, as that of a training."""
        return open_source(
            data_dir, experiment.clips, experiment.videos, seed=experiment.train.seed
        ).reader

    cut = experiment.clips
    clips = sum(len(window.pixels) for window in decoded(model, reader(), videos))
    batch = np.random.default_rng(0).integers(
        0, 256, (batch_size, cut.frames, cut.size, cut.size, cut.channels), np.uint8
    )

    def decode() -> None:
        for _ in decoded(model, reader(), videos):
            pass

    def compute() -> None:
        for start in range(0, clips, batch_size):
            model.score(batch[: min(batch_size, clips - start)])

    def embed() -> None:
        with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as folder:
            run = Path(folder) / "run"  # a cache also looks beside it
            run.mkdir()
            fresh = reader()
            cache = embeddings.Cache(run, request, fresh)
            embeddings.embed(model, fresh, videos, cache)

    steps = {_DECODING: decode, _NETWORK: compute, _EMBEDDING: embed}
    rates = interleaved(steps, len(videos), rounds)
    most = 1 / (1 / rates[_DECODING] + 1 / rates[_NETWORK])
    return {
        "videos": len(videos),
        "clips": clips,
        "videos_per_second": rates,
        "most_videos_per_second": most,
        "of_the_most": rates[_EMBEDDING] / most,
    }


def _print(figures: dict[str, Any]) -> None:
    print(
        f"Training on few videos: {figures['videos']} of {figures['data']}, {figures['clips']} "
        f"clips, {figures['machine']}, {figures['date']}, median of {figures['rounds']} turns"
    )
    for part, rate in figures["videos_per_second"].items():
        print(f"  {part:18}{rate:9.2f} videos/s{figures['videos'] / rate:9.2f} s")
    print(
        f"  On the same cores {figures['most_videos_per_second']:.2f} videos/s is the most: "
        f"{figures['of_the_most']:.2f} of it is reached."
    )
    for name, seconds in figures["trainings"].items():
        stages = ", ".join(f"{stage} {took:.1f} s" for stage, took in seconds.items())
        print(f"  Whole training, {name}: {stages}")
    print(
        f"  Peak memory of the trainings: {figures['peak_megabytes']:.0f} MB "
        f"({figures['megabytes_before']:.0f} MB before: libraries)"
    )
