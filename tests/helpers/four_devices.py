"""Tests in a process of their own, which `test_replicas.py` starts: on 4 virtual CPU devices."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import write_video
from steps import CLASSES, HARDWARE, batch, take, tiny, train, values

from keras_r3d import applications
from keras_r3d.data import opening
from keras_r3d.system import devices
from keras_r3d.training import finetune
from keras_r3d.training.optimization.step import Steps
from keras_r3d.training.setup import Setup

FOUR = devices.choose("cpu:4")
RATE = 0.05


def on(hardware: devices.Devices, settings, **options) -> Steps:
    """Makes the steps of the tiny network, on one device or on four."""
    with hardware.strategy.scope():
        network = tiny(**options)
    return Steps(network, settings, hardware, classes=CLASSES, head=finetune.head(network))


def step(of: Steps, number: int, whole) -> np.ndarray:
    return take(of, number, clips=of.shared_out(whole))


def variables(of: Steps) -> dict[str, np.ndarray]:
    found = [*of.network.variables, *of.optimizer.variables]
    found = {f"{n} {v.path}": np.array(v) for n, v in enumerate(found) if "seed" not in v.path}
    return found | {f"average {n}": np.array(v) for n, v in enumerate(of.averages)}


def copies(of: Steps) -> list[list[np.ndarray]]:
    """Returns the values of each variable on all devices."""
    return [
        [np.array(one) for one in FOUR.strategy.experimental_local_results(v.value)]
        for v in of.network.weights
    ]


def test_there_are_four_replicas():
    assert FOUR.replicas == 4
    assert FOUR.description.endswith("as 4 virtual devices")
    assert HARDWARE.replicas == 1


@pytest.mark.parametrize(
    ("keys", "frozen_statistics"),
    [
        pytest.param({"momentum": 0.9, "weight_decay": 0.01}, True, id="sgd"),
        pytest.param({"momentum": 0.9, "synchronized_batch_norm": True}, False, id="synchronized"),
        pytest.param(
            {"clip_norm": 0.05, "accumulate": 2, "ema": 0.9, "head_rate": 3.0}, True, id="the lot"
        ),
        pytest.param(
            {"optimizer": "adamw", "weight_decay": 0.1, "head_rate": 3.0, "label_smoothing": 0.1},
            True,
            id="adamw",
        ),
    ],
)
def test_four_replicas_take_the_step_of_one(keys, frozen_statistics):
    both = [
        on(hardware, train(**keys), frozen_statistics=frozen_statistics)
        for hardware in (HARDWARE, FOUR)
    ]
    for number in range(3):
        one, four = (step(of, number, batch(16, seed=number)) for of in both)
        assert four == pytest.approx(one, rel=1e-5)
    one, four = (variables(of) for of in both)
    assert len(one) == len(four)
    for (name, wanted), found in zip(one.items(), four.values(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5, err_msg=name)
    for same in copies(both[1]):
        assert all((one == same[0]).all() for one in same)
    assert np.abs(values(both[0].network)[0] - values(tiny())[0]).max() > 1e-3


def test_statistics_of_a_part_are_of_that_part_on_all_replicas():
    four = on(FOUR, train(synchronized_batch_norm=True, accumulate=2))
    one = on(HARDWARE, train(accumulate=2))
    clips, labels = batch(16)
    step(four, 0, (clips, labels))
    # Of the clips of each replica, two are the first part.
    first = [n for n in range(16) if n % 4 < 2]
    turned = first + [n for n in range(16) if n not in first]
    step(one, 0, (tf.gather(clips, turned), tf.gather(labels, turned)))
    for wanted, found in zip(values(one.network), values(four.network), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_xla_cannot_synchronize():
    with FOUR.strategy.scope():
        network = tiny()
    with pytest.raises(devices.DeviceError, match=r"^`xla` and 'train.synchronized_batch_norm'"):
        Steps(network, train(synchronized_batch_norm=True), FOUR, classes=CLASSES, compiled=True)


def test_statistics_are_each_replica_s_own_and_their_running_averages_the_mean():
    of, parts = on(FOUR, train()), []
    whole = batch(16)
    step(of, 0, whole)
    for number in range(4):
        alone = tiny()
        alone(whole[0][4 * number : 4 * number + 4], training=True)
        layer = alone.get_layer("conv1_bn")
        parts.append([np.array(layer.moving_mean), np.array(layer.moving_variance)])
    assert not np.allclose(parts[0][0], parts[1][0], atol=1e-5)
    layer = of.network.get_layer("conv1_bn")
    for variable, wanted in zip(
        (layer.moving_mean, layer.moving_variance), zip(*parts, strict=True), strict=True
    ):
        for copy in FOUR.strategy.experimental_local_results(variable.value):
            np.testing.assert_allclose(copy, np.mean(wanted, 0), atol=1e-6)


def test_replicas_drop_other_features():
    with FOUR.strategy.scope():
        network = tiny(dropout=0.5)
    of = Steps(network, train(accumulate=2), FOUR, classes=CLASSES)
    state = next(v for v in network.variables if "seed" in v.path)
    seen = set()
    for number in range(3):
        step(of, number, batch(16))
        local = FOUR.strategy.experimental_local_results(state.value)
        seen |= {tuple(np.array(one)) for one in local}
    assert len(seen) == 12


def test_float16_leaves_a_step_out_on_all_replicas_or_on_none():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        one, four = (on(hardware, train(precision="float16")) for hardware in (HARDWARE, FOUR))
        for of in (one, four):
            of.network.get_layer("conv1_bn").trainable = False
    finally:
        keras.config.set_dtype_policy("float32")
    sums = [step(of, 0, batch(16)) for of in (one, four)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-3)
    for a, b in zip(values(one.network), values(four.network), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
    before = values(four.network)
    assert np.abs(before[-1] - values(tiny())[-1]).max() > 1e-3

    # Only the third replica's gradient is too large: its clips are white, the others black.
    clips = np.zeros((16, 2, 6, 6, 3), np.uint8)
    clips[8:12] = 255
    kernel = four.network.get_layer("conv1").kernel
    kernel.assign(np.where(np.abs(kernel) > 0, 1e4, 0))
    before = values(four.network)
    four.optimizer.dynamic_scale.assign(2.0**15)
    take(four, 1, clips=four.shared_out((tf.constant(clips), batch(16)[1])))
    for a, b in zip(values(four.network), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.array(four.optimizer.dynamic_scale) == 2.0**14
    assert np.array(four.optimizer.iterations) == 1


@pytest.mark.parametrize("count", [16, 7, 2])
def test_validation_is_shared_out(count):
    one, four = (on(hardware, train()) for hardware in (HARDWARE, FOUR))
    sums, confusion = one.validate(batch(count))
    parts = [four.local_results(part) for part in four.validate(four.shared_out(batch(count)))]
    assert len(parts[0]) == 4
    found = [sum(np.array(part) for part in one) for one in parts]
    np.testing.assert_allclose(found[0], sums, rtol=1e-5)
    assert found[0][-1] == count
    np.testing.assert_array_equal(found[1], confusion)
    assert float(four.total(tf.constant(3.0, tf.float64))) == 3.0


def test_a_replica_without_clips_does_not_trouble_a_residual_network():
    with FOUR.strategy.scope():
        network = applications.get_model(
            "r3d10",
            input_shape=(4, 16, 16, 3),
            classes=CLASSES,
            width=0.0625,
            classifier_activation=None,
        )
    of = Steps(network, train(), FOUR, classes=CLASSES)
    clips = tf.zeros((2, 4, 16, 16, 3), tf.uint8), tf.constant([0, 1])
    sums, _ = of.validate(of.shared_out(clips))
    assert [float(one[-1]) for one in of.local_results(sums)] == [1, 1, 0, 0]


@pytest.mark.parametrize("clips_per_pass", [1, 2])
def test_four_replicas_see_the_clips_of_one(tmp_path, small, clips_per_pass):
    for number in range(8):
        write_video(tmp_path / f"class{number % 2}" / f"{number}.avi", 12, base=10 * number)
    recipe = dataclasses.replace(
        small,
        videos=dataclasses.replace(small.videos, hold_out=None),
        train=dataclasses.replace(
            small.train,
            batch_size=8,
            clips_per_pass=None if clips_per_pass == 1 else clips_per_pass,
        ),
    )

    def seen(hardware, first_step) -> list[list[bytes]]:
        opened = opening.open_source(tmp_path, recipe.clips, recipe.videos, cache_gib=0.1, seed=1)
        ready = Setup(recipe, opened, hardware, None, None, False)
        assert ready.steps_per_epoch == 2
        batches, steps = ready.batches(first_step), []
        for _ in range(3):
            clips, _ = next(batches)
            parts = hardware.strategy.experimental_local_results(clips)
            assert [part.shape[0] for part in parts] == [8 // hardware.replicas] * len(parts)
            assert {part.device[-5:] for part in parts} == {
                f"CPU:{n}" for n in range(hardware.replicas)
            }
            steps.append(sorted(clip.tobytes() for part in parts for clip in part.numpy()))
        return steps

    one, four = seen(HARDWARE, 0), seen(FOUR, 0)
    assert one == four
    assert len({clip for found in one for clip in found}) > 8
    assert seen(FOUR, 1)[:2] == four[1:]
