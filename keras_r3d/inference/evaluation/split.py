"""The labeled videos that a model is evaluated on: of its run, or of a data folder."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from keras_r3d import run_folder
from keras_r3d.applications.embedding import NONE
from keras_r3d.data import opening
from keras_r3d.data.annotations import AUTO, Video
from keras_r3d.data.annotations.labels import has_several
from keras_r3d.data.annotations.video import some
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.models.opening import Opened
from keras_r3d.recipe import VideoList
from keras_r3d.system.errors import ArgumentError, DataError


@dataclasses.dataclass(frozen=True)
class Split:
    """The videos of a split, what reads them, and the folder, file or store that names them."""

    videos: Sequence[Video]
    reader: Reader
    name: str
    data: str


def open_split(
    opened: Opened, data: str | None, name: str | None, frame_rate: float | None = None
) -> Split:
    """Opens the videos of a split, those of the run or others, which `data` names.

    Without a name it is that of the recipe; of videos that are of no run, the only one there is.
    `frame_rate` is that of folders of pictures in `data`, if it is not the recipe's.
    """
    model, run = opened.classifier, opened.run
    if frame_rate is not None and data is None:
        raise ArgumentError(
            "`frame_rate` is for `data`: the videos of a run are read as its recipe says."
        )
    if run is not None:
        evaluated = run.recipe.eval.split
        few = run.recipe.few is not None  # then it may have been trained on all videos
        if name is None and data is None and few and not run.summary["videos"].get(evaluated):
            raise DataError(
                f"{run.path} held no videos out: its cross-validated accuracy is in "
                f"{run.path / run_folder.EVALUATION}. Name other videos (`data`), or those it was "
                "trained on: `split` train."
            )
        name = name or model.eval.split
        videos, reader = run.open_split(name, data, frame_rate)
        if not videos:
            raise DataError(
                f"{data} has no videos of split '{name}': {run.path} was trained on all of them. "
                "Name others, or `split` train."
            )
        return Split(videos, reader, name, str(data or run.summary["data_dir"]))
    if data is None:
        raise DataError(f"`data` is missing: {model.name} is of no run folder that names videos.")
    source = opening.open_source(data, model.clips, VideoList(AUTO, 0.1, frame_rate=frame_rate))
    splits = source.annotations.splits
    if name is None:
        if model.eval.split not in splits and len(splits) > 1:
            raise DataError(f"`split` is missing: {source.path} has {sorted(splits)}.")
        name = model.eval.split if model.eval.split in splits else next(iter(splits))
    return Split(source.annotations.split(name), source.reader, name, source.path)


def check_classes(side: Split, classes: Sequence[str], several: bool) -> None:
    """Raises DataError if videos have classes that are not among those of a model, or `several`.

    Of a model with `NONE` the classes of videos with one label each may be any.
    """
    known_labels = set(classes)
    foreign = [video for video in side.videos if not known_labels.issuperset(video.labels)]
    if not foreign or (NONE in classes and not has_several(side.videos)):
        if has_several(side.videos) and not several:
            raise DataError(
                f"The videos of split '{side.name}' have several labels each, and the model names "
                "one: train it on such videos, or name others as `data`."
            )
        return
    counts = Counter(x for video in foreign for x in video.labels if x not in known_labels)
    labels = some([f"'{label}' ({count})" for label, count in sorted(counts.items())], 10)
    where = f" in {side.data}" if side.data else ""
    raise DataError(
        f"{len(foreign)} of the {len(side.videos)} videos of split '{side.name}'{where} have "
        f"classes that the model was not trained on: {labels}; for example, {foreign[0].name}. "
        "Name them as the model does, or leave them out (a folder or a CSV file of the others as "
        f"`data`). Its {len(classes)} classes: {some(list(classes), 20)}."
    )
