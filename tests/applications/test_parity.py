"""Against checkpoints that the authors' own code wrote and ran: `KERAS_R3D_PARITY_DATA`."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_r3d import applications
from keras_r3d.applications.weights import conversion

pytestmark = pytest.mark.real
FOLDER = Path(os.environ.get("KERAS_R3D_PARITY_DATA") or "nowhere")
INDEX = FOLDER / "index.json"
CASES = json.loads(INDEX.read_text()) if INDEX.is_file() else {}
STAGES = {"mean_relu": "conv1_relu", **{f"mean_layer{i}": f"conv{i + 1}_" for i in range(1, 5)}}


def test_there_are_cases():
    if "KERAS_R3D_PARITY_DATA" not in os.environ:
        pytest.skip("KERAS_R3D_PARITY_DATA is unset")
    assert CASES


@pytest.mark.parametrize("case", CASES)
def test_logits_and_stages_are_the_authors(case):
    facts, theirs = CASES[case], np.load(FOLDER / f"{case}.npz")
    model = applications.get_model(
        f"r3d{facts['depth']}",
        weights=FOLDER / f"{case}.pth",
        include_preprocessing=False,
        classifier_activation=None,
    )
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert (model.output_shape[1], trainable) == (facts["classes"], facts["params"])
    names = [layer.name for layer in model.layers if layer.name.endswith(("_out", "conv1_relu"))]
    outputs = {
        key: model.get_layer([n for n in names if n.startswith(start)][-1]).output
        for key, start in STAGES.items()
    }
    parts = keras.Model(model.input, {"logits": model.output, **outputs})
    for key, values in parts(theirs["clip"]).items():
        ours = keras.ops.convert_to_numpy(values)
        ours = ours if key == "logits" else ours.mean((1, 2, 3))
        assert abs(ours - theirs[key]).max() <= 1e-4 * abs(theirs[key]).max(), key


@pytest.mark.parametrize("case", CASES)
def test_conversion_keeps_them(tmp_path, case):
    facts, theirs = CASES[case], np.load(FOLDER / f"{case}.npz")
    path = tmp_path / "m.keras"
    done = conversion.convert(FOLDER / f"{case}.pth", path, mean=(0, 0, 0), std=(1, 1, 1))
    assert done.network == f"r3d{facts['depth']}"
    assert done.checkpoint.container == facts["container"].split()[0]
    under = "state_dict." if facts["wrapped"] else ""
    assert done.checkpoint.key == f"{under}{facts['prefix']}".removesuffix(".")
    scores = keras.ops.convert_to_numpy(keras.models.load_model(path)(theirs["clip"]))
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(theirs["logits"]))
    assert scores == pytest.approx(expected, abs=1e-4)
