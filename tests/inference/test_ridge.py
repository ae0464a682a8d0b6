"""A classifier in closed form, against the same computation written out plainly."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_r3d.inference.embeddings import ridge
from keras_r3d.inference.embeddings.ridge import Labeled, Ridge

STRENGTHS = (1e-3, 0.1, 3.0, 1000.0)


def rows_and_targets(count: int, size: int, classes: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    rows = rng.normal(5, 3, (count, size)) * rng.uniform(0.01, 100, size)
    rows[:, : min(size, classes)] += 100 * np.eye(classes)[labels][:, :size]
    return rows, 2 * np.eye(classes)[labels] - 1


def plain(rows, targets, strength: float, count: int):
    """Minimises squares and penalty, by augmented rows; the shift is not penalized."""
    size = rows.shape[1]
    penalty = np.concatenate([np.sqrt(strength * count) * np.eye(size), np.zeros((size, 1))], 1)
    design = np.concatenate([np.concatenate([rows, np.ones((len(rows), 1))], 1), penalty])
    wanted = np.concatenate([targets, np.zeros((size, targets.shape[1]))])
    return np.linalg.lstsq(design, wanted, rcond=None)[0]


def scores(fitted: Ridge, rows, strength: float):
    kernel, bias = fitted.linear(strength)
    return rows @ kernel + bias


def standardised(rows):
    return (rows - rows.mean(axis=0)) / rows.std(axis=0)


shapes = pytest.mark.parametrize("shape", [(30, 4), (12, 40), (12, 12), (9, 1)], ids=str)


@shapes
@pytest.mark.parametrize("strength", STRENGTHS)
def test_scores_are_those_of_penalized_least_squares(shape, strength):
    rows, targets = rows_and_targets(*shape)
    weights = plain(standardised(rows), targets, strength, len(rows))
    expected = standardised(rows) @ weights[:-1] + weights[-1]
    assert scores(Ridge(rows, targets), rows, strength) == pytest.approx(expected, abs=1e-6)


@shapes
@pytest.mark.parametrize("strength", STRENGTHS)
def test_held_out_scores_are_those_of_fits_without_the_group(shape, strength):
    rows, targets = rows_and_targets(*shape)
    groups = np.random.default_rng(1).integers(0, 4, len(rows))
    scaled, found = standardised(rows), Ridge(rows, targets).held_out(groups, strength)
    for group in np.unique(groups):
        own = groups == group
        # The penalty stays that of all rows.
        weights = plain(scaled[~own], targets[~own], strength, len(rows))
        assert found[own] == pytest.approx(scaled[own] @ weights[:-1] + weights[-1], abs=1e-6)


def test_linear_is_of_rows_as_they_come():
    rows, targets = rows_and_targets(20, 6)
    kernel, bias = Ridge(rows, targets).linear(0.1)
    assert (kernel.shape, bias.shape) == ((6, 3), (3,))
    shifted, moved = Ridge(3 * rows + 5, targets).linear(0.1)
    assert (3 * rows + 5) @ shifted + moved == pytest.approx(rows @ kernel + bias)


def test_fewer_rows_than_numbers_or_more_it_is_the_same():
    """Rows that repeat are more than numbers, and say the same."""
    rows, targets = rows_and_targets(8, 12)
    few, many = Ridge(rows, targets), Ridge(np.tile(rows, (5, 1)), np.tile(targets, (5, 1)))
    for strength in STRENGTHS:
        assert many.linear(strength)[0] == pytest.approx(few.linear(strength)[0], abs=1e-7)
        assert many.linear(strength)[1] == pytest.approx(few.linear(strength)[1], abs=1e-5)


@pytest.mark.parametrize("constant", [0.0, 7.0, 1e6, 0.1])
def test_a_constant_number_does_no_harm(constant):
    rows, targets = rows_and_targets(20, 6)
    with_it = np.insert(rows, 2, constant, axis=1).astype(np.float32)
    without = Ridge(rows.astype(np.float32), targets)
    fitted, groups = Ridge(with_it, targets), np.arange(20) // 2
    assert (fitted.linear(0.1)[0][2] == 0).all()
    assert scores(fitted, with_it, 0.1) == pytest.approx(scores(without, rows, 0.1), abs=1e-3)
    held_out = without.held_out(groups, 0.1)
    assert fitted.held_out(groups, 0.1) == pytest.approx(held_out, abs=1e-3)


def test_rows_that_are_all_alike_are_scored_as_the_share_of_each_class():
    targets = 2 * np.eye(2)[[0, 0, 0, 1]] - 1
    fitted = Ridge(np.ones((4, 3)), targets)
    assert scores(fitted, np.ones((1, 3)), 0.1) == pytest.approx(np.array([[0.5, -0.5]]))
    held_out = fitted.held_out(np.arange(4), 0.1)
    assert held_out[3] == pytest.approx([1, -1])
    assert held_out[0] == pytest.approx([1 / 3, -1 / 3])


def labeled(labels, *, windows=2, size=5, networks=1, groups=None, signal=3.0, seed=0):
    """Embeddings that show the class, each video with the same number of windows."""
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    classes = int(labels.max()) + 1
    videos = np.repeat(np.arange(len(labels)), windows)
    features = []
    for _ in range(networks):
        means = signal * np.eye(classes, size)[labels] + rng.normal(0, 1, (len(labels), size))
        features.append((means[videos] + rng.normal(0, 0.3, (len(videos), size))).astype("float32"))
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    return Labeled(features, videos, labels, groups, classes)


def test_taken_are_the_rows_of_the_chosen_videos():
    whole = labeled([0, 1, 0, 1], windows=3, groups=[5, 6, 5, 7])
    some = whole.taken(np.array([False, True, False, True]))
    assert some.labels.tolist() == [1, 1]
    assert some.groups.tolist() == [6, 7]
    assert some.videos.tolist() == [0, 0, 0, 1, 1, 1]
    assert (some.features[0] == whole.features[0][[3, 4, 5, 9, 10, 11]]).all()


def test_means_are_of_the_rows_of_each_member():
    values = np.array([[1.0, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]])
    means = ridge.means(values, np.array([2, 0, 0, 1, 2, 2]))
    assert means.tolist() == [[4, 5], [7, 8], [7, 8]]


def test_clips_are_fitted_to_one_by_one_where_that_is_better():
    """Few videos, much noise, another one in each view: more rows tell what is noise."""
    rng = np.random.default_rng(0)
    labels, videos = np.arange(12) % 2, np.repeat(np.arange(12), 8)
    rows = np.eye(2, 30)[labels][videos] * 2 + rng.normal(0, 2, (96, 30))
    clips = Labeled([rows.astype("f4")], videos, labels, np.arange(12), 2)
    means = ridge.means(rows, videos).astype("f4")
    few = Labeled([means], np.arange(12), labels, np.arange(12), 2)
    fitted = ridge.fit(clips, [""])
    assert fitted.described.startswith("fitted to single clips")
    assert fitted.loss < ridge.fit(few, [""]).loss


@pytest.mark.parametrize("networks", [1, 2])
def test_one_video_a_class_is_enough_though_nothing_can_be_held_out(networks):
    names = ["one", "other"][:networks]
    few = labeled([0, 1, 2], networks=networks)
    fitted = ridge.fit(few, names)
    assert np.isnan(fitted.loss)
    assert ridge.means(fitted.logits(few.features), few.videos).argmax(axis=1).tolist() == [0, 1, 2]
    assert all(name in fitted.described for name in names)
    # The same where all videos of a class are one group.
    grouped = labeled([0, 0, 1, 1], groups=[0, 0, 1, 1])
    assert np.isnan(ridge.fit(grouped, ["one"]).loss)


def test_scores_become_probabilities_that_held_out_videos_bear_out():
    """The logits of overlapping classes are about as certain as they are right."""
    of = labeled(np.arange(200) % 2, signal=1.0)
    fitted = ridge.fit(of, ["one"])
    new = labeled(np.arange(2000) % 2, signal=1.0, seed=1)
    logits = ridge.means(fitted.logits(new.features), new.videos)
    shares = np.exp(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    right = (shares.argmax(axis=1) == new.labels).mean()
    assert 0.6 < right < 0.85
    assert shares.max(axis=1).mean() == pytest.approx(right, abs=0.05)
    assert fitted.loss == pytest.approx(-np.log(shares[np.arange(2000), new.labels]).mean(), 0.1)


def test_the_temperature_of_a_known_case():
    """Nine of ten are right by 1, so that `exp(-t)` is 1 / 9: a video more lowers it a little."""
    scores = np.tile([[1.0, 0.0]], (1000, 1))
    labels = (np.arange(1000) % 10 == 0).astype(int)
    temperature, loss = ridge._temperature(scores, labels)
    assert temperature == pytest.approx(np.log(9), rel=0.04)  # of the steps between temperatures
    assert loss == pytest.approx(-0.9 * np.log(0.9) - 0.1 * np.log(0.1), abs=1e-3)
    all_right, _ = ridge._temperature(scores[:10], np.zeros(10, int))
    assert 1 < all_right < 10
    more, _ = ridge._temperature(scores, np.zeros(1000, int))
    assert all_right < more < 60


def test_of_two_networks_the_one_that_sees_the_class_is_taken():
    good, bad = labeled(np.arange(30) % 3), labeled(np.arange(30) % 3, signal=0.0, seed=7)
    for features, used in (
        ([good.features[0], bad.features[0]], 0),
        ([bad.features[0], good.features[0]], 1),
    ):
        both = dataclasses.replace(good, features=features)
        fitted = ridge.fit(both, ["one", "other"])
        assert [kernel is not None for kernel in fitted.kernels] == [used == 0, used == 1]
        assert fitted.described.startswith(["one", "other"][used])
        alone = ridge.fit(good, ["x"])
        assert fitted.loss == pytest.approx(alone.loss, rel=1e-2)
        assert fitted.logits(features).argmax(axis=1).tolist() == (
            alone.logits(good.features).argmax(axis=1).tolist()
        )


def test_two_networks_that_see_different_things_are_both_taken():
    """One tells classes 0 and 1 from 2 and 3, the other even from odd ones."""
    labels = np.arange(80) % 4
    halves, parity = (
        labeled(one, signal=4.0, seed=n) for n, one in enumerate((labels // 2, labels % 2))
    )
    both = dataclasses.replace(
        halves, features=[halves.features[0], parity.features[0]], labels=labels, classes=4
    )
    fitted = ridge.fit(both, ["one", "other"])
    assert all(kernel is not None for kernel in fitted.kernels)
    logits = ridge.means(fitted.logits(both.features), both.videos)
    assert (logits.argmax(axis=1) == labels).mean() > 0.95
    single = dataclasses.replace(both, features=both.features[:1])
    assert (ridge.fit(single, ["one"]).loss) > 2 * fitted.loss


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.integers(1, 8), st.integers(2, 5), st.integers(0, 2**32))
def test_folds_keep_groups_together(videos, folds, classes, seed):
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, classes, videos), rng.integers(0, videos, videos)
    of = Labeled([], np.arange(videos), labels, groups, classes)
    fold = ridge.folds(of, folds)
    for group in np.unique(groups):
        assert len(np.unique(fold[groups == group])) == 1
    assert sorted(np.unique(fold)) == list(range(min(folds, len(np.unique(groups)))))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_have_as_many_videos_of_each_class(count):
    labels = np.repeat([0, 1, 2], [20, 11, 5])
    of = Labeled([], np.arange(36), labels, np.arange(36), 3)
    fold = ridge.folds(of, count)
    table = [
        [int(((fold == n) & (labels == label)).sum()) for n in range(count)] for label in range(3)
    ]
    assert all(max(row) - min(row) <= 1 for row in table)


@pytest.mark.parametrize("networks", [1, 2])
def test_a_fold_is_not_seen_by_the_fit_without_it(networks):
    names = ["one", "other"][:networks]
    of = labeled(np.arange(24) % 3, networks=networks, groups=np.arange(24) // 2, signal=1.5)
    fold = ridge.folds(of, 4)
    fits = ridge.fit_without(of, fold, names)
    assert len(fits) == 4
    held = fold == 2
    # Other labels and other pictures of the videos that are held out change nothing.
    features = [np.where(held[of.videos][:, None], 99.0, one) for one in of.features]
    labels = np.where(held, (of.labels + 1) % 3, of.labels)
    others = dataclasses.replace(of, features=features, labels=labels)
    changed = ridge.fit_without(others, fold, names)
    assert (fits[2].logits(of.features) == changed[2].logits(of.features)).all()
    assert (fits[1].logits(of.features) != changed[1].logits(of.features)).any()


def test_labels_that_mean_nothing_are_not_found_out():
    """Held-out videos of random labels are right by chance, in the fit and without a fold."""
    rng = np.random.default_rng(0)
    of = labeled(rng.integers(0, 2, 200), signal=0.0, size=40)
    fold = ridge.folds(of, 5)
    fits = ridge.fit_without(of, fold, ["one"])
    scores = np.stack([ridge.means(one.logits(of.features), of.videos) for one in fits])
    right = (scores[fold, np.arange(200)].argmax(axis=1) == of.labels).mean()
    assert 0.35 < right < 0.65
    assert all(one.loss > 0.6 for one in fits)
