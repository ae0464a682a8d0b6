"""Class folders: DATA_DIR/CLASS/video.mp4, or DATA_DIR/SPLIT/CLASS/video.mp4."""

from pathlib import Path

from keras_r3d.data.annotations.video import SPLITS, VIDEO_SUFFIXES, Splits, Video, note
from keras_r3d.system.errors import DataError

# Other names of splits are more likely classes.
_SPLIT_FOLDERS = ("train", "val", "valid", "validation", "test")

LAYOUT = """\
  DATA_DIR/train/CLASS/video.mp4, DATA_DIR/validation/CLASS/…, DATA_DIR/test/CLASS/…
  or DATA_DIR/CLASS/video.mp4 (splits are then drawn from the classes),
  or a CSV file with the columns path,label[,split][,start_seconds,end_seconds],
  or the lists of Kinetics, ActivityNet, UCF101 or HMDB51 (`videos.annotations`)"""


def read_folders(data_dir: Path) -> tuple[Splits, list[str]]:
    """Returns videos by split, and notes."""
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
