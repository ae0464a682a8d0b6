"""Making a clip store against decoding, scaling and encoding the same frames, and nothing else."""

import itertools
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import interleaved
from keras_r3d.data import annotations
from keras_r3d.data.annotations import Annotations, Video
from keras_r3d.data.decoding import buffers, decoder
from keras_r3d.data.store import levels, planning, preparing
from keras_r3d.data.store.encoding import StoreSettings
from keras_r3d.recipe.clips import Clips, MultiScale
from keras_r3d.system import files
from keras_r3d.system.opencv import cv2

_QUALITY = 90


def run(data_dir: str, clips: Clips, *, most_videos: int, rounds: int, json: str | None) -> None:
    """Measures and prints. Both run on one core.

    Args:
        clips: multiscale ones, whose crops the levels are made for.
        most_videos: of the data folder, that are prepared in each turn.
        json: file that the figures are also written to.

    Raises:
        R3DError: the data cannot be read.
    """
    buffers.keep_buffers()  # as preparing does
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    cv2.setNumThreads(1)
    found = annotations.read(data_dir, annotations.AUTO)
    chosen = found.split("train")[:most_videos]
    assert isinstance(clips.crop, MultiScale)
    settings = StoreSettings(levels.for_crops(clips.size, clips.crop.scales), _QUALITY, 0.0)
    some = Annotations({"train": chosen}, found.classes, [])
    work = planning.job(some, annotations.root(data_dir), settings)
    frames = sum(decoder.probe(one.path).frame_count for one in chosen)
    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as scratch:
        numbers = itertools.count()

        def prepare() -> None:
            preparing.prepare(
                work,
                Path(scratch) / str(next(numbers)),
                processes=1,
                limit_seconds=3600,
                shard_bytes=2**31,
                progress=lambda done, of: None,
            )

        rates = interleaved(
            {"bare loop": lambda: _bare(chosen, settings), "prepare": prepare}, frames, rounds
        )
    figures = {
        "benchmark": "prepare",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"one core ({platform.machine()})",
        "data": os.path.abspath(data_dir),
        "videos": len(chosen),
        "frames": frames,
        "levels": list(settings.levels.sizes),
        "frames_per_second": rates,
        "prepare_against_bare": rates["prepare"] / rates["bare loop"],
    }
    print(f"Preparing {len(chosen)} videos, {frames} frames, at {len(settings.levels.sizes)} sizes")
    for kind, rate in rates.items():
        print(f"  {kind:18}{rate:8.1f} frames/s{rate / rates['bare loop']:8.2f}x")
    if json:
        files.write_json(json, figures)


def _bare(chosen: Sequence[Video], settings: StoreSettings) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, settings.quality, cv2.IMWRITE_JPEG_RST_INTERVAL, 1]
    for one in chosen:
        for _, frame in decoder.Decoder(one.path).timed(one.start_seconds, one.end_seconds):
            for height, width in settings.levels.of(*frame.shape[:2]):
                cv2.imencode(".jpg", decoder.resize(frame, height, width), options)
