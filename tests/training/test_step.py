"""Steps on one device, against the same computation written out plainly."""

import dataclasses
import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from steps import CLASSES, CONSTANT, HARDWARE, RATE, batch, ready, take, tiny, train, values

from keras_r3d import applications, recipe
from keras_r3d.training import finetune, setup
from keras_r3d.training.loop import Training
from keras_r3d.training.optimization.mixup import mix
from keras_r3d.training.optimization.step import Steps


def steps(network: keras.Model, settings: recipe.Train, **options) -> Steps:
    return Steps(
        network, settings, HARDWARE, classes=CLASSES, head=finetune.head(network), **options
    )


def gradient(network: keras.Model, clips, targets, weights=None):
    """Returns the gradient of the mean loss, and the losses."""
    with tf.GradientTape() as tape:
        losses = -tf.reduce_sum(targets * tf.nn.log_softmax(network(clips, training=True)), 1)
        losses *= 1.0 if weights is None else weights
        loss = tf.reduce_mean(losses)
    return tape.gradient(loss, [v.value for v in network.trainable_variables]), losses.numpy()


def plain_step(network: keras.Model, clips, targets, weights=None) -> np.ndarray:
    """Gradient descent; returns the losses."""
    gradients, losses = gradient(network, clips, targets, weights)
    for variable, one in zip(network.trainable_variables, gradients, strict=True):
        variable.assign_sub(RATE * one)
    return losses


def assert_same(one: keras.Model, other: keras.Model, tolerance=1e-6):
    for a, b in zip(values(one), values(other), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)


@pytest.mark.parametrize("compiled", [False, True], ids=["", "XLA"])
@pytest.mark.parametrize(
    ("smoothing", "class_weights"), [(0.0, None), (0.3, [0.5, 2.0, 0.75])], ids=["", "weighted"]
)
def test_a_step_is_gradient_descent_on_the_mean_loss(smoothing, class_weights, compiled):
    network, expected = tiny(), tiny()
    sums = take(
        steps(
            network,
            train(label_smoothing=smoothing),
            class_weights=class_weights,
            compiled=compiled,
        )
    )
    clips, labels = batch()
    right = np.argmax(tiny()(clips, training=True), 1) == labels.numpy()
    targets = (1 - smoothing) * tf.one_hot(labels, CLASSES) + smoothing / CLASSES
    weights = tf.gather(class_weights or [1.0] * CLASSES, labels)
    losses = plain_step(expected, clips, targets, weights)
    assert not np.allclose(values(network)[0], values(tiny())[0], atol=1e-4)
    assert_same(network, expected)
    # With three classes the right one is always among the best five.
    assert sums == pytest.approx([losses.sum(), right.sum(), 8, 0], rel=1e-5)


@pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "XLA"]
)
def test_parts_of_a_batch_add_up_to_the_whole(compiled):
    networks_ = [tiny(frozen_statistics=True) for _ in range(2)]
    sums = [
        take(steps(network, train(accumulate=parts, clip_norm=0.05), compiled=compiled))
        for network, parts in zip(networks_, (None, 4), strict=True)
    ]
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)
    assert_same(*networks_)


def test_statistics_are_of_each_part():
    network, expected = tiny(), tiny()
    take(steps(network, train(accumulate=2)))
    clips, _ = batch()
    for part in (clips[:4], clips[4:]):
        expected(part, training=True)
    for name in ("moving_mean", "moving_variance"):
        found, wanted = (
            np.array(getattr(one.get_layer("conv1_bn"), name)) for one in (network, expected)
        )
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_class_weights_of_a_recipe_have_mean_1_over_its_clips():
    """As `setup.assemble` computes them: the loss keeps its size."""
    labels = np.repeat([0, 1, 2], [1, 2, 5])
    clips = batch()[0], tf.constant(labels, tf.int32)
    counts = np.bincount(labels)
    weights = [len(labels) / (len(counts) * count) for count in counts]
    assert np.mean(np.array(weights)[labels]) == pytest.approx(1)
    network = tiny()
    of = steps(network, train(), class_weights=weights)
    network.get_layer("predictions").set_weights([np.zeros((4, 3)), np.zeros(3)])
    assert take(of, clips=clips)[0] == pytest.approx(8 * math.log(3), rel=1e-5)


