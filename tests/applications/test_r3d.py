import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_r3d.applications import R3D10, R3D18, R3D50, r2plus1d_18
from keras_r3d.applications.builders import blocks

CLIP = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 32, 3), dtype=np.uint8)


def test_feature_maps_have_the_paper_s_shapes():
    model = R3D18(input_shape=(16, 112, 112, 3), width=0.125)
    shapes = {
        "conv1": (16, 56, 56, 8),
        "pool1": (8, 28, 28, 8),
        "conv2_2_out": (8, 28, 28, 8),
        "conv3_2_out": (4, 14, 14, 16),
        "conv4_2_out": (2, 7, 7, 32),
        "conv5_2_out": (1, 4, 4, 64),
        "avg_pool": (64,),
        "predictions": (400,),
    }
    assert {n: model.get_layer(n).output.shape[1:] for n in shapes} == shapes
    strided = [
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv3D) and layer.strides == (2, 2, 2)
    ]
    assert strided == ["conv3_1_conv1", "conv4_1_conv1", "conv5_1_conv1"]


def test_shortcut_a_subsamples_and_pads_with_zeros():
    x = keras.Input((4, 5, 6, 2))
    model = keras.Model(x, blocks.shortcut_a(x, 5, (2, 2, 2), "s"))
    values = np.random.default_rng(0).random((1, 4, 5, 6, 2), np.float32)
    out = keras.ops.convert_to_numpy(model(values))
    assert out.shape == (1, 2, 3, 3, 5)
    assert (out[..., :2] == values[:, ::2, ::2, ::2]).all()
    assert (out[..., 2:] == 0).all()
    assert model.count_params() == 0


def is_compiled(model: keras.Model) -> bool:
    """Whether a part of its graph goes to XLA."""
    spec = tf.TensorSpec((1, *model.input_shape[1:]))
    graph = tf.function(model).get_concrete_function(spec).graph.as_graph_def()
    return any("_XlaMustCompile" in part.attr for part in graph.library.function)


def test_grouped_convolutions_compute_what_keras_s_do_without_xla(tmp_path, monkeypatch):
    x = keras.Input((4, 5, 6, 8))
    model = keras.Model(x, blocks.conv(x, 12, "c", strides=(2, 2, 2), groups=4))
    model.save(tmp_path / "m.keras")
    plain = keras.models.load_model(tmp_path / "m.keras")
    assert type(plain.get_layer("c")) is keras.layers.Conv3D
    clip = np.random.default_rng(0).random((1, 4, 5, 6, 8), np.float32)
    expected = keras.ops.convert_to_numpy(plain(clip))
    assert keras.ops.convert_to_numpy(model(clip)) == pytest.approx(expected, abs=1e-5)
    assert is_compiled(plain)
    assert not is_compiled(model)
    assert not is_compiled(keras.models.clone_model(model))
    assert not is_compiled(blocks.split_groups(plain))
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: ["gpu:0"])
    assert is_compiled(model)


@pytest.mark.parametrize("side", [7, 8])
def test_padding_is_symmetric_at_stride_2(side):
    """Against a convolution written out in NumPy."""
    x = keras.Input((side, side, side, 1))
    model = keras.Model(x, blocks.conv(x, 1, "c", strides=(2, 2, 2)))
    values = np.random.default_rng(0).random((side, side, side)).astype(np.float32)
    kernel = model.get_layer("c").kernel.numpy()[..., 0, 0]
    padded = np.pad(values, 1)
    out = (side + 1) // 2
    expected = np.array(
        [
            (padded[2 * t : 2 * t + 3, 2 * h : 2 * h + 3, 2 * w : 2 * w + 3] * kernel).sum()
            for t in range(out)
            for h in range(out)
            for w in range(out)
        ]
    )
    received = keras.ops.convert_to_numpy(model(values[None, ..., None])).ravel()
    assert received == pytest.approx(expected, abs=1e-5)


def test_max_pooling_padding_never_wins():
    model = R3D10(input_shape=(16, 32, 32, 3), width=0.125, include_top=False)
    part = keras.Model(model.inputs, [model.get_layer(n).output for n in ("conv1_relu", "pool1")])
    before, after = (keras.ops.convert_to_numpy(y) for y in part(CLIP))
    padded = np.pad(before, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3), (1, 2, 3))
    assert (views[:, ::2, ::2, ::2].max(axis=(-3, -2, -1)) == after).all()


def test_input_is_normalized_inside():
    model = R3D10(input_shape=(16, 32, 32, 3), width=0.125, mean=(10, 20, 30), std=(2, 4, 5))
    normalized = keras.Model(model.inputs, model.get_layer("normalization").output)
    expected = (CLIP - np.array([10, 20, 30])) / np.array([2, 4, 5])
    received = keras.ops.convert_to_numpy(normalized(CLIP))
    assert received == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_uint8_and_float_give_the_same():
    model = R3D10(input_shape=(16, 32, 32, 3), width=0.125, classes=3)
    out = keras.ops.convert_to_numpy(model(CLIP))
    assert out.sum(axis=1) == pytest.approx(1)
    assert (out == keras.ops.convert_to_numpy(model(CLIP.astype(np.float32)))).all()


