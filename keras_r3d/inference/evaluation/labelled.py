"""The labelled videos that a model is tried on: of its run, or of a data folder."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from keras_r3d.data import opening
from keras_r3d.data.annotations import Video
from keras_r3d.data.annotations.video import some
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.models.opening import Opened
from keras_r3d.system.errors import DataError


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The videos of a split, and what reads them.

    Attributes:
        data_dir: where they were found.
    """

    videos: Sequence[Video]
    reader: Reader
    split: str
    data_dir: str


def videos_of(opened: Opened, data_dir: str | None, split: str | None) -> Labelled:
    """Returns the videos of a split.

    Args:
        data_dir: other videos than those of the run.
        split: None is that of the recipe; of videos that are of no run, the only one there is.

    Raises:
        DataError: neither run nor `data_dir` names videos, or there is no such split.
    """
    model, own = opened.classifier, opened.classifier.eval.split
    if opened.run is not None:
        videos, reader = opened.run.open_split(split or own, data_dir)
        return Labelled(
            videos, reader, split or own, str(data_dir or opened.run.summary["data_dir"])
        )
    if data_dir is None:
        raise DataError(
            f"--data_dir is missing: {model.name} is of no run folder that names videos."
        )
    found = opening.open_source(data_dir, model.data)
    splits = found.annotations.splits
    if split is None:
        if own not in splits and len(splits) > 1:
            raise DataError(f"--split is missing: {found.path} has {sorted(splits)}.")
        split = own if own in splits else next(iter(splits))
    return Labelled(found.annotations.split(split), found.reader, split, found.path)


def check_known(labelled: Labelled, classes: Sequence[str]) -> None:
    """Raises DataError if videos have classes that are not among those of a model."""
    known = set(classes)
    strange = [video for video in labelled.videos if video.label not in known]
    if not strange:
        return
    counts = Counter(video.label for video in strange)
    named = some([f"'{label}' ({count})" for label, count in sorted(counts.items())], 10)
    raise DataError(
        f"{len(strange)} of the {len(labelled.videos)} videos of split '{labelled.split}' in "
        f"{labelled.data_dir} have classes that the model was not trained on: {named}; for one, "
        f"{strange[0].name}. Name them as the model does, or leave them out (a folder or a CSV "
        f"file of the others as --data_dir). Its {len(classes)} classes: {some(list(classes), 20)}."
    )
