"""Figures of several labels, worked out by hand; what models that name several say of videos."""

import dataclasses
import re

import numpy as np
import pytest
from evaluations import make as make_evaluation

from keras_r3d.data.annotations import Video
from keras_r3d.inference.embeddings import ridge
from keras_r3d.inference.evaluation import metrics
from keras_r3d.inference.evaluation.several import SeveralLabels, evaluation_of
from keras_r3d.inference.evaluation.split import Split, check_classes
from keras_r3d.inference.models.averaging import average
from keras_r3d.inference.prediction import fusion, result_table
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.predictions import Predictions
from keras_r3d.system.errors import ArgumentError, DataError

NAN = np.nan


def column(values) -> np.ndarray:
    return np.array(values, float)[:, None]


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        # Down to the first 1 of 1 is right, to the second 2 of 3.
        ([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], (1 + 2 / 3) / 2),
        ([1, 1, 0, 0], [0.4, 0.3, 0.2, 0.1], 1.0),
        ([0, 0, 0, 1], [0.4, 0.3, 0.2, 0.1], 1 / 4),
        # Equal scores are named together: 2 of 4, however they are ordered.
        ([1, 1, 0, 0], [0.5, 0.5, 0.5, 0.5], 1 / 2),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], 1 / 2),
        ([1, 0, 1, 0], [0.9, 0.5, 0.5, 0.1], (1 + 2 / 3) / 2),
        # A video without a score is never named.
        ([1, 1, 0, 0], [0.9, NAN, 0.5, 0.1], 1 / 2),
        ([1, 0], [NAN, NAN], 0.0),
        # Of a class of no video there is none.
        ([0, 0], [0.9, 0.1], NAN),
    ],
)
def test_average_precision(labels, scores, expected):
    (found,) = metrics.average_precision(column(labels) > 0, column(scores))
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([1, 1, 0, 0], [0.9, 0.6, 0.2, 0.1], 0.4),  # all right: midway
        # F1 down to 0.9: 2/3; to 0.8: 2/4; to 0.7: 4/5; to 0.1: 4/6.
        ([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], 0.4),
        ([1, 0, 0, 1], [0.9, 0.8, 0.7, 0.6], 0.85),  # 2/3, 2/4, 2/5, 4/6: the first of two
        ([1, 1], [0.9, 0.6], 0.3),  # midway to 0
        ([1, 0], [NAN, 0.6], 0.5),  # nothing to choose by
        ([0, 0], [0.9, 0.6], 0.5),
    ],
)
def test_thresholds_are_those_of_the_highest_f1(labels, scores, expected):
    (found,) = metrics.best_thresholds(column(labels) > 0, column(scores))
    assert found == pytest.approx(expected)


def test_precision_and_recall_by_label():
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]]) > 0
    named = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0]]) > 0
    found = metrics.by_label(truth, named)
    assert found.videos.tolist() == [2, 2, 0]
    assert found.precision == pytest.approx([2 / 3, 1, NAN], nan_ok=True)
    assert found.recall == pytest.approx([1, 1 / 2, NAN], nan_ok=True)
    assert found.f1 == pytest.approx([4 / 5, 2 / 3, NAN], nan_ok=True)


def test_one_of_several_labels_among_the_best():
    truth = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 1]])
    scores = np.array([[0.1, 0.9, 0.5], [0.9, 0.5, 0.5], [0.1, 0.2, 0.3], [NAN, NAN, NAN]])
    assert metrics.topk_correct(scores, truth, 1).tolist() == [True, False, False, False]
    assert metrics.topk_correct(scores, truth, 2).tolist() == [True, False, False, False]
    assert metrics.topk_correct(scores, truth, 3).tolist() == [True, True, False, False]


def test_log_odds_are_averaged_where_labels_are_several():
    scores = np.array([[0.9, 0.2], [0.5, 0.2]])
    odds = np.sqrt(9 * 1)  # the geometric mean
    assert average(scores, "log_probabilities", True) == pytest.approx([odds / (1 + odds), 0.2])
    assert average(scores, "probabilities", True) == pytest.approx([0.7, 0.2])
    extremes = average(np.array([[0.0, 1.0]]), "log_probabilities", True)
    assert extremes == pytest.approx([0, 1], abs=1e-9)