def test_options():
    maps = R3D10(include_top=False, width=0.125)
    assert maps(CLIP).shape == (2, 1, 1, 1, 64)
    for pooling in ("avg", "max"):
        assert R3D10(include_top=False, pooling=pooling, width=0.125)(CLIP).shape == (2, 64)
    logits = R3D10(classifier_activation=None, classes=3, width=0.125, dropout=0.5)
    assert not np.allclose(keras.ops.convert_to_numpy(logits(CLIP)).sum(axis=1), 1)
    bare = R3D10(include_preprocessing=False, width=0.125)
    assert "normalization" not in [layer.name for layer in bare.layers]
    given = keras.Input((16, 32, 32, 3))
    doubled = R3D10(input_tensor=keras.layers.Rescaling(2.0)(given), width=0.125, name="mine")
    assert doubled.name == "mine"
    assert doubled.inputs[0] is given
    assert [layer.name for layer in R3D18(shortcut="B", width=0.125).layers].count(
        "conv3_1_shortcut_conv"
    ) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"shortcut": "C"},
            r"`shortcut` must be one of \['A', 'B', None\]\. Received: shortcut=C",
        ),
        ({"pooling": "mean"}, "`pooling` must be one of"),
        ({"classes": 0}, "`classes` must be an int of at least 1. Received: classes=0"),
        ({"classes": True}, "`classes` must be an int of at least 1"),
        ({"width": 0}, r"`width` must be a number above 0\. Received: width=0"),
        ({"width": "wide"}, "`width` must be a number above 0"),
        ({"input_shape": (112, 112, 3)}, r"`input_shape` must be \(frames, height, width, 3\)"),
        ({"input_shape": (16, 0, 112, 3)}, r"height of at least 1.*input_shape=\(16, 0, 112, 3\)"),
        ({"input_shape": (16, 112.0, 112, 3)}, "`input_shape` must be"),
        ({"input_shape": (16, 112, 112, 3), "in_channels": 2}, "`in_channels` is 2, but.* has 3"),
        ({"in_channels": 0}, "`in_channels` must be an int of at least 1"),
        ({"conv1_t_size": 0}, "`conv1_t_size` must be an int of at least 1"),
        ({"conv1_t_stride": 1.5}, "`conv1_t_stride` must be an int of at least 1"),
        ({"mean": (1, 2)}, r"`mean` must have a number for each of 3 channels.*mean=\(1, 2\)"),
        ({"mean": 127.5}, r"`mean` must have a number for each of 3 channels.*mean=127\.5"),
        ({"input_shape": 16}, r"`input_shape` must be .*input_shape=\(16,\)"),
        ({"max_pool": "no"}, r"`max_pool` must be one of \[True, False, None\]\."),
        ({"std": (1, 0, 1)}, r"`std` must be above 0.*std=\[1.0, 0.0, 1.0\]"),
        ({"input_tensor": CLIP}, "`input_tensor` must be a Keras tensor"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        R3D10(**{"width": 0.125, **arguments})


def test_options_of_the_authors_code():
    model = R3D10(
        width=0.125,
        input_shape=(16, 32, 32, 2),
        conv1_t_size=3,
        conv1_t_stride=2,
        max_pool=False,
    )
    assert model.get_layer("conv1").kernel.shape == (3, 7, 7, 2, 8)
    assert model.get_layer("conv1").output.shape == (None, 8, 16, 16, 8)
    assert model.get_layer("conv2_1_out").output.shape == (None, 8, 16, 16, 8)
    assert "pool1" not in [layer.name for layer in model.layers]
    flow = R3D10(width=0.125, in_channels=2)
    assert flow.input_shape == (None, None, None, None, 2)
    middle = keras.Model(flow.inputs, flow.get_layer("normalization").output)
    assert (keras.ops.convert_to_numpy(middle(np.full((1, 1, 1, 1, 2), 128.0))) == 0).all()


@pytest.mark.parametrize("builder", [R3D10, r2plus1d_18])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 9, 5), (17, 33, 40), (7, 64, 31)])
def test_any_size_survives_the_strides(builder, shape):
    model = builder(width=0.125, classes=2)
    out = keras.ops.convert_to_numpy(model(np.zeros((1, *shape, 3), np.uint8)))
    assert out.sum() == pytest.approx(1)


def test_numbers_of_numpy_are_numbers():
    model = R3D10(
        width=np.float32(0.125), classes=np.int64(3), input_shape=np.array([8, 32, 32, 3])
    )
    assert model.output_shape == (None, 3)


def test_bottleneck_blocks():
    model = R3D50(width=0.125, input_shape=(16, 32, 32, 3))
    kernels = [model.get_layer(f"conv3_1_conv{i}").kernel.shape for i in (1, 2, 3)]
    assert kernels == [(1, 1, 1, 32, 16), (3, 3, 3, 16, 16), (1, 1, 1, 16, 64)]
    assert model.get_layer("conv3_1_conv2").strides == (2, 2, 2)
    assert model.get_layer("conv2_1_shortcut_conv").kernel.shape == (1, 1, 1, 8, 32)
    zeros = R3D50(width=0.125, shortcut="A")
    assert not [layer.name for layer in zeros.layers if "shortcut_conv" in layer.name]
