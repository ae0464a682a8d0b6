"""Reads labeled videos and splits from any supported form of annotations.

Only names are read here; no video is opened.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

from keras_r3d.data.annotations.arranging import LAYOUT, arrange
from keras_r3d.data.annotations.folder import (
    VIDEO_SUFFIXES,
    contents,
    entries,
    exists,
    is_file,
    is_list_name,
    is_video_name,
)
from keras_r3d.data.annotations.labels import join_overlapping
from keras_r3d.data.annotations.own_lists import CLASS_NAMES, find_lists, read_lists
from keras_r3d.data.annotations.public_lists import official_lists, read_public_list
from keras_r3d.data.annotations.video import (
    FRAME_RATE,
    SPLITS,
    Annotations,
    Splits,
    Video,
    absolute,
    note,
)
from keras_r3d.system.errors import DataError, noted
from keras_r3d.system.objects import inputs
from keras_r3d.system.objects.calls import is_url
from keras_r3d.system.text import shown

AUTO = "auto"
MANIFEST = "manifest.csv"
# Folders with these names are splits; other names of splits are more likely classes.
_SPLIT_FOLDERS = ("train", "val", "valid", "validation", "test")
_FORMS = (
    '"folders", "auto", a list of your own, the CSV file of Kinetics, a folder of such lists, the '
    "JSON file of ActivityNet or of the authors' code, or the folder of UCF101's or HMDB51's "
    'lists and the number of the split, such as "ucfTrainTestlist/1".'
)


def read(
    data_dir: str | Path,
    annotations: str,
    *,
    must_exist: bool = True,
    frame_rate: float = FRAME_RATE,
    trimmed: bool = False,
    several_labels: bool = False,
    **options: Any,
) -> Annotations:
    """Reads the annotations of a data folder, or an annotation file, with options of `arrange`.

    Args:
        annotations: "folders"; "auto": manifest.csv if there is one, else folders; or the path of
            a file or folder of lists, relative to the data folder.
        must_exist: refuse a CSV file of one's own that lists missing videos. (Public lists name
            videos that are no longer on the web; those are skipped and counted.)
        frame_rate: of folders of pictures, where a list has no other, in frames a second.
        trimmed: of public lists: a file named by the id alone is the segment, not the whole video.
        several_labels: of a list: a segment also has the labels of those that cover half of it.
    """
    reading: dict[str, Any] = {
        "must_exist": must_exist,
        "frame_rate": frame_rate,
        "trimmed": trimmed,
        "several_labels": several_labels,
    }
    data_dir = os.fspath(data_dir)
    if is_url(data_dir):
        data_dir = absolute(data_dir)
        if not is_list_name(data_dir):
            inputs.find(data_dir)
    elif not os.path.exists(data_dir := str(Path(data_dir))):
        raise DataError(f"The data folder {data_dir} does not exist. Expected:\n{LAYOUT}")
    manifest = os.path.join(data_dir, MANIFEST)
    if is_file(data_dir):
        folder = os.path.dirname(data_dir) or "."
        splits, notes = _read_path(_list_path(data_dir), folder, **reading)
    elif annotations == "folders" or (annotations == AUTO and not exists(manifest)):
        splits, notes = _read_folders(data_dir, frame_rate)
    else:
        name = MANIFEST if annotations == AUTO else annotations
        splits, notes = _read_path(_list_path(data_dir, name), data_dir, **reading)
    notes = list(map(shown, notes))
    if several_labels:
        splits = {split: join_overlapping(videos) for split, videos in splits.items()}
    usual = {v.path for videos in splits.values() for v in videos if v.frame_rate == frame_rate}
    folders = [path for path in usual if not is_video_name(path) and os.path.isdir(path)]
    rate = f"{frame_rate:g} frames a second (`frame_rate`)"
    notes += note(sorted(folders), f"videos are folders of pictures, taken as {rate}")
    with noted(notes):
        arranged = arrange(splits, data_dir, **options)
    return dataclasses.replace(arranged, notes=notes + arranged.notes)


def listed_videos(path: str, frame_rate: float) -> tuple[list[Video], list[str]]:
    """Returns the videos that a list names, labeled or not, and notes."""
    options: dict[str, Any] = {"must_exist": False, "labeled": False, "frame_rate": frame_rate}
    splits, notes = _read_path(_list_path(path), os.path.dirname(path) or ".", **options)
    return [video for videos in splits.values() for video in videos], list(map(shown, notes))


def has(data_dir: str | Path, annotations: str) -> bool:
    """Whether a data folder has annotations of that name."""
    data_dir = absolute(data_dir)
    if is_url(data_dir):
        if is_file(data_dir) or annotations == AUTO:
            return False
        inputs.find(data_dir)
    path = _list_path(data_dir, annotations)
    return path.exists() or bool(official_lists(path) or find_lists(path))


def _list_path(place: str, name: str = "") -> Path:
    """Returns the path of a list, or of a folder or pattern of some; at a URL, of copies here."""
    place = name if is_url(name) else os.path.join(place, name) if name else place
    if not is_url(place):
        return Path(place)
    if (files := inputs.entries(place)) is not None:
        return inputs.lists(place, filter(is_list_name, files[1]))
    folder, _, name = place.rpartition("/")
    if (files := inputs.entries(folder)) is not None:
        return inputs.lists(folder, filter(is_list_name, files[1])) / name
    beside = [pattern for pattern in CLASS_NAMES if "*" not in pattern]
    return inputs.lists(folder, [name], beside) / name


def _read_path(
    path: Path,
    data_dir: str,
    *,
    must_exist: bool,
    labeled: bool = True,
    frame_rate: float = FRAME_RATE,
    trimmed: bool = False,
    several_labels: bool = False,
) -> tuple[Splits, list[str]]:
    """Tells the format by what is there."""
    public = read_public_list(path, data_dir, labeled, trimmed, frame_rate, several_labels)
    if public is not None:
        return public
    if not (lists := find_lists(path)):
        reason = "holds no lists" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {reason}. `videos.annotations` must be {_FORMS}")
    options = {"must_exist": must_exist, "labeled": labeled, "several_labels": several_labels}
    return read_lists(lists, data_dir, **options, frame_rate=frame_rate)


def _read_folders(data_dir: str, frame_rate: float) -> tuple[Splits, list[str]]:
    """Reads CLASS/video.mp4, or SPLIT/CLASS/video.mp4; returns videos by split, and notes."""
    folders = _folders(data_dir)
    split_folders = [name for name in folders if name.lower() in _SPLIT_FOLDERS]
    splits: Splits = {}
    others: list[str] = []
    for split_name in split_folders or [""]:
        videos = []
        for label, class_folder in _folders(folders.get(split_name, data_dir)).items():
            paths, rest = contents(class_folder)
            others += rest
            if paths == [class_folder]:
                raise DataError(
                    f"{class_folder} holds numbered pictures, so it is a video and no class: put "
                    "it into the folder of its class."
                )
            if not paths:
                raise DataError(
                    f"The class folder {class_folder} holds no video "
                    f"({', '.join(sorted(VIDEO_SUFFIXES))}, or a folder of numbered pictures): add "
                    "videos or remove the folder."
                )
            videos += [Video(path, label, frame_rate=frame_rate) for path in paths]
        name = SPLITS[split_name.lower()] if split_folders else "train"
        if name in splits:
            raise DataError(
                f"{data_dir} has two folders for the {name} split "
                f"({', '.join(split_folders)}): keep one."
            )
        splits[name] = videos
    if not any(splits.values()):
        raise DataError(f"No class folders with videos in {data_dir}. Expected:\n{LAYOUT}")
    loose = [
        os.path.join(folder, name)
        for folder in [data_dir, *(folders[name] for name in split_folders)]
        for name in entries(folder)[1]
        if is_video_name(name)
    ]
    beside = [name for name in folders if split_folders and name not in split_folders]
    notes = note(beside, "folders beside the splits are skipped")
    notes += note(loose, "videos in no class folder are skipped")
    notes += note(others, "files without a video suffix are skipped")
    return splits, notes


def _folders(folder: str) -> dict[str, str]:
    """Returns the folders in a folder, by their names."""
    return {os.path.basename(path): path for path in entries(folder)[0]}
