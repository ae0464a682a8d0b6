"""The data loader of the paper's authors, as it worked in 2017, written anew.

Their tools unpack every video once into JPEG files of 240 rows; a clip is 16 of these, opened with
Pillow, cut and scaled one by one, made float32 and put together.

Reference:
    Hara et al., Learning Spatio-Temporal Features with 3D Residual Networks for Action Recognition,
    ICCVW 2017, https://arxiv.org/abs/1708.07632; code at
    https://github.com/kenshohara/3D-ResNets-PyTorch. There FFmpeg writes the files, and PyTorch
    holds the arrays.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips.contenders import ClipByClip, Task
from benchmarks.clips.draws import Draw
from keras_r3d.data.decoding.decoder import Decoder, Frame

_ROWS = 240
# Of Pillow, 4:2:0: files about as large as `ffmpeg -q:v 3` writes. (FFmpeg's default aims at a bit
# rate, and after the first frames its files are a third to a quarter of that.)
_QUALITY = 80
_MEAN = np.array([114.7748, 107.7354, 99.4750], np.float32).reshape(3, 1, 1)


class AuthorsLoader(ClipByClip):
    """Reads one JPEG file for each frame."""

    name = "the authors', JPEG files"
    modules = ("PIL", "PIL.Image")

    def __init__(self, task: Task):
        from PIL import Image

        self._image = Image
        self._size = task.clips.size
        self._folders: dict[str, Path] = {}
        for source in task.sources:
            if source.video.path not in self._folders:
                folder = Path(task.scratch) / str(len(self._folders))
                folder.mkdir()
                self._folders[source.video.path] = folder
                self._unpack(source.video.path, folder)

    def _unpack(self, path: str, folder: Path) -> None:
        for number, (_, bgr) in enumerate(Decoder(path).timed(), start=1):
            frame = np.ascontiguousarray(bgr[..., ::-1])
            height, width = frame.shape[:2]
            size = max(1, round(width * _ROWS / height)), _ROWS
            image = self._image.fromarray(frame).resize(size, self._image.Resampling.BICUBIC)
            image.save(folder / f"image_{number:05}.jpg", quality=_QUALITY)

    def clip(self, draw: Draw) -> NDArray[np.float32]:
        """Returns float32 `(3, frames, size, size)`, the mean taken off."""
        folder = self._folders[draw.source.video.path]
        frames = []
        for number in draw.numbers:
            with (folder / f"image_{number + 1:05}.jpg").open("rb") as file:
                image = self._image.open(file).convert("RGB")
            crop = draw.crop(image.height, image.width)
            image = image.crop(
                (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
            )
            image = image.resize((self._size, self._size), self._image.Resampling.BILINEAR)
            if crop.flip:
                image = image.transpose(self._image.Transpose.FLIP_LEFT_RIGHT)
            pixels = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
            frames.append(pixels.astype(np.float32) - _MEAN)
        return np.ascontiguousarray(np.stack(frames).transpose(1, 0, 2, 3))

    def show(self, draw: Draw) -> Frame:
        clip = self.clip(draw).transpose(1, 0, 2, 3) + _MEAN
        return np.rint(clip).astype(np.uint8).transpose(0, 2, 3, 1)
