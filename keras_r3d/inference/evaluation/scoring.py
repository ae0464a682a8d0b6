"""Scoring videos: threads decode them, each once and in order, while the model scores.

Windows of different videos share the model's steps, and the next step's are collected while it
takes one. However the threads take turns, the windows
come to the model in the same order: one of each video that is under way, then the next of each.
"""

import collections
import dataclasses
import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from keras_r3d.data import clips
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.data.decoding.reader import Reader, Window
from keras_r3d.inference.models.averaging import average
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.system import threads
from keras_r3d.system.errors import ModelError, VideoError

TIMEOUT = 300.0  # seconds
_MOST_VIDEOS = 16  # decoded at a time
_WINDOWS_AHEAD = 4  # of each
_PATIENCE = 2.0  # seconds


@dataclasses.dataclass(frozen=True)
class Scored:
    """The scores of a video.

    Attributes:
        status: "ok"; "partial": it breaks in the middle, and what decodes was scored; "error": it
            has no score.
        detail: what is wrong; of a video shorter than a clip, that frames were repeated.
        window_scores: float32 `(windows, classes)`, probabilities, averaged over the views; or `(
            windows, views, classes)`, if each view's are kept.
        window_seconds: float64 `(windows, 2)`, when a window starts and ends.
        scores: float64 `(classes,)`, probabilities; NaN of an error.
    """

    video: Video
    status: str
    detail: str
    window_scores: np.ndarray
    window_seconds: np.ndarray
    scores: np.ndarray


def score(
    classifier: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    *,
    timeout: float = TIMEOUT,
    feed: Callable[[int, Window], None] | None = None,
    probabilities: bool = True,
    keep_views: bool = False,
) -> Iterator[Scored]:
    """Scores videos; each comes once, in their order, as soon as it and those before are done.

    Args:
        timeout: seconds after which a video that gives no more window is given up.
        feed: takes the number of a video and each of its windows, before it is scored.
        probabilities: what the model must give; else any finite numbers, such as embeddings.
        keep_views: gives the scores of each view, not their average.

    Raises:
        ModelError: the model gives something else.
    """
    parts: dict[int, _Parts] = {}
    ready: dict[int, Scored] = {}
    following = 0
    with _Network(classifier, parts, probabilities, keep_views) as network:
        for number, item in windows(classifier, reader, videos, timeout):
            part = parts.setdefault(number, _Parts())
            if isinstance(item, Window):
                if feed is not None:
                    feed(number, item)
                part.add(item)
                network.take(number, item)
            else:
                part.expected, part.error = len(part.seconds), item
            for done in [n for n, one in parts.items() if len(one.scores) == one.expected]:
                ready[done] = _result(classifier, reader, videos[done], parts.pop(done))
            while following in ready:
                yield ready.pop(following)
                following += 1
        network.finish()
    for number in sorted(parts):
        ready[number] = _result(classifier, reader, videos[number], parts[number])
    for number in sorted(ready):
        yield ready[number]


class _Network:
    """Scores windows in a thread of its own, while the next are collected.

    Args:
        parts: get the scores of their windows.
        probabilities, keep_views: as in `score`.
    """

    def __init__(
        self,
        classifier: Classifier,
        parts: "dict[int, _Parts]",
        probabilities: bool,
        keep_views: bool,
    ):
        self._classifier, self._parts, self._probabilities = classifier, parts, probabilities
        self._keep_views = keep_views
        self._thread = ThreadPoolExecutor(1, "network")
        self._collected: list[tuple[int, Frame]] = []
        self._clips = 0
        self._scoring: Future[list[tuple[int, np.ndarray]]] | None = None

    def __enter__(self) -> "_Network":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def take(self, number: int, window: Window) -> None:
        """Takes a window of a video; a step is taken once there are enough."""
        self._collected.append((number, window.pixels))
        self._clips += len(window.pixels)
        if self._clips >= self._classifier.eval.batch_size:
            self._begin()

    def finish(self) -> None:
        """Scores what is left."""
        if self._collected:
            self._begin()
        self._wait()

    def _begin(self) -> None:
        self._wait()
        self._scoring = self._thread.submit(self._step, self._collected)
        self._collected, self._clips = [], 0

    def _wait(self) -> None:
        for number, scores in self._scoring.result() if self._scoring else ():
            self._parts[number].scores.append(scores)
        self._scoring = None

    def _step(self, collected: list[tuple[int, Frame]]) -> list[tuple[int, np.ndarray]]:
        of = self._classifier.eval.average
        pixels = np.concatenate([views for _, views in collected])
        scores = _checked(self._classifier, self._classifier.score(pixels), self._probabilities)
        ends = np.cumsum([len(views) for _, views in collected])
        of_windows = np.split(scores, ends[:-1])
        return [
            (number, views if self._keep_views else average(views, of).astype(np.float32))
            for (number, _), views in zip(collected, of_windows, strict=True)
        ]


