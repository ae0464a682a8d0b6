"""A classifier whose scores come from a server: whatever scores videos can score them by it."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from keras_r3d import recipe, run_folder
from keras_r3d.applications.metadata import JSON_FILE, Metadata
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.models.runtimes import Score
from keras_r3d.system.errors import ServingError
from keras_r3d.system.retrying import retry

from . import messages
from .server import INPUTS, PROBABILITIES, Server

KIND = "served model"
_OVERHEAD_BYTES = 1000  # of a message besides its clips, at most

Answer = TypeVar("Answer")
Shape = tuple[int | None, ...]  # None is any size


@dataclasses.dataclass(frozen=True)
class Manner:
    """How a server is asked."""

    signature: str = "serving_default"  # or "jpeg"
    quality: int = 95  # of JPEGs, 1 to 100
    concurrency: int = 4  # requests at a time
    deadline_seconds: float = 60.0  # of a request, with all its retries
    retries: int = 4  # most of a request
    most_bytes: int | None = None  # of a message; None is the protocol's own limit

    def patiently(self, ask: Callable[[float], Answer]) -> Answer:
        """Asks with retries; `ask` takes the seconds that are left."""
        return retry(
            ask, retries=self.retries, deadline_seconds=self.deadline_seconds, failure=ServingError
        )


def classifier(
    server: Server,
    manner: Manner,
    classes: Sequence[str],
    clips: recipe.Clips,
    evaluation: recipe.Eval,
    described: str,
    thresholds: np.ndarray | None = None,
) -> Classifier:
    """Returns a served model with all that it takes to score a video; the server is asked for it.

    `described` says in words what `clips` was taken from.
    """
    if manner.signature == "jpeg" and clips.channels != 3:
        raise ServingError("Optical flow cannot be sent as JPEGs: `signature` serving_default.")
    version, protos = manner.patiently(server.describe)
    _check_signature(protos, manner.signature, clips.shape, len(classes), server.model)
    name, score = f"{server.address} {server.model}/{version}", scorer(server, manner)
    return Classifier(*(name, KIND, classes, clips, evaluation, score, None, described, thresholds))


def scorer(server: Server, manner: Manner) -> Score:
    """Returns what scores clips by a server, several messages at a time, until one has failed."""
    pool = ThreadPoolExecutor(manner.concurrency, "requests")
    most_bytes = (manner.most_bytes or server.most_bytes) - _OVERHEAD_BYTES

    def encode(clip: Frame) -> tuple[Any, int]:
        jpeg = manner.signature == "jpeg"
        return server.encode(messages.compressed(clip, manner.quality) if jpeg else clip)

    def ask(clips: Sequence[Any]) -> np.ndarray:
        scores = manner.patiently(lambda left: server.predict(manner.signature, clips, left))
        if scores.ndim != 2 or len(scores) != len(clips):
            raise ServingError(
                f"{server.address} sent scores of {scores.shape} for {len(clips)} clips."
            )
        return scores

    def score(clips: np.ndarray) -> np.ndarray:
        contents, sizes = zip(*pool.map(encode, clips), strict=True)
        parts = messages.pack(sizes, most_bytes)
        answers = [pool.submit(ask, contents[part]) for part in parts]
        try:
            return np.concatenate([answer.result() for answer in answers])
        finally:
            for answer in answers:  # where one has failed, the rest is not sent
                answer.cancel()

    return score


def _check_signature(
    protos: Mapping[str, Any], name: str, clip: Shape, classes: int, model: str
) -> None:
    """Raises ServingError if a signature does not take clips of a shape, or has other classes."""

    def shape(tensor: Any) -> Shape:
        return tuple(d.size if d.size >= 0 else None for d in tensor.tensor_shape.dim)

    def shown(sizes: Shape) -> str:
        return f"({', '.join('any' if size is None else str(size) for size in sizes)})"

    def listed(names: Iterable[str]) -> str:  # TensorFlow's own begin with two underlines
        return ", ".join(sorted(name for name in names if not name.startswith("__"))) or "none"

    if name not in protos:
        raise ServingError(f"{model} has no signature '{name}'. Its signatures: {listed(protos)}.")
    inputs, outputs, key = protos[name].inputs, protos[name].outputs, INPUTS[name]
    if set(inputs) != {key} or PROBABILITIES not in outputs:
        raise ServingError(
            f"{model}: the signature '{name}' must take '{key}' and give '{PROBABILITIES}', as "
            f"`python -m keras_r3d.export` writes it. Received: {listed(inputs)} -> "
            f"{listed(outputs)}."
        )
    expected, sent = shape(inputs[key]), (None, *clip)[: 5 if name == "serving_default" else 2]
    if len(expected) != len(sent) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(expected, sent, strict=True)
    ):
        raise ServingError(
            f"{model} takes '{key}' of {shown(expected)} (batch, frames, …), and its recipe here "
            f"cuts {shown(sent)}: name the run it was exported from."
        )
    if (scores := shape(outputs[PROBABILITIES])[-1:]) not in ((), (None,), (classes,)):
        raise ServingError(
            f"{model} gives {scores[0]} scores, and {classes} classes are named: name the run it "
            "was exported from."
        )


def known_of(path: str | os.PathLike[str]) -> tuple[Metadata, recipe.Recipe, str]:
    """Returns what a server does not say: classes, recipe, and where they are from in words.

    `path` is the run that a model was exported from, or the folder NAME/VERSION it was exported to,
    or its `model.json`.
    """
    folder = Path(path)
    if (folder / run_folder.RECIPE).is_file():
        run = run_folder.open_run(os.fspath(path))
        about = Metadata(tuple(run.classes), thresholds=run.thresholds)
        return about, run.recipe, f"recipe of the run {run.path}"
    place = folder / "assets.extra" / JSON_FILE if folder.is_dir() else folder
    if not place.is_file():
        raise ServingError(
            f"{path} must be a run, or the folder NAME/VERSION that `python -m keras_r3d.export` "
            f"wrote, or its {JSON_FILE}. There is no {place}."
        )
    about = Metadata.from_json(place.read_text(encoding="utf-8", errors="replace"), str(place))
    return about, about.read_recipe(str(place)), f"{JSON_FILE} of {path}"
