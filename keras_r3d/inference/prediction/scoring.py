"""Scores videos: threads decode them, each once and in order, while the model scores.

Windows of different videos share the model's steps, and the next step's are collected while it
takes one. However the threads take turns, the windows come to the model in the same order: one of
each video that is being decoded, then the next of each.
"""

import collections
import dataclasses
import functools
import itertools
import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np

from keras_r3d.data import clips as cutting
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.decoding.reader import Reader, Window
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.ahead import Ahead
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.system.errors import ModelError, VideoError

TIMEOUT = 300.0  # seconds
_MOST_VIDEOS = 16  # decoded at a time
_WINDOWS_AHEAD = 4  # of each
_SLIDING_AHEAD = 64  # of windows that are cut many at a time


@dataclasses.dataclass(frozen=True)
class Sliding:
    """Windows that slide over a video.

    Attributes:
        step: from one to the next, as a share of a window.
        seconds: length of each; None of consecutive clips.
    """

    step: float
    seconds: float | None


def score(
    classifier: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    *,
    timeout: float = TIMEOUT,
    probabilities: bool = True,
    keep_views: bool = False,
    sliding: Sliding | None = None,
) -> Iterator[Prediction]:
    """Scores videos; each comes once, in their order, as soon as it and those before are done.

    Args:
        timeout: seconds after which a video that gives no more window is given up.
        probabilities: what the model must give (else ModelError); or any finite numbers.
        keep_views: gives the scores of each view, not their average.
        sliding: the windows; None are those of an evaluation.
    """
    parts: dict[int, _Parts] = {}
    following = 0
    with ThreadPoolExecutor(1, "network") as thread:
        network = _Network(classifier, probabilities, keep_views, thread)
        for number, item in windows(classifier, reader, videos, timeout, sliding):
            part = parts.setdefault(number, _Parts())
            if isinstance(item, Window):
                part.seconds.append((item.start_seconds, item.end_seconds))
                part.frames = max(part.frames, len(np.unique(item.frame_numbers)))
                network.take(item, part.scores)
            else:
                part.expected, part.error = len(part.seconds), item
            while (p := parts.get(following)) is not None and len(p.scores) == p.expected:
                yield _result(classifier, reader, videos[following], parts.pop(following))
                following += 1
        network.step()  # the one with what is left
        network.step()
    for number in sorted(parts):
        yield _result(classifier, reader, videos[number], parts[number])


@dataclasses.dataclass
class _Parts:
    """The windows of a video as far as they have come.

    Attributes:
        expected: number of its windows; -1 while that is not known.
        frames: most frames that a window shows without looping.
    """

    scores: list[np.ndarray] = dataclasses.field(default_factory=list)
    seconds: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    expected: int = -1
    frames: int = 0
    error: str = ""


class _Network:
    """Scores windows in a thread of its own, while the next are collected."""

    def __init__(
        self, classifier: Classifier, probabilities: bool, keep_views: bool, thread: Executor
    ):
        self._classifier, self._thread = classifier, thread
        self._probabilities, self._keep_views = probabilities, keep_views
        # Each window's views, and the list that gets its scores.
        self._collected: list[tuple[Frame, list[np.ndarray]]] = []
        self._taken = self._collected
        self._scores: Future[list[np.ndarray]] | None = None

    def take(self, window: Window, scores: list[np.ndarray]) -> None:
        """Takes a window, whose scores are appended later; begins a step when there are enough."""
        self._collected.append((window.pixels, scores))
        if sum(len(views) for views, _ in self._collected) >= self._classifier.eval.batch_size:
            self.step()

    def step(self) -> None:
        """Waits for the scores of the step that is taken, and begins one with what is collected."""
        if self._scores is not None:
            for (_, scores), value in zip(self._taken, self._scores.result(), strict=True):
                scores.append(value)
        self._taken, self._collected = self._collected, []
        windows = [views for views, _ in self._taken]
        self._scores = self._thread.submit(self._score, windows) if windows else None

    def _score(self, windows: list[Frame]) -> list[np.ndarray]:
        scores = self._classifier.score(np.concatenate(windows))
        _check(self._classifier, scores, self._probabilities)
        parts = np.split(scores, np.cumsum([len(views) for views in windows])[:-1])
        if self._keep_views:
            return parts
        return [self._classifier.average(views).astype(np.float32) for views in parts]