def moved(network: keras.Model, before: list[np.ndarray]) -> float:
    """The length of the way that the trainable weights went."""
    here = [np.array(v) for v in network.trainable_variables]
    return math.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(here, before, strict=True)))


def test_the_norm_of_a_gradient_is_limited_as_a_whole():
    clips, labels = batch()
    gradients, _ = gradient(tiny(), clips, tf.one_hot(labels, CLASSES))
    norm = float(tf.linalg.global_norm(gradients))
    start = [np.array(v) for v in tiny().trainable_variables]
    limited, free, unlimited = tiny(), tiny(), tiny()
    take(steps(limited, train(clip_norm=norm / 2)))
    take(steps(free, train(clip_norm=norm * 1.01)))
    take(steps(unlimited, train()))
    assert moved(limited, start) == pytest.approx(RATE * norm / 2, rel=1e-4)
    assert moved(unlimited, start) == pytest.approx(RATE * norm, rel=1e-4)
    assert_same(free, unlimited, 1e-7)
    for variable, before, one in zip(limited.trainable_variables, start, gradients, strict=True):
        np.testing.assert_allclose(np.array(variable), before - RATE * one.numpy() / 2, atol=1e-6)


def test_averages_are_of_the_weights_after_each_step():
    network = tiny()
    of = steps(network, train(ema=0.25))
    expected = [np.array(v) for v in network.trainable_variables]
    for number in range(4):
        take(of, number, clips=batch(seed=number))
        decay = min(0.25, (2 + number) / (11 + number))
        expected = [
            decay * a + (1 - decay) * np.array(v)
            for a, v in zip(expected, network.trainable_variables, strict=True)
        ]
    for average, wanted in zip(of.averages, expected, strict=True):
        np.testing.assert_allclose(average, wanted, atol=1e-6)
    assert moved(network, expected) > 1e-3


def weights(path: Path) -> list[np.ndarray]:
    return keras.models.load_model(path).get_weights()


def test_averages_are_what_is_validated_and_kept(tmp_path):
    network = tiny()
    settings = train(ema=0.9, epochs=1, schedule=CONSTANT)
    of = steps(network, settings)
    setup_, run = ready(of, settings, tmp_path / "run")
    progress = Training(setup_, run).fit()
    averages = [np.array(average) for average in of.averages]
    assert moved(network, averages) > 1e-3  # the training continues with its own weights
    kept, last = (weights(run.path / name) for name in ("best.keras", "last.keras"))
    assert all((one == other).all() for one, other in zip(kept, last, strict=True))
    network.set_weights(kept)
    assert moved(network, averages) < 1e-6
    clips, labels = batch()
    losses = keras.losses.sparse_categorical_crossentropy(labels, network(clips), from_logits=True)
    assert progress.log[0]["val_loss"] == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(
    ("chooses", "patience", "epochs", "kept_epoch"),
    [(True, None, 6, 2), (True, 1, 3, 2), (True, 2, 4, 2), (True, 4, 6, 2), (False, 1, 6, 6)],
)
def test_the_epoch_that_is_kept_and_how_long_a_better_one_is_waited_for(
    chooses, patience, epochs, kept_epoch, monkeypatch, tmp_path
):
    """The second of six has the lowest validation loss."""
    settings = train(epochs=6, patience=patience, schedule=CONSTANT)
    network, losses = tiny(), [3.0, 1.0, 2.0, 1.0, 1.5, 2.0]
    monkeypatch.setattr(
        Training,
        "_validate",
        lambda self, _: (np.array([losses[self.progress.epoch], 0, 0, 1.0]), np.eye(CLASSES)),
    )
    setup_, run = ready(steps(network, settings), settings, tmp_path / "run", chooses=chooses)
    training = Training(setup_, run)
    progress = training.fit()
    assert progress.epoch == len(progress.log) == epochs
    assert progress.best_epoch == kept_epoch
    assert progress.best == losses[kept_epoch - 1]
    kept, last = (weights(run.path / name) for name in ("best.keras", "last.keras"))
    np.testing.assert_array_equal(last[0], values(network)[0])
    assert (kept[0] == last[0]).all() == (kept_epoch == epochs)
    training.fit()  # as a run that is resumed after its end
    assert len(progress.log) == epochs


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_head_alone_goes_further(optimizer):
    start = tiny()
    ways = {}
    for factor, decay in ((1.0, 0.0), (5.0, 0.1)):
        network = tiny()
        take(steps(network, train(optimizer=optimizer, head_rate=factor, weight_decay=decay)))
        ways[factor] = [
            np.array(after) - np.array(before)
            for after, before in zip(
                network.trainable_variables, start.trainable_variables, strict=True
            )
        ]
    heads = {v.path for v in start.get_layer("predictions").variables}
    for variable, slow, fast in zip(start.trainable_variables, ways[1.0], ways[5.0], strict=True):
        factor = 5.0 if variable.path in heads else 1.0
        decayed = RATE * 0.1 * np.array(variable)
        if optimizer == "sgd":
            decayed *= factor  # it is part of the gradient
        np.testing.assert_allclose(fast, factor * slow - decayed, atol=2e-6)


