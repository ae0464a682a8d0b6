"""What an exported model says of itself is read as it was written, or refused in a sentence."""

import dataclasses
import json

import pytest

from keras_r3d import recipe
from keras_r3d.applications import Metadata
from keras_r3d.system.errors import ModelError

METADATA = Metadata(
    ("wave", 'grüßen, "laut"'),
    (114.7, 110.8, 101.2),
    (1.0, 1.0, 1.0),
    recipe=recipe.to_dict(recipe.load("gestures")),
)


@pytest.mark.parametrize("name", recipe.names())
def test_metadata_survives_its_text(name):
    weights = ['model.weights="some.pth"'] if name.startswith("finetune") else []
    experiment = recipe.load(name, weights)
    written = dataclasses.replace(METADATA, recipe=recipe.to_dict(experiment))
    read = Metadata.from_json(written.to_json(), "m")
    assert read == written
    assert read.read_recipe("m") == experiment


def test_two_tables_say_how_clips_are_cut():
    experiment = recipe.load("gestures")
    tables = recipe.to_dict(experiment)
    some = Metadata(recipe={key: tables[key] for key in ("clips", "eval")})
    assert some.read_recipe("m").clips == experiment.clips
    assert some.read_recipe("m").eval == experiment.eval


def changed(**values) -> str:
    return json.dumps(json.loads(METADATA.to_json()) | values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"m\.tflite: its model\.json is damaged"),
        ("[]", r"m\.tflite: its model\.json is damaged"),
        ("{}", r"m\.tflite: its model\.json is damaged \(KeyError\('format'\)\)"),
        (changed(format=2), "format 2; this keras_r3d reads format 1: update keras_r3d"),
        (changed(recipe={}), "another version of keras_r3d: pass `recipe`"),
        (changed(recipe={"clips": {}, "eval": {}}), "another version of keras_r3d: pass `recipe`"),
        (
            changed(recipe={"data": {}, "eval": {}}),
            "or export it again.*is of format 1",
        ),
        (changed(recipe=3), "damaged"),
        (changed(classes="ab"), "classes must be a list of texts"),
        (changed(classes=[1, 2]), "classes must be a list of texts"),
        (changed(mean=None), "mean and std of numbers"),
        ("[" * 100_000, "damaged"),
    ],
)
def test_what_cannot_be_read_is_refused(text, message):
    with pytest.raises(ModelError, match=message):
        Metadata.from_json(text, "m.tflite").read_recipe("m.tflite")
