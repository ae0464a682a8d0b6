import numpy as np
import pytest
from predictions import make

from keras_r3d.data.annotations import Video
from keras_r3d.inference.prediction import fusion
from keras_r3d.system.errors import ArgumentError

NAMES = ["run_a", "run_b"]


def test_scores_are_weighted_means_by_the_names_of_classes():
    a = make("v", ["x", "y"], [[0.9, 0.1], [0.7, 0.3]])
    b = make("v", ["y", "x"], [[0.4, 0.6], [0.2, 0.8]])
    (found,) = fusion.fuse([iter([a]), iter([b])], [1, 3])
    assert found.labels == ["x", "y"]
    assert found.scores == pytest.approx([0.8 / 4 + 0.7 * 3 / 4, 0.2 / 4 + 0.3 * 3 / 4])
    assert found.window_scores[0] == pytest.approx([0.9 / 4 + 0.6 * 3 / 4, 0.1 / 4 + 0.4 * 3 / 4])
    assert (found.window_seconds == a.window_seconds).all()
    assert found.window_scores.dtype == np.float32


def test_other_numbers_of_windows_leave_the_videos_score():
    a = make("v", ["x", "y"], [[0.9, 0.1], [0.7, 0.3]])
    b = make("v", ["x", "y"], [[0.4, 0.6]])
    (found,) = fusion.fuse([iter([a]), iter([b])], [1, 1])
    assert found.scores == pytest.approx([0.6, 0.4])
    assert found.window_scores.shape == (0, 2)


def test_an_error_of_one_is_an_error_of_all():
    labels = ["x", "y"]
    a = [
        make("v", labels, [[0.9, 0.1]]),
        make("w", labels, [[1, 0]], status="partial", detail="short"),
    ]
    b = [make("v", labels, [], detail="broken"), make("w", labels, [[0, 1]])]
    first, second = fusion.fuse([iter(a), iter(b)], [1, 1])
    assert (first.status, first.detail) == ("error", "broken")
    assert np.isnan(first.scores).all()
    assert first.window_scores.shape == (0, 2)
    assert (second.status, second.detail) == ("partial", "short")


@pytest.mark.parametrize(
    ("names", "classes", "weights", "said"),
    [
        (["a"], [["x"]], [1.0], "at least two models. Received: a"),
        (NAMES, [["x", "y"], ["x", "z"]], [1.0, 1.0], "Only one of them has: y, z"),
        (NAMES, [["x"], ["x"]], [1.0], "a number for each of the 2 models. Received: 1"),
        (NAMES, [["x"], ["x"]], [1.0, -1.0], "must be 0 or more, and not all 0"),
        (NAMES, [["x"], ["x"]], [0.0, 0.0], "must be 0 or more, and not all 0"),
        (NAMES, [["x"], ["x"]], [1.0, float("nan")], "must be 0 or more, and not all 0"),
    ],
)
def test_what_cannot_be_fused_is_said(names, classes, weights, said):
    with pytest.raises(ArgumentError, match=said):
        fusion.check(classes, names, weights)


def test_weights_are_numbers():
    classes = [["x"], ["x"]]
    assert fusion.check(classes, NAMES, ["1", "1.5"]) == [1, 1.5]
    assert fusion.check(classes, NAMES, []) == [1, 1]
    with pytest.raises(ArgumentError, match=r"must be numbers\. Received: 1 x"):
        fusion.check(classes, NAMES, ["1", "x"])


def test_videos_are_matched_by_folder_name_and_segment():
    rgb = [Video("/a/x/1.mp4", "x"), Video("/a/y/1.mp4", "y", 1.0, 2.0)]
    flow = [Video("/flow/y/1.mkv", "y", 1.0, 2.0), Video("/flow/x/1.mkv", "x")]
    own, other = fusion.aligned([rgb, flow], NAMES)
    assert own == rgb
    assert other == flow[::-1]
    more = [*flow, Video("/flow/z/2.mkv", "x")]
    with pytest.raises(ArgumentError, match=r"Only one of them has z/2 \(and 0 more\)"):
        fusion.aligned([rgb, more], NAMES)


def test_names_that_differ_in_their_suffix_are_two_videos():
    both = [Video("/a/1.mp4", "x"), Video("/a/1.mkv", "x")]
    assert fusion.aligned([both, both[::-1]], NAMES) == [both, both]
    flow = [Video("/flow/1.mkv", "x"), Video("/flow/1.avi", "x")]
    with pytest.raises(ArgumentError, match="differ in their suffix only"):
        fusion.aligned([both, flow], NAMES)
