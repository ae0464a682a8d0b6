"""What is exported."""

import dataclasses

import keras

from keras_r3d.applications import read_metadata
from keras_r3d.errors import R3DError
from keras_r3d.inference.manifest import Manifest
from keras_r3d.run_folder import Run


class ExportError(R3DError):
    """An export that could not be made, or that does not compute what Keras computes."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A trained model and where it is from.

    Attributes:
        run: of its training.
        network: its best model.
        manifest: what is written into the export.
        data_dir: where the videos are; None is where they were in training.
    """

    run: Run
    network: keras.Model
    manifest: Manifest
    data_dir: str | None


def of_run(run: Run, data_dir: str | None) -> Source:
    """Opens the best model of a run.

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
    return Source(run, network, Manifest(run.classes, known.mean, known.std, run.recipe), data_dir)
