"""Labeled videos and splits, read from class folders, CSV files and public lists."""

from keras_r3d.data.annotations.arranging import LAYOUT, QUARANTINE, add_to_quarantine, arrange
from keras_r3d.data.annotations.csv_file import to_csv
from keras_r3d.data.annotations.reading import AUTO, MANIFEST, has, read, videos_in
from keras_r3d.data.annotations.video import (
    VIDEO_SUFFIXES,
    Annotations,
    Problem,
    Video,
    absolute,
    is_text,
    root,
)
from keras_r3d.system.errors import DataError

__all__ = [
    "AUTO",
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
    "has",
    "is_text",
    "read",
    "root",
    "to_csv",
    "videos_in",
]