@dataclasses.dataclass
class _Parts:
    """What is known of a video so far.

    Attributes:
        expected: how many windows it has; -1 while that is not known.
        frames: most frames that a window shows without looping.
    """

    scores: list[np.ndarray] = dataclasses.field(default_factory=list)
    seconds: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    expected: int = -1
    frames: int = 0
    error: str = ""

    def add(self, window: Window) -> None:
        self.seconds.append((window.start_seconds, window.end_seconds))
        self.frames = max(self.frames, len(np.unique(window.frame_numbers)))


def _result(classifier: Classifier, reader: Reader, video: Video, parts: _Parts) -> Scored:
    classes = len(classifier.classes)
    problem = reader.problem(video)
    if parts.error and not parts.scores:
        nothing = np.empty((0, classes), np.float32)
        return Scored(
            *(video, "error", parts.error, nothing, np.empty((0, 2))),
            np.full(classes, np.nan),
        )
    status, detail = "ok", ""
    if parts.error:
        status, detail = "partial", parts.error
    elif problem is not None and problem.status == "short":
        status, detail = "partial", problem.detail
    elif parts.frames < classifier.data.frames:
        of_clip = classifier.data.frames
        frames = f"{parts.frames} frame{'s' * (parts.frames != 1)}"
        if classifier.data.frame_stride > 1:
            frames += f" at a stride of {classifier.data.frame_stride}"
        detail = f"{video.name}: {frames}, repeated to the {of_clip} of a clip."
    scores = np.stack(parts.scores)
    return Scored(
        *(video, status, detail, scores, np.array(parts.seconds)),
        average(scores.reshape(-1, classes), classifier.eval.average),
    )


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


class _Stream:
    """Decodes the windows of one video in a thread of its own, a few ahead."""

    def __init__(self, number: int, windows: Callable[[], Iterator[Window]], name: str):
        self.number, self.name = number, name
        self._windows = windows
        self._queue: queue.Queue[Window | str | BaseException] = queue.Queue(_WINDOWS_AHEAD)
        self._stopped = threading.Event()
        self._thread = threads.start(self._run, f"windows of {name}")

    def take(self, timeout: float) -> Window | str:
        """Returns the next window; after the last, "" or why there are no more."""
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            self.stop()
            return (
                f"{self.name}: nothing decoded in {timeout:g} s: it was given up. A slow disk or "
                "a very long video? Raise --timeout."
            )
        if isinstance(item, BaseException):
            raise item
        return item

    def stop(self) -> None:
        """Lets the thread end."""
        self._stopped.set()

    def join(self) -> None:
        """Waits for the thread, but not for one that hangs."""
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        end: str | BaseException = ""
        try:
            for window in self._windows():
                if not self._put(window):
                    return
        except VideoError as error:
            end = str(error)
        except BaseException as error:  # raised where it is waited for
            end = error
        self._put(end)

    def _put(self, item: Window | str | BaseException) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.5)
                return True
            except queue.Full:
                continue
        return False


def windows(
    classifier: Classifier, reader: Reader, videos: Sequence[Video], timeout: float
) -> Iterator[tuple[int, Window | str]]:
    """Yields the windows of videos in turns.

    Yields:
        Number of a video and a window of it; after the last of each, "" or what went wrong.
    """
    of = classifier.eval

    def open_stream(number: int) -> _Stream:
        video = videos[number]
        return _Stream(
            number,
            lambda: clips.windows(reader, video, classifier.data, of.windows, of.views),
            video.name,
        )

    numbers = iter(range(len(videos)))
    most = min(reader.threads, _MOST_VIDEOS)
    running = collections.deque(open_stream(n) for n in itertools.islice(numbers, most))
    try:
        while running:
            stream = running.popleft()
            item = stream.take(timeout)
            if isinstance(item, Window):
                running.append(stream)
            elif (number := next(numbers, None)) is not None:
                running.append(open_stream(number))
            yield stream.number, item
    finally:
        for stream in running:
            stream.stop()
        for stream in running:  # a process that ends while they decode is aborted
            stream.join()
