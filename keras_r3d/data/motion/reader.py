"""Rendered motion in the form of labeled videos, as training and evaluation read them."""

import os
import zlib
from collections.abc import Sequence

import numpy as np

from keras_r3d.data.annotations import Annotations, Video
from keras_r3d.data.decoding.reader import Cut, Reader, Seconds
from keras_r3d.data.motion.rendering import CLASSES, render
from keras_r3d.data.sampling.cropping import Crop
from keras_r3d.system.errors import VideoError

URL = "motion://"
_ENDLESS = 2**40  # frames of a training video: each begins another clip
_PER_CLASS = {"validation": 5, "test": 30}
_FPS = 16


def annotations() -> Annotations:
    """Returns the rendered motions by split: for training, one endless video of each class."""
    splits = {"train": [Video(f"{URL}train/{name}", name) for name in CLASSES]}
    splits |= {
        split: [
            Video(f"{URL}{split}/{name}/{number}", name)
            for name in CLASSES
            for number in range(count)
        ]
        for split, count in _PER_CLASS.items()
    }
    return Annotations(splits, list(CLASSES), [])


class MotionReader(Reader):
    """Renders clips instead of reading them.

    A clip is a pure function of its video's name and the number of its first frame. It is never
    cropped, but rendered in its final size. `frames` are those of a clip, and of a validation or
    test video.
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.threads = len(os.sched_getaffinity(0))
        self._frames = frames

    def count(self, video: Video) -> int:
        return _ENDLESS if video.path.startswith(f"{URL}train/") else self._frames

    def cut(self, video: Video, cuts: Sequence[Cut]) -> list[Crop]:
        crops = []
        for cut in cuts:
            frames, size = cut.out.shape[:2]
            seed = [zlib.crc32(video.path.encode()), int(cut.numbers[0])]
            cut.out[...] = render(video.label, np.random.default_rng(seed), frames, size)
            crops.append(Crop(0, 0, size, size))
        return crops

    def seconds(self, video: Video) -> Seconds:
        """Returns when each frame of a validation or test video is shown."""
        if self.count(video) == _ENDLESS:
            raise VideoError(
                f"{video.path} is rendered without end: take the split 'validation' or 'test'."
            )
        return np.arange(self.count(video)) / _FPS

    def check(self, video: Video) -> None:
        pass  # every motion can be rendered
