"""Reads labeled videos and splits from any supported form of annotations.

Only names are read here; no video is opened.
"""

import dataclasses
from pathlib import Path
from typing import Any

from keras_r3d.data.annotations.arranging import LAYOUT, arrange
from keras_r3d.data.annotations.csv_file import read_csv
from keras_r3d.data.annotations.public_lists import official_lists, read_public_list, video_files
from keras_r3d.data.annotations.video import (
    SPLITS,
    VIDEO_SUFFIXES,
    Annotations,
    Splits,
    Video,
    note,
)
from keras_r3d.system.errors import DataError

AUTO = "auto"
MANIFEST = "manifest.csv"
# Folders with these names are splits; other names of splits are more likely classes.
_SPLIT_FOLDERS = ("train", "val", "valid", "validation", "test")
_FORMS = (
    '"folders", "auto", a CSV file of your own, the CSV file of Kinetics or the folder of them, '
    "the JSON file of ActivityNet or of the authors' code, or the folder of UCF101's or HMDB51's "
    'lists and the number of the split, such as "ucfTrainTestlist/1".'
)


def read(
    data_dir: str | Path, annotations: str, *, must_exist: bool = True, **options: Any
) -> Annotations:
    """Reads the annotations of a data folder, or an annotation file, with options of `arrange`.

    Args:
        annotations: "folders"; "auto": manifest.csv if there is one, else folders; or the path of
            a file or folder of lists, relative to the data folder.
        must_exist: refuse a CSV file of one's own that lists missing videos. (Public lists name
            videos that are no longer on the web; those are skipped and counted.)
    """
    data_dir = Path(data_dir)
    if not data_dir.exists():
        raise DataError(f"The data folder {data_dir} does not exist. Expected:\n{LAYOUT}")
    if data_dir.is_file():
        splits, notes = _read_path(data_dir, data_dir.parent, must_exist)
    elif annotations == "folders" or (annotations == AUTO and not (data_dir / MANIFEST).is_file()):
        splits, notes = _read_folders(data_dir)
    else:
        name = MANIFEST if annotations == AUTO else annotations
        splits, notes = _read_path(data_dir / name, data_dir, must_exist)
    arranged = arrange(splits, data_dir, **options)
    return dataclasses.replace(arranged, notes=notes + arranged.notes)


def videos_in(data_dir: str | Path) -> list[str]:
    """Returns the paths of all files in a folder that are videos by their suffix."""
    return sorted(path for paths in video_files(Path(data_dir)).values() for path in paths)


def has(data_dir: str | Path, annotations: str) -> bool:
    """Whether a data folder has annotations of that name."""
    path = Path(data_dir) / annotations
    return path.exists() or bool(official_lists(path))


def _read_path(path: Path, data_dir: Path, must_exist: bool) -> tuple[Splits, list[str]]:
    """Tells the format by what is there."""
    public = read_public_list(path, data_dir)
    if public is not None:
        return public
    if path.is_dir() or path.suffix == ".json":
        reason = "holds no lists of Kinetics" if path.is_dir() else "does not exist"
        text = f"The annotations {path}: it {reason}. `videos.annotations` must be {_FORMS}"
        raise DataError(text)
    return read_csv(path, must_exist)


def _read_folders(data_dir: Path) -> tuple[Splits, list[str]]:
    """Reads CLASS/video.mp4, or SPLIT/CLASS/video.mp4; returns videos by split, and notes."""
    folders = _folders(data_dir)
    split_folders = [folder for folder in folders if folder.name.lower() in _SPLIT_FOLDERS]
    splits: Splits = {}
    others: list[str] = []
    for split_folder in split_folders or [data_dir]:
        videos = []
        for class_folder in _folders(split_folder):
            files = sorted(
                p for p in class_folder.rglob("*") if p.is_file() and not p.name.startswith(".")
            )
            paths = [str(path) for path in files if _is_video(path)]
            others += [str(path) for path in files if not _is_video(path)]
            if not paths:
                raise DataError(
                    f"The class folder {class_folder} holds no video "
                    f"({', '.join(sorted(VIDEO_SUFFIXES))}): add videos or remove the folder."
                )
            videos += [Video(path, class_folder.name) for path in paths]
        name = SPLITS[split_folder.name.lower()] if split_folders else "train"
        if name in splits:
            raise DataError(
                f"{data_dir} has two folders for the {name} split "
                f"({', '.join(folder.name for folder in split_folders)}): keep one."
            )
        splits[name] = videos
    if not any(splits.values()):
        raise DataError(f"No class folders with videos in {data_dir}. Expected:\n{LAYOUT}")
    loose = [
        str(path)
        for folder in [data_dir, *split_folders]
        for path in sorted(folder.iterdir())
        if _is_video(path)
    ]
    beside = [folder.name for folder in folders if split_folders and folder not in split_folders]
    notes = note(beside, "folders beside the splits are skipped")
    notes += note(loose, "videos in no class folder are skipped")
    notes += note(others, "files without a video suffix are skipped")
    return splits, notes


def _is_video(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
