"""Evaluating videos: the whole beside its two parts, decoding and the network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.options import Options
from benchmarks.turns import Result, in_process, report
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader, Window
from keras_r3d.data.opening import open_source
from keras_r3d.inference.models import classifier
from keras_r3d.inference.prediction import scoring
from keras_r3d.system.devices import choose

DECODING, NETWORK = "decoding alone", "network alone"


def run(options: Options) -> dict[str, Any]:
    """Measures and prints."""
    # With fewer than all, the network is like one on a device of its own: cores are left to decode.
    if options.network_threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(options.network_threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.network_threads)
    experiment = options.load_recipe()
    shape, hardware = experiment.clips.shape, choose()
    network = options.build_network(shape)
    source = open_source(options.data, experiment.clips, experiment.videos)
    videos = [video for split in source.annotations.splits.values() for video in split]
    videos = videos[: options.clips]
    source.reader.require_readable(videos, "all")
    scorer = classifier.of_network(network, experiment, hardware=hardware)
    count, steps = parts(scorer, lambda: source.reader, videos)
    steps["evaluation"] = lambda: list(scoring.score(scorer, source.reader, videos))
    results = in_process(steps, count, options.rounds)
    rows = report(
        f"Evaluation, {options.model}, {count} clips of {'x'.join(map(str, shape[:3]))} from "
        f"{len(videos)} videos, {hardware.description}",
        *(results, "clips"),
    )
    rate, both = results["evaluation"].rate, one_after_the_other(results)
    of_slower = rate / min(results[DECODING].rate, results[NETWORK].rate)
    print(
        f"  {of_slower:.2f} of the slower of the two; {rate / both:.2f} of both one after the other"
    )
    shares = {"of_the_slower": of_slower, "of_one_after_the_other": rate / both}
    return {"contenders": rows, "videos": len(videos), "clips": count, **shares}


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


def one_after_the_other(results: Mapping[str, Result]) -> float:
    """Returns the rate of decoding and network on the same cores, if nothing else took time."""
    return 1 / (1 / results[DECODING].rate + 1 / results[NETWORK].rate)
