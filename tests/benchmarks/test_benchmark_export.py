"""The benchmark of exported models: everyone is measured or named, and computes what Keras does."""

import json

import keras
import numpy as np
import pytest

from benchmarks.exports import export, exported_models
from benchmarks.options import Options
from keras_r3d.applications import R3D10
from keras_r3d.system.errors import R3DError


def _load_halved(path, threads):
    score = exported_models.load_keras(path, threads)
    return lambda clip: score(clip) / 2


NOT_INSTALLED = exported_models.exported(
    "not installed", exported_models.load_keras, ("keras_r3d_has_no_such_module",), "model.keras"
)
HALVED = exported_models.exported("halved", _load_halved, ("tensorflow",), "model.keras")
STOCK, OURS = (
    next(contender for contender in exported_models.ALL if contender.name == name)
    for name in ("stock TFLite", "keras_r3d TFLite, none")
)


@pytest.mark.slow
def test_everyone_is_measured_or_named(capsys):
    contenders = (STOCK, OURS, HALVED, NOT_INSTALLED)
    options = Options(model="r3d10", frames=4, size=16, clips=2, cores=1, rounds=1)
    figures = export.run(options, contenders)
    json.dumps(figures, allow_nan=False)
    assert "not importable: ModuleNotFoundError" in capsys.readouterr().out
    found = figures["contenders"]
    assert list(found) == ["stock TFLite", "keras_r3d TFLite, none", "halved", "not installed"]
    stock, ours, halved, absent = found.values()
    assert stock["of stock"] == stock["smaller"] == 1
    assert ours["smaller"] == pytest.approx(stock["MB"] / ours["MB"])
    assert ours["of stock"] == pytest.approx(ours["rate"] / stock["rate"])
    assert max(stock["off"], ours["off"]) < 1e-4
    assert ours["same class"] == 1
    assert halved["off"] > 1e-3
    assert absent["problem"]


def test_an_unknown_network_is_named():
    with pytest.raises(R3DError, match=r"must be one of .*r3d18"):
        export.run(Options(model="r3d19", frames=4, size=16, clips=1, rounds=1))


def test_clips_are_moving_scenes():
    clips = export.draw_clips(3, 8, 32)
    assert clips.shape == (3, 8, 32, 32, 3)
    assert clips.dtype == np.uint8
    for clip in clips.astype(int):
        assert np.abs(np.diff(clip, axis=0)).max() > 30  # something moves
        assert np.abs(np.diff(clip, axis=2)).mean() < 10  # and it is no noise
    assert (clips[0] != export.draw_clips(1, 8, 32, split="test")[0]).any()


def test_moved_weights_have_the_statistics_of_the_clips():
    clips = export.draw_clips(3, 8, 32)
    network = R3D10(input_shape=(8, 32, 32, 3), width=0.125, classes=5)
    export.move_weights(network, clips)
    norm = network.get_layer("conv1_bn")
    assert norm.momentum == 0.9
    before = keras.Model(network.input, norm.input)(clips.astype(np.float32))
    mean = keras.ops.convert_to_numpy(before).mean(axis=(0, 1, 2, 3))
    assert keras.ops.convert_to_numpy(norm.moving_mean) == pytest.approx(mean, abs=1e-3)
    scores = network.predict_on_batch(clips.astype(np.float32))
    assert 0.2 < scores.max() < 0.999  # neither all alike nor one class only
