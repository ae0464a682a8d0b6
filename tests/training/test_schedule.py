import dataclasses
import functools
import itertools
import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d.recipe.schema import (
    CosineSchedule,
    MilestoneSchedule,
    PlateauSchedule,
    SgdOptimizer,
)
from keras_r3d.training.optimization.schedule import PlateauCounters, learning_rate

LOSSES = st.lists(st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0, 1.01, math.inf, math.nan]))
SETTINGS = st.fixed_dictionaries(
    {
        "patience": st.integers(0, 3),
        "threshold": st.sampled_from([0.0, 0.02, 0.1]),
        "cooldown": st.integers(0, 3),
        "drops": st.integers(0, 3),
    }
)


def drops(settings: PlateauSchedule, losses) -> list[int]:
    """Drops so far, after each epoch."""
    counters, counts = PlateauCounters(), []
    for loss in losses:
        counters.end_epoch(loss, settings)
        counts.append(counters.drops)
    return counts


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
    keys = ("patience", "threshold", "cooldown", "drops")
    plateau = PlateauSchedule(**dict(zip(keys, settings, strict=True)))
    assert drops(plateau, losses) == expected


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
    without = {key: value for key, value in settings.items() if key != "drops"}
    expected = [min(settings["drops"], count) for count in torch_drops(losses, **without)]
    assert drops(PlateauSchedule(**settings), losses) == expected


@given(settings=SETTINGS, losses=LOSSES)
def test_drops_keep_their_distance(settings, losses):
    found = drops(PlateauSchedule(**settings), losses)
    at = [n for n, (a, b) in enumerate(zip([0, *found], found, strict=False)) if b > a]
    assert len(at) <= settings["drops"]
    assert all(
        b - a > settings["cooldown"] + settings["patience"] for a, b in itertools.pairwise(at)
    )


def rates_of(small, kind, start, epochs=100):
    """Returns what gives the rates of a training of ten steps an epoch."""
    optimizer = SgdOptimizer(start, momentum=0.0, weight_decay=0.0)
    train = dataclasses.replace(small.train, epochs=epochs, optimizer=optimizer, schedule=kind)
    return functools.partial(learning_rate, train, 10)


@given(settings=SETTINGS, losses=LOSSES, data=st.data())
def test_a_restored_schedule_goes_on_as_if_it_had_never_stopped(settings, losses, data):
    plateau = PlateauSchedule(**settings)
    stop = data.draw(st.integers(0, len(losses)))
    whole, first = PlateauCounters(), PlateauCounters()
    for loss in losses:
        whole.end_epoch(loss, plateau)
    for loss in losses[:stop]:
        first.end_epoch(loss, plateau)
    second = PlateauCounters(**json.loads(json.dumps(dataclasses.asdict(first))))
    for loss in losses[stop:]:
        second.end_epoch(loss, plateau)
    assert second == whole


def test_a_plateau_multiplies_the_rate(small):
    plateau = PlateauSchedule(factor=0.1, patience=0, threshold=0.0, cooldown=0, drops=3)
    rate, counters = rates_of(small, plateau, 0.1), PlateauCounters()
    rates = []
    for loss in [1.0] * 6:
        rates.append(rate(5, counters.drops))
        counters.end_epoch(loss, plateau)
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.001, 1e-4, 1e-4])


def test_milestones_are_epochs_that_have_ended(small):
    kind = MilestoneSchedule(factor=0.5, milestones=(2, 4))
    rate = rates_of(small, kind, 1.0)
    steps = (0, 19, 20, 39, 40, 99)
    assert [rate(step) for step in steps] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert rate(0, 3) == 1  # plateaus do not matter


def test_a_warm_up_rises_by_the_same_amount_each_step(small):
    kind = MilestoneSchedule(milestones=(8,), warmup_epochs=2)
    rate = rates_of(small, kind, 2.0)
    rates = [rate(step) for step in range(22)]
    assert rates[:21] == pytest.approx([2.0 * (step + 1) / 21 for step in range(21)])
    assert rates[20] == rates[21] == 2.0


@pytest.mark.parametrize("warmup", [None, 2])
def test_a_cosine_falls_to_zero_after_the_warm_up(small, warmup):
    rate = rates_of(small, CosineSchedule(warmup), 4.0, epochs=10)
    first, last = 10 * (warmup or 0), 100
    assert rate(first) == 4.0
    assert rate((first + last) // 2) == pytest.approx(2.0)
    third = Fraction(last - first, 3) + first
    if third.denominator == 1:
        assert rate(int(third)) == pytest.approx(3.0)
    assert 0 < rate(last - 1) < 0.01
    assert rate(last) == pytest.approx(0.0, abs=1e-12)
    assert rate(last + 50) == pytest.approx(0.0, abs=1e-12)
    rates = [rate(step) for step in range(first, last)]
    assert rates == sorted(rates, reverse=True)
