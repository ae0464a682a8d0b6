"""Also against trajectories that PyTorch computed, `KERAS_R3D_PARITY_DATA/sgd.npz`."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_r3d.training import SGD

RATES = [0.1] * 20 + [0.01] * 10 + [0.001] * 10
ARGUMENTS = {
    "plain": {"momentum": 0.9, "weight_decay": 1e-3},
    "dampened": {"momentum": 0.9, "weight_decay": 1e-3, "dampening": 0.9},
    "nesterov": {"momentum": 0.9, "weight_decay": 1e-3, "nesterov": True},
    "no momentum": {"momentum": 0.0, "weight_decay": 1e-2},
}
TOLERANCES = [("float32", 1e-5), ("float64", 1e-7)]
PARITY = Path(os.environ.get("KERAS_R3D_PARITY_DATA") or "nowhere") / "sgd.npz"


def reference(start, gradients, momentum, weight_decay, dampening=0.0, nesterov=False):
    """torch.optim.SGD's update, written out: the variable after each step."""
    w, v, trajectory = start.copy(), None, []
    for g, rate in zip(gradients, RATES, strict=True):
        g = g + weight_decay * w
        if momentum:
            v = g.copy() if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        w = w - rate * g
        trajectory.append(w)
    return np.array(trajectory)


def ours(start, gradients, dtype, arguments):
    """The same by our optimizer."""
    variable = keras.Variable(start, dtype=dtype)
    optimizer = SGD(RATES[0], **arguments)
    optimizer.build([variable])
    trajectory = []
    for gradient, rate in zip(gradients, RATES, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient, dtype)], [variable])
        trajectory.append(np.array(keras.ops.convert_to_numpy(variable)))
    return np.array(trajectory)


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_steps_are_torch_s_also_when_the_rate_drops(arguments, dtype, tolerance):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=7), rng.normal(size=(40, 7))
    expected = reference(start, gradients, **arguments)
    found = ours(start, gradients, dtype, arguments)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.real
@pytest.mark.skipif(not PARITY.is_file(), reason="KERAS_R3D_PARITY_DATA holds no sgd.npz")
@pytest.mark.parametrize("case", ["plain", "dampened", "nesterov"])
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_trajectories_are_pytorch_s(case, dtype, tolerance):
    theirs = np.load(PARITY)
    trajectory = ours(theirs["initial"], theirs["gradients"], dtype, ARGUMENTS[case])
    # Keras holds the rate in float32, where 0.1 is off by 1.5e-8.
    np.testing.assert_allclose(trajectory, theirs[case], rtol=tolerance, atol=tolerance)


def test_it_serializes():
    optimizer = SGD(0.2, momentum=0.8, weight_decay=1e-4, dampening=0.1)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
    assert isinstance(again, SGD)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"momentum": -0.1}, "`momentum` must be 0 or more. Received: momentum=-0.1"),
        ({"nesterov": True, "momentum": 0.0}, "`nesterov` needs momentum"),
        ({"nesterov": True, "dampening": 0.5}, "`nesterov` needs momentum"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SGD(0.1, **arguments)
