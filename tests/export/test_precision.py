import keras
import numpy as np
import pytest

from keras_r3d.applications import C3D, R3D10
from keras_r3d.export.saved_model.precision import lowered

CLIPS = np.random.default_rng(0).integers(0, 256, (2, 8, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "build", [pytest.param(R3D10, id="r3d10"), pytest.param(C3D, id="c3d", marks=pytest.mark.slow)]
)
def test_weights_and_computation_are_half_as_wide(build, precision):
    keras.utils.set_random_seed(0)
    model = build(input_shape=(8, 16, 16, 3), width=0.0625, classes=3)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([0.02 * kernel, bias])  # else all probabilities are 0 or 1
    half = lowered(model, precision)
    kinds = {layer.name: layer.compute_dtype for layer in half.layers}
    assert {kinds["conv1"], kinds["conv1_relu"]} == {precision}
    assert {kinds["normalization"], kinds["predictions"]} == {"float32"}
    # Of what stays, only the classifier and the numbers of the normalisation have weights.
    wide = {v.path.split("/")[0] for v in half.weights if v.dtype == "float32"}
    assert wide <= {"predictions", "normalization"}
    scores = [keras.ops.convert_to_numpy(m(CLIPS)) for m in (model, half)]
    assert scores[1].dtype == np.float32
    assert scores[1] == pytest.approx(scores[0], abs=0.02)
    assert (scores[1] != scores[0]).any()


def test_float32_is_the_model_itself():
    model = R3D10(input_shape=(8, 16, 16, 3), width=0.0625, classes=3)
    assert lowered(model, "float32") is model
