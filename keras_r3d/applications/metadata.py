"""What a model says of itself: its classes, its normalization, and how its clips are cut.

Keras keeps nothing in a `.keras` file but layers and their arguments. So there it is an argument of
a layer that does nothing: a Dropout of rate 0, which keeps its `seed` as it came and never uses it.
Any Keras loads it, keeps it and saves it again. In exported models it is a JSON text, `model.json`:
in the zip at the end of a `.tflite` file, in `assets.extra` of a SavedModel, in the metadata of an
ONNX or OpenVINO file.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from keras_r3d.recipe import Recipe, parse, with_clips
from keras_r3d.system.errors import ModelError, RecipeError

LAYER = "metadata"
JSON_FILE = "model.json"
_FORMAT = 1  # of JSON_FILE


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a model says of itself beside its weights.

    Attributes:
        labels: class names in the order of the outputs; None where they are not known.
        mean: per channel (RGB, or x and y of optical flow), 0-255.
        std: per channel, 0-255.
        normalises: the model itself subtracts `mean` and divides by `std`, its input is 0-255;
            otherwise `preprocess_input` does.
        weights: where the weights were loaded from, None for a network trained from scratch.
        options: arguments of its builder that no array's shape shows; None where there are none.
        recipe: the tables of the recipe it was trained by, of which [clips] says how its clips are
            cut and [eval] how windows are placed and averaged, or these tables alone; None where
            there was none.
        thresholds: of a network whose classes do not exclude each other, so that a video may have
            several labels (its outputs are sigmoids): the score from which on each is named. None
            where a video has one label.
    """

    labels: tuple[str, ...] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    normalises: bool = True  # British, as in the files that are out there
    weights: str | None = None
    options: Mapping[str, Any] | None = None
    recipe: Mapping[str, Any] | None = None
    thresholds: tuple[float, ...] | None = None

    def read_recipe(self, where: str) -> Recipe:
        """Returns `recipe` as a whole recipe; raises ModelError, of the model `where`."""
        tables = dict(self.recipe or {})
        try:
            return with_clips(tables) if "clips" in tables else parse(tables)
        except RecipeError as error:
            raise ModelError(
                f"{where} carries a recipe of another version of keras_r3d: pass `recipe`, or "
                f"export it again. {error}"
            ) from error

    def to_json(self) -> str:
        """Returns the text of `model.json`, for a model that normalizes its input itself."""
        values = {
            "format": _FORMAT,
            "classes": list(self.labels or ()),
            "mean": list(self.mean),
            "std": list(self.std),
            "recipe": self.recipe,
        }
        if self.thresholds is not None:
            values["thresholds"] = list(self.thresholds)
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Metadata":
        """Reads the text of `model.json`; raises ModelError, of the model `where`."""
        try:
            values = json.loads(text)
            if (version := values["format"]) != _FORMAT:
                raise ModelError(
                    f"{where} carries a {JSON_FILE} of format {version}; this keras_r3d reads "
                    f"format {_FORMAT}: update keras_r3d, or export the model again."
                )
            classes, mean, std = (values[key] for key in ("classes", "mean", "std"))
            thresholds = values.get("thresholds")
            numbers = (mean, std, [] if thresholds is None else thresholds)
            for items, kind in ((classes, str), *((items, int | float) for items in numbers)):
                if not isinstance(items, list) or not all(isinstance(x, kind) for x in items):
                    raise TypeError("classes must be a list of texts, mean and std of numbers")
            if not isinstance(values["recipe"], dict):
                raise TypeError("recipe must be tables")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{where}: its {JSON_FILE} is damaged ({error!r}).") from error
        limits = None if thresholds is None else tuple(thresholds)
        return cls(
            tuple(classes), tuple(mean), tuple(std), recipe=values["recipe"], thresholds=limits
        )


def attach(x, metadata: Metadata):
    """Passes `x` through a layer that carries the metadata and changes nothing."""
    values = dataclasses.asdict(metadata)
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    return layers.Dropout(0.0, seed=_said(values), name=LAYER)(x)


def record(model: keras.Model, **values: Any) -> None:
    """Changes what a model of keras_r3d says of itself: fields of `Metadata`, such as `recipe`."""
    layer = model.get_layer(LAYER)
    layer.seed = _said({**layer.seed, **values})


def _said(values: dict[str, Any]) -> dict[str, Any]:
    """Leaves out that a video has one label: files of before do not say so."""
    return {key: value for key, value in values.items() if (key, value) != ("thresholds", None)}


def read_metadata(model: keras.Model) -> Metadata | None:
    """Returns what a model of keras_r3d says of itself, also after Keras has loaded it.

    Returns:
        None for a model that keras_r3d did not build.
    """
    layer = next((layer for layer in model.layers if layer.name == LAYER), None)
    values: Any = getattr(layer, "seed", None)
    if not isinstance(values, dict) or "normalises" not in values:
        return None
    names = [field.name for field in dataclasses.fields(Metadata) if field.name in values]
    fields: Any = {n: tuple(v) if isinstance(v := values[n], list) else v for n in names}
    return Metadata(**fields)
