"""Each layer alone against Keras, for odd sizes of everything; then whole networks."""

import keras
import numpy as np
import pytest
from folded import moved, output
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers

from keras_r3d.applications import (
    C3D,
    I3D,
    R2P1D50,
    R3D10,
    R3D18,
    R3D50,
    DenseNet121,
    PreResNet18,
    PreResNet50,
    ResNeXt50,
    WideResNet50,
    mc3_18,
    r2plus1d_18,
    r3d_18,
)
from keras_r3d.applications.builders.blocks import GroupedConv3D
from keras_r3d.export.tflite import folding, lowering
from keras_r3d.system.errors import ExportError

FEW = settings(max_examples=12, deadline=None, derandomize=True, database=None)

PADDINGS = st.sampled_from(["same", "valid"])
SIZES = st.tuples(st.integers(4, 8), st.integers(4, 7), st.integers(4, 6))
WINDOWS = st.tuples(*[st.integers(1, 4)] * 3)
STEPS = st.tuples(*[st.integers(1, 3)] * 3)
PADS = st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 3)


def of(shape: tuple[int, ...], *stack: layers.Layer) -> keras.Model:
    x = clip = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    return moved(keras.Model(clip, x))


def check(model: keras.Model) -> keras.Model:
    """Compares a model with what it is lowered to, in both ways; returns the smaller."""
    compare(model, lowering.lower(model, skip_zeros=True))
    return compare(model, lowering.lower(model))


def compare(model: keras.Model, lowered: keras.Model) -> keras.Model:
    """Compares a model with what it is lowered to, which must have no 3D layer left."""
    clip = np.random.default_rng(0).normal(size=(1, *model.input_shape[1:])).astype(np.float32)
    expected, received = output(model, clip), output(lowered, clip)
    assert received.shape == expected.shape
    assert received == pytest.approx(expected, abs=1e-5 * max(1.0, float(np.abs(expected).max())))
    assert not [layer for layer in lowered.layers if "3D" in type(layer).__name__]
    return lowered


@FEW
@given(SIZES, WINDOWS, STEPS, PADDINGS, st.booleans(), st.sampled_from([None, "relu"]))
def test_convolutions(size, kernel, strides, padding, use_bias, activation):
    for channels in (2, 5):  # few, and more: they are copied in different ways
        conv = layers.Conv3D(3, kernel, strides, padding, use_bias=use_bias, activation=activation)
        check(of((*size, channels), conv))


@FEW
@given(SIZES, WINDOWS, STEPS, PADDINGS, st.sampled_from([2, 3, 6]))
def test_grouped_convolutions(size, kernel, strides, padding, groups):
    conv = GroupedConv3D(12, kernel, strides, padding, groups=groups, activation="relu")
    check(of((*size, 6), conv))


@FEW
@given(st.integers(1, 4), st.integers(2, 6), st.integers(1, 3), PADDINGS, st.integers(0, 3))
def test_kernels_longer_than_the_clip(frames, taps, stride, padding, pad):
    assume(frames < taps and pad < taps and (padding == "same" or frames + 2 * pad >= taps))
    conv = layers.Conv3D(3, (taps, 3, 2), (stride, 1, 2), padding, activation="softmax")
    check(of((frames, 3, 4, 2), layers.ZeroPadding3D((pad, 1, 0)), conv))


@FEW
@given(SIZES, WINDOWS, PADS, STEPS, PADDINGS)
def test_convolutions_of_padded_clips(size, kernel, pads, strides, padding):
    check(of((*size, 1), layers.ZeroPadding3D(pads), layers.Conv3D(2, kernel, strides, padding)))


@FEW
@given(st.integers(7, 9), st.tuples(*[st.integers(1, 2)] * 3), st.integers(2, 3), PADDINGS)
def test_dilated_convolutions(size, kernel, dilation, padding):
    conv = layers.Conv3D(2, [n + 1 for n in kernel], padding=padding, dilation_rate=dilation)
    check(of((size, size, size, 2), conv))


@FEW
@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 3), PADDINGS, st.integers(0, 3))
def test_convolutions_in_time(frames, taps, stride, padding, pad):
    assume(pad < taps and (padding == "same" or frames + 2 * pad >= taps))
    conv = layers.Conv3D(3, (taps, 1, 1), (stride, 1, 2), padding)
    check(of((frames, 3, 4, 2), layers.ZeroPadding3D((pad, 0, 0)), conv))


