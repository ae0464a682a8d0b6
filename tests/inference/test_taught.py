"""Models that were taught in a page, as the archive that it saves."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_r3d import VideoClassifier, recipe
from keras_r3d.applications import R3D10, embedding
from keras_r3d.system.errors import ModelError

CLASSES = ["nothing", "wave", "<b>nod"]


def head(**changes) -> dict:
    experiment = recipe.load("few", ["model.weights=motion", "model.name=r3d10"])
    rng = np.random.default_rng(0)
    values = {
        "format": 1,
        "classes": CLASSES,
        "recipe": recipe.to_dict(experiment),
        "kernel": rng.normal(size=(3, 608)).tolist(),
        "bias": rng.normal(size=3).tolist(),
    }
    return values | changes


def write(path: Path, values, name: str = "head.json") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, values if isinstance(values, str) else json.dumps(values))
    return path


def test_it_computes_what_the_page_computes(tmp_path):
    values = head()
    classifier = VideoClassifier(write(tmp_path / "movements.zip", values))
    assert list(classifier.classes) == CLASSES
    clips = np.random.default_rng(1).integers(0, 256, (2, 16, 64, 64, 3), np.uint8)
    network = R3D10(weights="motion", input_shape=(16, 64, 64, 3))
    (embedder,) = embedding.join([network], ["conv3", "conv4", "conv5"])
    logits = embedder.predict(clips, verbose=0) @ np.array(values["kernel"]).T + values["bias"]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    assert classifier.model.predict(clips, verbose=0) == pytest.approx(shares, abs=1e-4)
    assert "whole frame and center crop at 64x64" in classifier.described


OTHER = recipe.to_dict(recipe.load("few", ["model.weights=/etc/passwd.npz", "model.name=r3d10"]))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("{", "is damaged: Expecting property name"),
        ("[]", r"is damaged: head.json is not of format 1: update keras_r3d\."),
        (head(format=2), r"is damaged: head.json is not of format 1: update keras_r3d\."),
        (head(bias=[1.0]), r"is damaged: its classifier must be of \(\(608, 3\), \(3,\)\)"),
        (head(kernel=[["x"]]), "is damaged: could not convert string"),
        (head(bias=[1.0, 2.0, float("nan")]), "is damaged: its classifier must be of"),
        (head(recipe={}), "is damaged: "),
        (head(recipe=OTHER), "is damaged: keras_r3d comes with"),
        ({"format": 1}, "must hold a head.json, .* it lacks 'recipe'"),
    ],
)
def test_a_damaged_head_is_a_sentence(tmp_path, values, said):
    path = write(tmp_path / "movements.zip", values)
    with pytest.raises(ModelError, match=said):
        VideoClassifier(path)


def test_other_archives_are_none(tmp_path):
    with pytest.raises(ModelError, match=r"must hold a head.json, as the page of `python -m"):
        VideoClassifier(write(tmp_path / "other.zip", "x", "other.txt"))
    path = tmp_path / "no.zip"
    path.write_bytes(b"no archive")
    with pytest.raises(ModelError, match=r"no.zip is damaged: File is not a zip file"):
        VideoClassifier(path)
