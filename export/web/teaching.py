"""The page in which movements are taught; its network embeds clips by the weights "motion"."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from keras_r3d import recipe as recipes
from keras_r3d._version import __version__
from keras_r3d.applications import embedding, get_model, read_metadata
from keras_r3d.export.formats import Source
from keras_r3d.export.tflite import tflite
from keras_r3d.export.web import web
from keras_r3d.system import files

_NETWORK, _WEIGHTS = "r3d10", "motion"


def open_page(litert: str | None, say: Callable[[str], None]) -> Path:
    """Returns the folder of the page, in the cache; it is made if it is not there.

    `litert` is as of `VideoClassifier.export`.
    """
    sources = sorted(path for path in web.PAGE.parent.rglob("*.*") if path.suffix != ".pyc")
    key = files.sha256_of([files.sha256(*sources).encode(), repr((litert, __version__)).encode()])

    def fill(folder: Path) -> None:
        say("Making the page, once …")
        say("\n".join(_write(folder, litert)))

    return files.made_once(files.cache() / f"teach-{key[:16]}", fill)


def _write(path: Path, litert: str | None) -> Sequence[str]:
    recipe = recipes.load("few", [f"model.name={_NETWORK}", f"model.weights={_WEIGHTS}"])
    assert recipe.few is not None
    shape = recipe.clips.shape
    network = get_model(_NETWORK, weights=_WEIGHTS, input_shape=shape)
    metadata = read_metadata(network)
    assert metadata is not None
    metadata = dataclasses.replace(metadata, labels=(), recipe=recipes.to_dict(recipe))
    (embedder,) = embedding.join([network], recipe.few.stages)
    source = Source(embedder, metadata, np.zeros(shape, np.uint8), tuple)
    tflite.write(source, path / web.MODEL, "none")
    shutil.copytree(web.PAGE, path, dirs_exist_ok=True)
    return web.complete(path, shape, litert)
