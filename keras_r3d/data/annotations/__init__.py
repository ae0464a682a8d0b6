"""Labeled videos and splits, read from class folders, CSV files and public lists."""

from keras_r3d.data.annotations.arranging import LAYOUT, QUARANTINE, add_to_quarantine, arrange
from keras_r3d.data.annotations.folder import (
    VIDEO_SUFFIXES,
    contents,
    exists,
    is_file,
    is_list_name,
    is_picture_folder,
    is_video_name,
    parts,
    picture_names,
    sha256,
    size,
)
from keras_r3d.data.annotations.own_lists import to_csv
from keras_r3d.data.annotations.reading import AUTO, MANIFEST, has, listed_videos, read
from keras_r3d.data.annotations.video import (
    FRAME_RATE,
    FRAME_RATES,
    Annotations,
    Problem,
    Video,
    absolute,
    is_text,
    listed,
    located,
    relative,
    root,
)
from keras_r3d.system.errors import DataError

__all__ = [
    "AUTO",
    "FRAME_RATE",
    "FRAME_RATES",
    "LAYOUT",
    "MANIFEST",
    "QUARANTINE",
    "VIDEO_SUFFIXES",
    "Annotations",
    "DataError",
    "Problem",
    "Video",
    "absolute",
    "add_to_quarantine",
    "arrange",
    "contents",
    "exists",
    "has",
    "is_file",
    "is_list_name",
    "is_picture_folder",
    "is_text",
    "is_video_name",
    "listed",
    "listed_videos",
    "located",
    "parts",
    "picture_names",
    "read",
    "relative",
    "root",
    "sha256",
    "size",
    "to_csv",
]
