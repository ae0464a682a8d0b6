import itertools
from collections import Counter

import numpy as np
from chances import LEAST_P, p_value
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d.data.sampling import order

seeds = st.integers(0, 2**31 - 1)
label_lists = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=60)


@given(st.integers(1, 100), seeds, st.integers(0, 1000))
def test_unbalanced_an_epoch_is_the_permutation_it_always_was(count, seed, epoch):
    found = order.epoch_order(["a"] * count, seed, epoch, balanced=False)
    assert (found == np.random.default_rng([seed, epoch]).permutation(count)).all()


@given(label_lists, seeds, st.integers(0, 1000))
def test_balanced_classes_and_the_videos_of_each_come_equally_often(labels, seed, epoch):
    found = order.epoch_order(labels, seed, epoch, balanced=True)
    assert found.shape == (len(labels),)
    assert (found == order.epoch_order(labels, seed, epoch, balanced=True)).all()
    times = Counter(found.tolist())
    of_class: Counter = Counter()
    for label in set(labels):
        own = [times[number] for number, name in enumerate(labels) if name == label]
        assert max(own) - min(own) <= 1
        of_class[label] = sum(own)
    assert max(of_class.values()) - min(of_class.values()) <= 1
    assert of_class.total() == len(labels)


def test_balanced_every_place_is_as_likely_for_each_class_and_each_video_of_it():
    labels = ["a", "a", "a", "a", "b", "c", "c"]  # 7 places of 3 classes: one over
    found = np.array([order.epoch_order(labels, 1, epoch, True) for epoch in range(4000)])
    over = Counter(
        max(Counter(labels[n] for n in row).items(), key=lambda item: item[1])[0] for row in found
    )
    assert p_value(over, dict.fromkeys("abc", 1)) > LEAST_P
    weights = dict(enumerate([1 / 4] * 4 + [1] + [1 / 2] * 2))
    for place in range(7):
        assert p_value(Counter(found[:, place].tolist()), weights) > LEAST_P


def test_balanced_epochs_and_seeds_differ():
    labels = ["a"] * 20 + ["b"] * 3
    drawn = [
        tuple(order.epoch_order(labels, seed, epoch, True).tolist())
        for seed, epoch in itertools.product(range(3), range(3))
    ]
    assert len(set(drawn)) == 9


@given(label_lists, seeds, st.booleans(), st.lists(st.integers(0, 500), max_size=50))
def test_turns_run_through_the_epochs(labels, seed, balanced, turns):
    expected = []
    for turn in turns:
        epoch, place = divmod(turn, len(labels))
        expected.append(order.epoch_order(labels, seed, epoch, balanced)[place])
    assert order.videos_at(np.array(turns, np.int64), labels, seed, balanced).tolist() == expected
