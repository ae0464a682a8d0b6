"""Scores videos: threads decode them, each once and in order, while the model scores.

Windows of different videos share the model's steps, and the next step's are collected while it
takes one. However the threads take turns, the windows come to the model in the same order: one of
each video that is being decoded, then the next of each.
"""

import collections
import dataclasses
import itertools
import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from keras_r3d.data import clips as cutting
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.decoding.reader import Reader, Window
from keras_r3d.data.opening import file_reader
from keras_r3d.inference.models.averaging import average
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.ahead import Ahead
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.system.errors import ModelError, VideoError

TIMEOUT = 300.0  # seconds
_MOST_VIDEOS = 16  # decoded at a time
_WINDOWS_AHEAD = 4  # of each


def score_files(
    classifier: Classifier, paths: Sequence[str], timeout: float = TIMEOUT
) -> Iterator[Prediction]:
    """Scores video files, as `score` does.

    Yields:
        The same scores, to the bit on CPU, as an evaluation gives the same videos.
    """
    videos = [Video(path, "") for path in paths]
    return score(classifier, file_reader(paths, classifier.clips), videos, timeout=timeout)


def score(
    classifier: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    *,
    timeout: float = TIMEOUT,
    probabilities: bool = True,
    keep_views: bool = False,
) -> Iterator[Prediction]:
    """Scores videos; each comes once, in their order, as soon as it and those before are done.

    Args:
        timeout: seconds after which a video that gives no more window is given up.
        probabilities: what the model must give; else any finite numbers, such as embeddings.
        keep_views: gives the scores of each view, not their average.

    Raises:
        ModelError: the model gives something else.
    """
    parts: dict[int, _Parts] = {}
    following = 0
    with _Network(classifier, probabilities, keep_views) as network:
        for number, item in windows(classifier, reader, videos, timeout):
            part = parts.setdefault(number, _Parts())
            if isinstance(item, Window):
                part.seconds.append((item.start_seconds, item.end_seconds))
                part.frames = max(part.frames, len(np.unique(item.frame_numbers)))
                network.take(item, part.scores)
            else:
                part.expected, part.error = len(part.seconds), item
            while following in parts and parts[following].complete:
                yield _result(classifier, reader, videos[following], parts.pop(following))
                following += 1
        network.finish()
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

    @property
    def complete(self) -> bool:
        return len(self.scores) == self.expected


class _Network:
    """Scores windows in a thread of its own, while the next are collected."""

    def __init__(self, classifier: Classifier, probabilities: bool, keep_views: bool):
        self._classifier = classifier
        self._probabilities, self._keep_views = probabilities, keep_views
        self._thread = ThreadPoolExecutor(1, "network")
        self._collected: list[tuple[Frame, list[np.ndarray]]] = []
        self._scoring: Future[list[np.ndarray]] | None = None
        self._waiting: list[list[np.ndarray]] = []  # for these scores

    def __enter__(self) -> "_Network":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def take(self, window: Window, scores: list[np.ndarray]) -> None:
        """Takes a window; begins a step once there are enough.

        Args:
            scores: gets those of the window, later.
        """
        self._collected.append((window.pixels, scores))
        if sum(len(views) for views, _ in self._collected) >= self._classifier.eval.batch_size:
            self._begin()

    def finish(self) -> None:
        """Scores what is left."""
        if self._collected:
            self._begin()
        self._wait()

    def _begin(self) -> None:
        self._wait()
        self._scoring = self._thread.submit(self._step, [views for views, _ in self._collected])
        self._waiting = [scores for _, scores in self._collected]
        self._collected = []

    def _wait(self) -> None:
        if self._scoring is not None:
            for scores, own in zip(self._waiting, self._scoring.result(), strict=True):
                scores.append(own)
        self._scoring = None

    def _step(self, windows: list[Frame]) -> list[np.ndarray]:
        kind = self._classifier.eval.average
        pixels = np.concatenate(windows)
        scores = _checked(self._classifier, self._classifier.score(pixels), self._probabilities)
        parts = np.split(scores, np.cumsum([len(views) for views in windows])[:-1])
        if self._keep_views:
            return parts
        return [average(views, kind).astype(np.float32) for views in parts]


def _checked(classifier: Classifier, scores: np.ndarray, probabilities: bool) -> np.ndarray:
    wrong = None
    if scores.shape[1] != len(classifier.classes):
        wrong = f"{scores.shape[1]} scores for {len(classifier.classes)} classes"
    elif not np.isfinite(scores).all():
        wrong = "scores that are not finite numbers"
    elif probabilities and (scores.min() < -1e-3 or scores.max() > 1 + 1e-3):
        wrong = f"scores from {scores.min():.3g} to {scores.max():.3g}, no probabilities"
    if wrong:
        raise ModelError(f"The model {classifier.name} gives {wrong}.")
    return scores


def _result(classifier: Classifier, reader: Reader, video: Video, parts: _Parts) -> Prediction:
    classes, frames = classifier.classes, classifier.clips.frames
    problem = reader.problem(video)
    if parts.error and not parts.scores:
        return Prediction.error(video, classes, parts.error)
    status, detail = "ok", ""
    if parts.error:
        status, detail = "partial", parts.error
    elif problem is not None and problem.status == "short":
        status, detail = "partial", problem.detail
    elif parts.frames < frames:
        count = f"{parts.frames} frame{'s' * (parts.frames != 1)}"
        if (stride := getattr(classifier.clips.sampling, "stride", 1)) > 1:
            count += f" at a stride of {stride}"
        detail = f"{video.name}: {count}, repeated to the {frames} of a clip."
    scores = np.stack(parts.scores)
    return Prediction(
        source=video,
        status=status,
        detail=detail,
        labels=classes,
        scores=average(scores.reshape(-1, len(classes)), classifier.eval.average),
        window_scores=scores,
        window_seconds=np.array(parts.seconds),
    )


def windows(
    classifier: Classifier, reader: Reader, videos: Sequence[Video], timeout: float
) -> Iterator[tuple[int, Window | str]]:
    """Yields the windows of videos in turns.

    Yields:
        Number of a video and a window of it; after the last of each, "" or what went wrong.
    """
    protocol = classifier.eval

    def start(number: int) -> tuple[int, Ahead[Window]]:
        video = videos[number]

        def decode() -> Iterator[Window]:
            return cutting.windows(
                reader, video, classifier.clips, protocol.window_count, protocol.views
            )

        name = f"windows of {video.name}"
        return number, Ahead(decode, name=name, most=_WINDOWS_AHEAD, timeout=timeout)

    numbers = iter(range(len(videos)))
    running = collections.deque(
        start(number) for number in itertools.islice(numbers, min(reader.threads, _MOST_VIDEOS))
    )
    try:
        while running:
            number, stream = running.popleft()
            item = _next(stream, videos[number], timeout)
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


def _next(stream: Ahead[Window], video: Video, timeout: float) -> Window | str:
    try:
        return next(stream, "")
    except VideoError as error:
        return str(error)
    except queue.Empty:
        return (
            f"{video.name}: nothing decoded in {timeout:g} s: it was given up. A slow disk or a "
            "very long video? Raise --timeout."
        )
