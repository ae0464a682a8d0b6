"""Labeled videos, and data sets of clips of them for `model.fit`."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from keras_r3d.data import opening
from keras_r3d.data.annotations import AUTO, Video
from keras_r3d.data.decoding import flow_folder
from keras_r3d.data.decoding.reader import Problem, Reader
from keras_r3d.recipe import Clips, VideoList
from keras_r3d.recipe.schema import HoldOut
from keras_r3d.system.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf


class Videos:
    """Labeled videos by split. `open_videos` makes them.

    Attributes:
        classes: names, in the order of the labels.
        splits: the videos of "train", and of "validation" and "test" where there are some. A video
            has `path`, `label`, `start_seconds`, `end_seconds`, `group`.
        notes: sentences for the user, such as which files are skipped.
    """

    classes: Sequence[str]
    splits: Mapping[str, Sequence[Video]]
    notes: Sequence[str]

    def __init__(self, source: opening.Source, cache_gib: float):
        listed = source.annotations
        self._source, self._cache_gib = source, cache_gib
        self._readers: dict[tuple[str, int], Reader] = {}
        self.classes, self.splits, self.notes = listed.classes, listed.splits, listed.notes

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(videos)}" for name, videos in self.splits.items())
        return f"Videos({self._source.path}: {len(self.classes)} classes; {counts})"

    @property
    def problems(self) -> list[Problem]:
        """The broken videos that data sets met: `name`, `status`, `detail`."""
        readers = self._readers.values()
        return list(itertools.chain.from_iterable(reader.problems for reader in readers))

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
            A finite data set that knows its length, of uint8 `(batch, frames, size, size,
            channels)`, RGB 0-255 (or flow x and y), and int32 labels `(batch,)`, numbers in
            `classes`.

        Raises:
            DataError: there is no such split, or an argument is out of range.
            DataError, StoreError, UnreachableError: as `open_videos`.
        """
        for name, value in {"batch_size": batch_size, "clips_per_video": clips_per_video}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise DataError(
                    f"`{name}` must be an int of at least 1. Received: {name}={value!r}"
                )
        if not isinstance(clips, Clips):
            raise DataError(
                f"`clips` must be keras_r3d.data.Clips. Received: {type(clips).__name__}"
            )
        if split not in self.splits:
            raise DataError(
                f"`split` must be one of {sorted(self.splits)}. Received: split={split!r}"
            )
        from keras_r3d.data import pipeline  # TensorFlow takes seconds to import

        videos = list(self.splits[split])
        reader = self.reader(clips)
        if not clips.random:
            return pipeline.validation_clips(
                reader, videos, self.classes, clips, batch_size=batch_size, complete=True
            )
        return pipeline.training_clips(
            reader,
            videos,
            self.classes,
            clips,
            batch_size=batch_size,
            balanced=balanced,
            seed=seed,
            epoch_steps=math.ceil(len(videos) * clips_per_video / batch_size),
        )

    def reader(self, clips: Clips) -> Reader:
        """Returns a reader of the videos; clips of the same kind share it, and its cache."""
        key = clips.input, clips.short_side or 0
        if key not in self._readers:
            self._readers[key] = opening.reader_of(self._source, clips, self._cache_gib)
        return self._readers[key]


def open_videos(
    data: str | Path,
    *,
    annotations: str = AUTO,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.0,
    seed: int = 0,
    cache_gib: float = 0.0,
) -> Videos:
    """Opens labeled videos; nothing is decoded yet.

    Args:
        data: folder with a folder of videos for each class (or, above them, folders "train",
            "validation" and "test"), a CSV file with the columns path,label[,split][,group]
            [,start_seconds,end_seconds], a folder of stored flow, or a clip store, also at a URL.
        annotations: of a folder: "auto", "folders", or the file in it that lists the videos, also
            one of the public lists of Kinetics, ActivityNet, UCF101 and HMDB51.
        validation_fraction: share of each class's training videos to hold out where there is no
            validation split. Videos of one group are held out together.
        test_fraction: likewise for the test split.
        seed: of the hold-out.
        cache_gib: memory for decoded frames, in GiB; a video that fits is decoded once.

    Raises:
        DataError: anything that keeps the videos from being used, by name.
        DataError: optical flow cannot be computed.
        StoreError, UnreachableError: the store cannot be opened.
    """
    fractions = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    for name, value in fractions.items():
        if not 0 <= value <= 0.9:
            raise DataError(f"`{name}` must be from 0 to 0.9. Received: {name}={value!r}")
    clips = Clips()
    if flow_folder.is_one(data):
        stored = flow_folder.read_settings(data)
        clips = Clips(input=cast(Any, stored.input), short_side=stored.short_side or None)
    held_out = HoldOut(validation_fraction or None, test_fraction or None)
    listed = VideoList(annotations, broken_share=0.1, hold_out=held_out)
    return Videos(opening.open_source(data, clips, listed, seed=seed), cache_gib)