def _check(classifier: Classifier, scores: np.ndarray, probabilities: bool) -> None:
    wrong = None
    if scores.shape[1] != len(classifier.classes):
        wrong = f"{scores.shape[1]} scores for {len(classifier.classes)} classes"
    elif not np.isfinite(scores).all():
        wrong = "scores that are not finite numbers"
    elif probabilities and (scores.min() < -1e-3 or scores.max() > 1 + 1e-3):
        wrong = f"scores from {scores.min():.3g} to {scores.max():.3g}, no probabilities"
    if wrong:
        raise ModelError(f"The model {classifier.name} gives {wrong}.")


def _result(classifier: Classifier, reader: Reader, video: Video, parts: _Parts) -> Prediction:
    classes, frames = classifier.classes, classifier.clips.frames
    problem = reader.problem(video)
    if parts.error and not parts.scores:
        return Prediction.error(video, classes, parts.error, classifier.thresholds)
    status, detail = "ok", ""
    if parts.error:
        status, detail = "partial", parts.error
    elif problem is not None and problem.status == "short":
        status, detail = "partial", problem.detail
    elif parts.frames < frames:
        count = f"{parts.frames} frame{'s' * (parts.frames != 1)}"
        if fps := classifier.clips.sampling.fps:
            count += f" at {fps:g}/s"
        if (stride := getattr(classifier.clips.sampling, "stride", 1)) > 1:
            count += f" at a stride of {stride}"
        detail = f"{video.name}: {count}, repeated to the {frames} of a clip."
    scores = np.stack(parts.scores)
    mean, seconds = classifier.average(scores.reshape(-1, len(classes))), np.array(parts.seconds)
    return Prediction(
        *(video, status, detail, classes, mean, scores, seconds, classifier.thresholds)
    )


def windows(
    classifier: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    timeout: float,
    sliding: Sliding | None = None,
) -> Iterator[tuple[int, Window | str]]:
    """Yields number and window of videos in turns; after the last of each, "" or what is wrong."""
    clips, protocol = classifier.clips, classifier.eval

    def start(number: int) -> tuple[int, Ahead[Window]]:
        arguments, views = (reader, videos[number], clips), protocol.views
        decode = functools.partial(cutting.windows, *arguments, protocol.window_count, views)
        most = _WINDOWS_AHEAD
        if sliding is not None:
            places = sliding.step, sliding.seconds
            decode = functools.partial(cutting.sliding_windows, *arguments, *places, views)
            most = _SLIDING_AHEAD
        name = f"windows of {videos[number].name}"
        return number, Ahead(decode, name=name, most=most, timeout=timeout)

    numbers = iter(range(len(videos)))
    most = min(reader.threads, _MOST_VIDEOS)
    running = collections.deque(start(number) for number in itertools.islice(numbers, most))
    try:
        while running:
            number, stream = running.popleft()
            item: Window | str
            try:
                item = next(stream, "")
            except VideoError as error:
                item = str(error)
            except queue.Empty:
                item = (
                    f"{videos[number].name}: nothing decoded in {timeout:g} s: it was given up. A "
                    "slow disk or a very long video? Raise the timeout."
                )
            if isinstance(item, Window):
                running.append((number, stream))
            elif (following := next(numbers, None)) is not None:
                running.append(start(following))
            yield number, item
    finally:
        for _, stream in running:
            stream.stop()
        for _, stream in running:  # a process that ends while they decode is aborted
            stream.join()
