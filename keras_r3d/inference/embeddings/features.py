"""Embeddings of videos: what a layer of the network makes of their windows."""

import dataclasses
import difflib
import functools
import itertools
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_r3d._version import __version__
from keras_r3d.applications import embedding
from keras_r3d.applications.networks import HEAD
from keras_r3d.data.annotations import Video, listed
from keras_r3d.data.annotations.labels import has_several
from keras_r3d.inference.embeddings import feature_file
from keras_r3d.inference.embeddings.feature_file import Batch, Features
from keras_r3d.inference.evaluation.split import Split
from keras_r3d.inference.models import runtimes
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.scoring import TIMEOUT, score
from keras_r3d.recipe.tables import as_dict
from keras_r3d.system import files
from keras_r3d.system.devices import Devices, choose
from keras_r3d.system.errors import ArgumentError
from keras_r3d.system.objects import outputs
from keras_r3d.system.text import first_of, shown
from keras_r3d.system.work import PartMaker, Share, Spread, Work

PER = ("window", "video")


def embedding_layer(network: keras.Model) -> str:
    """Returns the name of the layer that feeds the classifier, or the last of a headless network.

    That is `avg_pool` of an R3D or I3D and `fc7_relu` of a C3D.
    """
    remaining = list(network.layers)
    if remaining[-1].name == embedding.PROBABILITIES:  # of two branches: classes, none of them
        features = network.get_layer(HEAD).input
        return next(layer.name for layer in remaining if layer.output is features)
    while isinstance(remaining[-1], layers.Activation | layers.Softmax):
        remaining.pop()  # of a classifier in two layers
    if isinstance(remaining[-1], layers.Dense):
        remaining.pop()
        while isinstance(remaining[-1], layers.Dropout):  # nothing, when a network is used
            remaining.pop()
    return remaining[-1].name


def embedding_network(network: keras.Model, layer: str) -> keras.Model:
    """Returns the network up to a layer: clips -> float32 `(batch, d)`.

    A feature map is averaged over frames and places. ArgumentError: there is no such layer, or its
    output is neither `(batch, d)` nor `(batch, frames, height, width, d)`.
    """
    names = [part.name for part in network.layers]
    if layer not in names:
        near = difflib.get_close_matches(layer, names, n=1)
        meant = f" Did you mean '{near[0]}'?" if near else ""
        raise ArgumentError(
            f"`layer`: {network.name} has no layer '{layer}'.{meant} The last of its "
            f"{len(names)}: {', '.join(names[-8:])}."
        )
    output = network.get_layer(layer).output
    # In float32, whatever the precision of the network.
    if len(output.shape) == 5:
        output = layers.GlobalAveragePooling3D(
            data_format="channels_last", dtype="float32", name="embedding"
        )(output)
    elif len(output.shape) == 2:
        output = layers.Identity(dtype="float32", name="embedding")(output)
    else:
        raise ArgumentError(
            f"`layer` {layer} must give (batch, d) or (batch, frames, height, width, d). "
            f"Received: {output.shape}"
        )
    return keras.Model(network.inputs, output, name=f"{network.name}_{layer}")


def embedder(
    classifier: Classifier, layer: str | None = None, hardware: Devices | None = None
) -> tuple[Classifier, str]:
    """Makes a model that gives embeddings instead of probabilities, and names its layer.

    None is the layer of `embedding_layer`, and all devices. ArgumentError: it is no Keras model, or
    has no such layer.
    """
    if classifier.network is None:
        raise ArgumentError(
            f"{classifier.name} is a {classifier.kind}, which gives nothing but its scores: "
            "embeddings are of the layers of a .keras file."
        )
    hardware = hardware or choose()
    layer = layer or embedding_layer(classifier.network)
    with hardware.strategy.scope():
        network = embedding_network(classifier.network, layer)
    return dataclasses.replace(
        classifier,
        classes=[str(number) for number in range(network.output_shape[-1])],
        eval=dataclasses.replace(classifier.eval, average="probabilities"),  # the plain mean
        thresholds=None,
        score=runtimes.of_network(network, hardware, classifier.eval.batch_size),
        network=network,
    ), layer


@dataclasses.dataclass(frozen=True)
class StoredFeatures:
    """What was written to a file of embeddings. Printed, it is a report.

    Attributes:
        rows: embeddings.
        videos: that have some.
        errors: those that have none, by name: why.
        partial: those of which only a part decodes, likewise.
    """

    path: Path
    rows: int
    videos: int
    errors: dict[str, str]
    partial: dict[str, str]

    def __str__(self) -> str:
        lines = [f"Written: {shown(self.path)}: {self.rows} embeddings of {self.videos} videos"]
        lines += _listed("partial, what decodes is used", self.partial)
        return "\n".join([*lines, *_listed("without embedding", self.errors)])


def of_videos(
    model: Classifier, layer: str, side: Split, *, per: str, timeout: float = TIMEOUT
) -> Features:
    """Computes the embeddings of videos, all in memory; arguments and errors as of `store`."""
    with files.scratch_folder() as folder:
        stored = store(model, layer, side, folder / "features.npz", per=per, timeout=timeout)
        assert isinstance(stored, StoredFeatures)
        return dataclasses.replace(feature_file.read(stored.path), source=Path(model.name))


