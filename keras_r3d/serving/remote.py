"""A classifier whose scores come from a server: whatever scores videos can score them by it."""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d import recipe, run_folder
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.inference.models import manifest
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.models.runtimes import Score
from keras_r3d.system.errors import ServingError
from keras_r3d.system.retrying import retry

from . import messages, signatures
from .server import Server

KIND = "served model"


@dataclasses.dataclass(frozen=True)
class Manner:
    """How a server is asked.

    Attributes:
        signature: "serving_default" or "jpeg".
        quality: of JPEGs, 1 to 100.
        concurrency: requests at a time.
        deadline_seconds: of a request, with all its retries.
        retries: most of a request.
        most_bytes: of a message; None is the protocol's own limit.
    """

    signature: str = "serving_default"
    quality: int = 95
    concurrency: int = 4
    deadline_seconds: float = 60.0
    retries: int = 4
    most_bytes: int | None = None

    def patience(self) -> dict[str, Any]:
        """Returns these settings as arguments of `retry`."""
        return {
            "retries": self.retries,
            "deadline_seconds": self.deadline_seconds,
            "failure": ServingError,
        }


def classifier(
    server: Server,
    manner: Manner,
    classes: Sequence[str],
    data: recipe.Data,
    evaluation: recipe.Eval,
    described: str,
) -> Classifier:
    """Returns a served model with all that it takes to score a video.

    Args:
        classes: names, in the order of the scores.
        data: how clips are cut.
        evaluation: how windows and views are placed and averaged.
        described: what `data` was taken from, in words.

    Raises:
        ServingError: the server cannot be asked, or its model is another one.
    """
    if manner.signature == "jpeg" and data.channels != 3:
        raise ServingError("Optical flow cannot be sent as JPEGs: --signature serving_default.")
    description = retry(server.describe, **manner.patience())
    shape = (data.frames, data.size, data.size, data.channels)
    signatures.check(description, manner.signature, shape, len(classes), server.model)
    name = f"{server.address} {server.model}/{description.version}"
    score = scorer(server, manner)
    return Classifier(name, KIND, classes, data, evaluation, score, None, described)


def scorer(server: Server, manner: Manner) -> Score:
    """Returns what sends clips to a server, several messages at a time, and returns their scores.

    It raises ServingError as soon as one message has failed for good.
    """
    pool = ThreadPoolExecutor(manner.concurrency, "requests")
    most_bytes = (manner.most_bytes or server.most_bytes) - server.overhead

    def encode(clip: Frame) -> tuple[Any, int]:
        jpeg = manner.signature == "jpeg"
        return server.encode(messages.compressed(clip, manner.quality) if jpeg else clip)

    def ask(clips: Sequence[Any]) -> np.ndarray:
        return retry(
            lambda seconds: server.predict(manner.signature, clips, seconds), **manner.patience()
        )

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


def known_of(path: str | os.PathLike[str]) -> tuple[Sequence[str], recipe.Recipe, str]:
    """Returns what a server does not say: classes, recipe, and where they are from in words.

    Args:
        path: the run that a model was exported from, or the folder NAME/VERSION it was exported to,
            or its `model.json`.

    Raises:
        ServingError: it is neither.
        RunError, ModelError: it is damaged.
    """
    if (Path(path) / run_folder.RECIPE).is_file():
        run = run_folder.open_run(os.fspath(path))
        return run.classes, run.recipe, f"recipe of the run {run.path}"
    file = Path(path)
    if file.is_dir():
        file = file / "assets.extra" / manifest.NAME
    if not file.is_file():
        raise ServingError(
            f"{path} must be a run, or the folder NAME/VERSION that `python -m keras_r3d.export` "
            f"wrote, or its {manifest.NAME}. There is no {file}."
        )
    about = manifest.from_json(file.read_text(encoding="utf-8", errors="replace"), str(file))
    return about.classes, about.recipe, f"{manifest.NAME} of {path}"
