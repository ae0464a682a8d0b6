"""Embeddings of videos: what a layer of the network makes of their windows."""

import dataclasses
import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.embeddings import feature_file
from keras_r3d.inference.embeddings.feature_file import Batch, Features
from keras_r3d.inference.embeddings.feature_parts import Finished, Parts
from keras_r3d.inference.models import runtimes
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.scoring import TIMEOUT, score
from keras_r3d.system.devices import Devices, choose
from keras_r3d.system.errors import ArgumentError, R3DError

PER = ("window", "video")


class InterruptedExtraction(R3DError):  # noqa: N818
    """An extraction was stopped; what it finished is kept."""


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


def finished(scored: Prediction, per: str) -> Finished:
    """Takes what is kept of a video: an embedding of each window, or their mean.

    Args:
        per: one of `PER`.
    """
    embeddings, seconds = scored.window_scores, scored.window_seconds
    numbers = np.arange(len(embeddings))
    if per == "video":
        embeddings = scored.scores[np.newaxis].astype(np.float32)
        seconds = np.array([[seconds[:, 0].min(), seconds[:, 1].max()]])
        numbers = np.array([-1])
    return Finished(scored.source.name, scored.status, scored.detail, embeddings, numbers, seconds)


def extract(
    model: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    parts: Parts,
    *,
    per: str,
    timeout: float = TIMEOUT,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, str]:
    """Computes the embeddings of all videos that `parts` does not hold yet, and adds them.

    Args:
        model: as `embedder` makes it.
        per: one of `PER`.
        timeout: seconds after which a video that gives no more window is given up.
        progress: takes the number of videos done, and of all.

    Returns:
        Videos without embeddings, by name: why.

    Raises:
        InterruptedExtraction: Ctrl-C or SIGTERM; what was finished is kept.
        ModelError: the model gives numbers that are not finite.
    """
    remaining = [video for video in videos if video.name not in parts]
    done = len(videos) - len(remaining)
    errors: dict[str, str] = {}
    try:
        for scored in score(model, reader, remaining, timeout=timeout, probabilities=False):
            if scored.status == "error":
                errors[scored.source.name] = scored.detail
            else:
                parts.add(finished(scored, per))
            done += 1
            if progress is not None:
                progress(done, len(videos))
        parts.flush()
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or SIGTERM as `system.command` takes it
        parts.flush()
        raise InterruptedExtraction(
            f"\nInterrupted: {len(parts)} of {len(videos)} videos are kept in {parts.folder}. The "
            "same command goes on."
        ) from None
    return errors


def of_videos(
    model: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    *,
    per: str,
    labelled: bool,
    layer: str,
    timeout: float = TIMEOUT,
) -> Features:
    """Computes the embeddings of videos, all in memory.

    Args:
        model: as `embedder` makes it.
        per: one of `PER`.
        labelled: whether the labels of `videos` are known.
        layer: its name, for `metadata`.
        timeout: seconds after which a video that gives no more window is given up.

    Raises:
        ArgumentError: no video can be read.
        ModelError: the model gives numbers that are not finite.
    """
    rows: list[tuple[Video, Finished]] = []
    errors: dict[str, str] = {}
    for scored in score(model, reader, videos, timeout=timeout, probabilities=False):
        if scored.status == "error":
            errors[scored.source.name] = scored.detail
        else:
            rows.append((scored.source, finished(scored, per)))
    if not rows:
        reasons = "\n".join(f"  {detail}" for detail in list(errors.values())[:5])
        raise ArgumentError(f"None of the {len(videos)} videos can be read. The first:\n{reasons}")
    counts = [len(one.embeddings) for _, one in rows]

    def column(values: Sequence[str]) -> np.ndarray:
        return np.repeat(np.array(values), counts)

    seconds = np.concatenate([one.seconds for _, one in rows])
    return Features(
        source=Path(model.name),
        embedding=np.concatenate([one.embeddings for _, one in rows]),
        video=column([one.name for _, one in rows]),
        path=column([video.path for video, _ in rows]),
        status=column([one.status for _, one in rows]),
        window=np.concatenate([one.windows for _, one in rows]),
        start_seconds=seconds[:, 0],
        end_seconds=seconds[:, 1],
        label=column([video.label for video, _ in rows]) if labelled else None,
        metadata={"model": model.name, "layer": layer, "per": per, "errors": errors},
    )


def join(
    parts: Parts,
    videos: Sequence[Video],
    output: Path,
    errors: dict[str, str],
    labelled: bool,
    metadata: dict[str, Any],
) -> int:
    """Writes the output out of the parts, which stay; returns how many embeddings it has.

    Args:
        videos: whose embeddings are written, in this order.
        errors: those without any, and why.
        labelled: whether the labels of `videos` are known.
        metadata: further values that JSON has.

    Raises:
        ArgumentError: no video has any.
        InterruptedExtraction: Ctrl-C or SIGTERM; the parts stay.
        WriteError: the disk is full, …
    """
    rows = parts.rows(videos)
    if not rows:
        reasons = "\n".join(f"  {detail}" for detail in list(errors.values())[:5])
        raise ArgumentError(f"None of the {len(videos)} videos can be read. The first:\n{reasons}")
    metadata = metadata | {
        "videos": sum(video.name in parts for video in videos),
        "errors": errors,
        "partial": parts.details(videos, "partial"),
        "notes": parts.details(videos, "ok"),
    }

    def batches(columns: Sequence[str]) -> Iterator[Batch]:
        return parts.batches(videos, columns, labelled)

    try:
        feature_file.write(output, batches, rows, metadata["dimension"], labelled, metadata)
    except (KeyboardInterrupt, SystemExit):
        raise InterruptedExtraction(
            f"\nInterrupted: all {len(videos)} videos are kept in {parts.folder}. The same command "
            "goes on."
        ) from None
    return rows
