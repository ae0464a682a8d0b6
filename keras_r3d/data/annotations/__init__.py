"""Which videos there are, their labels and splits: one file for each kind of annotations."""

from keras_r3d.data.annotations.csv_file import write as to_csv
from keras_r3d.data.annotations.folders import LAYOUT
from keras_r3d.data.annotations.quarantine import NAME as QUARANTINE
from keras_r3d.data.annotations.reading import (
    AUTO,
    MANIFEST,
    absolute,
    add_to_quarantine,
    arrange,
    has,
    is_text,
    read,
    root,
    videos_in,
)
from keras_r3d.data.annotations.video import VIDEO_SUFFIXES, Annotations, Problem, Video
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
