"""Grad-CAM and occlusion, on networks whose answer is known."""

import heats
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from keras_r3d import applications
from keras_r3d.inference.explanation import feature_maps, gradcam, heat
from keras_r3d.inference.explanation.occlusion import occlusion, places_of


def bright(activation="softmax") -> keras.Model:
    """Class 1 has the mean of channel 0, class 0 that of channel 1."""
    given = keras.Input((4, 16, 16, 2))
    x = layers.Conv3D(2, 1, use_bias=False, name="conv")(given)
    x = layers.ReLU(name="out")(x)
    x = layers.GlobalAveragePooling3D()(x)
    model = keras.Model(given, layers.Dense(2, activation, name="predictions")(x))
    model.get_layer("conv").set_weights([np.eye(2).reshape(1, 1, 1, 2, 2)])
    model.get_layer("predictions").set_weights([np.eye(2)[::-1], np.zeros(2)])
    return model


def spots() -> np.ndarray:
    """Channel 0 is bright at one place and time, channel 1 at another."""
    clip = np.zeros((1, 4, 16, 16, 2), np.uint8)
    clip[0, 1, 2:4, 5:7, 0] = 200
    clip[0, 3, 12:14, 9:11, 1] = 100
    return clip


@pytest.mark.parametrize("method", ["integrated", "grad_cam", "layer_cam"])
@pytest.mark.parametrize("activation", ["softmax", None])
def test_heat_is_where_the_class_is(method, activation):
    model, clip = bright(activation), spots()
    for class_index, channel in ((1, 0), (0, 1), (None, 0)):
        found = gradcam.grad_cam(model, clip, class_index, method=method)
        assert found.dtype == np.float32
        assert found.shape == clip.shape[:-1]
        np.testing.assert_allclose(
            found[0], clip[0, ..., channel] / clip[..., channel].max(), atol=0.02
        )


def test_a_softmax_layer_of_its_own_and_saturation_do_not_matter():
    model = bright(None)
    model.get_layer("predictions").set_weights([1000 * np.eye(2)[::-1], np.zeros(2)])
    separate = keras.Model(model.input, layers.Softmax()(model.output))
    assert separate(spots().astype("float32")).numpy().max() == 1, "its gradient is 0"
    found = gradcam.grad_cam(separate, spots(), 1)
    np.testing.assert_allclose(found, gradcam.grad_cam(model, spots(), 1), atol=1e-5)
    assert found.max() == 1