def test_mixed_clips_are_trained_on_with_mixed_labels():
    network, expected = tiny(), tiny()
    take(steps(network, train(mixup=0.8, seed=5)), number=3)
    clips, labels = batch()
    plain_step(
        expected,
        *mix(
            clips,
            tf.one_hot(labels, CLASSES),
            mixup=0.8,
            cutmix=0.0,
            seed=tf.constant([5, 8 * 3]),
        ),
    )
    assert_same(network, expected)


@pytest.mark.parametrize("accumulate", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_dropout_is_a_function_of_the_step(accumulate):
    made = []
    for _ in range(2):
        network = tiny(dropout=0.5)
        of = steps(network, train(accumulate=accumulate))
        made.append((network, of, network.get_weights()))

    def after(which: int, *numbers: int) -> np.ndarray:
        """Starts anew; only the last step moves weights."""
        network, of, start = made[which]
        network.set_weights(start)
        for number in numbers:
            take(of, number, rate=RATE * (number == numbers[-1]))
        return values(network)[-1]

    expected = after(0, 4)
    assert (after(1, 4) == expected).all()
    assert not np.allclose(after(0, 5), expected)
    assert np.allclose(after(1, 2, 4), expected)


def test_dropout_of_parts_is_not_the_same():
    clips = tf.tile(batch(1)[0], (8, 1, 1, 1, 1)), tf.zeros(8, tf.int32)
    ways = []
    for parts in (None, 8):
        network = tiny(frozen_statistics=True, dropout=0.5)
        before = np.array(network.get_layer("predictions").kernel)
        take(steps(network, train(accumulate=parts)), clips=clips)
        ways.append(np.array(network.get_layer("predictions").kernel) - before)
    # If all eight parts dropped the same, at least one of 4 features would most likely not move.
    assert np.count_nonzero(ways[1].any(1)) == np.count_nonzero(ways[0].any(1))


def test_clips_are_counted_right_among_few_and_equal_classes():
    network = tiny()
    of = steps(network, train())
    network.get_layer("predictions").set_weights([np.zeros((4, 3)), np.zeros(3)])
    clips, labels = batch()
    (sums, confusion) = of.validate((clips, labels))
    # All logits are equal: the first class is what is predicted, no more.
    assert sums.numpy() == pytest.approx([8 * math.log(3), 3, 8, 8], rel=1e-5)
    assert confusion.numpy().tolist() == [[3, 0, 0], [3, 0, 0], [2, 0, 0]]


def test_validation_adds_up_over_batches_the_last_of_them_smaller():
    network = tiny()
    of = steps(network, train(label_smoothing=0.4), class_weights=[1.0, 2.0, 3.0])
    clips, labels = batch(7)
    totals, confusions = np.zeros(4), np.zeros((3, 3))
    for part in (slice(0, 4), slice(4, 7), slice(7, 7)):
        sums, confusion = of.validate((clips[part], labels[part]))
        totals, confusions = totals + sums.numpy(), confusions + confusion.numpy()
    logits = network(clips, training=False).numpy()
    losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    predicted = logits.argmax(1)
    assert totals == pytest.approx(
        [np.sum(losses), np.sum(predicted == labels.numpy()), 7, 7], rel=1e-5
    )
    for label in range(3):
        for guess in range(3):
            wanted = np.sum((labels.numpy() == label) & (predicted == guess))
            assert confusions[label, guess] == wanted


def test_five_best_of_many_classes():
    network = tiny()
    x = network.get_layer("predictions").input
    many = keras.Model(network.input, keras.layers.Dense(9, use_bias=True, name="predictions")(x))
    many.get_layer("predictions").set_weights([np.zeros((4, 9)), np.arange(9.0)])
    of = Steps(many, train(), HARDWARE, classes=9)
    clips, _ = batch(9)
    sums, _ = of.validate((clips, tf.range(9)))
    assert sums.numpy()[1:].tolist() == [1, 5, 9]


def test_frozen_stages_do_not_move():
    keras.utils.set_random_seed(0)
    network = applications.get_model(
        "r3d10",
        input_shape=(4, 16, 16, 3),
        classes=CLASSES,
        width=0.0625,
        classifier_activation=None,
    )
    finetune.freeze(network, "conv1..conv4")
    before = {v.path: np.array(v) for v in network.variables}
    of = steps(network, train(optimizer="adamw", weight_decay=0.1, ema=0.9, learning_rate=0.1))
    clips = tf.random.stateless_uniform((4, 4, 16, 16, 3), [0, 1], 0, 256, tf.int32)
    take(of, clips=(tf.cast(clips, tf.uint8), tf.range(4) % 3))
    still = {v.path for v in network.variables if (np.array(v) == before[v.path]).all()}
    trained = {v.path for v in network.variables if v.path.startswith(("conv5", "predictions"))}
    assert trained
    assert still == set(before) - trained


@dataclasses.dataclass
class Both:
    """The network that is kept and the one that is trained."""

    kept: keras.Model
    trained: keras.Model


def build(precision: str, frozen_statistics=False, **keys) -> tuple[Both, Steps]:
    experiment = recipe.load("demo")
    experiment = dataclasses.replace(
        experiment,
        model=dataclasses.replace(experiment.model, width=0.0625),
        clips=dataclasses.replace(experiment.clips, frames=4, size=16),
        train=train(precision=precision, **keys),
    )
    keras.utils.set_random_seed(1)
    kept = setup.build_kept(experiment, ["a", "b", "c"], HARDWARE, lambda _: None)
    both = Both(kept, setup.build_trained(kept, experiment, HARDWARE))
    for layer in both.trained.layers:
        if frozen_statistics and isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    # Without XLA there is no max-pooling of float16 on CPU.
    return both, steps(both.trained, experiment.train, compiled=precision == "float16")


def clips_of_16(count=6) -> tuple[tf.Tensor, tf.Tensor]:
    labels = np.arange(count) % 3
    clips = np.random.default_rng(2).integers(0, 200, (count, 4, 16, 16, 3), np.uint8)
    clips[np.arange(count), :, :, :, labels] += 50
    return tf.constant(clips), tf.constant(labels, tf.int32)


@pytest.mark.slow
def test_bfloat16_trains_float32_weights_and_keeps_a_float32_model(tmp_path):
    both, of = build("bfloat16", momentum=0.9)
    assert both.trained.get_layer("conv1").compute_dtype == "bfloat16"
    losses = [take(of, number, rate=0.02, clips=clips_of_16())[0] for number in range(12)]
    assert losses[-1] < 0.8 * losses[0]
    weights = both.trained.weights + of.optimizer.variables
    assert {str(w.dtype) for w in weights} <= {"float32", "int64", "int32"}
    both.kept.set_weights(both.trained.get_weights())
    both.kept.save(tmp_path / "kept.keras")
    loaded = keras.models.load_model(tmp_path / "kept.keras")
    assert {layer.compute_dtype for layer in loaded.layers} == {"float32"}
    logits = both.trained(clips_of_16()[0], training=False)
    assert logits.dtype == "float32"
    np.testing.assert_allclose(
        loaded.predict(clips_of_16()[0], verbose=0), tf.nn.softmax(logits), atol=0.03
    )


def test_gradients_in_bfloat16_are_those_of_float32():
    """Where TensorFlow pads 2 frames for a bfloat16 kernel, its gradient is part garbage."""
    ways = []
    for precision in ("float32", "bfloat16"):
        both, of = build(precision, frozen_statistics=True)
        before = [np.array(v) for v in both.trained.trainable_variables]
        take(of, clips=clips_of_16(12))
        ways.append(
            [
                np.array(after) - start
                for after, start in zip(both.trained.trainable_variables, before, strict=True)
            ]
        )
    assert both.trained.get_layer("conv2_1_conv1").input.shape[1] == 2
    for wanted, found in zip(*ways, strict=True):
        assert np.linalg.norm(found - wanted) < 0.15 * np.linalg.norm(wanted)


def test_both_networks_normalize_alike_in_every_precision():
    both, _ = build("bfloat16")
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 4, 16, 16, 3)).astype(np.float32)
    normalized = [
        np.array(keras.Model(one.input, one.get_layer("normalization").output)(pixels))
        for one in (both.trained, both.kept)
    ]
    assert normalized[0].dtype == np.float32
    np.testing.assert_array_equal(*normalized)


