import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import write_video
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_r3d.inference.embeddings import feature_file, neighbor_sheet, neighbors, probe
from keras_r3d.inference.embeddings.feature_file import Features

METADATA = {"model_sha256": "0", "layer": "avg_pool", "dimension": 2, "data_dir": None}


def features(embedding, paths, labels=None, source="f.npz", windows=None, **metadata) -> Features:
    count = len(paths)
    return Features(
        source=Path(source),
        embedding=np.array(embedding, np.float32),
        video=np.array(paths),
        path=np.array(paths),
        status=np.full(count, "ok"),
        window=np.full(count, -1) if windows is None else np.array(windows),
        start_seconds=np.zeros(count),
        end_seconds=np.ones(count),
        label=None if labels is None else np.array(labels),
        metadata=METADATA | metadata,
    )


def turned(*degrees) -> np.ndarray:
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def test_the_nearest_come_first_and_never_the_video_itself():
    # Two windows of `a`, then b, c, d at growing angles; lengths do not matter.
    angles = turned(0, 1, 10, 40, 90) * np.array([[1], [5], [2], [0.1], [3]])
    found = neighbors.find(*2 * [features(angles, ["a", "a", "b", "c", "d"])], 3)
    assert found.numbers.tolist() == [[2, 3, 4], [2, 3, 4], [1, 0, 3], [2, 1, 0], [3, 2, 1]]
    assert found.similarities[0] == pytest.approx(np.cos(np.radians([10, 40, 90])), abs=1e-6)
    assert found.figures is None


def test_what_has_fewer_neighbors_than_asked_for_says_so():
    found = neighbors.find(*2 * [features(turned(0, 1, 10), ["a", "a", "b"])], 9)
    assert found.numbers.tolist() == [[2, -1, -1], [2, -1, -1], [1, 0, -1]]
    assert np.isnan(found.similarities[0, 1])


def test_figures_by_hand():
    queries = features(turned(0, 90), ["q", "r"], ["x", "y"])
    gallery = features(turned(1, 2, 3, 89), list("abcd"), ["y", "x", "x", "x"], "g.npz")
    figures = neighbors.find(queries, gallery, 1).figures
    assert figures.recalls == {1: 0, 5: 1}
    # Of q: places 2, 3, 4 of 4 are right; of r: place 4.
    precisions = (1 / 2 + 2 / 3 + 3 / 4) / 3, 1 / 4
    assert figures.mean_average_precision == pytest.approx(np.mean(precisions))
    assert figures.chance_recalls[1] == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert figures.chance_recalls[5] == 1


def test_a_label_that_is_alone_counts_as_nothing_found():
    one = features(turned(0, 1, 3), ["a", "b", "c"], ["x", "x", "z"])
    figures = neighbors.find(one, one, 1).figures
    assert (figures.alone, figures.queries) == (1, 3)
    assert figures.mean_average_precision == pytest.approx(2 / 3)
    assert figures.recalls[5] == pytest.approx(2 / 3)
    assert figures.chance_recalls[1] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert "1 queries have a label that no other video has" in str(figures)


@pytest.mark.parametrize(("relevant", "of"), [(1, 1), (1, 4), (2, 5), (3, 6), (0, 4)])
def test_chance_is_the_mean_over_all_orders(relevant, of):
    orders = [
        np.isin(np.arange(of), places) for places in itertools.combinations(range(of), relevant)
    ]
    precisions = [
        np.mean([(place + 1) / (n + 1) for place, n in enumerate(np.flatnonzero(order))])
        if relevant
        else 0
        for order in orders
    ]
    counts = np.array([relevant]), np.array([of])
    assert neighbors.chance_average_precision(*counts) == pytest.approx(np.mean(precisions))
    for k in (1, 2, 5):
        hits = np.mean([order[:k].any() for order in orders])
        assert neighbors.chance_recall(*counts, k) == pytest.approx(hits)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 40), st.booleans())
def test_blocks_change_nothing(seed, count, block, labeled):
    rng = np.random.default_rng(seed)
    paths = [f"v{n // 2}" for n in range(count)] + ["last"]
    labels = [f"c{n % 3}" for n in range(count + 1)] if labeled else None
    one = features(rng.standard_normal((count + 1, 2)), paths, labels)
    whole = neighbors.find(one, one, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "_SIMILARITIES", block)
        parts = neighbors.find(one, one, 4)
    # A matrix product of other shape rounds otherwise: 1e-6, no more.
    np.testing.assert_allclose(parts.similarities, whole.similarities, atol=1e-6)
    assert (parts.numbers >= 0).sum() == (whole.numbers >= 0).sum()
    for query, numbers in enumerate(whole.numbers):
        assert one.path[query] not in one.path[numbers[numbers >= 0]]
        assert (np.diff(whole.similarities[query][numbers >= 0]) <= 0).all()


