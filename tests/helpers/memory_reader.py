"""Videos in memory, and what reads them."""

import numpy as np

from keras_r3d import recipe
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import pixels
from keras_r3d.data.decoding.flow import turn_back
from keras_r3d.data.decoding.reader import Reader

VIDEO = Video("video.avi", "")


class MemoryReader(Reader):
    """Reads one video, which is in memory."""

    def __init__(self, frames: np.ndarray, clips: recipe.Clips):
        super().__init__()
        self.channels = frames.shape[-1]
        if clips.input == "rgb":
            size = pixels.shrunk(frames[0], clips.short_side or 0)
            frames = np.stack([pixels.resize(frame, *size) for frame in frames])
        self._frames = frames

    def count(self, video):
        return len(self._frames)

    def check(self, video):
        pass

    def seconds(self, video):
        return np.arange(len(self._frames)) / 25

    def cut(self, source, cuts):
        crops = [cut.crop_of(*self._frames.shape[1:3]) for cut in cuts]
        for cut, c in zip(cuts, crops, strict=True):
            for number, out in zip(cut.numbers, cut.out, strict=True):
                frame = self._frames[number]
                pixels.fill(out, frame, c.top, c.left, c.height, c.width, c.flip)
                if c.flip and self.channels == 2:
                    turn_back(out)
        return crops