def test_each_clip_has_its_own_class_and_scale():
    both = np.concatenate([spots(), spots() // 2])
    found = gradcam.grad_cam(bright(), both, [1, 0])
    assert found.max(axis=(1, 2, 3)).tolist() == [1, 1]
    assert found[0, 1, 2, 5] == 1
    assert found[1, 3, 12, 9] == 1


def test_nothing_for_a_class_is_all_zero():
    found = gradcam.grad_cam(bright(), np.zeros((1, 4, 16, 16, 2), np.uint8), 0)
    assert (found == 0).all()


def test_frozen_and_half_precise_models_work():
    model = bright()
    model.trainable = False
    assert gradcam.grad_cam(model, spots(), 1).max() == 1
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = bright()
    finally:
        keras.config.set_dtype_policy("float32")
    assert gradcam.grad_cam(half, spots(), 1)[0, 1, 2, 5] > 0.98
    with pytest.raises(ValueError, match="`method` must be one of"):
        gradcam.grad_cam(model, spots(), 1, method="cam")


NETWORKS = ("r3d10", "r3d50", "r2plus1d_18", "mc3_18", "c3d", "i3d", "framenet")


@pytest.mark.parametrize("name", NETWORKS)
def test_all_networks_of_any_channels_have_stages(name):
    shape = (16, 64, 64)
    options = {"width": 0.0625}
    if name == "framenet":
        options = {"backbone": "MobileNet", "width": 0.25, "stack": 4}
    model = applications.get_model(name, input_shape=(*shape, 2), classes=3, **options)
    found = feature_maps.stages(model, shape)
    assert [stage.cells[1] for stage in found] == sorted(
        [stage.cells[1] for stage in found], reverse=True
    )
    assert all(not stage.layer.endswith(("_pad", "shortcut_conv")) for stage in found)
    found = gradcam.grad_cam(model, np.zeros((1, *shape, 2), np.uint8), method="grad_cam")
    assert found.shape == (1, *shape)


def test_cells_are_where_the_arithmetic_says():
    """Of kernels of ones, the clip's gradient by one cell is symmetric around the cell's center."""
    import tensorflow as tf

    given = keras.Input((12, 33, 40, 1))
    x = layers.ZeroPadding3D((1, 3, 3))(given)
    x = layers.Conv3D(1, (3, 7, 7), (1, 2, 2), kernel_initializer="ones", name="one")(x)
    x = layers.AveragePooling3D(2, 2)(x)
    x = layers.Conv3D(1, 3, (1, 2, 2), padding="same", kernel_initializer="ones", name="two")(x)
    model = keras.Model(given, layers.GlobalAveragePooling3D()(x))
    stage = feature_maps.choose(model, (12, 33, 40), "two")
    part = keras.Model(given, x)
    assert stage.cells == tuple(x.shape[1:4])
    clip = tf.zeros((1, 12, 33, 40, 1))
    cell = (3, 2, 2)
    with tf.GradientTape() as tape:
        tape.watch(clip)
        value = part(clip)[(0, *cell, 0)]
    weight = tape.gradient(value, clip).numpy()[0, ..., 0]
    for axis in range(3):
        others = tuple(one for one in range(3) if one != axis)
        along = weight.sum(axis=others)
        center = (along * np.arange(len(along))).sum() / along.sum()
        assert center == pytest.approx(stage.first[axis] + stage.steps[axis] * cell[axis])


def test_cells_of_a_framenet_are_in_the_middle_of_their_stacks():
    keras.utils.set_random_seed(1)  # with some initial values, all of the last map is 0
    model = applications.FrameNet(
        backbone="MobileNet", width=0.25, stack=4, input_shape=(8, 32, 32, 2), classes=2
    )
    last = feature_maps.stages(model, (8, 32, 32))[-1]
    assert (last.layer, last.cells) == ("conv5_conv_pw_13_relu", (2, 1, 1))
    assert (last.first[0], last.steps) == (1.5, (4, 32, 32))
    # One frame of a stack changes the map of this stack alone.
    clip = np.zeros((1, 8, 32, 32, 2), np.float32)
    part = keras.Model(model.inputs, model.get_layer("conv5_conv_pw_13").output)
    flat = part(clip).numpy()
    clip[0, 5] = 100
    changed = np.abs(part(clip).numpy() - flat).max(axis=(1, 2, 3)) > 0
    assert changed.tolist() == [False, True]


def test_the_default_layer_is_the_deepest_that_is_fine_enough():
    network = applications.R3D18(classes=2, width=0.0625)
    assert feature_maps.choose(network, (16, 112, 112)).layer == "conv3_2_out"
    assert feature_maps.choose(network, (16, 48, 48)).layer == "conv1_relu"
    assert feature_maps.choose(network, (16, 16, 16)).layer == "conv1_relu"
    c3d = applications.C3D(classes=2, width=0.0625)
    assert feature_maps.choose(c3d, (16, 112, 112)).cells[1:] == (14, 14)
    bottleneck = applications.R3D50(classes=2, width=0.0625)
    assert feature_maps.choose(bottleneck, (16, 112, 112)).layer == "conv3_4_out"
    i3d = applications.I3D(classes=2, width=0.0625)
    assert feature_maps.choose(i3d, (64, 224, 224)).layer == "conv4f_out"
    assert feature_maps.choose(i3d, (64, 224, 224)).cells == (16, 14, 14)
    assert feature_maps.choose(network, (16, 112, 112), "conv5_1_relu1").cells == (1, 4, 4)


def test_a_model_without_convolution_is_named():
    flat = keras.Sequential([keras.Input((4, 8, 8, 3)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(feature_maps.ArgumentError, match="has no convolution whose map"):
        gradcam.grad_cam(flat, np.zeros((1, 4, 8, 8, 3)))


def test_occlusion_finds_the_only_place_that_counts():
    def score(clips):
        seen = clips[:, 1:3, 4:6, 8:10].mean(axis=(1, 2, 3, 4)) / 255
        return np.stack([1 - seen, seen], axis=1)

    clip, done = np.zeros((4, 12, 12, 3), np.uint8), []
    clip[1:3, 4:6, 8:10] = 255
    heat = occlusion(score, clip, 1, lambda count, total: done.append((count, total)))
    assert heat.shape == (4, 12, 12)
    assert heat.max() == pytest.approx(heat[1, 4, 8])
    assert heat[:, :3].max() == heat[[0, 3]].max() == 0
    assert heats.share_on(heat[None], (clip[None, ..., 0] > 0).astype(float))[0] > 0.3
    assert done[-1] == (4 * 11 * 11, 4 * 11 * 11)
    assert occlusion(score, clip, 0).max() == 0, "nothing speaks for the other class"


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)), min_size=3, max_size=3
    )
)
@settings(max_examples=60, deadline=None)
def test_boxes_cover_every_pixel_and_stay_inside(sizes):
    shape = [max(one) for one in sizes]
    box = [sorted(one)[1] for one in sizes]
    stride = [min(one) for one in sizes]
    seen = np.zeros(shape, int)
    for place in places_of(shape, box, stride):
        assert seen[place].shape == tuple(box)
        seen[place] += 1
    assert seen.min() >= 1


def test_enlarging_keeps_the_cells_and_lines_between_them():
    cells = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)
    found = heat.enlarge(cells, (9, 2, 2), (1, 0, 0), (3, 2, 2))
    np.testing.assert_allclose(found[0, :, 1, 1], [0, 0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2, 2])


def test_shares_ranks_and_overlap():
    one = np.array([[[[0, 1, 2, 1]]]], np.float32)
    assert heats.share_on(one, np.array([[[[0, 0, 1, 0.5]]]]))[0] == pytest.approx(2.5 / 4)
    assert np.isnan(heats.share_on(one * 0, one)[0])
    assert heats.widened(np.eye(5)[None, None, 2:3], (0, 0, 1))[0, 0, 0].tolist() == [0, 1, 1, 1, 0]
    assert heat.rank_correlation(one, one**2) == pytest.approx(1)
    assert heat.rank_correlation(one, -one) == pytest.approx(-1)
    assert np.isnan(heat.rank_correlation(one, one * 0))
    assert heat.overlap(one, one, 0.25) == 1
    assert heat.overlap(one, -one, 0.25) == 0
