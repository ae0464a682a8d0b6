"""Export to a page: a folder that any web server delivers, whose network runs in the browser."""

import base64
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_r3d.data import demo
from keras_r3d.data.decoding import pixels
from keras_r3d.export.formats import Source
from keras_r3d.export.tflite import tflite
from keras_r3d.export.web import litert
from keras_r3d.inference.models import runtimes
from keras_r3d.system import files
from keras_r3d.system.errors import ExportError

MODEL = "model.tflite"
PAGE = Path(__file__).with_name("page")
_MOST_VIEWS = 2  # of each window: more take too long before a camera


def write(source: Source, path: Path, quantize: str) -> Sequence[str]:
    """Writes a folder with `index.html`, what belongs to it, and `model.tflite`.

    `quantize` is as of TFLite. Returns where LiteRT.js comes from, in a sentence.
    """
    recipe = source.metadata.recipe or {}
    if recipe["clips"]["input"] != "rgb":
        raise ExportError(
            f"`form` web is for models of RGB, and this one takes optical flow "
            f"({recipe['clips']['input']}), which a page does not compute."
        )
    if (views := recipe["eval"]["views"]) > _MOST_VIEWS:
        raise ExportError(
            f"`form` web scores 1 or 2 views of a window, and this model {views}: open it with "
            "`protocol`, such as '1x1'."
        )
    path.mkdir()
    tflite.write(source, path / MODEL, quantize)
    shutil.copytree(PAGE, path, dirs_exist_ok=True)
    return complete(path, source.example.shape, source.litert)


def complete(path: Path, shape: Sequence[int], runtime: str | None) -> Sequence[str]:
    """Adds LiteRT.js, and a clip with the scores that TensorFlow Lite gives it, to compare with.

    It is a rendered one: no frame of a user's videos goes into a page that others may see.
    """
    clip = _example(shape)
    scores = runtimes.load_export(path / MODEL).score(1)(clip[np.newaxis])[0]
    encoded = base64.b64encode(clip.tobytes()).decode()
    files.write_json(path / "example.json", {"clip": encoded, "scores": scores.tolist()})
    return litert.add(path, runtime)


def _example(shape: Sequence[int]) -> pixels.Frame:
    frames, height, width, _ = shape
    rendered = list(demo.frames("left", "test", demo.video_rng("left", "test", 0)))
    return np.stack(
        [pixels.resize(rendered[n % len(rendered)], height, width) for n in range(frames)]
    )
