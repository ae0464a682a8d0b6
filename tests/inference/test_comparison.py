import itertools
import json

import evaluations
import numpy as np
import pytest
from html_pages import Page

from keras_r3d import inference
from keras_r3d.inference.evaluation import metrics
from keras_r3d.system.errors import ArgumentError

CLASSES = ["a", "b"]


def save(folder, right, *, classes=CLASSES, errors=(), paths=None):
    """Saves an evaluation of videos of the first class, of which those in `right` are right."""
    scores = [[[0.9, 0.1]] if one else [[0.2, 0.8]] for one in right]
    for number in errors:
        scores[number] = []
    evaluation = evaluations.make(
        *(classes, [0] * len(right), scores),
        errors=dict.fromkeys(errors, "gone"),
        paths=paths,
    )
    evaluation.save(folder)
    return str(folder)


def test_two_evaluations_are_compared_on_the_videos_that_both_scored(tmp_path):
    first = save(tmp_path / "one", [1, 1, 1, 1, 0, 0, 1], errors=[6])
    second = save(tmp_path / "two", [1, 0, 0, 0, 0, 1, 1])
    comparison = inference.compare([first, second])
    (pair,) = comparison.pairs
    assert (pair.videos, pair.only_first, pair.only_second) == (6, 3, 1)
    assert pair.difference == pytest.approx(2 / 6)
    assert pair.p_value == 0.625  # 2 (1 + 4) / 2^4
    assert f"{first} - {second}: +33.3 (" in str(comparison)
    folder = comparison.save()
    assert folder == tmp_path / "one" / "evaluations" / folder.name
    assert comparison.save() == folder  # again
    values = json.loads((folder / "comparison.json").read_text())
    assert values["pairs"][0]["only_first"] == 3
    found = Page((folder / "report.html").read_text())
    judged = ["all right", *["only one"] * 3, "all wrong", "only two", "only two"]
    assert found.values("videos", "") == judged
    assert found.values("videos", "one")[-1] == "no score"
    assert {"+33.3", "0.625"} <= set(found.texts)
    with pytest.raises(ArgumentError, match="already exists"):
        comparison.save(tmp_path)


def test_names_of_runs_that_are_html_stay_names(tmp_path):
    folders = [save(tmp_path / name, [1, 0]) for name in ("<script>x<", "b")]
    folder = inference.compare(folders).save(tmp_path / "out")
    plain = [save(tmp_path / name, [1, 0]) for name in ("c", "d")]
    other = inference.compare(plain).save(tmp_path / "out2")
    odd, usual = (Page((place / "report.html").read_text()) for place in (folder, other))
    assert odd.tags == usual.tags
    assert "<script>x<" in odd.texts


def test_of_different_classes_only_videos_of_those_that_both_have_count(tmp_path):
    folders = []
    for name, classes in (("one", ["a", "b"]), ("two", ["a", "b", "<i>"])):
        scores = [[np.eye(len(classes))[answer]] for answer in (0, 1, len(classes) - 1)]
        evaluation = evaluations.make(classes, [0, 0, len(classes) - 1], scores)
        evaluation.save(tmp_path / name)
        folders.append(str(tmp_path / name))
    comparison = inference.compare(folders)
    (pair,) = comparison.pairs
    assert (pair.left_out, pair.videos) == (["<i>"], 2)  # the third is "b" in one, "<i>" in two
    assert "of 2 videos; p = 1. Only videos of the classes that both have, not of <i>; each" in str(
        comparison
    )
    found = Page((comparison.save() / "report.html").read_text())
    assert any("not of <i>; each still names one of all its own" in text for text in found.texts)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 1), (7, 7), (12, 2), (900, 1100)])
def test_mcnemar_is_the_binomial_test(first, second):
    """Against the sum over all divisions that are as unlikely, in logarithms."""
    count = first + second
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    chances = np.exp(logs[-1] - logs - logs[::-1] - count * np.log(2))
    expected = chances[chances <= chances[first] * (1 + 1e-9)].sum()
    assert metrics.mcnemar(first, second) == pytest.approx(expected, rel=1e-6)


def test_the_interval_is_of_videos_drawn_again():
    """All draws of four videos, of which one speaks for the first classifier."""
    draws = np.array(list(itertools.product([1, 0, 0, 0], repeat=4))).mean(axis=1)
    expected = np.quantile(draws, [0.025, 0.975])
    assert metrics.difference_interval(1, 0, 4) == pytest.approx(expected.tolist())
    low, high = metrics.difference_interval(60, 40, 1000)
    assert low == pytest.approx(0.02 - 1.96 * 0.01, abs=0.002)
    assert high == pytest.approx(0.02 + 1.96 * 0.01, abs=0.002)


def test_what_does_not_compare_is_one_sentence(tmp_path):
    one = save(tmp_path / "one", [1, 0])
    bad = tmp_path / "bad"
    bad.mkdir()
    other = save(tmp_path / "other", [1, 0], classes=["c", "d"])
    elsewhere = save(tmp_path / "elsewhere", [1, 0], paths=["/x/1.avi", "/x/2.avi"])
    broken = save(tmp_path / "broken", [1, 0], errors=[0, 1])
    swapped = save(tmp_path / "swapped", [1, 0], classes=["b", "a"])
    for runs, message in [
        ([one], "two or more different folders"),
        ([one, one + "/."], "two or more different folders"),
        (one, "two or more different folders"),
        ([one, str(tmp_path / "gone")], "gone does not exist"),
        ([one, str(bad)], r"bad has no evaluation\.json\. Evaluate it first: python -m"),
        ([one, other], "in common of the classes that both have: evaluate both"),
        ([one, elsewhere], "have scored no video in common.*One has /videos/0.avi, the other /x"),
        ([one, broken], "have scored no video in common"),
        ([one, swapped], "/videos/0.avi is 'a' in .*one and 'b' in .*swapped"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            inference.compare(runs)
    for text in (
        "{",
        "[]",
        "null",
        '{"records": []}',
        '{"records": [3]}',
        '{"records": [{"video": "a", "label": "b", "status": "ok"}]}',
    ):
        (bad / "evaluation.json").write_text(text)
        with pytest.raises(ArgumentError, match=r"bad/evaluation.json is damaged"):
            inference.compare([one, str(bad)])
