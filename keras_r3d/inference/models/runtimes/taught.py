"""A model taught in a page (`python -m keras_r3d.web`): in the ZIP that the page saves.

Beside the recordings it has `head.json`: a linear classifier of the embeddings by weights that come
with keras_r3d.
"""

import json
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np

from keras_r3d import recipe as recipes
from keras_r3d.applications import embedding, get_model, metadata
from keras_r3d.applications.weights import pretrained
from keras_r3d.system.errors import ModelError, RecipeError

_HEAD = "head.json"
_FORMAT = 1
_MOST_BYTES = 2**26


def build(path: Path) -> keras.Model:
    """Returns the model in such an archive; ModelError if there is none, or it is damaged."""
    try:
        return _build(_read(path))
    except KeyError as error:
        raise ModelError(
            f"{path} must hold a {_HEAD}, as the page of `python -m keras_r3d.web` saves it; it "
            f"lacks {error}."
        ) from error
    except (
        ValueError,
        TypeError,
        RecipeError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ModelError(f"{path} is damaged: {error}") from error


def _read(path: Path) -> dict:
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(_HEAD).file_size > _MOST_BYTES:
            raise ValueError(f"{_HEAD} has more than {_MOST_BYTES:,} bytes.")
        values = json.loads(archive.read(_HEAD))
    if not isinstance(values, dict) or values["format"] != _FORMAT:
        raise ValueError(f"{_HEAD} is not of format {_FORMAT}: update keras_r3d.")
    return values


def _build(values: dict) -> keras.Model:
    recipe = recipes.parse(values["recipe"])
    classes, name, weights = values["classes"], recipe.model.name, recipe.model.weights
    packaged = {(row.network, row.name) for row in pretrained.PRETRAINED if row.packaged}
    if (name, weights) not in packaged or recipe.few is None:
        raise ValueError(f"keras_r3d comes with {sorted(packaged)}. Received: {name}, {weights}")
    network = get_model(str(name), weights=weights, input_shape=recipe.clips.shape)
    (embedder,) = embedding.join([network], recipe.few.stages)
    kernel, bias = np.array(values["kernel"], np.float64).T, np.array(values["bias"], np.float64)
    wanted = (embedder.output_shape[-1], len(classes)), (len(classes),)
    if (kernel.shape, bias.shape) != wanted or not np.isfinite(np.vstack([kernel, bias])).all():
        raise ValueError(
            f"its classifier must be of {wanted}. Received: {kernel.shape, bias.shape}"
        )
    model = embedding.classifier([embedder], kernel, bias)
    metadata.record(model, labels=list(map(str, classes)), recipe=recipes.to_dict(recipe))
    return model