@FEW
@given(SIZES, WINDOWS, STEPS, PADDINGS)
def test_max_pooling(size, window, strides, padding):
    check(of((*size, 2), layers.MaxPooling3D(window, strides, padding)))


@FEW
@given(SIZES, WINDOWS, STEPS, PADDINGS)
def test_average_pooling(size, window, strides, padding):
    check(of((*size, 2), layers.AveragePooling3D(window, strides, padding)))


@pytest.mark.parametrize("pool", [layers.MaxPooling3D, layers.AveragePooling3D])
def test_pooling_of_a_padded_clip_counts_its_zeros(pool):
    for padding in ("valid", "same"):
        negative = layers.Normalization(mean=9.0, variance=1.0)  # so that a zero is the largest
        check(of((5, 6, 7, 2), negative, layers.ZeroPadding3D(1), pool(3, 2, padding)))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("pool", [layers.GlobalAveragePooling3D, layers.GlobalMaxPooling3D])
def test_global_pooling(pool, keepdims):
    check(of((3, 4, 5, 2), layers.ZeroPadding3D(1), pool(keepdims=keepdims)))


@FEW
@given(PADS, st.sampled_from(["channels_first", "channels_last"]))
def test_zeros_around_any_three_axes(pads, data_format):
    check(of((3, 4, 5, 2), layers.ZeroPadding3D(pads, data_format=data_format)))


def test_normalization_dense_layers_and_the_rest():
    check(
        of(
            (3, 4, 5, 2),
            layers.Normalization(mean=[1.0, -2.0], variance=[4.0, 9.0]),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(4),
            layers.BatchNormalization(),
            layers.Activation("softmax"),
        )
    )


