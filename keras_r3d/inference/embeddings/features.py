"""Embeddings of videos: what a layer of the network makes of their windows."""

import dataclasses
import difflib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_r3d._version import __version__
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.embeddings import feature_file
from keras_r3d.inference.embeddings.feature_file import Batch, Features
from keras_r3d.inference.embeddings.feature_parts import PLAN, Parts
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

    That is `avg_pool` of an R3D and `fc7_relu` of a C3D.
    """
    remaining = list(network.layers)
    while isinstance(remaining[-1], layers.Activation | layers.Softmax):
        remaining.pop()  # of a classifier in two layers
    if isinstance(remaining[-1], layers.Dense):
        remaining.pop()
        while isinstance(remaining[-1], layers.Dropout):  # nothing, when a network is used
            remaining.pop()
    return remaining[-1].name


def embedding_network(network: keras.Model, layer: str) -> keras.Model:
    """Returns the network up to a layer; a feature map is averaged over frames and places.

    Args:
        layer: name of a layer whose output is `(batch, d)` or `(batch, frames, height, width, d)`.

    Returns:
        Clips -> float32 `(batch, d)`.

    Raises:
        ArgumentError: there is no such layer, or its output is of another shape.
    """
    names = [one.name for one in network.layers]
    if layer not in names:
        near = difflib.get_close_matches(layer, names, n=1)
        meant = f" Did you mean '{near[0]}'?" if near else ""
        raise ArgumentError(
            f"--layer: {network.name} has no layer '{layer}'.{meant} The last of its "
            f"{len(names)}: {', '.join(names[-8:])}."
        )
    output = network.get_layer(layer).output
    if len(output.shape) == 5:
        # In float32, whatever the precision of the network.
        output = layers.GlobalAveragePooling3D(dtype="float32", name="embedding")(output)
    elif len(output.shape) == 2:
        output = layers.Identity(dtype="float32", name="embedding")(output)
    else:
        raise ArgumentError(
            f"--layer {layer} must give (batch, d) or (batch, frames, height, width, d). "
            f"Received: {output.shape}"
        )
    return keras.Model(network.inputs, output, name=f"{network.name}_{layer}")


def embedder(
    classifier: Classifier, layer: str | None = None, hardware: Devices | None = None
) -> tuple[Classifier, str]:
    """Makes a model that gives embeddings instead of probabilities, and names its layer.

    Args:
        layer: as `embedding_network` takes it; None is that of `embedding_layer`.
        hardware: the one that `classifier` was opened with.

    Raises:
        ArgumentError: it is no Keras model, or `layer` is none of its layers.
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
        score=runtimes.of_network(network, hardware, classifier.eval.batch_size),
        network=network,
    ), layer


def of_videos(
    model: Classifier, layer: str, side: Split, *, per: str, timeout: float = TIMEOUT
) -> Features:
    """Computes the embeddings of videos, all in memory.

    Args:
        model, layer: as `embedder` gives them.
        side: the videos; where its split is "" their labels are not known.
        per: one of `PER`.
        timeout: seconds after which a video that gives no more window is given up.

    Raises:
        ArgumentError: no video can be read.
        ModelError: the model gives numbers that are not finite.
    """
    errors: dict[str, str] = {}
    details: dict[str, dict[str, str]] = {"ok": {}, "partial": {}}
    batches = []
    for scored in _scored(model, side.reader, side.videos, timeout, errors):
        if scored.status != "error":
            batches.append(_rows(scored, per))
            if scored.detail:
                details[scored.status][scored.source.name] = scored.detail
    if not batches:
        raise _nothing(side, errors)
    columns = {name: np.concatenate([one[name] for one in batches]) for name in batches[0]}
    if not side.name:
        columns["label"] = None
    metadata = _metadata(model, layer, per, side, len(batches), errors, details)
    return Features(source=Path(model.name), **columns, metadata=metadata)


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
        for kind, details in (
            ("partial, what decodes is used", self.partial),
            ("without embedding", self.errors),
        ):
            if details:
                lines.append(named(kind, details))
        return "\n".join(lines)


