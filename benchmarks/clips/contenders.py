"""What makes clips in the benchmark: our loader, the floor below it, and the shape of any other.

A contender is imported and made in a process of its own (process.py), so the libraries it brings
are imported there only, inside `__init__`.
"""

import abc
import dataclasses
import os
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from benchmarks.clips.draws import Draw, Source
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import buffers, decoder
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.store import Store, StoreReader, jpeg, levels
from keras_r3d.data.store.reader import compressed
from keras_r3d.recipe import Clips
from keras_r3d.system.opencv import cv2


@dataclasses.dataclass(frozen=True)
class Task:
    """What a contender is told before the first clip.

    Attributes:
        sources: the videos that all draws are from.
        scratch: an empty folder for files it needs.
        store: path or URL of the clip store, if there is one.
        balanced: whether as many clips of each class are drawn.
    """

    sources: Sequence[Source]
    classes: Sequence[str]
    clips: Clips
    batch_size: int
    seed: int
    scratch: str
    store: str = ""
    balanced: bool = False


class Contender(abc.ABC):
    """Makes clips as fast as it can.

    Attributes:
        name: as the report shows it.
        modules: what it imports; the report gives the version of the first.
        pace: makes so many times more clips in a turn; what is ready beforehand counts for less.
    """

    name: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ()
    pace: ClassVar[int] = 1

    @abc.abstractmethod
    def __init__(self, task: Task):
        """Opens, indexes, renders: all that is not timed."""

    def ready(self, draws: Sequence[Draw]) -> None:  # noqa: B027 (most need not)
        """Does what is not timed, before `run` is called with the same draws."""

    @abc.abstractmethod
    def run(self, draws: Sequence[Draw]) -> None:
        """Makes the clip of each draw; they are whole batches."""

    def show(self, draw: Draw) -> Frame | None:
        """Returns the clip of a draw, uint8 `(frames, size, size, 3)`, RGB, if it makes that one.

        It is compared with what our own decoder gives.
        """
        return None


class ClipByClip(Contender):
    """A contender that makes the clips of the draws one after the other."""

    def run(self, draws: Sequence[Draw]) -> None:
        for draw in draws:
            self.clip(draw)

    @abc.abstractmethod
    def clip(self, draw: Draw) -> object:
        """Makes one clip, uint8 `(frames, size, size, 3)`, RGB, unless `show` says otherwise."""

    def show(self, draw: Draw) -> Frame | None:
        return self.clip(draw)  # type: ignore[return-value]


class OurLoader(Contender):
    """Our loader as training uses it: batches of `tf.data`.

    It draws its clips itself: those that `draws.plan` gives for its seed.
    """

    modules = ("tensorflow",)
    clips_per_pass = 1

    def __init__(self, task: Task):
        import tensorflow as tf

        from keras_r3d.data import pipeline

        cores = len(os.sched_getaffinity(0))
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_inter_op_parallelism_threads(cores)
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        reader, videos = self.source(task)
        for one in videos:
            reader.count(one)
        self._batch_size = task.batch_size
        self._batches = iter(
            pipeline.training_clips(
                reader,
                videos,
                task.classes,
                task.clips,
                batch_size=task.batch_size,
                seed=task.seed,
                balanced=task.balanced,
                clips_per_pass=self.clips_per_pass,
            )
        )

    def source(self, task: Task) -> tuple[Reader, list[Video]]:
        """Returns the videos and what reads them."""
        videos = [source.video for source in task.sources]
        return VideoReader(task.clips.short_side or 0, 0.0), videos

    def run(self, draws: Sequence[Draw]) -> None:
        for _ in range(len(draws) // self._batch_size):
            next(self._batches)


class FromVideos(OurLoader):
    """One clip a pass over a video."""

    name = "keras_r3d, from videos"


class FromVideosShared(OurLoader):
    """Sixteen clips a pass: other clips than the draws, as many."""

    name = "the same, 16 clips a pass"
    pace = 4
    clips_per_pass = 16


class FromStore(OurLoader):
    """The same clips from a store."""

    name = "keras_r3d, from the store"
    pace = 16

    def source(self, task: Task) -> tuple[Reader, list[Video]]:
        videos = [source.stored for source in task.sources if source.stored is not None]
        return StoreReader(Store(task.store)), videos


class JpegAlone(Contender):
    """The floor of a store: the very JPEGs that our loader cuts, decoded and dropped.

    Reading and cutting them is not timed.
    """

    name = "decoding those JPEGs alone"
    modules = ("cv2",)
    pace = 16

    def __init__(self, task: Task):
        self._store = Store(task.store)
        self._size = task.clips.size
        self._jpegs: list[tuple[jpeg.Bytes, int]] = []

    def ready(self, draws: Sequence[Draw]) -> None:
        self._jpegs = []
        for draw in draws:
            assert draw.source.stored is not None
            number = self._store.numbers[draw.source.stored]
            sizes = self._store.sizes(number)
            place = levels.choose(draw.crop(*sizes[0]), sizes, self._size)
            wanted = np.unique(draw.numbers - draw.source.first)
            windows = compressed(self._store, number, wanted, place, sizes[place.level])
            self._jpegs += [(window.jpeg, place.shrink) for window in windows]

    def run(self, draws: Sequence[Draw]) -> None:
        for data, shrink in self._jpegs:
            cv2.imdecode(data, jpeg.SHRUNK[shrink] | cv2.IMREAD_COLOR_RGB)


class JpegAloneKept(JpegAlone):
    """The same with memory kept between clips, as our loader has it."""

    name = "the same, memory kept"

    def __init__(self, task: Task):
        buffers.keep_buffers()
        super().__init__(task)


class DecodingAlone(ClipByClip):
    """The floor without seeking: OpenCV decodes from the start to the clip's last frame.

    No frame is converted to RGB.
    """

    name = "decoding alone, OpenCV"
    modules = ("cv2",)

    def __init__(self, task: Task):
        pass

    def clip(self, draw: Draw) -> object:
        last = draw.numbers.max()
        for number, _ in enumerate(decoder.Decoder(draw.source.video.path)):
            if number == last:
                break
        return None

    def show(self, draw: Draw) -> None:
        return None
