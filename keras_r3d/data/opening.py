"""What `--data_dir` names: a folder of videos or of their flow, a list, or a clip store."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from keras_r3d.data import annotations, motion
from keras_r3d.data.annotations import Annotations
from keras_r3d.data.decoding import flow_folder
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.store import Store, StoreReader, is_store
from keras_r3d.recipe import Data
from keras_r3d.system.errors import DataError

__all__ = ["Source", "file_reader", "is_store", "open_source", "reader_of", "video_reader"]

_DEPTH = 8  # folders above a file, in which it is asked whether it is stored flow


@dataclasses.dataclass(frozen=True)
class Source:
    """Labelled videos by split, and what reads them.

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
    data: Data,
    *,
    cache_gib: float = 0.0,
    seed: int | None = None,
    least_validation: int = 0,
) -> Source:
    """Opens a folder of videos or of their flow, a list of videos, or a clip store, anywhere.

    Args:
        data: of the recipe; names the annotations of a folder. (A list, a store or a folder of flow
            has its own.)
        cache_gib: memory for decoded frames of video files.
        seed: of the hold-out. None holds no videos out, takes what annotations a folder has where
            it lacks the named ones, and takes what could not be trained on.
        least_validation: hold no videos out for validation if they would be fewer than that.

    Raises:
        DataError: anything that keeps the videos from being used, by name.
        StoreError, UnreachableError: the store cannot be opened.
        DataError: optical flow cannot be had, or is not stored as the recipe says.
    """
    if str(data_dir) == motion.URL:
        return Source(
            motion.annotations(), motion.MotionReader(data.frames), motion.URL, motion.URL
        )
    validation_fraction = 0.0 if seed is None else data.validation_fraction
    test_fraction = 0.0 if seed is None else data.test_fraction
    if is_store(data_dir):
        if data.input != "rgb":
            raise DataError(_no_flow(data_dir, data))
        store = Store(data_dir)
        aside = store.quarantined()
        splits = {
            split: [video for video in videos if video not in aside]
            for split, videos in store.splits.items()
        }
        found = annotations.arrange(
            splits,
            store.root,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            seed=seed or 0,
            least_validation=least_validation,
            quarantined=True,
            trained_on=seed is not None,
        )
        if aside:
            note = f"{len(aside)} videos are left aside by {store.root}/{annotations.QUARANTINE}."
            found = dataclasses.replace(found, notes=[note, *found.notes])
        return Source(found, StoreReader(store), store.root, store.root)
    reader = video_reader(data_dir, data, cache_gib)
    name = annotations.MANIFEST if flow_folder.is_one(data_dir) else data.annotations
    if seed is None and not annotations.has(data_dir, name):
        name = annotations.AUTO
    found = annotations.read(
        data_dir,
        name,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed or 0,
        least_validation=least_validation,
        trained_on=seed is not None,
    )
    path, root = annotations.absolute(data_dir), annotations.root(data_dir)
    return Source(found, reader, path, root)


def reader_of(source: Source, data: Data, cache_gib: float = 0.0) -> Reader:
    """Returns what reads the videos of a source that was opened, for clips of any kind.

    Raises:
        DataError: as `open_source`.
    """
    if isinstance(source.reader, VideoReader):
        return video_reader(source.path, data, cache_gib)
    if data.input != "rgb":
        raise DataError(_no_flow(source.path, data))
    return motion.MotionReader(data.frames) if source.path == motion.URL else source.reader


def _no_flow(path: str | Path, data: Data) -> str:
    return (
        f"{path} is a clip store, which holds pictures, but the recipe's data.input is "
        f"'{data.input}': pass the folder of videos, or the flow of them that `python -m "
        "keras_r3d.flow` stores."
    )


def file_reader(paths: Iterable[str], data: Data) -> VideoReader:
    """Returns what reads video files that are named one by one, or files of stored flow.

    Raises:
        DataError: the flow is not stored as the recipe says, or some files are flow and some not.
    """
    folders = {
        next(filter(flow_folder.is_one, list(Path(path).absolute().parents)[:_DEPTH]), None)
        for path in paths
    }
    stored = [folder for folder in folders if folder is not None]
    for folder in stored:
        flow_folder.check(folder, data.input, data.short_side)
    if stored and len(stored) < len(folders):
        raise DataError(
            f"Some of the videos are stored flow, in {stored[0]}, and some are not: name them in "
            "two calls."
        )
    return VideoReader(data.short_side, 0.0, data.input, stored=bool(stored))


def video_reader(data_dir: str | Path, data: Data, cache_gib: float = 0.0) -> VideoReader:
    """Returns what reads the videos of a folder or list, or the flow of them that it holds.

    Raises:
        DataError: as `open_source`.
    """
    stored = flow_folder.is_one(data_dir)
    if stored:
        flow_folder.check(data_dir, data.input, data.short_side)
    return VideoReader(data.short_side, cache_gib, data.input, stored=stored)
