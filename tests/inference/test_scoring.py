"""Scoring videos with a model that reads the number of the first frame out of a clip."""

import dataclasses
import threading
import time

import numpy as np
import pytest
from conftest import STEP, write_video

from keras_r3d import recipe
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.inference.models.averaging import average
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction import scoring
from keras_r3d.inference.prediction.prediction import Prediction

CLASSES = [str(number) for number in range(40)]


def read_number(clips: np.ndarray) -> np.ndarray:
    """Is sure that a clip is of the class of its first frame's number."""
    numbers = np.rint(clips[:, 0].mean(axis=(1, 2, 3)) / STEP).astype(int)
    return np.eye(len(CLASSES), dtype=np.float32)[numbers]


@pytest.fixture
def classifier(small) -> Classifier:
    of = recipe.Eval("test", 5, "all", 1, "probabilities")
    clips = dataclasses.replace(small.clips, frames=4, size=16)
    return Classifier("model", "Keras", CLASSES, clips, of, read_number, None, "")


@pytest.fixture
def videos(tmp_path) -> list[Video]:
    lengths = (9, 3, 1, 20, 4, 13)
    return [Video(str(write_video(tmp_path / f"{n}.avi", n)), "a") for n in lengths]


def starts(scored: Prediction) -> list[int]:
    return scored.window_scores.argmax(axis=1).tolist()


def test_each_video_comes_once_in_order_with_its_own_windows(classifier, videos, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    asked = [*videos[:2], Video(str(broken), "a"), *videos[2:], videos[0]]
    found = list(scoring.score(classifier, VideoReader(0, 0), asked))
    assert [one.source for one in found] == asked
    assert [starts(one) for one in found] == [
        [0, 4, 8],
        [0],
        [],
        [0],
        [0, 4, 8, 12, 16],
        [0],
        [0, 4, 8, 12],
        [0, 4, 8],
    ]
    assert [one.status for one in found] == ["ok", "ok", "error", "ok", "ok", "ok", "ok", "ok"]
    assert "cannot be opened as a video" in found[2].detail
    assert np.isnan(found[2].scores).all()
    assert [bool(one.detail) for one in found[:4]] == [False, True, True, True]
    assert found[1].detail.endswith("3 frames, repeated to the 4 of a clip.")
    assert found[0].scores[[0, 4, 8]] == pytest.approx(1 / 3)
    assert found[0].window_seconds == pytest.approx(np.array([[0, 0.4], [0.4, 0.8], [0.8, 0.9]]))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64])
def test_scores_come_whatever_the_batch(classifier, videos, batch_size):
    of = dataclasses.replace(classifier.eval, batch_size=batch_size)
    sizes = []

    def score(clips):
        sizes.append(len(clips))
        return read_number(clips)

    own = dataclasses.replace(classifier, eval=of, score=score)
    found = list(scoring.score(own, VideoReader(0, 0), videos))
    assert [len(one.window_scores) for one in found] == [3, 1, 1, 5, 1, 4]
    assert sum(sizes) == 15
    assert max(sizes) == min(batch_size, 15)


def test_views_of_a_window_are_averaged_into_one_score(classifier, videos):
    of = dataclasses.replace(classifier.eval, views=3, windows=2)
    calls = []

    def score(clips):
        calls.append(len(clips))
        scores = np.zeros((len(clips), len(CLASSES)), np.float32)
        scores[np.arange(len(clips)), np.arange(len(clips)) % 3] = 1
        return scores

    own = dataclasses.replace(classifier, eval=of, score=score)
    (found,) = scoring.score(own, VideoReader(0, 0), videos[:1])
    assert found.window_scores.shape == (2, len(CLASSES))
    assert found.window_scores[:, :3] == pytest.approx(1 / 3)
    assert sum(calls) == 6


