"""What travels with an exported model is read back as it was written, or refused in a sentence."""

import dataclasses
import json

import pytest

from keras_r3d import recipe
from keras_r3d.inference.models import manifest
from keras_r3d.inference.models.manifest import Manifest
from keras_r3d.system.errors import ModelError

MANIFEST = Manifest(
    ["wave", 'grüßen, "laut"'], [114.7, 110.8, 101.2], [1.0, 1.0, 1.0], recipe.load("gestures")
)


@pytest.mark.parametrize("name", recipe.names())
def test_a_manifest_survives_its_text(name):
    weights = ['model.weights="some.pth"'] if name.startswith("finetune") else []
    written = dataclasses.replace(MANIFEST, recipe=recipe.load(name, weights))
    assert manifest.from_json(written.to_json(), "m") == written


def changed(**values) -> str:
    return json.dumps(json.loads(MANIFEST.to_json()) | values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"m\.tflite: its model\.json is damaged"),
        ("[]", r"m\.tflite: its model\.json is damaged"),
        ("{}", r"m\.tflite: its model\.json is damaged \(KeyError\('format'\)\)"),
        (changed(format=2), "format 2; this keras_r3d reads format 1: update keras_r3d"),
        (changed(recipe={}), "another version of keras_r3d: pass --recipe"),
        (changed(recipe=3), "damaged"),
        (changed(classes="ab"), "classes must be a list of texts"),
        (changed(classes=[1, 2]), "classes must be a list of texts"),
        (changed(mean=None), "mean and std of numbers"),
        ("[" * 100_000, "damaged"),
    ],
)
def test_what_is_no_manifest_is_said(text, said):
    with pytest.raises(ModelError, match=said):
        manifest.from_json(text, "m.tflite")
