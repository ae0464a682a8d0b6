"""Embeddings of videos: what a layer of the network makes of their windows."""

import dataclasses
import difflib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_r3d._version import __version__
from keras_r3d.applications import embedding
from keras_r3d.applications.networks import HEAD
from keras_r3d.data.annotations import Video
from keras_r3d.data.annotations.labels import has_several
from keras_r3d.inference.embeddings import feature_file
from keras_r3d.inference.embeddings.feature_file import Batch, Features
from keras_r3d.inference.embeddings.parts import Parts
from keras_r3d.inference.evaluation.split import Split
from keras_r3d.inference.models import runtimes
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.scoring import TIMEOUT, score
from keras_r3d.recipe.tables import as_dict
from keras_r3d.system import files
from keras_r3d.system.devices import Devices, choose
from keras_r3d.system.errors import ArgumentError
from keras_r3d.system.text import first_of
from keras_r3d.system.work import Work

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
        lines = [f"Written: {self.path}: {self.rows} embeddings of {self.videos} videos"]
        lines += _listed("partial, what decodes is used", self.partial)
        return "\n".join([*lines, *_listed("without embedding", self.errors)])


def of_videos(
    model: Classifier, layer: str, side: Split, *, per: str, timeout: float = TIMEOUT
) -> Features:
    """Computes the embeddings of videos, all in memory; arguments and errors as of `store`."""
    parts = Parts(side.videos)
    request = _request(model, layer, per, side.videos)
    metadata = request | _embed(model, side, parts, per, timeout, {}, None)
    columns = [name for name in feature_file.COLUMNS if side.name or name != "label"]
    batches = list(parts.batches(columns))
    values = {name: np.concatenate([batch[name] for batch in batches]) for name in columns}
    return Features(Path(model.name), label=values.pop("label", None), **values, metadata=metadata)


def store(
    model: Classifier,
    layer: str,
    side: Split,
    output: Path,
    *,
    per: str,
    timeout: float = TIMEOUT,
    unreadable: dict[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> StoredFeatures:
    """Computes the embeddings of videos and writes them to a file, in little memory.

    What is finished is kept beside `output` until all is: interrupted, the same call resumes.

    Args:
        model, layer: as `embedder` gives them.
        side: the videos; where its split is "" their labels are not known.
        per: one of `PER`.
        unreadable: further videos that cannot be read, by name: why.

    Raises:
        ArgumentError: no video can be read, or what an earlier call finished is of another model,
            recipe or layer, or damaged; or another process writes the same.
        ModelError: the model gives numbers that are not finite.
    """
    request = _request(model, layer, per, side.videos)
    work = Work(output.with_name(f"{output.name}.parts"), "request.json", request, ArgumentError)
    with work.open():
        parts = Parts(side.videos, work.folder)
        videos = parts.entries
        if videos:
            count = f"{len(videos)} of {len(side.videos)} videos"
            say(f"{count} are finished already, in {work.folder}.")
        if parts.gone:
            kind = "finished by an earlier call, but no longer named: left out"
            say("\n".join(_listed(kind, dict.fromkeys(parts.gone, ""))))
        rest = _embed(model, side, parts, per, timeout, unreadable or {}, progress)
        feature_file.write(output, parts.batches, bool(side.name), request | rest)
    shutil.rmtree(work.folder)
    rows = sum(entry.rows for entry in videos.values())
    return StoredFeatures(output, rows, len(videos), rest["errors"], rest["partial"])


def _listed(kind: str, details: dict[str, str]) -> list[str]:
    """Counts videos of a kind, if there are any, and names the first of them."""
    lines = [f"  {detail or name}" for name, detail in details.items()]
    return [f"{len(details)} videos {kind}:", *first_of(lines, 10)] if details else []


def _embed(
    model: Classifier,
    side: Split,
    parts: Parts,
    per: str,
    timeout: float,
    unreadable: dict[str, str],
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Embeds the videos that are in no part; returns what metadata say of all of them."""
    errors: dict[str, str] = {}
    remaining = [video for video in side.videos if video.name not in parts.entries]
    done, total = len(side.videos) - len(remaining), len(side.videos)
    scores = score(model, side.reader, remaining, timeout=timeout, probabilities=False)
    try:
        for number, scored in enumerate(scores, done + 1):
            if scored.status == "error":
                errors[scored.source.name] = scored.detail
            else:
                rows = _rows(scored, per)
                parts.add(scored.source.name, rows, scored.status, scored.detail)
            if progress is not None:
                progress(number, total)
    finally:  # of Ctrl-C and SIGTERM, too
        parts.flush()
    errors |= unreadable
    if not parts.entries:
        reasons = "\n".join(f"  {detail}" for detail in list(errors.values())[:5])
        raise ArgumentError(f"None of the {total} videos can be read. The first:\n{reasons}")
    return {
        "model": os.path.abspath(model.name),
        "data_dir": side.data or None,
        "split": side.name or None,
        **({"several_labels": True} if has_several(side.videos) else {}),
        "videos": len(parts.entries),
        "errors": errors,
        "partial": parts.details("partial"),
        "notes": parts.details("ok"),
    }


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