def test_views_of_a_window_are_kept_where_asked(classifier, videos):
    """Embeddings, say, whose views are fitted to one by one; the score is the mean of all."""
    of = dataclasses.replace(classifier.eval, views=3, windows=2)

    def score(clips):
        return np.arange(len(clips) * len(CLASSES), dtype=np.float32).reshape(len(clips), -1) / 9

    own = dataclasses.replace(classifier, eval=of, score=score)
    (kept,) = scoring.score(
        own, VideoReader(0, 0), videos[:1], probabilities=False, keep_views=True
    )
    (averaged,) = scoring.score(own, VideoReader(0, 0), videos[:1], probabilities=False)
    assert kept.window_scores.shape == (2, 3, len(CLASSES))
    assert kept.window_scores.mean(axis=1) == pytest.approx(averaged.window_scores)
    assert kept.scores == pytest.approx(averaged.scores)


def test_logarithms_are_averaged_where_asked():
    scores = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    assert average(scores, "probabilities") == pytest.approx([0.55, 0.45, 0])
    geometric = np.sqrt([0.18, 0.08])
    expected = [*(geometric / geometric.sum()), 0]
    assert average(scores, "log_probabilities") == pytest.approx(expected, abs=1e-9)
    # The order is that of the mean logarithms, also where every product is 0.
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert average(certain, "log_probabilities") == pytest.approx([0.5, 0.5])


class _Slow(VideoReader):
    """Hangs in one video until it is let go."""

    def __init__(self, name: str):
        super().__init__(0, 0)
        self.name, self.go = name, threading.Event()

    def windows(self, video, *arguments):
        for number, window in enumerate(super().windows(video, *arguments)):
            if video.path.endswith(self.name) and number == 2:
                assert self.go.wait(60)
            yield window


@pytest.mark.parametrize(("name", "status"), [("20.avi", "partial"), ("nothing", "ok")])
def test_a_video_that_hangs_is_given_up(classifier, videos, name, status):
    reader = _Slow(name)
    found = list(scoring.score(classifier, reader, videos, timeout=0.5))
    reader.go.set()
    assert found[3].status == status
    if status == "partial":
        assert starts(found[3]) == [0, 4]
        assert "nothing decoded in 0.5 s" in found[3].detail
    assert [one.status for one in found[:3] + found[4:]] == ["ok"] * 5


def test_threads_end_when_scoring_is_left(classifier, tmp_path):
    videos = [Video(str(write_video(tmp_path / f"{n}.avi", 30)), "a") for n in range(3)]
    before = set(threading.enumerate())
    for _ in scoring.score(classifier, VideoReader(0, 0), videos):
        started = set(threading.enumerate()) - before
        break
    assert started
    for thread in started:
        thread.join(60)
        assert not thread.is_alive(), thread.name


def test_no_more_than_a_few_windows_are_held(classifier, tmp_path, monkeypatch):
    long = Video(str(write_video(tmp_path / "long.avi", 40)), "a")
    clips = dataclasses.replace(classifier.clips, frames=1)
    ahead, most = [0], [0]

    class Counting(VideoReader):
        def windows(self, *arguments):
            for window in super().windows(*arguments):
                ahead[0] += 1
                most[0] = max(most[0], ahead[0])
                yield window

    def score(clips):
        time.sleep(0.02)
        ahead[0] -= len(clips)
        return read_number(clips)

    of = dataclasses.replace(classifier.eval, batch_size=2)
    own = dataclasses.replace(classifier, clips=clips, eval=of, score=score)
    (found,) = scoring.score(own, Counting(0, 0), [long])
    assert len(found.window_scores) == 40
    assert most[0] <= 2 * 2 + 4 + 2  # two steps, the queue, and what is in hand


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.full((5, len(CLASSES)), np.nan), "not finite"),
        (np.full((5, len(CLASSES)), 3.0), "no probabilities"),
        (np.full((5, 2), 0.5), "2 scores for 40 classes"),
    ],
)
def test_a_model_that_gives_nonsense_is_named(classifier, videos, wrong, said):
    own = dataclasses.replace(classifier, score=lambda clips: wrong[: len(clips)])
    with pytest.raises(scoring.ModelError, match=f"The model model gives .*{said}"):
        list(scoring.score(own, VideoReader(0, 0), videos))


def test_an_error_of_ours_in_a_thread_is_not_swallowed(classifier, videos):
    class Failing(VideoReader):
        def windows(self, *arguments):
            raise ZeroDivisionError("a mistake in the code")

    with pytest.raises(ZeroDivisionError, match="a mistake"):
        list(scoring.score(classifier, Failing(0, 0), videos))