def store(
    model: Classifier,
    layer: str,
    side: Split,
    output: Path,
    *,
    per: str,
    timeout: float = TIMEOUT,
    unreadable: dict[str, str] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    spread: Spread | None = None,
) -> StoredFeatures | Share:
    """Computes the embeddings of videos and writes them to a file, in little memory.

    What is finished is kept beside `output` until all is: interrupted, the same call resumes.

    Args:
        model, layer: as `embedder` gives them.
        side: the videos; where its split is "" their labels are not known.
        per: one of `PER`.
        unreadable: further videos that cannot be read, by name: why.
        spread: who makes the parts.

    Raises:
        ArgumentError: no video can be read, or what an earlier call finished is of another model,
            recipe, layer or list of videos; or another process writes the same.
        ModelError: the model gives numbers that are not finite.
    """
    videos = side.videos
    request = _request(model, layer, per, videos)
    work = Work(
        output.with_name(f"{output.name}.parts"),
        "request.json",
        request | listed(videos),
        ArgumentError,
        [video.name for video in videos],
        is_there=lambda number: bool(side.reader.state(videos[number])),
        length=lambda number: side.reader.length(videos[number]),
        spread=spread or Spread(),
    )

    def results(numbers: Sequence[int], _: Path) -> Generator[tuple[int, Any], None, None]:
        chosen = [videos[number] for number in numbers]
        scores = score(model, side.reader, chosen, timeout=timeout, probabilities=False)
        yield from zip(numbers, scores, strict=True)

    maker = PartMaker(results, functools.partial(_pack, per))
    with work.open() as starts:
        list(work.make(starts, maker, progress))
        if work.spread.is_share:
            return work.share()
        said = [row for number in range(len(starts)) for row in work.read(number, ())[0]]
        details = {
            status: {
                video.name: d
                for video, (_, s, d) in zip(videos, said, strict=True)
                if s == status and d
            }
            for status in ("ok", "partial", "error")
        }
        details["error"] |= unreadable or {}
        readable = sum(count > 0 for count, *_ in said)
        if not readable:
            work.remove()  # the next call tries them again
            reasons = "\n".join(f"  {detail}" for detail in list(details["error"].values())[:5])
            raise ArgumentError(
                f"None of the {len(videos)} videos can be read. The first:\n{reasons}"
            )
        metadata = request | {
            "model": shown(os.path.abspath(model.name)),
            "data_dir": side.data or None,
            "split": side.name or None,
            **({"several_labels": True} if has_several(videos) else {}),
            "videos": readable,
            "errors": details["error"],
            "partial": details["partial"],
            "notes": details["ok"],
        }
        batches = functools.partial(_batches, work, [*starts, len(videos)], videos)
        feature_file.write(output, batches, bool(side.name), metadata)
        outputs.publish([output])
    work.remove()
    rows = sum(count for count, *_ in said)
    return StoredFeatures(output, rows, readable, details["error"], details["partial"])


def _listed(kind: str, details: dict[str, str]) -> list[str]:
    """Counts videos of a kind, if there are any, and names the first of them."""
    lines = [f"  {detail or name}" for name, detail in details.items()]
    return [f"{len(details)} videos {kind}:", *first_of(lines, 10)] if details else []


def _pack(
    per: str, _: int, results: Iterator[tuple[int, Prediction]]
) -> tuple[list[tuple[int, str, str]], Batch]:
    """Returns number of rows, status and detail of videos, and their rows."""
    said, rows = [], []
    for _, scored in results:
        if scored.status != "error":
            rows.append(_rows(scored, per))
        count = len(rows[-1]["window"]) if scored.status != "error" else 0
        said.append((count, scored.status, scored.detail))
    columns = rows[0] if rows else {}
    return said, {name: np.concatenate([batch[name] for batch in rows]) for name in columns}


def _batches(
    work: Work, ends: Sequence[int], videos: Sequence[Video], columns: Sequence[str]
) -> Iterator[Batch]:
    """Yields columns of the rows of some videos at a time, in the order of the list."""
    for number, (first, end) in enumerate(itertools.pairwise(ends)):
        said, arrays = work.read(number, set(columns) - set(feature_file.TEXTS))
        counts, statuses, _ = zip(*said, strict=True)
        if not any(counts):
            continue
        texts = {
            "video": [video.name for video in videos[first:end]],
            "path": [video.path for video in videos[first:end]],
            "status": statuses,
            "label": [video.label for video in videos[first:end]],
        }
        yield {x: np.repeat(texts[x], counts) if x in texts else arrays[x] for x in columns}


def _rows(scored: Prediction, per: str) -> Batch:
    """Returns what is kept of a video: an embedding of each window, or their mean."""
    embeddings, seconds = scored.window_scores, scored.window_seconds
    numbers = np.arange(len(embeddings))
    if per == "video":
        embeddings, numbers = scored.scores[np.newaxis], np.array([-1])
        seconds = np.array([[seconds[:, 0].min(), seconds[:, 1].max()]])
    times = {"start_seconds": seconds[:, 0], "end_seconds": seconds[:, 1]}
    return {"embedding": embeddings.astype(np.float32), "window": numbers, **times}


def _request(model: Classifier, layer: str, per: str, videos: Sequence[Video]) -> dict[str, Any]:
    """Returns what embeddings are of: those of another one are not mixed with them."""
    return {
        # Of a model in memory there is no file.
        "model_sha256": files.sha256(model.name) if os.path.isfile(model.name) else "",
        "layer": layer,
        "dimension": len(model.classes),
        "per": per,
        "clips": as_dict(model.clips),
        "windows": model.eval.windows,
        "views": model.eval.views,
        "frame_rates": sorted({video.frame_rate for video in videos}),
        "versions": {
            "keras_r3d": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }
