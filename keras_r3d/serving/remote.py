"""A classifier whose scores come from a server: what scores videos elsewhere scores them by it."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d import recipe, run_folder
from keras_r3d.applications.metadata import JSON_FILE, Metadata
from keras_r3d.data.decoding.decoder import Frame
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


def classifier(
    server: Server,
    manner: Manner,
    classes: Sequence[str],
    data: recipe.Data,
    of: recipe.Eval,
    said: str,
) -> Classifier:
    """Returns a served model with all that it takes to score a video.

    Args:
        classes: names, in the order of the scores.
        data: how clips are cut.
        of: how windows and views are placed and averaged.
        said: what `data` was taken from, in words.

    Raises:
        ServingError: the server cannot be asked, or its model is another one.
    """
    if manner.signature == "jpeg" and data.channels != 3:
        raise ServingError("Optical flow cannot be sent as JPEGs: --signature serving_default.")
    described = retry(
        server.describe, retries=manner.retries, deadline_seconds=manner.deadline_seconds
    )
    shape = (data.frames, data.size, data.size, data.channels)
    signatures.check(described, manner.signature, shape, len(classes), server.model)
    name = f"{server.address} {server.model}/{described.version}"
    return Classifier(name, KIND, classes, data, of, scorer(server, manner), None, said)


def scorer(server: Server, manner: Manner) -> Score:
    """Returns what sends clips to a server, several messages at a time, and returns their scores.

    It raises ServingError as soon as one message has failed for good.
    """

    pool = ThreadPoolExecutor(manner.concurrency, "requests")
    encode = _encoder(server, manner)
    most_bytes = (manner.most_bytes or server.most_bytes) - server.overhead

    def ask(contents: Sequence[Any]) -> np.ndarray:
        return retry(
            lambda seconds: server.predict(manner.signature, contents, seconds),
            retries=manner.retries,
            deadline_seconds=manner.deadline_seconds,
        )

    def score(clips: np.ndarray) -> np.ndarray:
        encoded = list(pool.map(encode, clips))
        contents, sizes = [one for one, _ in encoded], [size for _, size in encoded]
        parts = messages.pack(sizes, most_bytes)
        asked = [pool.submit(ask, contents[part]) for part in parts]
        try:
            return np.concatenate([one.result() for one in asked])
        finally:
            for one in asked:  # where one has failed, the rest is not sent
                one.cancel()

    return score


def _encoder(server: Server, manner: Manner) -> Callable[[Frame], tuple[Any, int]]:
    if manner.signature == "jpeg":
        return lambda clip: server.encode(messages.compressed(clip, manner.quality))
    return server.encode


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
    folder = Path(path)
    place = folder / "assets.extra" / JSON_FILE if folder.is_dir() else folder
    if not place.is_file():
        raise ServingError(
            f"{path} must be a run, or the folder NAME/VERSION that `python -m keras_r3d.export` "
            f"wrote, or its {JSON_FILE}. There is no {place}."
        )
    known = Metadata.from_json(place.read_text(encoding="utf-8", errors="replace"), str(place))
    return known.labels or (), known.read_recipe(str(place)), f"{JSON_FILE} of {path}"