def test_files_of_other_models_are_refused():
    one = features(turned(0), ["a"])
    other = features(turned(0), ["b"], source="g.npz", layer="conv1")
    with pytest.raises(neighbors.ArgumentError, match=r"Their layer: avg_pool and conv1"):
        neighbors.find(one, other, 1)
    with pytest.raises(neighbors.ArgumentError, match="holds one video only"):
        neighbors.find(one, one, 1)


def test_the_csv_has_a_row_for_each_neighbor(tmp_path):
    one = features(turned(0, 10, 90), ["a", "b", "c, d"], ["x", "y", "x"])
    neighbors.write_csv(neighbors.find(one, one, 2), tmp_path / "n.csv")
    with (tmp_path / "n.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["video"], r["rank"], r["neighbor"]) for r in rows] == [
        *[("a", "1", "b"), ("a", "2", "c, d"), ("b", "1", "a"), ("b", "2", "c, d")],
        *[("c, d", "1", "b"), ("c, d", "2", "a")],
    ]
    assert rows[0]["similarity"] == f"{np.cos(np.radians(10)):.6f}"
    assert (rows[0]["label"], rows[0]["neighbor_label"], rows[0]["window"]) == ("x", "y", "")


def test_the_sheet_shows_middle_frames_in_their_colors(tmp_path):
    paths = [
        str(write_video(tmp_path / f"{n}.avi", 11, tint=tint, base=100))
        for n, tint in enumerate([(1, 0, 0), (0, 1, 0), (0, 0, 1)])
    ]
    one = features(turned(0, 10, 30), paths, ["$x_1$", "y", "$x_1$"])
    frame = neighbor_sheet.middle_frames(one)(0)
    red, green, blue = frame.mean(axis=(0, 1))
    assert red == pytest.approx(100 + 6 * 5, abs=6)
    assert max(green, blue) < 12
    (tmp_path / "2.avi").write_bytes(b"")
    assert neighbor_sheet.middle_frames(one)(2) is None
    figure = neighbor_sheet.sheet(neighbors.find(one, one, 2))
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 2 * 3  # a query of each label, and its neighbors
    assert titles[1].splitlines()[0].endswith("✗")
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "cannot be read" in texts
    figure.savefig(tmp_path / "s.png")


def clouds(source, labels, spread, seed, windows=1):
    """Embeddings around one corner for each label."""
    rng = np.random.default_rng(seed)
    names = [label for label in labels for _ in range(windows)]
    corners = {label: place for place, label in enumerate(sorted(set(labels)))}
    centers = np.eye(6)[[corners[name] for name in names]] * 3 + 10
    values = centers + spread * rng.standard_normal(centers.shape)
    paths = [f"{source}{n // windows}" for n in range(len(names))]
    return features(values, paths, names, source)


def test_the_probe_separates_what_is_separable():
    labels = list("abc") * 20
    probed = probe.probe(clouds("train", labels, 0.5, 0), clouds("test", labels, 0.5, 1))
    assert (probed.right, probed.videos) == (60, 60)
    assert probed.chance == pytest.approx(1 / 3)
    assert probed.validated == 1


def test_the_probe_finds_nothing_where_there_is_nothing():
    labels = np.random.default_rng(5).choice(list("abc"), 300).tolist()
    train, test = (clouds(name, ["a"] * 300, 1, seed) for name, seed in (("train", 0), ("test", 1)))
    for one in (train, test):
        one.label[:] = labels
    probed = probe.probe(train, test)
    assert probed.right / probed.videos < 0.42
    assert probed.validated < 0.42


def test_windows_of_a_video_are_classified_together():
    labels = list("ab") * 8
    train, test = (clouds(name, labels, 4, seed, 25) for name, seed in (("train", 0), ("test", 1)))
    probed = probe.probe(train, test)
    assert probed.videos == 16
    assert probed.right == 16


def test_a_probe_needs_labels_and_two_of_them():
    train = clouds("train", list("ab") * 4, 1, 0)
    with pytest.raises(neighbors.ArgumentError, match="has no labels, which a linear probe"):
        probe.probe(train, features(turned(0), ["q"]))
    with pytest.raises(neighbors.ArgumentError, match="videos of two labels or more"):
        probe.probe(clouds("train", ["a"] * 4, 1, 0), train)


def test_equal_columns_and_few_videos_do_no_harm():
    train = clouds("train", list("ab") * 2, 0.1, 0)
    train.embedding[:, 0] = 7
    probed = probe.probe(train, train)
    assert probed.right == 4
    assert json.dumps(probed.__dict__)


def test_features_are_read_as_written(tmp_path):
    one = features(turned(*range(10)), [f"v{n}ä" for n in range(10)], list("ab") * 5)
    path = tmp_path / "f.npz"

    def batches(columns):
        for row in range(10):
            yield {name: getattr(one, name)[row : row + 1] for name in columns}

    feature_file.write(path, batches, True, one.metadata)
    back = feature_file.read(path)
    for name in feature_file.COLUMNS:
        np.testing.assert_array_equal(getattr(back, name), getattr(one, name))
    assert back.metadata == one.metadata
    assert back.embedding.dtype == np.float32
