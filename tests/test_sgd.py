import keras
import numpy as np
import pytest

from keras_r3d.training import SGD


def reference(start, gradients, rates, momentum, decay, dampening, nesterov):
    """torch.optim.SGD's update, written out."""
    w, v = start.copy(), None
    for g, rate in zip(gradients, rates, strict=True):
        g = g + decay * w
        if momentum:
            v = g.copy() if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        w = w - rate * g
    return w


@pytest.mark.parametrize(
    "arguments",
    [
        {"momentum": 0.9, "weight_decay": 1e-3},
        {"momentum": 0.9, "weight_decay": 1e-3, "dampening": 0.9},
        {"momentum": 0.9, "weight_decay": 1e-3, "nesterov": True},
        {"momentum": 0.0, "weight_decay": 1e-2},
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-7)])
def test_steps_are_torch_s_also_when_the_rate_drops(arguments, dtype, tolerance):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=7), rng.normal(size=(40, 7))
    rates = [0.1] * 20 + [0.01] * 10 + [0.001] * 10
    variable = keras.Variable(start, dtype=dtype)
    optimizer = SGD(0.1, **arguments)
    optimizer.build([variable])
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient, dtype)], [variable])
    expected = reference(
        start,
        gradients,
        rates,
        arguments["momentum"],
        arguments["weight_decay"],
        arguments.get("dampening", 0.0),
        arguments.get("nesterov", False),
    )
    assert np.abs(keras.ops.convert_to_numpy(variable) - expected).max() < tolerance


def test_it_serialises():
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