def predict(label, scores, thresholds=(0.5, 0.5, 0.5), path="a.avi") -> Prediction:
    scores = np.array(scores, float)
    source = Video(path, label, several=True)
    rows, seconds = scores[None].astype(np.float32), np.array([[0.0, 1.0]])
    if np.isnan(scores).any():
        return Prediction.error(source, CLASSES, "broken", np.array(thresholds))
    return Prediction(
        *(source, "ok", "", CLASSES, scores, rows, seconds), thresholds=np.array(thresholds)
    )


CLASSES = ["left", "never", "up"]


@pytest.fixture
def evaluation() -> SeveralLabels:
    predictions = [
        predict("left;up", [0.9, 0.1, 0.8]),
        predict("up", [0.6, 0.1, 0.4]),
        predict("left", [0.7, 0.2, 0.1]),
        predict("", [0.2, 0.6, 0.1]),
        predict("up", [NAN, NAN, NAN]),
    ]
    found = evaluation_of(CLASSES, predictions, split="test")
    assert isinstance(found, SeveralLabels)
    return found


def test_figures_of_several_labels(evaluation):
    figures = evaluation.figures()
    # left: 1/1 and 2/2; up: 1/1, 2/2 of three videos, one of which has no score.
    assert figures["mean_average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    low, high = figures["mean_average_precision_interval"]
    assert 0 < low < (1 + 2 / 3) / 2 < high == 1
    assert figures["chance_average_precision"] == pytest.approx((2 / 5 + 3 / 5) / 2)
    assert figures["mean_precision"] == pytest.approx((2 / 3 + 1) / 2)
    assert figures["mean_recall"] == pytest.approx((1 + 1 / 3) / 2)
    assert figures["mean_f1"] == pytest.approx((4 / 5 + 2 / 4) / 2)
    assert figures["micro_f1"] == pytest.approx(2 * 3 / (5 + 5))
    assert figures["classes_left_out"] == ["never"]
    # The best class is a label of two of the four videos that have some.
    assert figures["video_top1"] == pytest.approx(2 / 4)
    assert figures["largest_class"] == "up"
    assert figures["chance"] == pytest.approx(1 / 3)


def test_the_table_says_what_is_left_out(evaluation):
    text = " ".join(str(evaluation).split())
    assert re.search(r"mean avg. precision 83.3% \(\d+.\d-\d+.\d%; guessing: 50.0%\)", text)
    assert "Classes of no video are left out of the means: never." in text
    assert "top-1 says that the best class is one of them" in text


def test_results_of_several_labels(evaluation, tmp_path):
    names = evaluation.save(tmp_path / "results")
    assert names == ["evaluation.json", "per_class.csv", "report.html"]
    lines = (tmp_path / "results" / "per_class.csv").read_text().splitlines()
    assert lines[0] == "class,videos,precision,recall,f1,average_precision,threshold"
    assert lines[1:3] == [
        "left,2,0.6667,1.0000,0.8000,1.0000,0.5000",
        "never,0,0.0000,,0.0000,,0.5000",
    ]
    record = evaluation.records()[0]
    assert (record["labels"], record["named"]) == (["left", "up"], ["left", "up"])


def test_each_prediction_is_judged_by_its_own_thresholds():
    predictions = [predict("up", [0.1, 0.1, 0.4], limits) for limits in ((1, 1, 0.3), (1, 1, 0.5))]
    assert evaluation_of(CLASSES, predictions).positive[:, 2].tolist() == [True, False]


def test_one_label_a_video_is_evaluated_as_before():
    one = make_evaluation(["a", "b"], [0, 1], [[[0.9, 0.1]], [[0.6, 0.4]]])
    same = evaluation_of(one.classes, one.predictions)
    assert type(same) is type(one)
    assert "mean_average_precision" not in same.figures()
    assert list(same.figures())[-4:] == ["ece", "largest_class", "largest_class_share", "chance"]


def test_a_model_of_one_label_is_not_evaluated_on_several():
    side = Split([Video("a", "left;up", several=True)], None, "test", "")
    check_classes(side, CLASSES, several=True)
    with pytest.raises(DataError, match=r"split 'test' have several labels.*the model names one"):
        check_classes(side, CLASSES, several=False)
    with pytest.raises(DataError, match=r"not trained on: 'down' \(1\)"):
        check_classes(
            dataclasses.replace(side, videos=[Video("a", "down;up", several=True)]), CLASSES, True
        )


def test_what_a_prediction_names():
    prediction = predict("", [0.9, 0.1, 0.6], (0.95, 0.1, 0.5))
    assert prediction.named_classes() == ["up", "never"]
    assert prediction.record()["named"] == ["up", "never"]
    one = dataclasses.replace(prediction, thresholds=None)
    assert one.named_classes() == ["left"]
    assert "named" not in one.record()


def test_predictions_are_written_with_what_is_named(tmp_path):
    predictions = [predict("", [0.9, 0.1, 0.6]), predict("", [NAN, NAN, NAN], path="b.avi")]
    path = tmp_path / "p.csv"
    list(Predictions(["a.avi", "b.avi"], predictions, csv=path, top=1))
    header, first, second = path.read_text().splitlines()
    assert header == "video,status,detail,windows,seconds,named,label_1,score_1"
    assert first == "a.avi,ok,,1,1.0,left;up,left,0.9"
    assert second.startswith("b.avi,error,broken,0,,")


def test_the_table_of_predictions_marks_what_is_named():
    table = result_table.Table(["a.avi"], CLASSES, None, several=True)
    assert table.rows(predict("", [0.9, 0.1, 0.6]), 3) == [
        "a.avi  left   0.900 *",
        "       up     0.600 *",
        "       never  0.100",
    ]


def test_thresholds_are_fused_like_scores():
    parts = [predict("", [0.8, 0, 0], (0.8, 0.2, 0.2)), predict("", [0.4, 0, 0], (0.4, 0.6, 0.6))]
    (fused,) = fusion.fuse([iter([part]) for part in parts], [3, 1])
    assert fused.scores == pytest.approx([0.7, 0, 0])
    assert fused.thresholds == pytest.approx([0.7, 0.3, 0.3])
    with pytest.raises(ArgumentError, match="A names one label of a video and B several"):
        fusion.check([CLASSES, CLASSES], ["A", "B"], [], [False, True])


def test_a_ridge_classifier_of_several_labels():
    rng = np.random.default_rng(0)
    truth = rng.random((40, 3)) < 0.4
    features = (truth @ rng.normal(size=(3, 8)) + rng.normal(0, 0.05, (40, 8))).astype(np.float32)
    videos = np.arange(40)
    labeled = ridge.Labeled([features], videos, truth.astype(np.float32), videos, 3)
    fitted = ridge.fit(labeled, [""])
    logits = fitted.logits([features])
    assert ((logits > 0) == truth).all()
    # Independent of each other: what is fitted to one class does not depend on the others.
    alone = dataclasses.replace(labeled, labels=labeled.labels[:, :1], classes=1)
    kernels = [
        ridge.Ridge(features, 2.0 * part.truth - 1).linear(0.1)[0] for part in (labeled, alone)
    ]
    assert kernels[0][:, :1] == pytest.approx(kernels[1])
    fold = ridge.folds(labeled, 4)
    for members in (*truth.T, ~truth.any(axis=1)):  # also those without a label
        counts = np.bincount(fold[members], minlength=4)
        assert counts.max() - counts.min() <= 2


def test_likelihoods_of_several_labels():
    logits, labels = np.array([[2.0, -1.0]]), np.array([[1.0, 0.0]])
    right, unknown = ridge.log_likelihoods(logits, labels)
    there = 1 / (1 + np.exp(-logits))
    assert right == pytest.approx([np.log(there[0, 0]) + np.log(1 - there[0, 1])])
    assert unknown == pytest.approx((np.log(there) + np.log(1 - there)).sum() / 2)


def test_nineteen_of_twenty_intervals_hold_the_precision_of_many_videos():
    rng = np.random.default_rng(0)

    def sample(count):
        truth = rng.random((count, 1)) < 0.4
        return truth, 0.8 * truth + rng.normal(size=(count, 1))

    (whole,) = metrics.average_precision(*sample(100_000))
    held = 0
    for _ in range(40):
        truth, scores = sample(80)
        values = [
            metrics.average_precision(truth[rows], scores[rows])[0]
            for rows in (np.repeat(np.arange(80), row) for row in metrics.resamples(80))
        ]
        low, high = metrics.bootstrap_interval(np.array(values))
        held += low <= whole <= high
    assert held >= 34
