import dataclasses
import itertools
import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d import recipe
from keras_r3d.recipe.schema import (
    CosineSchedule,
    MilestoneSchedule,
    PlateauSchedule,
    SgdOptimizer,
)
from keras_r3d.training.optimization.schedule import ReduceLROnPlateau, Schedule

LOSSES = st.lists(st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0, 1.01, math.inf, math.nan]))
SETTINGS = st.fixed_dictionaries(
    {
        "patience": st.integers(0, 3),
        "threshold": st.sampled_from([0.0, 0.02, 0.1]),
        "cooldown": st.integers(0, 3),
        "most": st.integers(0, 3),
    }
)


def drops(plateau: ReduceLROnPlateau, losses) -> list[int]:
    """Drops so far, after each epoch."""
    found = []
    for loss in losses:
        plateau.end_epoch(loss)
        found.append(plateau.drops)
    return found


@pytest.mark.parametrize(
    ("settings", "losses", "expected"),
    [
        # Patience 2: the third epoch in a row without improvement drops the rate.
        ((2, 0.0, 0, 9), [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 2]),
        # An improvement starts the count anew.
        ((1, 0.0, 0, 9), [5, 5, 4, 4, 4, 3], [0, 0, 0, 0, 1, 1]),
        # Patience 0: each epoch that is not better.
        ((0, 0.0, 0, 9), [5, 5, 5, 4, 4], [0, 1, 2, 2, 3]),
        # The threshold is a share of the best: 9.0 is no tenth below 10, 8.9 is; 8.1 no tenth
        # below 8.9.
        ((0, 0.1, 0, 9), [10, 9.0, 8.9, 8.1], [0, 1, 1, 2]),
        # The best is that which improved: small steps do not add up unseen.
        ((0, 0.1, 0, 9), [10, 9.5, 8.9], [0, 1, 1]),
        # Two epochs of cooldown do not count, but may be better.
        ((0, 0.0, 2, 9), [5, 5, 5, 5, 5], [0, 1, 1, 1, 2]),
        ((1, 0.0, 1, 9), [5, 5, 5, 4, 4, 4], [0, 0, 1, 1, 1, 2]),
        # At most 2.
        ((0, 0.0, 0, 2), [5, 5, 5, 5, 5], [0, 1, 2, 2, 2]),
        # What is no number is no improvement.
        ((0, 0.0, 0, 9), [math.nan, 5, math.nan, 4], [1, 1, 2, 2]),
    ],
)
def test_a_plateau_drops_the_rate_when_pytorch_s_does(settings, losses, expected):
    assert drops(ReduceLROnPlateau(*settings), losses) == expected


def torch_drops(losses, patience, threshold, cooldown) -> list[int]:
    """`torch.optim.lr_scheduler.ReduceLROnPlateau.step`, mode "min", threshold_mode "rel"."""
    best, bad, cooling, count, found = math.inf, 0, 0, 0, []
    for loss in losses:
        if loss < best * (1.0 - threshold):
            best, bad = loss, 0
        else:
            bad += 1
        if cooling > 0:
            cooling -= 1
            bad = 0
        if bad > patience:
            count += 1
            cooling = cooldown
            bad = 0
        found.append(count)
    return found


@given(settings=SETTINGS, losses=LOSSES)
def test_a_plateau_counts_as_pytorch_s_up_to_the_most(settings, losses):
    most = settings.pop("most")
    expected = [min(most, count) for count in torch_drops(losses, **settings)]
    assert drops(ReduceLROnPlateau(**settings, most=most), losses) == expected


@given(settings=SETTINGS, losses=LOSSES)
def test_drops_keep_their_distance(settings, losses):
    plateau = ReduceLROnPlateau(**settings)
    found = drops(plateau, losses)
    at = [n for n, (a, b) in enumerate(zip([0, *found], found, strict=False)) if b > a]
    assert len(at) <= settings["most"]
    assert all(
        b - a > settings["cooldown"] + settings["patience"] for a, b in itertools.pairwise(at)
    )


def schedule(small, kind, learning_rate, epochs=100) -> Schedule:
    """The rates of a training of ten steps an epoch."""
    optimizer = SgdOptimizer(learning_rate, momentum=0.0, weight_decay=0.0)
    train = dataclasses.replace(small.train, epochs=epochs, optimizer=optimizer, schedule=kind)
    return Schedule(train, 10)


@given(settings=SETTINGS, losses=LOSSES, data=st.data())
def test_a_restored_schedule_goes_on_as_if_it_had_never_stopped(settings, losses, data):
    train = dataclasses.replace(
        recipe.load("demo").train,
        schedule=PlateauSchedule(
            **{"drops" if key == "most" else key: value for key, value in settings.items()}
        ),
    )
    stop = data.draw(st.integers(0, len(losses)))
    whole, first, second = (Schedule(train, 10) for _ in range(3))
    for loss in losses:
        whole.end_epoch(loss)
    for loss in losses[:stop]:
        first.end_epoch(loss)
    second.restore(json.loads(json.dumps(first.state)))
    for loss in losses[stop:]:
        second.end_epoch(loss)
    assert second.state == whole.state
    assert second.rate(0) == whole.rate(0)


def test_a_plateau_multiplies_the_rate(small):
    plateau = schedule(
        small,
        PlateauSchedule(factor=0.1, patience=0, threshold=0.0, cooldown=0, drops=3),
        learning_rate=0.1,
    )
    rates = []
    for loss in [1.0] * 6:
        rates.append(plateau.rate(5))
        plateau.end_epoch(loss)
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.001, 1e-4, 1e-4])


def test_milestones_are_epochs_that_have_ended(small):
    kind = MilestoneSchedule(factor=0.5, milestones=(2, 4))
    milestones = schedule(small, kind, learning_rate=1.0)
    assert [milestones.rate(step) for step in (0, 19, 20, 39, 40, 99)] == [
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.25,
    ]
    for _ in range(20):
        milestones.end_epoch(1.0)  # plateaus do not matter
    assert milestones.rate(0) == 1


def test_a_warm_up_rises_by_the_same_amount_each_step(small):
    kind = MilestoneSchedule(milestones=(8,), warmup_epochs=2)
    warm = schedule(small, kind, learning_rate=2.0)
    rates = [warm.rate(step) for step in range(22)]
    assert rates[:21] == pytest.approx([2.0 * (step + 1) / 21 for step in range(21)])
    assert rates[20] == rates[21] == 2.0


@pytest.mark.parametrize("warmup", [None, 2])
def test_a_cosine_falls_to_zero_after_the_warm_up(small, warmup):
    cosine = schedule(small, CosineSchedule(warmup), learning_rate=4.0, epochs=10)
    first, last = 10 * (warmup or 0), 100
    assert cosine.rate(first) == 4.0
    assert cosine.rate((first + last) // 2) == pytest.approx(2.0)
    third = Fraction(last - first, 3) + first
    if third.denominator == 1:
        assert cosine.rate(int(third)) == pytest.approx(3.0)
    assert 0 < cosine.rate(last - 1) < 0.01
    assert cosine.rate(last) == pytest.approx(0.0, abs=1e-12)
    assert cosine.rate(last + 50) == pytest.approx(0.0, abs=1e-12)
    rates = [cosine.rate(step) for step in range(first, last)]
    assert rates == sorted(rates, reverse=True)
