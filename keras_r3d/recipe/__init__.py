"""Recipes: one experiment as a TOML file, read into frozen dataclasses.

A recipe says what the experiment is. Where it runs, and what does not change the result (folders,
devices, caches), are flags of the commands.
"""

import importlib.resources
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_r3d.recipe.clips import Clips as Clips
from keras_r3d.recipe.schema import Eval as Eval
from keras_r3d.recipe.schema import Few as Few
from keras_r3d.recipe.schema import Model as Model
from keras_r3d.recipe.schema import Recipe
from keras_r3d.recipe.schema import Train as Train
from keras_r3d.recipe.schema import VideoList as VideoList
from keras_r3d.recipe.tables import as_dict, keys, read, suggest, to_toml, walk
from keras_r3d.system.errors import RecipeError

__all__ = ["Recipe", "load", "names"]

PAPER = "kinetics34"  # the recipe of the paper
_FORMAT_1 = (
    "is of format 1, which keras_r3d wrote before 2026-12; this version reads format 2 "
    "(docs/recipe_keys.md). Use the model with --model FILE --recipe NAME, or train again."
)


def names() -> list[str]:
    """Lists the recipes that come with keras_r3d."""
    folder = importlib.resources.files("keras_r3d.recipes")
    return sorted(f.name[: -len(".toml")] for f in folder.iterdir() if f.name.endswith(".toml"))


def load(recipe: str, overrides: Iterable[str] = ()) -> Recipe:
    """Reads a recipe.

    Args:
        recipe: name of a recipe that comes with keras_r3d, or path of a TOML file. A file may begin
            with `base = "gestures"`, a recipe that comes with keras_r3d: then only what differs
            follows, and `without = ["train.label_smoothing"]` leaves extras of the base out.
        overrides: "train.optimizer.learning_rate=0.05", the value in TOML; texts need no quotes, an
            empty value leaves an extra out, and another `kind` leaves out the keys of the old one.

    Raises:
        RecipeError: no such recipe, not TOML, an unknown, missing or ill-typed key, a value
            out of range.
    """
    values = _load_toml(recipe)
    if "base" in values:
        values = _with_base(values)
    return parse(_overridden(values, overrides))


def override(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """Changes keys of a recipe; arguments and errors as of `load`."""
    return parse(_overridden(to_dict(recipe), overrides))


def with_clips(values: Mapping[str, Any]) -> Recipe:
    """Returns the paper's recipe with other tables, such as [clips] and [eval] of a model."""
    if "data" in values:
        raise RecipeError(f"The recipe {_FORMAT_1}")
    whole = _load_toml(PAPER) | dict(values)
    clips = whole["clips"]
    if "model" not in values and isinstance(clips, Mapping) and clips.get("input") != "rgb":
        whole["model"] |= {"mean": [128.0, 128.0], "std": [1.0, 1.0]}
    return parse(whole)


def parse(values: Mapping[str, Any]) -> Recipe:
    """Checks the tables of a recipe and freezes them; one RecipeError says all that is wrong."""
    if "data" in values and "clips" not in values:
        raise RecipeError(f"The recipe {_FORMAT_1}")
    return read(Recipe, values)


def dumps(recipe: Recipe) -> str:
    """Writes a recipe as TOML that `load` reads back to an equal recipe."""
    return to_toml(to_dict(recipe))


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Returns a recipe as tables that JSON can hold and `parse` reads back to an equal recipe."""
    return as_dict(recipe)


def _load_toml(recipe: str) -> dict[str, Any]:
    source: Any = Path(recipe)
    if recipe in names():
        source = importlib.resources.files("keras_r3d.recipes") / f"{recipe}.toml"
    elif not source.is_file():
        raise RecipeError(
            f"Unknown recipe '{recipe}'.{suggest(recipe, names())} It must be the path of a TOML "
            f"file or one of {names()}."
        )
    try:
        values = tomllib.loads(source.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of TOML, its encoding, a number of many digits
        raise RecipeError(f"Recipe {source} is not valid TOML: {error}") from error
    if "data" in values and "clips" not in values:
        raise RecipeError(f"{recipe} {_FORMAT_1}")
    return values


def _with_base(values: dict[str, Any]) -> dict[str, Any]:
    base, left_out = values.pop("base"), values.pop("without", [])
    if base not in names():
        raise RecipeError(
            f"`base` must be one of the recipes that come with keras_r3d, {names()}. "
            f"Received: {base!r}"
        )
    if not isinstance(left_out, list):
        raise RecipeError(f"`without` must be a list of keys. Received: {left_out!r}")
    whole = _merged(_load_toml(base), values)
    for path in left_out:
        *sections, key = str(path).split(".")
        if _table_at(whole, sections).pop(key, None) is None:
            raise RecipeError(f"`without` names '{path}', which recipe '{base}' does not have.")
    return whole


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the base with the changes; a table of another `kind` replaces that of the base."""
    whole = dict(base)
    for key, value in changes.items():
        table = whole.get(key)
        if isinstance(value, Mapping) and isinstance(table, Mapping):
            same_kind = value.get("kind", table.get("kind")) == table.get("kind")
            value = _merged(table, value) if same_kind else value
        whole[key] = value
    return whole


def _overridden(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    if isinstance(overrides, str):
        raise RecipeError(f"Changes of a recipe are a list of texts. Received: {overrides!r}")
    for change in overrides:
        path, equals, text = (part.strip() for part in change.partition("="))
        *sections, key = path.split(".")
        if not equals or not sections:
            raise RecipeError(f"`overrides` takes section.key=value. Received: {change}")
        table = _table_at(values, sections)
        if not text:
            table.pop(key, None)
            continue
        try:
            table[key] = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError) as error:
            if text[0] in "[{\"'":
                raise RecipeError(
                    f"`overrides` {change}: texts in a list or a table need quotes. {error}"
                ) from error
            table[key] = text  # the reader knows whether a text can stand here
        if key == "kind":
            for where, choice in walk(Recipe):
                if (where, choice.kind) == (f"{'.'.join(sections)}.", table[key]):
                    for name in table.keys() - keys(choice).keys() - {"kind"}:
                        del table[name]  # belongs to the kind before
    return values


def _table_at(values: dict[str, Any], sections: list[str]) -> dict[str, Any]:
    """Returns the table at a path, made if it is absent."""
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise RecipeError(f"Recipe key '{'.'.join(sections)}' must be a table.")
    return values