def named(kind: str, details: dict[str, str]) -> str:
    """Counts videos of a kind, and names the first of them."""
    lines = [f"  {detail or name}" for name, detail in details.items()]
    return "\n".join([f"{len(details)} videos {kind}:", *first_of(lines, 10)])


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
        model, layer, side, per, timeout: as in `of_videos`.
        unreadable: further videos that cannot be read, by name: why.
        progress: takes the number of videos done, and of all.
        say: takes what there is to say of an earlier call.

    Raises:
        ArgumentError: no video can be read, or what an earlier call finished is of another model,
            recipe or layer, or damaged; or another process writes the same.
        ModelError: the model gives numbers that are not finite.
        WriteError: the disk is full, …
    """
    errors: dict[str, str] = {}
    request = _request(model, layer, per)
    work = Work(output.with_name(f"{output.name}.parts"), PLAN, request, ArgumentError)
    with work.open():
        parts = Parts(work, side.videos)
        if parts.finished:
            say(
                f"{len(parts.finished)} of {len(side.videos)} videos are finished already, in "
                f"{work.folder}."
            )
        if parts.gone:
            gone = dict.fromkeys(sorted(parts.gone), "")
            say(named("finished by an earlier call, but no longer named: left out", gone))
        remaining = [video for video in side.videos if video.name not in parts.finished]
        total = len(side.videos)
        numbers = itertools.count(total - len(remaining) + 1)
        try:
            for scored in _scored(model, side.reader, remaining, timeout, errors):
                if scored.status != "error":
                    parts.add(scored.source.name, _rows(scored, per), scored.detail)
                if progress is not None:
                    progress(next(numbers), total)
        finally:  # of Ctrl-C and SIGTERM, too
            parts.flush()
        errors |= unreadable or {}
        if not parts.finished:
            raise _nothing(side, errors)
        details = parts.details()
        metadata = _metadata(model, layer, per, side, len(parts.finished), errors, details)
        dimension = len(model.classes)
        rows = feature_file.write(output, parts.batches, dimension, bool(side.name), metadata)
    shutil.rmtree(work.folder)
    return StoredFeatures(output, rows, len(parts.finished), errors, details["partial"])


def _scored(
    model: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    timeout: float,
    errors: dict[str, str],
) -> Iterator[Prediction]:
    """Yields the embedded videos in their order; `errors` gets why some are not."""
    for scored in score(model, reader, videos, timeout=timeout, probabilities=False):
        if scored.status == "error":
            errors[scored.source.name] = scored.detail
        yield scored


def _rows(scored: Prediction, per: str) -> Batch:
    """Returns what is kept of a video: an embedding of each window, or their mean."""
    embeddings, seconds = scored.window_scores, scored.window_seconds
    numbers = np.arange(len(embeddings))
    if per == "video":
        embeddings = scored.scores[np.newaxis].astype(np.float32)
        seconds = np.array([[seconds[:, 0].min(), seconds[:, 1].max()]])
        numbers = np.array([-1])
    video = scored.source
    texts = {"video": video.name, "path": video.path, "status": scored.status, "label": video.label}
    return {
        "embedding": embeddings,
        **{name: np.full(len(numbers), text) for name, text in texts.items()},
        "window": numbers,
        "start_seconds": seconds[:, 0],
        "end_seconds": seconds[:, 1],
    }


def _request(model: Classifier, layer: str, per: str) -> dict[str, Any]:
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
        "versions": {
            "keras_r3d": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }


def _metadata(
    model: Classifier,
    layer: str,
    per: str,
    side: Split,
    videos: int,
    errors: dict[str, str],
    details: dict[str, dict[str, str]],
) -> dict[str, Any]:
    return _request(model, layer, per) | {
        "model": os.path.abspath(model.name),
        "data_dir": side.data or None,
        "split": side.name or None,
        "videos": videos,
        "errors": errors,
        "partial": details["partial"],
        "notes": details["ok"],
    }


def _nothing(side: Split, errors: dict[str, str]) -> ArgumentError:
    reasons = "\n".join(f"  {detail}" for detail in list(errors.values())[:5])
    return ArgumentError(
        f"None of the {len(side.videos)} videos can be read. The first:\n{reasons}"
    )
