import keras
import numpy as np
import pytest
from folded import moved, output
from keras import layers

from keras_r3d.applications import C3D, R3D10, R3D50, r2plus1d_18
from keras_r3d.export.tflite import folding


def norms(model: keras.Model) -> list[str]:
    return [x.name for x in model.layers if isinstance(x, layers.BatchNormalization)]


@pytest.mark.parametrize(
    "build",
    [
        lambda **kwargs: R3D10(shortcut="B", **kwargs),
        pytest.param(lambda **kwargs: R3D50(**kwargs), marks=pytest.mark.slow),
        lambda **kwargs: r2plus1d_18(**kwargs),
        lambda **kwargs: C3D(with_batch_norm=True, **kwargs),
    ],
    ids=["r3d10", "r3d50", "r2plus1d_18", "c3d_bn"],
)
def test_every_batch_norm_of_our_networks_is_folded(build):
    model = moved(
        build(input_shape=(8, 32, 32, 3), width=0.125, classes=5, classifier_activation=None)
    )
    clips = np.random.default_rng(0).integers(0, 256, (2, 8, 32, 32, 3), dtype=np.uint8)
    before = [w.copy() for w in model.get_weights()]
    folded = folding.fold(model)
    assert norms(model)
    assert not norms(folded)
    expected = output(model, clips)  # logits: probabilities of 1.0 would hide mistakes
    assert output(folded, clips) == pytest.approx(
        expected, abs=1e-5 * float(np.abs(expected).max())
    )
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(old, new)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(("scale", "center"), [(True, False), (False, True)])
def test_what_a_layer_lacks_counts_as_one_or_zero(use_bias, scale, center):
    x = keras.Input((3, 4, 5, 2))
    y = layers.Conv3D(4, (1, 2, 2), use_bias=use_bias, name="conv")(x)
    model = moved(keras.Model(x, layers.BatchNormalization(scale=scale, center=center)(y)))
    clips = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 2)).astype(np.float32)
    folded = folding.fold(model)
    assert not norms(folded)
    assert output(folded, clips) == pytest.approx(output(model, clips), abs=1e-5)


def kept_behind_an_activation(x):
    return layers.BatchNormalization(name="kept")(layers.Conv3D(2, 1, activation="relu")(x))


def kept_where_others_read_the_convolution(x):
    x = layers.Conv3D(2, 1)(x)
    return layers.Add()([x, layers.BatchNormalization(name="kept")(x)])


def kept_where_the_convolution_is_an_output(x):
    x = layers.Conv3D(2, 1)(x)
    return [x, layers.BatchNormalization(name="kept")(x)]


def kept_without_a_convolution(x):
    return layers.Conv3D(2, 1)(layers.BatchNormalization(name="kept")(x))


def kept_of_another_axis(x):
    return layers.BatchNormalization(axis=1, name="kept")(layers.Conv3D(2, 1)(x))


@pytest.mark.parametrize(
    "build",
    [
        kept_behind_an_activation,
        kept_where_others_read_the_convolution,
        kept_where_the_convolution_is_an_output,
        kept_without_a_convolution,
        kept_of_another_axis,
    ],
)
def test_a_batch_norm_that_cannot_be_folded_stays(build):
    x = keras.Input((2, 3, 3, 2))
    model = moved(keras.Model(x, build(x)))
    clips = np.random.default_rng(0).normal(size=(2, 2, 3, 3, 2)).astype(np.float32)
    folded = folding.fold(model)
    assert norms(folded) == ["kept"]
    expected, received = model(clips), folded(clips)
    for a, b in zip(keras.tree.flatten(expected), keras.tree.flatten(received), strict=True):
        assert np.abs(a - b).max() < 1e-5