def test_embeddings_of_several_stages_are_joined():
    """As those of `applications.embedding`: means, and of the last stage those of quarters."""
    for height, width in ((4, 6), (5, 7)):
        clip = keras.Input((4, height, width, 2))
        first = layers.Conv3D(3, 3, padding="same", name="first")(clip)
        last = layers.Conv3D(5, 3, (2, 1, 1), padding="same", name="last")(first)
        window = (2, -(-height // 2), -(-width // 2))
        quarters = layers.AveragePooling3D(window, (2, height // 2, width // 2))(last)
        pooled = [layers.GlobalAveragePooling3D()(first), layers.Flatten()(quarters)]
        joined = layers.Concatenate()(pooled)
        assert joined.shape == (None, 3 + 4 * 5)
        check(moved(keras.Model(clip, layers.Dense(2)(joined))))


@pytest.mark.parametrize("axis", [-1, 4])
def test_maps_are_joined_by_their_channels(axis):
    clip = keras.Input((3, 4, 5, 2))
    padded = layers.ZeroPadding3D(1)(clip)  # whose zeros are still to be put there
    conv = layers.Conv3D(3, 3, padding="same")(padded)
    check(moved(keras.Model(clip, layers.Concatenate(axis=axis)([padded, conv, padded]))))


def test_maps_are_not_joined_otherwise():
    clip = keras.Input((3, 4, 5, 2))
    model = keras.Model(clip, layers.Concatenate(axis=1, name="longer")([clip, clip]))
    message = r"joins channels only: longer joins axis 1 of \(None, 3, 4, 5, 2\)"
    with pytest.raises(ExportError, match=message):
        lowering.lower(model)


def test_several_outputs_of_a_branching_network():
    clip = keras.Input((4, 5, 6, 2))
    x = layers.Conv3D(2, 3, padding="same")(clip)
    y = layers.Add()([x, layers.MaxPooling3D(3, 1, "same")(x)])
    model = keras.Model(clip, [y, layers.GlobalAveragePooling3D()(y)])
    given = np.random.default_rng(0).normal(size=(1, 4, 5, 6, 2)).astype(np.float32)
    for a, b in zip(lowering.lower(model)(given), model(given), strict=True):
        assert np.abs(a - b).max() < 1e-5


def test_taps_that_read_only_zeros_are_left_out():
    conv = layers.Conv3D(4, 3, padding="same", use_bias=False)
    assert check(of((1, 4, 4, 2), conv)).count_params() == 9 * 2 * 4  # a third of the kernel
    strided = layers.Conv3D(4, 3, (2, 1, 1), use_bias=False)
    padded = of((2, 4, 4, 2), layers.ZeroPadding3D(1), strided)
    assert check(padded).count_params() == 2 * 9 * 2 * 4  # of -1, 0, 1 the first is never there
    in_time = layers.Conv3D(4, (3, 1, 1), padding="same", use_bias=False)
    assert check(of((1, 4, 4, 2), in_time)).count_params() == 2 * 4


def test_first_and_last_frames_get_kernels_without_taps_that_read_zeros():
    def weights(frames: int, **kwargs) -> int:
        conv = layers.Conv3D(4, 3, padding="same", use_bias=False)
        lowered = lowering.lower(of((frames, 4, 4, 2), conv), **kwargs)
        return lowered.count_params() // (9 * 2 * 4)

    assert weights(5) == 3
    assert weights(5, skip_zeros=True) == 2 + 3 + 2
    assert weights(20, skip_zeros=True) == 3  # two taps of sixty are not worth two convolutions
    assert weights(2) == weights(2, skip_zeros=True) == 2 * 2  # each to each, in one convolution


NETWORKS = {  # blocks of the other families: test_tflite.py
    "r3d10_a": lambda **kwargs: R3D10(shortcut="A", **kwargs),
    "conv1": lambda **kwargs: R3D10(conv1_t_size=4, conv1_t_stride=2, max_pool=False, **kwargs),
    "c3d_bn": lambda **kwargs: C3D(with_batch_norm=True, **kwargs),
    "preresnet18": PreResNet18,
    **{
        name: pytest.param(build, marks=pytest.mark.slow)
        for name, build in {
            "r2plus1d_18": r2plus1d_18,
            "resnext50": ResNeXt50,
            "densenet121": lambda **kwargs: DenseNet121(max_pool=False, **kwargs),
            "i3d": I3D,
            "r3d10_b": lambda **kwargs: R3D10(shortcut="B", **kwargs),
            "r3d18": R3D18,
            "wideresnet50": WideResNet50,
            "preresnet50": PreResNet50,
            "r2p1d50": R2P1D50,
            "r3d50_a": lambda **kwargs: R3D50(shortcut="A", **kwargs),
            "r3d50_b": lambda **kwargs: R3D50(shortcut="B", **kwargs),
            "r3d_18": r3d_18,
            "mc3_18": mc3_18,
            "c3d": C3D,
            "conv1_long": lambda **kwargs: R3D10(conv1_t_size=9, conv1_t_stride=3, **kwargs),
            "features": lambda classes, **kwargs: R3D10(include_top=False, **kwargs),
            "embedding": lambda classes, **kwargs: R3D10(
                include_top=False, pooling="max", **kwargs
            ),
        }.items()
    },
}


@pytest.mark.parametrize("shape", [(16, 32, 32, 3), (9, 17, 35, 2)], ids=["even", "odd"])
@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_networks(build, shape):
    model = moved(
        build(
            input_shape=shape,
            in_channels=shape[-1],
            width=0.125,
            classes=5,
            classifier_activation=None,  # probabilities of 1.0 would hide mistakes
        )
    )
    before = [weight.copy() for weight in model.get_weights()]
    lowered = check(folding.fold(model))
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(old, new)
    clip = np.random.default_rng(0).integers(0, 256, (1, *shape)).astype(np.float32)
    expected = output(model, clip)
    assert output(lowered, clip) == pytest.approx(
        expected, abs=1e-5 * float(np.abs(expected).max())
    )


def test_layers_that_are_not_known_are_named():
    for model, message in (
        (of((4, 4, 4, 2), layers.UpSampling3D(2, name="up")), "does not know the layer up"),
        (
            of((1, 4, 4, 2), layers.ZeroPadding3D(1), layers.Conv3D(4, 1, 2, name="blind")),
            "blind reads nothing but zeros",
        ),
        (of((None, 4, 4, 2), layers.ReLU()), r"one clip size.*\(None, 4, 4, 2\)"),
    ):
        with pytest.raises(ExportError, match=message):
            lowering.lower(model)


def test_a_layer_that_is_used_twice_is_refused():
    conv, x = layers.Conv3D(2, 1, name="twice"), keras.Input((4, 4, 4, 2))
    with pytest.raises(ExportError, match="does not know the layer twice"):
        lowering.lower(keras.Model(x, conv(conv(x))))
