import numpy as np
import pytest
import tensorflow as tf

from keras_r3d.training.optimization.mixup import mix

CLASSES = 4


def batch(size=(3, 6, 8)) -> tuple[tf.Tensor, tf.Tensor]:
    """Four clips of other levels, one a class: a pixel says which clips it came from."""
    clips = np.broadcast_to(
        np.array([10, 50, 90, 250], np.uint8).reshape(4, 1, 1, 1, 1), (4, *size, 3)
    )
    return tf.constant(clips), tf.eye(4)


def mixed(number: int, mixup=0.0, cutmix=0.0, size=(3, 6, 8)) -> tuple[np.ndarray, np.ndarray]:
    clips, targets = batch(size)
    found = mix(clips, targets, mixup=mixup, cutmix=cutmix, seed=tf.constant([7, 8 * number]))
    return found[0].numpy(), found[1].numpy()


def others(array: np.ndarray) -> np.ndarray:
    """What each clip, or label, is mixed with."""
    return np.roll(array, 1, 0)


def kind(clips: np.ndarray) -> str:
    """Tells what was done: every pixel blended alike, or some replaced."""
    levels = batch()[0].numpy().astype(np.float32)
    same, replaced = np.isclose(clips, levels), np.isclose(clips, others(levels))
    return "cutmix" if (same | replaced).all() else "mixup"


@pytest.mark.parametrize("number", range(5))
def test_mixup_blends_clips_by_the_share_it_gives_the_labels(number):
    clips, targets = mixed(number, mixup=0.8)
    levels = batch()[0].numpy().astype(np.float32)
    share = targets[0, 0]
    assert 0 < share < 1
    np.testing.assert_allclose(targets, share * np.eye(4) + (1 - share) * others(np.eye(4)), 1e-6)
    np.testing.assert_allclose(clips, share * levels + (1 - share) * others(levels), rtol=1e-5)


def test_cutmix_gives_labels_the_share_of_the_pixels_that_it_replaced():
    levels = batch()[0].numpy().astype(np.float32)
    shares = set()
    for number in range(12):
        clips, targets = mixed(number, cutmix=1.0)
        replaced = clips == others(levels)
        assert (replaced | (clips == levels)).all()
        # One box: alike in all clips, frames and channels.
        assert (replaced == replaced[:1, :1, :, :, :1]).all()
        box = replaced[0, 0, :, :, 0]
        assert (box == box.any(1)[:, None] & box.any(0)[None]).all()
        share = 1 - box.mean()
        np.testing.assert_allclose(
            targets, share * np.eye(4) + (1 - share) * others(np.eye(4)), atol=1e-6
        )
        shares.add(round(float(share), 3))
    assert len(shares) > 5


def test_a_box_of_cutmix_has_the_drawn_area_and_the_frame_s_shape():
    """On frames so large that rounding is nothing; smaller only where the border cuts it."""
    whole = 0
    for number in range(60):
        clips, _ = mixed(number, cutmix=1.0, size=(1, 60, 120))
        _, targets = mixed(number, mixup=1.0)  # of the same seed, so of the same draw
        replaced = clips[0, 0, :, :, 0] != 10
        rows, columns = replaced.any(1).sum(), replaced.any(0).sum()
        drawn = 1 - targets[0, 0]
        assert rows * columns <= drawn * 60 * 120 * 1.05 + 120
        if replaced[0].any() or replaced[-1].any() or replaced[:, 0].any() or replaced[:, -1].any():
            continue
        whole += 1
        assert columns == pytest.approx(2 * rows, abs=2)
        assert rows * columns / (60 * 120) == pytest.approx(drawn, abs=0.02)
    assert whole > 3


@pytest.mark.parametrize("arguments", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_one_seed_gives_one_result(arguments):
    once, again, other = mixed(3, **arguments), mixed(3, **arguments), mixed(4, **arguments)
    assert (once[0] == again[0]).all()
    assert (once[1] == again[1]).all()
    assert not np.allclose(once[1], other[1])


def test_with_both_on_it_is_either():
    kinds = [kind(mixed(number, mixup=1.0, cutmix=1.0)[0]) for number in range(60)]
    assert 15 < kinds.count("mixup") < 45


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_shares_are_of_a_beta_distribution(alpha):
    """Its mean is 1/2, its variance 1 / (4 (2 alpha + 1))."""
    count = 1500

    @tf.function
    def share(number):
        _, targets = mix(
            tf.zeros((2, 1, 1, 1, 3)), tf.eye(2), mixup=alpha, cutmix=0.0, seed=[1, 8 * number]
        )
        return targets[0, 0]

    shares = tf.map_fn(share, tf.range(count), fn_output_signature=tf.float32).numpy()
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(shares.mean() - 0.5) < 4 * (variance / count) ** 0.5
    assert shares.var() == pytest.approx(variance, rel=0.1)
    if alpha == 1.0:  # the uniform one: Kolmogorov's distance, 1.95 / sqrt(n) at p = 0.001
        distance = np.abs(np.sort(shares) - (np.arange(count) + 0.5) / count).max()
        assert distance < 1.95 / count**0.5
    steps = np.corrcoef(shares[:-1], shares[1:])[0, 1]  # one step says nothing of the next
    assert abs(steps) < 4 / count**0.5


def test_it_takes_uint8_and_gives_float32():
    clips, targets = mix(*batch(), mixup=0.2, cutmix=0.0, seed=tf.constant([0, 0]))
    assert clips.dtype == tf.float32
    assert targets.dtype == tf.float32
    assert clips.shape == batch()[0].shape
