"""What is exported."""

import dataclasses

import keras
import numpy as np

from keras_r3d.applications import read_metadata
from keras_r3d.inference.models.manifest import Manifest
from keras_r3d.run_folder import Run
from keras_r3d.system.errors import ExportError


@dataclasses.dataclass(frozen=True)
class Source:
    """A trained model and where it is from.

    Attributes:
        run: of its training.
        network: its best model.
        manifest: what is written into the export.
        example: a clip of its videos, uint8 `(frames, size, size, channels)`.
        data_dir: where the videos are; None is where they were in training.
    """

    run: Run
    network: keras.Model
    manifest: Manifest
    example: np.ndarray
    data_dir: str | None


def of_run(run: Run, example: np.ndarray, data_dir: str | None) -> Source:
    """Opens the best model of a run.

    Args:
        example: a clip of its videos, uint8 `(frames, size, size, channels)`.
        data_dir: where the videos are; None is where they were in training.

    Raises:
        RunError: there is none, or it is damaged.
        ExportError: it was not built by keras_r3d, or wants normalised pixels.
    """
    network = run.load_model()
    known = read_metadata(network)
    if known is None or not known.normalises:
        raise ExportError(
            f"{run.model_path()} must be a network of keras_r3d that normalises its input itself "
            "(include_preprocessing=True), as a training writes it."
        )
    manifest = Manifest(run.classes, known.mean, known.std, run.recipe)
    return Source(run, network, manifest, example, data_dir)
