import csv
import math
import warnings

import numpy as np
import predictions
import pytest

from keras_r3d.inference.prediction.prediction import Prediction, over_time
from keras_r3d.pictures import timeline
from keras_r3d.system.errors import R3DError


def predicted(classes: int, windows: int, seconds: float = 0.64) -> Prediction:
    rng = np.random.default_rng(classes)
    starts = np.arange(windows) * seconds
    return predictions.make(
        "folder/with_$igns.mp4",
        [f"class $x_{n}" for n in range(classes)],
        rng.dirichlet(np.ones(classes), windows),
        seconds=np.stack([starts, starts + seconds], axis=1),
    )


def test_the_csv_has_seconds_and_scores_to_the_bit(tmp_path):
    of = predicted(5, 7)
    of.save(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["start_seconds", "end_seconds", *of.labels]
    values = np.array(rows, np.float64)
    assert values[:, :2] == pytest.approx(of.window_seconds, abs=1e-6)
    assert (values[:, 2:].astype(np.float32) == of.window_scores).all()


@pytest.mark.parametrize(("classes", "windows"), [(10, 12), (400, 400)])
def test_the_picture_shows_the_classes_that_are_highest_anywhere(tmp_path, classes, windows):
    of = predicted(classes, windows)
    drawn = of.timeline(3)
    (legend,) = drawn.legends
    highest = np.argsort(-of.window_scores.max(axis=0))[: min(3, classes)]
    assert [text.get_text() for text in legend.get_texts()] == [of.labels[n] for n in highest]
    (axes,) = drawn.axes
    assert axes.get_xlim() == pytest.approx((0, 0.64 * windows))
    line = axes.get_lines()[0]
    assert line.get_xdata() == pytest.approx(of.window_seconds.mean(axis=1))
    assert line.get_ydata() == pytest.approx(of.window_scores[:, highest[0]])
    of.save(tmp_path / "t.png", 3)
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_a_single_window_is_bars_beside_the_names_of_their_classes():
    of = predicted(5, 1)
    (axes,) = of.timeline(3).axes
    highest = np.argsort(-of.window_scores[0])[:3]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx(of.window_scores[0, highest])
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [of.labels[n] for n in highest]
    numbers = [text.get_text() for text in axes.texts]
    assert numbers == [f"{of.window_scores[0, n]:.3f}" for n in highest]
    assert axes.get_title().endswith("1 window, 0.00-0.64 s")
    assert axes.yaxis_inverted(), "the best on top"


def test_segments_that_overlap_are_drawn_below_each_other():
    seconds, scores = np.array([[0.0, 4.0], [4.0, 8.0]]), np.array([[0.9, 0.1], [0.2, 0.8]])
    found = [(4.0, 6.0, "a", 1.0), (0.0, 4.0, "a", 1.0), (1.0, 5.0, "b", 1.0), (2.0, 3.0, "a", 1.0)]
    segments = {"found": found, "none": [], "true": [(0.0, 4.0, "a", 1.0)]}
    _, below = timeline.figure(seconds, scores, ["a", "b"], "v.mp4", 2, segments).axes
    bars = [bar.get_paths()[0].get_extents() for bar in below.collections]
    drawn = [(bar.x0, bar.x1, math.floor(bar.y0)) for bar in bars]
    assert drawn == [(0, 4, 0), (4, 6, 0), (1, 5, 1), (2, 3, 2), (0, 4, 4)]
    assert [label.get_text() for label in below.get_yticklabels()] == ["found", "none", "true"]
    assert list(below.get_yticks()) == [0.5, 3.5, 4.5]
    assert below.get_ylim() == (5, 0)


def test_a_video_of_one_frame_takes_no_time_and_makes_no_noise(tmp_path):
    of = predicted(3, 1, seconds=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of.save(tmp_path / "t.png", 3)
    assert of.timeline(3).axes[0].get_title().endswith("1 window, 0.00-0.00 s")


def test_what_cannot_be_saved_is_said(tmp_path):
    (tmp_path / "there.json").touch()
    lost = predictions.make("v.mp4", ["x"], [], detail="v.mp4: no frame.")
    for of, name, message in (
        (predicted(3, 1), "there.json", "already exists; choose another `path`"),
        (predicted(3, 1), "t.txt", r"`path` must end in one of .*'\.mp4'.* Received: .*t\.txt"),
        (lost, "t.png", r"v\.mp4 has no scores of windows: v\.mp4: no frame"),
        (lost, "t.mp4", r"v\.mp4 has no score: v\.mp4: no frame"),
    ):
        with pytest.raises(R3DError, match=message):
            of.save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]


def test_windows_inside_others_become_stretches_of_time():
    seconds = np.array([[0.0, 4.0], [0.0, 2.0], [2.0, 4.0], [1.0, 3.0]])
    scores = np.array([[0.1], [0.3], [0.5], [0.7]], np.float32)
    stretches, means = over_time(seconds, scores)
    assert stretches.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    expected = [(0.1 + 0.3) / 2, (0.1 + 0.3 + 0.7) / 3, (0.1 + 0.5 + 0.7) / 3, (0.1 + 0.5) / 2]
    np.testing.assert_allclose(means[:, 0], expected, rtol=1e-6)
    # Windows beside each other, or that overlap, are left as they are.
    for other in ([[0, 1], [1, 2]], [[0, 2], [1, 3]], [[0, 1]]):
        same, _ = over_time(np.array(other, float), scores[: len(other)])
        assert same.tolist() == other
