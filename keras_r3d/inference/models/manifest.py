"""What travels with an exported model: its classes and the recipe that says how clips are cut.

As `model.json`: in the zip at the end of a `.tflite` file, in `assets.extra` of a SavedModel, in
the metadata of an ONNX or OpenVINO file.
"""

import dataclasses
import json
from collections.abc import Sequence

from keras_r3d import recipe
from keras_r3d.recipe import Recipe
from keras_r3d.system.errors import ModelError, RecipeError

NAME = "model.json"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What an exported model says of itself.

    Attributes:
        classes: names, in the order of the scores.
        mean: per channel (RGB, or x and y of optical flow), 0-255; subtracted inside the model.
        std: per channel, 0-255; divided by inside the model.
        recipe: of its training; [data] says how clips are cut, [eval] how windows are placed and
            averaged.
    """

    classes: Sequence[str]
    mean: Sequence[float]
    std: Sequence[float]
    recipe: Recipe

    def to_json(self) -> str:
        """Returns the text of `model.json`."""
        values = {
            "format": _FORMAT,
            "classes": list(self.classes),
            "mean": list(self.mean),
            "std": list(self.std),
            "recipe": recipe.tables(self.recipe),
        }
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, where: str) -> Manifest:
    """Reads the text of `model.json`.

    Args:
        where: of which model it is, for messages.

    Raises:
        ModelError: it is damaged, of a newer keras_r3d, or its recipe is no longer understood.
    """
    try:
        values = json.loads(text)
        version = values["format"]
        if version == _FORMAT:
            classes, mean, std = (values[key] for key in ("classes", "mean", "std"))
            for listed, kinds in ((classes, str), (mean, int | float), (std, int | float)):
                if not isinstance(listed, list) or not all(isinstance(x, kinds) for x in listed):
                    raise TypeError("classes must be a list of texts, mean and std of numbers")
            return Manifest(classes, mean, std, recipe.parse(values["recipe"]))
    except RecipeError as error:
        raise ModelError(
            f"{where} carries a recipe of another version of keras_r3d: pass --recipe, or export "
            f"it again. {error}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{where}: its {NAME} is damaged ({error!r}).") from error
    raise ModelError(
        f"{where} carries a {NAME} of format {version}; this keras_r3d reads format {_FORMAT}: "
        "update keras_r3d, or export the model again."
    )
