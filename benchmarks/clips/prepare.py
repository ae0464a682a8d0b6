"""Making a clip store against decoding, scaling and encoding the same frames, and nothing else."""

import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.turns import interleaved
from keras_r3d import recipe as recipes
from keras_r3d.data import annotations
from keras_r3d.data.annotations import Annotations
from keras_r3d.data.decoding import buffers, decoder
from keras_r3d.data.store import levels, planning, preparing
from keras_r3d.data.store.encoding import StoreSettings
from keras_r3d.recipe.clips import MultiScale
from keras_r3d.system.opencv import cv2


def run(
    data: str,
    *,
    recipe: str = "kinetics34",
    overrides: Sequence[str] = (),
    clips: int = 64,
    rounds: int = 5,
) -> dict[str, Any]:
    """Measures and prints. Both run on one core.

    Args:
        data: folder of videos, or a list of them.
        recipe: recipe whose multiscale crops the levels are made for.
        overrides: changes of recipe keys: clips.frames=8. May be repeated.
        clips: most videos that are prepared in each turn.
        rounds: turns of each contender.
    """
    buffers.keep_buffers()  # as preparing does
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    cv2.setNumThreads(1)
    cut = recipes.load(recipe, overrides).clips
    assert isinstance(cut.crop, MultiScale)
    settings = StoreSettings(levels.for_crops(cut.size, cut.crop.scales), 90, 0.0)
    listed = annotations.read(data, annotations.AUTO)
    videos = listed.split("train")[:clips]
    chosen = Annotations({"train": videos}, listed.classes, [])
    work = planning.job(chosen, annotations.root(data), settings)
    frames, numbers = (
        sum(decoder.probe(video.path).frame_count for video in videos),
        itertools.count(),
    )

    def bare() -> None:
        options = [cv2.IMWRITE_JPEG_QUALITY, settings.quality, cv2.IMWRITE_JPEG_RST_INTERVAL, 1]
        for video in videos:
            timed = decoder.Decoder(video.path).timed(video.start_seconds, video.end_seconds)
            for _, frame in timed:
                for height, width in settings.levels.of(*frame.shape[:2]):
                    cv2.imencode(".jpg", decoder.resize(frame, height, width), options)

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

        rates = interleaved({"bare loop": bare, "prepare": prepare}, frames, rounds)
    sizes = list(settings.levels.sizes)
    print(f"Preparing {len(videos)} videos, {frames} frames, at {len(sizes)} sizes, on one core")
    for kind, rate in rates.items():
        print(f"  {kind:18}{rate:8.1f} frames/s{rate / rates['bare loop']:8.2f}x")
    return {
        "data": os.path.abspath(data),
        "videos": len(videos),
        "frames": frames,
        "levels": sizes,
        "frames_per_second": rates,
        "prepare_against_bare": rates["prepare"] / rates["bare loop"],
    }
