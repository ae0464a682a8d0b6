"""What makes clips in the benchmark: our loader, the floor below it, and other loaders.

Libraries are imported in the contender's own process only. Others seek, decode and convert; the cut
is ours. Each opens the file anew for every clip, as a loader of a large data set must, decodes in
one thread, and must give the very frames that were asked for.
"""

import bisect
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips.draws import Draw, Task
from benchmarks.turns import Contender, Worker, import_tensorflow, one_by_one
from keras_r3d.data.decoding import pixels
from keras_r3d.data.decoding.frame_folder import timed_frames
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.store import Store, StoreReader, jpeg, levels
from keras_r3d.data.store.reader import compressed
from keras_r3d.system.errors import R3DError
from keras_r3d.system.opencv import cv2

_ROWS = 240
# Of Pillow, 4:2:0: files about as large as `ffmpeg -q:v 3` writes. (FFmpeg's default aims at a bit
# rate, and after the first frames its files are a third to a quarter of that.)
_QUALITY = 80
_MEAN = np.array([114.7748, 107.7354, 99.4750], np.float32).reshape(3, 1, 1)


def _start_ours(task: Task, *, from_store: bool = False, clips_per_pass: int = 1) -> Worker:
    """Our loader as training uses it; with one clip a pass it makes those of `draws.plan`."""
    import_tensorflow()
    from keras_r3d.data import pipeline

    recipe, videos = task.recipe, [source.video for source in task.sources]
    reader: Reader = VideoReader(recipe.clips.short_side or 0, 0.0)
    if from_store:
        reader = StoreReader(Store(task.store))
        videos = [source.stored for source in task.sources if source.stored is not None]
    for video in videos:
        reader.count(video)
    stream = pipeline.training_clips(
        *(reader, videos, task.classes, recipe.clips),
        batch_size=task.batch_size,
        seed=recipe.train.seed,
        balanced=recipe.videos.balanced,
        clips_per_pass=clips_per_pass,
    )
    batches = iter(stream)

    def run(draws: Sequence[Draw]) -> None:
        for _ in range(len(draws) // task.batch_size):
            next(batches)

    return Worker(run)


def _start_jpegs(task: Task, *, memory_kept: bool = False) -> Worker:
    """The floor of a store: decodes the very JPEGs that our loader cuts; reading is not timed."""
    if memory_kept:  # between clips, as our loader has it
        pixels.keep_buffers()
    store, size = Store(task.store), task.recipe.clips.image_size
    jpegs: list[tuple[jpeg.Bytes, int]] = []

    def ready(draws: Sequence[Draw]) -> None:
        jpegs.clear()
        for draw in draws:
            assert draw.source.stored is not None
            number = store.numbers[draw.source.stored]
            sizes = store.sizes(number)
            place = levels.choose(draw.crop(*sizes[0]), sizes, size)
            numbers = np.unique(draw.numbers - draw.source.first)
            windows = compressed(store, number, numbers, place, sizes[place.level])
            jpegs.extend((window.jpeg, place.shrink) for window in windows)

    def run(draws: Sequence[Draw]) -> None:
        for data, shrink in jpegs:
            cv2.imdecode(data, jpeg.SHRUNK[shrink] | cv2.IMREAD_COLOR_RGB)

    return Worker(run, ready)


def _start_decoding(task: Task) -> Worker:
    """The floor without seeking: decodes from the start to the clip's last frame, no conversion."""

    def run(draws: Sequence[Draw]) -> None:
        for draw in draws:
            file = VideoFile(draw.source.video.path)
            index = dataclasses.replace(file.index(), stamps=None)  # which tell where to seek
            for _ in file.frames(index, draw.numbers.max(keepdims=True)):
                pass

    return Worker(run)


def _cutting(read: Callable[[str, NDArray[np.int64]], Frame]) -> Worker:
    """Returns a worker that cuts clips from frames that another library reads."""
    return one_by_one(lambda draw: draw.cut(read(draw.source.video.path, draw.numbers)))


def _start_pyav(task: Task) -> Worker:
    """Decodes from the last key frame before the clip; times of all frames are known beforehand."""
    import av

    def time_of(part: Any) -> int:  # AVI has decoding times only
        return part.dts if part.pts is None else part.pts

    times: dict[str, list[int]] = {}
    keys: dict[str, list[int]] = {}
    for source in task.sources:
        path, frames = source.video.path, source.frames_in_file
        with av.open(path) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        times[path] = sorted(time_of(packet) for packet in packets)
        keys[path] = sorted(time_of(packet) for packet in packets if packet.is_keyframe)
        if len(packets) != frames:
            raise R3DError(f"{path} has {len(packets)} packets, but {frames} frames decode.")

    def read(path: str, numbers: NDArray[np.int64]) -> Frame:
        shown = [times[path][number] for number in numbers]
        distinct, places = np.unique(shown, return_inverse=True)
        frames: list[Frame] = []
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            key = bisect.bisect_right(keys[path], distinct[0]) - 1
            if key > 0:
                container.seek(keys[path][key], stream=stream)
            for frame in container.decode(stream):
                if time_of(frame) == distinct[len(frames)]:
                    frames.append(frame.to_ndarray(format="rgb24"))
                    if len(frames) == len(distinct):
                        return np.stack(frames)[places]
        raise R3DError(f"{path}: the frame at time {distinct[len(frames)]} did not come.")

    return _cutting(read)


def _start_decord(task: Task) -> Worker:
    """`get_batch` of a `VideoReader`, which reads the index of the file when it opens it."""
    import decord

    def read(path: str, numbers: NDArray[np.int64]) -> Frame:
        reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        return reader.get_batch(numbers).asnumpy()

    return _cutting(read)


def _start_torchcodec(task: Task) -> Worker:
    """`get_frames_at` of a `VideoDecoder` in exact mode, which scans the file when it opens it."""
    import torch
    from torchcodec import decoders

    torch.set_num_threads(1)
    options = {"dimension_order": "NHWC", "num_ffmpeg_threads": 1, "seek_mode": "exact"}

    def read(path: str, numbers: NDArray[np.int64]) -> Frame:
        decoder = decoders.VideoDecoder(path, **options)
        return decoder.get_frames_at(numbers.tolist()).data.numpy()

    return _cutting(read)


def _start_authors(task: Task) -> Worker:
    """The loader of the paper's authors, as it worked in 2017, written anew.

    Every video is unpacked once into JPEG files of 240 rows; frames of a clip are opened with
    Pillow, cut and scaled one by one, made float32 and put together. At
    https://github.com/kenshohara/3D-ResNets-PyTorch FFmpeg writes them, PyTorch holds the arrays.
    """
    from PIL import Image

    rows, columns = task.recipe.clips.image_size
    folders: dict[str, Path] = {}
    for path in dict.fromkeys(source.video.path for source in task.sources):
        folders[path] = folder = Path(task.scratch) / str(len(folders))
        folder.mkdir()
        for number, (_, frame) in enumerate(timed_frames(path), start=1):
            whole = Image.fromarray(frame)
            width = max(1, round(whole.width * _ROWS / whole.height))
            image = whole.resize((width, _ROWS), Image.Resampling.BICUBIC)
            image.save(folder / f"image_{number:05}.jpg", quality=_QUALITY)

    def clip(draw: Draw) -> NDArray[np.float32]:
        images, frames = [], []
        for number in draw.numbers:
            name = f"image_{number + 1:05}.jpg"
            with (folders[draw.source.video.path] / name).open("rb") as file:
                images.append(Image.open(file).convert("RGB"))
        crop = draw.crop(images[0].height, images[0].width)
        box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
        for image in images:
            image = image.crop(box).resize((columns, rows), Image.Resampling.BILINEAR)
            if crop.flip:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            pixels = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
            frames.append(pixels.astype(np.float32) - _MEAN)
        return np.ascontiguousarray(np.stack(frames).transpose(1, 0, 2, 3))

    def show(draw: Draw) -> Frame:
        pixels = clip(draw).transpose(1, 0, 2, 3) + _MEAN
        return np.rint(pixels).astype(np.uint8).transpose(0, 2, 3, 1)

    return Worker(one_by_one(clip).run, show=show)


_TENSORFLOW = ("tensorflow",)
_TORCHCODEC = ("torchcodec", "torchcodec.decoders", "torch")
_PASSES, _STORE, _KEPT = {"clips_per_pass": 16}, {"from_store": True}, {"memory_kept": True}
FROM_ITS_VIDEOS = (  # where the videos of a store are at hand
    Contender("keras_r3d, from videos", _start_ours, _TENSORFLOW),
    # Other clips than the draws, as many.
    Contender("the same, 16 clips a pass", _start_ours, _TENSORFLOW, _PASSES, 4),
    Contender("PyAV", _start_pyav, ("av",)),
    Contender("decord", _start_decord, ("decord",)),
    Contender("torchcodec", _start_torchcodec, _TORCHCODEC),
    Contender("the authors', JPEG files", _start_authors, ("PIL", "PIL.Image")),
)
DECODING_ALONE = Contender("decoding alone, PyAV", _start_decoding, ("av",))
# The first is ours, the second its floor.
FROM_VIDEOS = (FROM_ITS_VIDEOS[0], DECODING_ALONE, *FROM_ITS_VIDEOS[1:])
FROM_STORE = (
    Contender("keras_r3d, from the store", _start_ours, _TENSORFLOW, _STORE, 16),
    Contender("decoding those JPEGs alone", _start_jpegs, ("cv2",), pace=16),
    Contender("the same, memory kept", _start_jpegs, ("cv2",), _KEPT, 16),
)
