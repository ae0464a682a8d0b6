"""Untrained runs with exports of their model."""

from pathlib import Path

import keras
import numpy as np
from conftest import small_recipe

from keras_r3d import recipe, run_folder
from keras_r3d.export import formats, source
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


def write(run: Run, form: str, name: str, quantize: str = "none") -> Path:
    """Writes an export into the folder of a run, without comparing it."""
    path = run.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = run.recipe.data
    example = np.zeros((data.frames, data.size, data.size, data.channels), np.uint8)
    formats.named(form).write(source.of_run(run, example, None), path, quantize)
    return path