@pytest.mark.slow
def test_float16_steps_are_those_of_float32_and_overflow_is_left_out():
    """`checks` wants a GPU for it, but its arithmetic can be tried without."""
    ways = {}
    for precision in ("float32", "float16"):
        both, of = build(precision, frozen_statistics=True, clip_norm=1.0)
        if precision == "float16":
            of.optimizer.dynamic_scale.assign(2.0**8)
        before = [np.array(v) for v in both.trained.trainable_variables]
        take(of, rate=0.1, clips=clips_of_16())
        after = [np.array(v) for v in both.trained.trainable_variables]
        ways[precision] = [a - b for a, b in zip(after, before, strict=True)]
    assert isinstance(of.optimizer, keras.optimizers.LossScaleOptimizer)
    for wanted, found in zip(ways["float32"], ways["float16"], strict=True):
        assert np.linalg.norm(found - wanted) < 0.05 * np.linalg.norm(wanted)
    assert float(of.optimizer.inner_optimizer.learning_rate) == pytest.approx(0.1)
    assert float(of.optimizer.dynamic_scale) == 2.0**8

    weights = [np.array(v) for v in both.trained.trainable_variables]
    of.optimizer.dynamic_scale.assign(2.0**120)
    sums = take(of, 1, rate=0.1, clips=clips_of_16())
    assert math.isfinite(sums[0])
    assert moved(both.trained, weights) == 0
    assert float(of.optimizer.dynamic_scale) == 2.0**119
    assert int(of.optimizer.iterations) == 1


def test_weights_of_both_networks_are_the_same_also_where_stages_are_frozen():
    both, of = build("float32")
    finetune.freeze(both.trained, "conv1..conv2")
    take(of, clips=clips_of_16())
    both.kept.set_weights(both.trained.get_weights())
    for kept, trained in zip(both.kept.weights, both.trained.weights, strict=True):
        assert kept.path.split("/", 1)[-1] == trained.path.split("/", 1)[-1]
        np.testing.assert_array_equal(np.array(kept), np.array(trained))
