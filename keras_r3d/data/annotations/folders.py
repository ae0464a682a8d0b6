"""Class folders: DATA_DIR/CLASS/video.mp4, or DATA_DIR/SPLIT/CLASS/video.mp4."""

from pathlib import Path

from keras_r3d.data.annotations.video import SPLITS, VIDEO_SUFFIXES, Video, some
from keras_r3d.system.errors import DataError

# Other names of splits are more likely classes.
SPLIT_FOLDERS = ("train", "val", "valid", "validation", "test")

LAYOUT = """\
  DATA_DIR/train/CLASS/video.mp4, DATA_DIR/validation/CLASS/…, DATA_DIR/test/CLASS/…
  or DATA_DIR/CLASS/video.mp4 (splits are then drawn from the classes),
  or a CSV file with the columns path,label[,split][,start_seconds,end_seconds],
  or the lists of Kinetics, ActivityNet, UCF101 or HMDB51 (`data.annotations`)"""


def read(data_dir: Path) -> tuple[dict[str, list[Video]], list[str]]:
    """Returns videos by split, and notes."""
    folders = _folders(data_dir)
    split_folders = [f for f in folders if f.name.lower() in SPLIT_FOLDERS]
    splits: dict[str, list[Video]] = {}
    others: list[Path] = []
    for split_folder in split_folders or [data_dir]:
        videos = []
        for class_folder in _folders(split_folder):
            files = sorted(
                p for p in class_folder.rglob("*") if p.is_file() and not p.name.startswith(".")
            )
            found = [p for p in files if is_video(p)]
            others += [p for p in files if not is_video(p)]
            if not found:
                raise DataError(
                    f"The class folder {class_folder} holds no video "
                    f"({', '.join(sorted(VIDEO_SUFFIXES))}): add videos or remove the folder."
                )
            videos += [Video(str(p), class_folder.name) for p in found]
        name = SPLITS[split_folder.name.lower()] if split_folders else "train"
        if name in splits:
            raise DataError(
                f"{data_dir} has two folders for the {name} split "
                f"({', '.join(f.name for f in split_folders)}): keep one."
            )
        splits[name] = videos
    loose = [f for f in [data_dir, *split_folders] for f in sorted(f.iterdir()) if is_video(f)]
    if not any(splits.values()):
        raise DataError(f"No class folders with videos in {data_dir}. Expected:\n{LAYOUT}")
    notes = []
    if split_folders and len(split_folders) < len(folders):
        left = [f.name for f in folders if f not in split_folders]
        notes.append(f"Folders beside the splits are left aside: {some(left)}.")
    if loose:
        notes.append(
            f"{len(loose)} videos lie in no class folder and are left aside: "
            f"{some([str(p) for p in loose])}."
        )
    if others:
        notes.append(
            f"{len(others)} files are no videos by their suffix and are left aside: "
            f"{some([str(p) for p in others])}."
        )
    return splits, notes


def is_video(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
