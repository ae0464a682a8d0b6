"""Untrained runs with exports of their model."""

from pathlib import Path

import keras
import numpy as np
from conftest import small_recipe

from keras_r3d import recipe, run_folder
from keras_r3d.applications import Metadata
from keras_r3d.export import formats
from keras_r3d.export.formats import Source
from keras_r3d.run_folder import Run

SAVED_MODEL, TFLITE = "export/run/1", "export/model.tflite"


def run_of(
    network: keras.Model,
    path: Path,
    classes,
    *,
    experiment: recipe.Recipe | None = None,
    videos: str = "path,label,split\n",
    data_dir: str = "x",
) -> Run:
    """Makes a run whose best model is `network`.

    Args:
        videos: text of `videos.csv`.
    """
    summary = {"data_dir": data_dir, "video_root": data_dir, "status": "trained"}
    run = run_folder.create(path, experiment or small_recipe(), classes, videos, summary)
    network.save(path / run_folder.BEST_MODEL)
    return run


def source_of(network: keras.Model, classes, experiment=None, clips=()) -> Source:
    """Makes a source.

    Args:
        clips: to calibrate on.
    """
    experiment = experiment or small_recipe()
    tables, clips_of = recipe.to_dict(experiment), experiment.clips
    channels = network.input_shape[-1]
    example = np.zeros((*clips_of.shape[:3], channels), np.uint8)
    metadata = Metadata(tuple(classes), (0.0,) * channels, (1.0,) * channels, recipe=tables)
    return Source(network, metadata, example, lambda: clips)


def write(run: Run, form: str, name: str, quantize: str = "none") -> Path:
    """Writes an export into the folder of a run, without comparing it."""
    path = run.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    source = source_of(keras.models.load_model(run.model_path()), run.classes, run.recipe)
    formats.get_format(form, quantize).write(source, path, quantize)
    return path
