"""Evaluating videos: the whole beside its two parts, decoding and the network."""

import dataclasses
import os
import platform
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.timing import interleaved
from keras_r3d import applications
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader, Window
from keras_r3d.data.opening import open_source
from keras_r3d.inference.models import classifier
from keras_r3d.inference.prediction import scoring
from keras_r3d.recipe import Recipe
from keras_r3d.recipe.tables import as_dict
from keras_r3d.system import files
from keras_r3d.system.devices import choose
from keras_r3d.system.errors import R3DError


def run(
    data: str,
    experiment: Recipe,
    name: str,
    *,
    most_videos: int,
    network_threads: int | None,
    rounds: int,
    json: str | None,
) -> None:
    """Measures and prints.

    Args:
        data: folder of videos, list of them, or clip store.
        experiment: cuts the windows.
        name: network, as `applications.get_model` takes it; its weights are random.
        network_threads: cores that the network may use; None for all. With fewer than all it is
            like a network on a device of its own, which leaves cores to decode on.
        json: file that the figures are also written to.

    Raises:
        R3DError: there is no such network, or no video can be read.
    """
    if name not in applications.list_models():
        raise R3DError(f"--model must be one of {applications.list_models()}. Received: {name}")
    if network_threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(network_threads)
        tf.config.threading.set_inter_op_parallelism_threads(network_threads)
    opened = open_source(data, experiment.clips, experiment.videos)
    videos = [video for split in opened.annotations.splits.values() for video in split]
    videos = videos[:most_videos]
    opened.reader.require_readable(videos, "all")
    cut = experiment.clips
    network = applications.get_model(name, input_shape=(cut.frames, cut.size, cut.size, 3))
    hardware = choose()
    model = classifier.of_network(network, experiment, hardware=hardware)
    clips = sum(len(item.pixels) for item in decoded(model, opened.reader, videos))
    batch_size = experiment.eval.batch_size
    batch = np.random.default_rng(0).integers(
        0, 256, (batch_size, cut.frames, cut.size, cut.size, 3), np.uint8
    )

    def compute() -> None:
        for start in range(0, clips, batch_size):
            model.score(batch[: min(batch_size, clips - start)])

    rates = interleaved(
        {
            "decoding alone": lambda: list(decoded(model, opened.reader, videos)),
            "network alone": compute,
            "evaluation": lambda: list(scoring.score(model, opened.reader, videos)),
        },
        clips,
        rounds,
    )
    slower = min(rates["decoding alone"], rates["network alone"])
    in_turns = 1 / (1 / rates["decoding alone"] + 1 / rates["network alone"])
    figures: dict[str, Any] = {
        "benchmark": "evaluate",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{len(os.sched_getaffinity(0))} cores ({platform.machine()})",
        "devices": hardware.description,
        "model": name,
        "data": as_dict(cut),
        "eval": dataclasses.asdict(experiment.eval),
        "videos": len(videos),
        "clips": clips,
        "network_threads": network_threads,
        "rounds": rounds,
        "clips_per_second": rates,
        "of_the_slower": rates["evaluation"] / slower,
        "of_one_after_the_other": rates["evaluation"] / in_turns,
    }
    print(
        f"Evaluation, {name}, {clips} clips of {cut.frames}x{cut.size}x{cut.size} from "
        f"{len(videos)} videos, {hardware.description}, {figures['date']}, median of {rounds} turns"
    )
    for part, rate in rates.items():
        print(f"  {part:18}{rate:9.2f} clips/s")
    print(
        f"  {figures['of_the_slower']:.2f} of the slower of the two; "
        f"{figures['of_one_after_the_other']:.2f} of both one after the other on the same cores"
    )
    if json:
        files.write_json(json, figures)


def decoded(
    model: classifier.Classifier, reader: Reader, videos: Sequence[Video]
) -> Iterator[Window]:
    """Yields the windows that a model would score, in that order."""
    for _, item in scoring.windows(model, reader, videos, scoring.TIMEOUT):
        if isinstance(item, Window):
            yield item
