"""Other libraries' way to the same clip: seek, decode, convert; then our cut.

Each opens the file anew for every clip, as a loader of a large data set must, decodes in one
thread, and must give the frames that were asked for, not ones near them.
"""

import bisect

import numpy as np

from benchmarks.clips.contenders import ClipByClip, Task
from benchmarks.clips.draws import Draw
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.system.errors import R3DError


class PyAV(ClipByClip):
    """Decodes from the last key frame before the clip; times of all frames are known beforehand."""

    name = "PyAV"
    modules = ("av",)

    def __init__(self, task: Task):
        import av

        self._av = av
        self._size = task.clips.size
        self._times: dict[str, list[int]] = {}
        self._keys: dict[str, list[int]] = {}
        for source in task.sources:
            path = source.video.path
            with av.open(path) as container:
                packets = [p for p in container.demux(video=0) if p.size]
            self._times[path] = sorted(_time(packet) for packet in packets)
            self._keys[path] = sorted(_time(packet) for packet in packets if packet.is_keyframe)
            if len(packets) != source.frames_in_file:
                raise R3DError(
                    f"{path} has {len(packets)} packets, but {source.frames_in_file} frames decode."
                )

    def clip(self, draw: Draw) -> Frame:
        path, times = draw.source.video.path, self._times[draw.source.video.path]
        keys = self._keys[path]
        wanted, places = np.unique([times[number] for number in draw.numbers], return_inverse=True)
        frames: list[Frame] = []
        with self._av.open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            key = bisect.bisect_right(keys, wanted[0]) - 1
            if key > 0:
                container.seek(keys[key], stream=stream)
            for frame in container.decode(stream):
                if _time(frame) == wanted[len(frames)]:
                    frames.append(frame.to_ndarray(format="rgb24"))
                    if len(frames) == len(wanted):
                        return draw.cut(np.stack(frames)[places], self._size)
        raise R3DError(f"{path}: the frame at time {wanted[len(frames)]} did not come.")


class Decord(ClipByClip):
    """`get_batch` of a `VideoReader`, which reads the index of the file when it opens it."""

    name = "decord"
    modules = ("decord",)

    def __init__(self, task: Task):
        import decord

        self._decord = decord
        self._size = task.clips.size

    def clip(self, draw: Draw) -> Frame:
        reader = self._decord.VideoReader(
            draw.source.video.path, ctx=self._decord.cpu(0), num_threads=1
        )
        return draw.cut(reader.get_batch(draw.numbers).asnumpy(), self._size)


class TorchCodec(ClipByClip):
    """`get_frames_at` of a `VideoDecoder` in exact mode, which scans the file when it opens it."""

    name = "torchcodec"
    modules = ("torchcodec", "torchcodec.decoders", "torch")

    def __init__(self, task: Task):
        import torch
        from torchcodec import decoders

        torch.set_num_threads(1)
        self._decoders = decoders
        self._size = task.clips.size

    def clip(self, draw: Draw) -> Frame:
        decoder = self._decoders.VideoDecoder(
            draw.source.video.path,
            dimension_order="NHWC",
            num_ffmpeg_threads=1,
            seek_mode="exact",
        )
        frames = decoder.get_frames_at(draw.numbers.tolist()).data.numpy()
        return draw.cut(frames, self._size)


def _time(one) -> int:
    """Returns the presentation time of a packet or frame; AVI has decoding times only."""
    return one.dts if one.pts is None else one.pts
