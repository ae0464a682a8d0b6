"""Opens what `--data_dir` names: a folder of videos or of flow, a list, or a clip store."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from keras_r3d.data import annotations as lists
from keras_r3d.data import motion
from keras_r3d.data.annotations import AUTO, FRAME_RATE, FRAME_RATES, Annotations, Video
from keras_r3d.data.decoding import flow_folder
from keras_r3d.data.decoding.reader import Problem, Reader
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.store import Store, StoreReader, is_store
from keras_r3d.data.unpacking import unpacked
from keras_r3d.recipe import Clips, VideoList
from keras_r3d.recipe.schema import HoldOut
from keras_r3d.system.errors import DataError, check_range
from keras_r3d.system.objects import inputs
from keras_r3d.system.objects.calls import is_url

if TYPE_CHECKING:
    import tensorflow as tf

_DEPTH = 8  # folders above a file that may be its folder of stored flow


@dataclasses.dataclass(frozen=True)
class Source:
    """Labeled videos by split, and their reader."""

    annotations: Annotations
    reader: Reader
    path: str  # where it was opened, without the secrets a URL may have
    root: str  # folder or URL that the paths of its videos start from


def open_source(
    data_dir: str | Path,
    clips: Clips,
    listed: VideoList | None = None,  # names the annotations of a folder, and its hold-out
    *,
    cache_gib: float = 0.0,  # memory for decoded frames of video files
    seed: int | None = None,  # of the hold-out
    least_validation: int = 0,  # hold no videos out for validation if they would be fewer
) -> Source:
    """Opens a folder of videos or of their flow, a list of videos, or a clip store, anywhere.

    Without a seed no videos are held out, any annotations serve for a folder that lacks the named
    ones, and what could not be trained on is accepted, too.
    """
    data_dir = unpacked(data_dir)
    if str(data_dir) == motion.URL:
        return Source(motion.annotations(), _motion_reader(clips), motion.URL, motion.URL)
    hold_out: dict[str, Any] = {"least_validation": least_validation, "trained_on": False}
    if seed is not None:
        hold_out |= {"seed": seed, "trained_on": True}
        hold_out["background"] = (listed and listed.background) or 0.0
        if listed is not None and (parts := listed.hold_out):
            hold_out["validation_fraction"] = parts.validation or 0.0
            hold_out["test_fraction"] = parts.test or 0.0
    reading: dict[str, Any] = {}
    if listed is not None:
        reading = {"frame_rate": listed.frame_rate or FRAME_RATE, "trimmed": listed.trimmed}
        reading["several_labels"] = listed.several_labels
    if is_store(data_dir):
        reader = _store_reader(data_dir, clips)
        store = reader.store
        if hold_out.get("background"):
            raise DataError(
                f"{store.root} is a clip store, which holds listed segments only: for "
                "videos.background pass the folder of videos."
            )
        quarantined = store.quarantined()
        splits = {
            split: [video for video in videos if video not in quarantined]
            for split, videos in store.splits.items()
        }
        arranged = lists.arrange(splits, store.root, quarantined=True, **hold_out)
        if quarantined:
            file = f"{store.root}/{lists.QUARANTINE}"
            arranged.notes.insert(0, f"{len(quarantined)} videos are skipped by {file}.")
        return Source(arranged, reader, store.root, store.root)
    name = AUTO if listed is None else listed.annotations
    if flow_folder.is_one(data_dir):
        name = lists.MANIFEST
    if seed is None and not lists.has(data_dir, name):
        name = AUTO
    of_files = video_reader(data_dir, clips, cache_gib)
    labeled = lists.read(data_dir, name, **reading, **hold_out)
    marker = f"{lists.absolute(data_dir)}/{flow_folder.MARKER}"
    if is_url(marker) and inputs.is_listed(marker):
        raise DataError(
            f"{data_dir} holds optical flow, which is read on the disk only: copy it there."
        )
    return Source(labeled, of_files, lists.absolute(data_dir), lists.root(data_dir))


def has_own_list(data_dir: str | Path) -> bool:
    """Whether a place has one list of videos, which says all of them: a store, or rendered ones."""
    return str(data_dir) == motion.URL or is_store(data_dir)


def _store_reader(opened: str | Path | Store, clips: Clips) -> StoreReader:
    root = opened.root if isinstance(opened, Store) else opened
    if clips.input != "rgb":
        raise DataError(
            f"{root} is a clip store, which holds pictures, but the recipe's clips.input is "
            f"'{clips.input}': pass the folder of videos, or the flow of them that `python -m "
            "keras_r3d.flow` stores."
        )
    store = opened if isinstance(opened, Store) else Store(opened)
    fps, stored = clips.sampling.fps, store.description.fps
    if fps and 0 < stored < fps:
        raise DataError(
            f"{root} holds {stored:g} frames a second of each video, and the recipe's "
            f"clips.sampling.fps is {fps:g}: pass the folder of videos, or prepare them again with "
            f"--fps {fps:g} or all of their frames."
        )
    return StoreReader(store, fps)


def _motion_reader(clips: Clips) -> motion.MotionReader:
    if clips.input != "rgb" or clips.sampling.fps or isinstance(clips.size, tuple):
        raise DataError(
            f"{motion.URL} renders square RGB clips at no frame rate, but the recipe's clips.input "
            f"is '{clips.input}', clips.size {clips.size} and clips.sampling.fps "
            f"{clips.sampling.fps}: pass videos."
        )
    return motion.MotionReader(clips.frames)


def file_reader(videos: Iterable[Video], clips: Clips) -> VideoReader:
    """Returns a reader of single video files, or of files of stored flow."""
    folders = {
        next(filter(flow_folder.is_one, list(Path(path).absolute().parents)[:_DEPTH]), None)
        for path in dict.fromkeys(video.path for video in videos)
    }
    stored = [folder for folder in folders if folder is not None]
    for folder in stored:
        flow_folder.check(folder, clips.input, clips.short_side or 0)
    if stored and len(stored) < len(folders):
        raise DataError(
            f"Some of the videos are stored flow, in {stored[0]}, and some are not: name them in "
            "two calls."
        )
    return VideoReader(
        clips.short_side or 0, 0.0, clips.input, stored=bool(stored), fps=clips.sampling.fps
    )


def video_reader(data_dir: str | Path, clips: Clips, cache_gib: float = 0.0) -> VideoReader:
    """Returns a reader of the videos of a folder or list, or of a folder of stored flow."""
    stored = flow_folder.is_one(data_dir)
    if stored:
        flow_folder.check(data_dir, clips.input, clips.short_side or 0)
    return VideoReader(
        clips.short_side or 0, cache_gib, clips.input, stored=stored, fps=clips.sampling.fps
    )


class Videos:
    """Labeled videos by split. `open_videos` makes them.

    Attributes:
        classes: names, in the order of the labels.
        splits: the videos of "train", and of "validation" and "test" where there are some. A video
            has `path`, `label`, `labels`, `start_seconds`, `end_seconds`, `group`, `frame_rate`.
        notes: sentences for the user, such as which files are skipped.
    """

    classes: Sequence[str]
    splits: Mapping[str, Sequence[Video]]
    notes: Sequence[str]

    def __init__(self, source: Source, cache_gib: float):
        labeled = source.annotations
        self._source, self._cache_gib = source, cache_gib
        self._readers: dict[tuple[str, int, float | None], Reader] = {}
        self.classes, self.splits, self.notes = labeled.classes, labeled.splits, labeled.notes

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(videos)}" for name, videos in self.splits.items())
        return f"Videos({self._source.path}: {len(self.classes)} classes; {counts})"

    @property
    def problems(self) -> list[Problem]:
        """The broken videos that data sets met: `name`, `status`, `detail`."""
        return [problem for reader in self._readers.values() for problem in reader.problems]

    def dataset(
        self,
        split: str,
        clips: Clips,
        batch_size: int,
        *,
        seed: int = 0,
        clips_per_video: int = 1,
        balanced: bool = False,
    ) -> "tf.data.Dataset":
        """Returns clips and labels for `model.fit`, `model.evaluate` and the like.

        With `clips` that are cut at random every pass over the data set is another epoch: another
        order of the videos and other clips, the same ones for the same seed. All batches are full:
        an epoch that does not fill its last batch takes the rest from the next one. A broken video
        is replaced by another.

        With `clips.center()` every video comes once, in order, and the last batch may be smaller.
        Broken videos are skipped; `problems` names them.

        Args:
            split: one of `splits`.
            clips: how they are cut.
            batch_size: clips of a batch; over all replicas, under a `tf.distribute` strategy.
            seed: of order and clips.
            clips_per_video: clips that are drawn from each video in an epoch, at random.
            balanced: draw equally many clips of each class.

        Returns:
            A finite data set that knows its length, of uint8 `(batch, frames, height, width,
            channels)`, RGB 0-255 (or flow x and y), and int32 labels `(batch,)`, numbers in
            `classes`; where videos have several labels, rows of 0 and 1, float32 `(batch,
            classes)`.

        Raises:
            DataError: there is no such split, or an argument is out of range.
            DataError, StoreError, UnreachableError: as `open_videos`.
        """
        for name, value in {"batch_size": batch_size, "clips_per_video": clips_per_video}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                text = f"`{name}` must be an int of at least 1. Received: {name}={value!r}"
                raise DataError(text)
        if not isinstance(clips, Clips):
            kind = type(clips).__name__
            raise DataError(f"`clips` must be keras_r3d.data.Clips. Received: {kind}")
        videos = split_of(self, split)
        from keras_r3d.data import pipeline  # TensorFlow takes seconds to import

        source = self.reader(clips), videos, self.classes, clips
        if not clips.random:
            return pipeline.validation_clips(*source, batch_size=batch_size, complete=True)
        steps = math.ceil(len(videos) * clips_per_video / batch_size)
        return pipeline.training_clips(
            *source, batch_size=batch_size, balanced=balanced, seed=seed, epoch_steps=steps
        )

    def reader(self, clips: Clips) -> Reader:
        """Returns a reader of the videos; clips of the same kind share it, and its cache."""
        key = clips.input, clips.short_side or 0, clips.sampling.fps
        if key not in self._readers:
            self._readers[key] = self._open_reader(clips)
        return self._readers[key]

    def _open_reader(self, clips: Clips) -> Reader:
        reader = self._source.reader
        if isinstance(reader, StoreReader):
            return _store_reader(reader.store, clips)
        if isinstance(reader, VideoReader):
            return video_reader(self._source.path, clips, self._cache_gib)
        return _motion_reader(clips)


def split_of(videos: Videos, split: str) -> list[Video]:
    """Returns the videos of a split, or raises DataError if there is no such split."""
    if split not in videos.splits:
        raise DataError(
            f"`split` must be one of {sorted(videos.splits)}. Received: split={split!r}"
        )
    return list(videos.splits[split])


def open_videos(
    data: str | Path,
    *,
    annotations: str = AUTO,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.0,
    seed: int = 0,
    cache_gib: float = 0.0,
    frame_rate: float = FRAME_RATE,
    trimmed: bool = False,
    several_labels: bool = False,
) -> Videos:
    """Opens labeled videos; nothing is decoded yet.

    Args:
        data: folder with a folder of videos for each class (or, above them, folders "train",
            "validation" and "test"), a CSV file with the columns `path,label[,split][,group]
            [,start_seconds,end_seconds][,frame_rate]` (`labels` where a video has several), a list
            of lines "PATH LABEL", a clip store, also at a URL; a folder of stored flow; or a `.zip`
            with one of these inside. A video is a file, or a folder of numbered pictures.
        annotations: of a folder: "auto", "folders", or the file in it that lists the videos, or a
            folder or pattern (`*_list_videos.txt`) of a list for each split; also one of the public
            lists of Kinetics, ActivityNet, Sports-1M, UCF101 and HMDB51.
        validation_fraction: share of each class's training videos to hold out where there is no
            validation split. Videos of one group are held out together.
        test_fraction: likewise for the test split.
        seed: of the hold-out.
        cache_gib: memory for decoded frames, in GiB; a video that fits is decoded once.
        frame_rate: of folders of pictures, in frames a second.
        trimmed: a file that public lists name by its id alone is cut already: it is the segment.
        several_labels: a listed segment also has the labels of those that cover half of it. (A
            column `labels`, separated by ;, or of 0 and 1 for each class, needs no such word.)

    Raises:
        DataError: anything that keeps the videos from being used, by name.
        DataError: optical flow cannot be computed.
        StoreError, UnreachableError: the store cannot be opened.
    """
    fractions = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    for name, value in fractions.items():
        if not 0 <= value <= 0.9:
            raise DataError(f"`{name}` must be from 0 to 0.9. Received: {name}={value!r}")
    check_range(*FRAME_RATES, frame_rate=frame_rate)
    clips = Clips()
    if flow_folder.is_one(data):
        stored = flow_folder.read_settings(data)
        clips = Clips(input=cast(Any, stored.input), short_side=stored.short_side or None)
    held_out = HoldOut(validation_fraction or None, test_fraction or None)
    options: dict[str, Any] = {"frame_rate": frame_rate, "trimmed": trimmed}
    options["several_labels"] = several_labels
    listed = VideoList(annotations, 0.1, hold_out=held_out, **options)
    return Videos(open_source(data, clips, listed, seed=seed), cache_gib)
