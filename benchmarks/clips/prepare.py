"""Making a clip store against decoding, scaling and encoding the same frames, and nothing else."""

import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.options import Options
from benchmarks.turns import in_process, report
from keras_r3d.data import annotations
from keras_r3d.data.annotations import Annotations
from keras_r3d.data.decoding import pixels
from keras_r3d.data.decoding.picture import Cutter
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.sampling.cropping import whole
from keras_r3d.data.store import levels, planning, preparing
from keras_r3d.data.store.encoding import StoreSettings
from keras_r3d.recipe.clips import MultiScale
from keras_r3d.system.errors import R3DError
from keras_r3d.system.opencv import cv2


def run(options: Options) -> dict[str, Any]:
    """Measures and prints. Both run on one core."""
    pixels.keep_buffers()  # as preparing does
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    cv2.setNumThreads(1)
    cut = options.load_recipe().clips
    if not isinstance(cut.crop, MultiScale):
        raise R3DError(
            "`recipe` must cut multiscale crops, whose scales say which sizes a store keeps. "
            f"Received: '{cut.crop.kind}'"
        )
    settings = StoreSettings(levels.for_crops(cut.image_size[0], cut.crop.scales), 90, 0.0)
    listed = annotations.read(options.data, annotations.AUTO)
    videos = listed.split("train")[: options.clips]
    chosen = Annotations({"train": videos}, listed.classes, [])
    work = planning.job(chosen, annotations.root(options.data), settings)
    frames = sum(len(VideoFile(video.path).index().seconds) for video in videos)
    numbers = itertools.count()

    def bare() -> None:
        options = [cv2.IMWRITE_JPEG_QUALITY, settings.quality, cv2.IMWRITE_JPEG_RST_INTERVAL, 1]
        for video in videos:
            file, cutter = VideoFile(video.path), Cutter()
            index = file.index()
            shown = index.shown(video.start_seconds, video.end_seconds, video.name)
            for _, picture in file.frames(index, shown):
                for size in settings.levels.of(*picture.shape):
                    scaled = np.empty((*size, 3), np.uint8)
                    cutter(scaled, picture, whole(*picture.shape))
                    cv2.imencode(".jpg", scaled, options)

    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as scratch:

        def prepare() -> None:
            preparing.prepare(
                work,
                Path(scratch) / str(next(numbers)),
                processes=1,
                limit_seconds=3600,
                shard_bytes=2**31,
                progress=lambda done, of: None,
            )

        steps = {"bare loop": bare, "prepare": prepare}
        results = in_process(steps, frames, options.rounds)
    sizes = list(settings.levels.sizes)
    title = f"Preparing {len(videos)} videos, {frames} frames, at {len(sizes)} sizes, on one core"
    rows = report(title, results, "frames", against={"of bare": "bare loop"})
    return {"contenders": rows, "videos": len(videos), "frames": frames, "levels": sizes}
