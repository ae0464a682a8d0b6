"""Exporting a run and proving, on its own clips, that the export computes what Keras computes."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from keras_r3d import files
from keras_r3d.data import clips
from keras_r3d.data.video import VideoError
from keras_r3d.errors import R3DError
from keras_r3d.inference import artefacts
from keras_r3d.inference.artefacts import Score
from keras_r3d.run_folder import Run

# Largest difference of a probability that counts as the same (float32, another order of sums).
TOLERANCE = 1e-4
_CLIPS = 16


class ExportError(R3DError):
    """An export that could not be made, or that does not compute what Keras computes."""


class Format(Protocol):
    """A module that exports to one format."""

    def destination(self, path: Path) -> Path:
        """Returns where an export asked for at `path` goes; ExportError if that is taken."""

    def write(self, model: keras.Model, path: Path, **options: Any) -> None:
        """Writes the model at `path`, which does not exist."""

    def names_file(self, path: Path) -> Path:
        """Returns where the class names of the export at `path` stand."""


@dataclasses.dataclass(frozen=True)
class Parity:
    """How an export agrees with Keras on clips of the run."""

    clips: int
    same_class: int
    largest_difference: float

    def __str__(self) -> str:
        return (
            f"Against Keras on {self.clips} clips of the run's videos: same class in "
            f"{self.same_class}, largest difference of a probability {self.largest_difference:.1e}"
        )


def export_and_compare(
    run: Run, form: Format, path: Path, data_dir: str | None = None, options: Any = None
) -> tuple[Path, Parity]:
    """Exports the best model of a run, loads the export again and compares it with Keras.

    Args:
        data_dir: where the videos are; None is where they were in training.
        options: of the format's `write`.

    Returns:
        Where the export stands, and how it agrees.

    Raises:
        ExportError: it exists already, cannot be made, or differs by more than `TOLERANCE`.
        R3DError: the run has no model, or its videos are gone.
    """
    destination = form.destination(path)
    model = run.load_model()
    batch = _clips(run, data_dir)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.WriteError(files.explain(destination.parent, error)) from error
    with files.atomic(destination) as temporary:
        form.write(model, temporary, **(options or {}))
        exported, _ = artefacts.load_export(temporary, _CLIPS)
        parity = compare(lambda x: model.predict(x, verbose=0), exported, batch)
        # Not written as `>`: a NaN must fail.
        if not parity.largest_difference <= TOLERANCE:
            raise ExportError(
                f"The export differs from Keras by more than {TOLERANCE} and is not kept. {parity}"
            )
    names = form.names_file(destination)
    names.parent.mkdir(exist_ok=True)
    files.write_text(names, "".join(f"{name}\n" for name in run.classes))
    return destination, parity


def compare(keras_scores: Score, export_scores: Score, batch: np.ndarray) -> Parity:
    """Compares two scorers on uint8 clips `(batch, frames, size, size, 3)`."""
    expected, received = keras_scores(batch), export_scores(batch)
    return Parity(
        clips=len(batch),
        same_class=int((expected.argmax(axis=1) == received.argmax(axis=1)).sum()),
        largest_difference=float(np.abs(expected - received).max()),
    )


def _clips(run: Run, data_dir: str | None) -> np.ndarray:
    """Takes the middle clip of the first readable videos of the evaluated split."""
    videos, reader = run.open_split(run.recipe.eval.split, data_dir)

    def readable():
        for video in videos:
            try:
                yield clips.middle_clip(reader, video, run.recipe.data).pixels
            except VideoError:  # counted by the training and the evaluation
                continue

    batch = list(itertools.islice(readable(), _CLIPS))
    if not batch:
        raise ExportError(
            f"No video of split '{run.recipe.eval.split}' can be read to compare the export with "
            f"Keras: {videos[0].path}, …"
        )
    return np.stack(batch)
