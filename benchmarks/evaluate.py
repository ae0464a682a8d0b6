"""Evaluating videos: the whole beside its two parts, decoding and the network."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.turns import interleaved
from keras_r3d import applications
from keras_r3d import recipe as recipes
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader, Window
from keras_r3d.data.opening import open_source
from keras_r3d.inference.models import classifier
from keras_r3d.inference.prediction import scoring
from keras_r3d.recipe.tables import as_dict
from keras_r3d.system.devices import choose
from keras_r3d.system.errors import R3DError

DECODING, NETWORK = "decoding alone", "network alone"


def run(
    data: str,
    *,
    recipe: str = "kinetics34",
    overrides: Sequence[str] = (),
    model: str = "r3d34",
    clips: int = 64,
    network_threads: int | None = None,
    rounds: int = 5,
) -> dict[str, Any]:
    """Measures and prints.

    Args:
        data: folder of videos, list of them, or clip store.
        recipe: recipe that cuts clips.
        overrides: changes of recipe keys: clips.frames=8. May be repeated.
        model: network; its weights are random.
        clips: most videos that are evaluated.
        network_threads: cores that the network may use; videos are decoded on all. With fewer than
            all it is like a network on a device of its own, which leaves cores to decode on.
        rounds: turns of each contender.
    """
    if model not in applications.list_models():
        raise R3DError(f"`model` must be one of {applications.list_models()}. Received: {model}")
    if network_threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(network_threads)
        tf.config.threading.set_inter_op_parallelism_threads(network_threads)
    experiment = recipes.load(recipe, overrides)
    source = open_source(data, experiment.clips, experiment.videos)
    videos = [video for split in source.annotations.splits.values() for video in split][:clips]
    source.reader.require_readable(videos, "all")
    shape, hardware = experiment.clips.shape, choose()
    network = applications.get_model(model, input_shape=shape)
    scorer = classifier.of_network(network, experiment, hardware=hardware)
    count, steps = parts(scorer, lambda: source.reader, videos)
    steps["evaluation"] = lambda: list(scoring.score(scorer, source.reader, videos))
    rates = interleaved(steps, count, rounds)
    figures = {
        "devices": hardware.description,
        "model": model,
        "data": as_dict(experiment.clips),
        "eval": dataclasses.asdict(experiment.eval),
        "videos": len(videos),
        "clips": count,
        "network_threads": network_threads,
        "rounds": rounds,
        "clips_per_second": rates,
        "of_the_slower": rates["evaluation"] / min(rates[DECODING], rates[NETWORK]),
        "of_one_after_the_other": rates["evaluation"] / one_after_the_other(rates),
    }
    print(
        f"Evaluation, {model}, {count} clips of {'x'.join(map(str, shape[:3]))} from "
        f"{len(videos)} videos, {hardware.description}, median of {rounds} turns"
    )
    for part, rate in rates.items():
        print(f"  {part:18}{rate:9.2f} clips/s")
    print(
        f"  {figures['of_the_slower']:.2f} of the slower of the two; "
        f"{figures['of_one_after_the_other']:.2f} of both one after the other on the same cores"
    )
    return figures


def parts(
    model: classifier.Classifier, open_reader: Callable[[], Reader], videos: Sequence[Video]
) -> tuple[int, dict[str, Callable[[], object]]]:
    """Returns how many clips videos have, and what decodes them and scores as many, each alone."""

    def decoded() -> Iterator[int]:
        for _, item in scoring.windows(model, open_reader(), videos, scoring.TIMEOUT):
            if isinstance(item, Window):
                yield len(item.pixels)

    def compute() -> None:
        for start in range(0, count, batch_size):
            model.score(batch[: min(batch_size, count - start)])

    count, batch_size = sum(decoded()), model.eval.batch_size
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (batch_size, *model.clips.shape), np.uint8)
    return count, {DECODING: lambda: sum(decoded()), NETWORK: compute}


def one_after_the_other(rates: dict[str, float]) -> float:
    """Returns the rate of decoding and network on the same cores, if nothing else took time."""
    return 1 / (1 / rates[DECODING] + 1 / rates[NETWORK])
