import json

import evaluations
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_r3d.inference.evaluation import metrics

SIX = [f"class {number}" for number in range(6)]


def rising(best: int, *, classes: int = 6) -> list[float]:
    """Probabilities of 6 different classes: `best` first, the others by number, falling."""
    order = [best, *(number for number in range(classes) if number != best)]
    scores = np.empty(classes)
    scores[order] = np.arange(classes, 0, -1)
    return (scores / scores.sum()).tolist()


@pytest.fixture
def evaluation():
    """Three videos of class 0, 0, 5: right in 2 of 3 windows, an error, wrong beyond the top 5."""
    return evaluations.make(
        SIX,
        [0, 0, 5],
        [[rising(0), rising(0), rising(1)], [], [rising(1)]],
        errors={1: "/videos/1.avi: broken"},
        partial={2: "the last second is lacking"},
    )


def test_figures_of_a_hand_computed_case(evaluation):
    figures = evaluation.figures()
    assert figures["videos"] == 3
    assert figures["errors"] == 1
    assert figures["partial"] == 1
    assert figures["windows"] == 4
    expected = {
        "clip_top1": 2 / 4,
        "clip_top5": 3 / 4,
        "clip_mean": 5 / 8,
        "video_top1": 1 / 3,
        "video_top5": 1 / 3,
        "video_mean": 1 / 3,
        "readable_video_top1": 1 / 2,
        "readable_video_top5": 1 / 2,
        "readable_video_mean": 1 / 2,
        "mean_class_accuracy": (1 / 2 + 0) / 2,
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
    assert {f"{name}_interval" for name in expected} < set(figures)
    assert figures["video_top1_interval"] == pytest.approx(metrics.wilson(1 / 3, 3))
    assert figures["readable_video_top1_interval"] == pytest.approx(metrics.wilson(1 / 2, 2))
    # Classes of two videos and of one: as certain as 4 / (1 / 2 + 1) of them.
    assert figures["mean_class_accuracy_interval"] == pytest.approx(metrics.wilson(1 / 4, 8 / 3))
    assert (figures["largest_class"], figures["largest_class_share"]) == ("class 0", 2 / 3)
    assert figures["chance"] == 1 / 6
    confidence = np.array([(6 + 6 + 5) / 21 / 3, 6 / 21])  # both in (4/15, 5/15], one is right
    assert figures["ece"] == pytest.approx(abs(1 - confidence.sum()) / 2)
    assert evaluation.confusion().sum() == 2
    assert evaluation.confusion()[0, 0] == evaluation.confusion()[5, 1] == 1


def test_figures_are_the_callers_own(evaluation):
    evaluation.figures().clear()
    assert evaluation.figures()["videos"] == 3


def test_records_say_what_was_lacking(evaluation):
    ok, error, partial = evaluation.records()
    assert ok == {
        "video": "/videos/0.avi",
        "label": "class 0",
        "status": "ok",
        "windows": 3,
        "correct": True,
        "top": ok["top"],
    }
    assert [one["label"] for one in ok["top"]] == [f"class {number}" for number in range(5)]
    assert ok["top"][0]["score"] == pytest.approx((6 + 6 + 5) / 21 / 3)
    assert error["status"] == "error"
    assert error["detail"] == "/videos/1.avi: broken"
    assert error["windows"] == 0
    assert "top" not in error
    assert partial["status"] == "partial"
    assert partial["detail"] == "the last second is lacking"
    assert partial["correct"] is False


def right_of(right: int, labels: list[int], classes: list[str]):
    """Makes an evaluation of which so many videos are right, of one window each."""
    rows = []
    for number, label in enumerate(labels):
        named = label if number < right else (label + 1) % len(classes)
        rows.append([[0.9 if one == named else 0.1 for one in range(len(classes))]])
    return evaluations.make(classes, labels, rows)


def test_an_accuracy_that_a_simple_guess_reaches_is_warned_of():
    of_two = [0] * 15 + [1] * 5
    assert right_of(19, of_two, ["walk", "run"]).floor() == ""
    warning = right_of(17, of_two, ["walk", "run"]).floor()
    assert warning == (
        "Warning: the interval of the video accuracy reaches down to 64.0%, and always naming "
        "'walk' would be right in 75.0%: this does not show that the model has learnt anything."
    )


def test_where_classes_are_alike_in_size_guessing_is_the_measure():
    of_four = right_of(10, list(range(4)) * 10, ["a", "b", "c", "d"])
    assert of_four.floor().startswith(
        "Warning: the interval of the video accuracy reaches down to 14.2%, and guessing would be "
        "right in 25.0%: "
    )
    assert right_of(40, list(range(4)) * 10, ["a", "b", "c", "d"]).floor() == ""


def test_videos_of_one_window_each_have_no_accuracy_of_clips_beside_it(evaluation):
    assert right_of(1, [0, 1], ["a", "b"]).one_window_each
    assert not evaluation.one_window_each
    # An error has no window at all.
    lost = evaluations.make(["a", "b"], [0, 1], [[[0.9, 0.1]], []], errors={1: "broken"})
    assert lost.one_window_each


def test_fewer_than_five_classes_say_of_how_many_the_top_5_are():
    evaluation = evaluations.make(["a", "b"], [0, 1], [[[0.9, 0.1]], [[0.9, 0.1]]])
    figures = evaluation.figures()
    assert figures["top5_places"] == 2
    assert figures["video_top5"] == 1
    assert figures["video_top1"] == 0.5


@pytest.mark.parametrize("videos", [0, 2])
def test_without_any_score_nothing_is_divided(videos):
    errors = dict.fromkeys(range(videos), "broken")
    evaluation = evaluations.make(["a", "b"], [0] * videos, [[]] * videos, errors=errors)
    figures = evaluation.figures()
    json.dumps([figures, evaluation.records()], allow_nan=False)
    assert figures["clip_top1"] is None
    assert figures["clip_top1_interval"] is None
    assert figures["readable_video_top1"] is None
    assert figures["ece"] is None
    assert figures["video_top1"] == (0 if videos else None)
    assert figures["mean_class_accuracy"] == (0 if videos else None)
    assert evaluation.confusion().sum() == 0
    assert bool(evaluation.floor()) == (videos > 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(1, 8), st.integers(0, 2), st.integers(0, 2**32))
def test_figures_agree_with_each_other(videos, classes, errors, seed):
    rng = np.random.default_rng(seed)
    evaluation = evaluations.random(rng, videos, classes, min(errors, videos - 1))
    figures = evaluation.figures()
    for name in ("clip", "video", "readable_video"):
        top1, top5 = figures[f"{name}_top1"], figures[f"{name}_top5"]
        assert 0 <= top1 <= top5 <= 1
        assert figures[f"{name}_mean"] == pytest.approx((top1 + top5) / 2)
        if classes <= 5 and name != "video":
            assert top5 == 1
    assert figures["video_top1"] <= figures["readable_video_top1"]
    found = evaluation.by_class()
    assert found.videos.sum() == videos
    assert np.nanmean(found.recall) == pytest.approx(figures["mean_class_accuracy"])
    assert np.trace(evaluation.confusion()) == pytest.approx(figures["video_top1"] * videos)
    json.dumps([figures, evaluation.records()], allow_nan=False)
    one_class = evaluations.make(["a"], [0], [[[1.0]]])
    assert one_class.figures()["video_top1"] == 1
