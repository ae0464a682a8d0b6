"""Opens what `--data_dir` names: a folder of videos or of flow, a list, or a clip store."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_r3d.data import annotations, motion
from keras_r3d.data.annotations import Annotations
from keras_r3d.data.decoding import flow_folder
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.store import Store, StoreReader, is_store
from keras_r3d.recipe import Clips, VideoList
from keras_r3d.system.errors import DataError

__all__ = ["Source", "file_reader", "is_store", "open_source", "reader_of", "video_reader"]

_DEPTH = 8  # folders above a file that may be its folder of stored flow


@dataclasses.dataclass(frozen=True)
class Source:
    """Labeled videos by split, and their reader.

    Attributes:
        path: where it was opened, without the secrets a URL may have.
        root: folder or URL that the paths of its videos start from.
    """

    annotations: Annotations
    reader: Reader
    path: str
    root: str


def open_source(
    data_dir: str | Path,
    clips: Clips,
    listed: VideoList | None = None,
    *,
    cache_gib: float = 0.0,
    seed: int | None = None,
    least_validation: int = 0,
) -> Source:
    """Opens a folder of videos or of their flow, a list of videos, or a clip store, anywhere.

    Args:
        clips: that will be cut from them.
        listed: names the annotations of a folder, and what to hold out of it; None finds any. (A
            list, a store or a folder of flow has its own annotations.)
        cache_gib: memory for decoded frames of video files.
        seed: of the hold-out. None holds no videos out, uses any annotations of a folder that lacks
            the named ones, and accepts what could not be trained on.
        least_validation: hold no videos out for validation if they would be fewer.

    Raises:
        DataError: anything that keeps the videos from being used, by name.
        DataError: optical flow cannot be computed, or is not stored as the recipe says.
        StoreError, UnreachableError: the store cannot be opened.
    """
    if str(data_dir) == motion.URL:
        reader = motion.MotionReader(clips.frames)
        return Source(motion.annotations(), reader, motion.URL, motion.URL)
    hold_out: dict[str, Any] = {"least_validation": least_validation, "trained_on": False}
    if seed is not None:
        hold_out |= {"seed": seed, "trained_on": True}
        if listed is not None:
            hold_out["validation_fraction"] = listed.validation_fraction
            hold_out["test_fraction"] = listed.test_fraction
    if is_store(data_dir):
        if clips.input != "rgb":
            raise DataError(_no_flow(data_dir, clips))
        store = Store(data_dir)
        quarantined = store.quarantined()
        splits = {
            split: [video for video in videos if video not in quarantined]
            for split, videos in store.splits.items()
        }
        arranged = annotations.arrange(splits, store.root, quarantined=True, **hold_out)
        if quarantined:
            file = f"{store.root}/{annotations.QUARANTINE}"
            note = f"{len(quarantined)} videos are skipped by {file}."
            arranged = dataclasses.replace(arranged, notes=[note, *arranged.notes])
        return Source(arranged, StoreReader(store), store.root, store.root)
    name = annotations.AUTO if listed is None else listed.annotations
    if flow_folder.is_one(data_dir):
        name = annotations.MANIFEST
    if seed is None and not annotations.has(data_dir, name):
        name = annotations.AUTO
    return Source(
        reader=video_reader(data_dir, clips, cache_gib),
        annotations=annotations.read(data_dir, name, **hold_out),
        path=annotations.absolute(data_dir),
        root=annotations.root(data_dir),
    )


def reader_of(source: Source, clips: Clips, cache_gib: float = 0.0) -> Reader:
    """Returns a reader of an opened source for other clips.

    Raises:
        DataError: as `open_source`.
    """
    if isinstance(source.reader, VideoReader):
        return video_reader(source.path, clips, cache_gib)
    if clips.input != "rgb":
        raise DataError(_no_flow(source.path, clips))
    return motion.MotionReader(clips.frames) if source.path == motion.URL else source.reader


def _no_flow(path: str | Path, clips: Clips) -> str:
    return (
        f"{path} is a clip store, which holds pictures, but the recipe's clips.input is "
        f"'{clips.input}': pass the folder of videos, or the flow of them that `python -m "
        "keras_r3d.flow` stores."
    )


def file_reader(paths: Iterable[str], clips: Clips) -> VideoReader:
    """Returns a reader of single video files, or of files of stored flow.

    Raises:
        DataError: the flow is not stored as the recipe says, or some files are flow and some not.
    """
    folders = {
        next(filter(flow_folder.is_one, list(Path(path).absolute().parents)[:_DEPTH]), None)
        for path in paths
    }
    stored = [folder for folder in folders if folder is not None]
    for folder in stored:
        flow_folder.check(folder, clips.input, clips.short_side or 0)
    if stored and len(stored) < len(folders):
        raise DataError(
            f"Some of the videos are stored flow, in {stored[0]}, and some are not: name them in "
            "two calls."
        )
    return VideoReader(clips.short_side or 0, 0.0, clips.input, stored=bool(stored))


def video_reader(data_dir: str | Path, clips: Clips, cache_gib: float = 0.0) -> VideoReader:
    """Returns a reader of the videos of a folder or list, or of a folder of stored flow.

    Raises:
        DataError: as `open_source`.
    """
    stored = flow_folder.is_one(data_dir)
    if stored:
        flow_folder.check(data_dir, clips.input, clips.short_side or 0)
    return VideoReader(clips.short_side or 0, cache_gib, clips.input, stored=stored)
