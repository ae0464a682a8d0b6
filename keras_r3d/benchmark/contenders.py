"""What makes clips in the benchmark: our loader, the floor below it, and the shape of any other.

A contender is imported and made in a process of its own (process.py), so the libraries it brings
are imported there only, inside `__init__`.
"""

import abc
import dataclasses
import os
from collections.abc import Sequence
from typing import ClassVar

from keras_r3d.benchmark.draws import Draw, Source
from keras_r3d.data import video
from keras_r3d.data.reader import VideoReader
from keras_r3d.data.video import Frame
from keras_r3d.recipe import Data


@dataclasses.dataclass(frozen=True)
class Task:
    """What a contender is told before the first clip.

    Attributes:
        sources: the videos that all draws are from.
        scratch: an empty folder for files it needs.
    """

    sources: Sequence[Source]
    classes: Sequence[str]
    data: Data
    batch_size: int
    seed: int
    scratch: str


class Contender(abc.ABC):
    """Makes clips as fast as it can.

    Attributes:
        name: as the report shows it.
        modules: what it imports; the report gives the version of the first.
    """

    name: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def __init__(self, task: Task):
        """Opens, indexes, renders: all that is not timed."""

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


class FromVideos(Contender):
    """Our loader as training uses it: batches of `tf.data`, straight from the videos.

    It draws its clips itself: those that `draws.plan` gives for its seed.
    """

    name = "keras_r3d, from videos"
    modules = ("tensorflow",)

    def __init__(self, task: Task):
        import tensorflow as tf

        from keras_r3d.data import pipeline

        cores = len(os.sched_getaffinity(0))
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_inter_op_parallelism_threads(cores)
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        reader = VideoReader(task.data.short_side, task.data.cache_gib)
        videos = [source.video for source in task.sources]
        for one in videos:
            reader.count(one)
        self._batch_size = task.batch_size
        self._batches = iter(
            pipeline.training_clips(
                reader,
                videos,
                task.classes,
                task.data,
                batch_size=task.batch_size,
                seed=task.seed,
            )
        )

    def run(self, draws: Sequence[Draw]) -> None:
        for _ in range(len(draws) // self._batch_size):
            next(self._batches)


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
        for number, _ in enumerate(video.Decoder(draw.source.video.path)):
            if number == last:
                break
        return None

    def show(self, draw: Draw) -> None:
        return None
