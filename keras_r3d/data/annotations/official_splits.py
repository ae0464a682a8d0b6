"""The official splits of UCF101 and HMDB51: text files, one of three numbered splits.

UCF101 (ucfTrainTestlist): trainlist01.txt and testlist01.txt list CLASS/video.avi. HMDB51
(testTrainMulti_7030_splits): for each class CLASS_test_split1.txt lists video.avi and 1 (training),
2 (test) or 0 (neither). Named by the folder and the number of the split, such as
"ucfTrainTestlist/1".
"""

from collections.abc import Iterator
from pathlib import Path

from keras_r3d.data.annotations import listed
from keras_r3d.data.annotations.listed import Entry
from keras_r3d.data.annotations.video import Video
from keras_r3d.system.errors import DataError

_UCF101 = {"trainlist": "train", "testlist": "test"}
_HMDB51 = {"1": "train", "2": "test", "0": None}


def number(path: Path) -> int | None:
    """Returns the number of the split that a path names, None if it names none."""
    if path.exists() or not path.name.isdecimal() or not path.parent.is_dir():
        return None
    split = int(path.name)
    files = (path.parent / f"trainlist{split:02d}.txt", *_hmdb51(path.parent, split))
    return split if any(file.is_file() for file in files) else None


def refuse_half_names(path: Path) -> None:
    """Raises DataError for the folder of lists, a list, or a number that is not there."""
    folder = path if path.is_dir() else path.parent
    numbers = sorted(
        {
            file.stem[-1]
            for name in ("trainlist0?", "*_test_split?")
            for file in folder.glob(name + ".txt")
        }
    )
    if numbers:
        raise DataError(
            f"{folder} holds official lists: name it with the number of the split, such as "
            f"{folder.name}/{numbers[0]}. There are {', '.join(numbers)}. Received: {path}"
        )


def read(path: Path, data_dir: Path) -> tuple[dict[str, list[Video]], list[str]]:
    """Returns videos by split, and notes.

    Args:
        path: folder of the lists, and in it the number of the split.
    """
    folder, split = path.parent, int(path.name)
    lists = _hmdb51(folder, split)
    if lists:
        return listed.find((entry for file in lists for entry in _of_hmdb51(file)), data_dir, path)
    files = {folder / f"{name}{split:02d}.txt": kind for name, kind in _UCF101.items()}
    absent = [str(file) for file in files if not file.is_file()]
    if absent:
        raise DataError(f"The list {absent[0]} is missing beside the other one.")
    entries = (entry for file, kind in files.items() for entry in _of_ucf101(file, kind))
    return listed.find(entries, data_dir, path)


def _hmdb51(folder: Path, split: int) -> list[Path]:
    return sorted(folder.glob(f"*_test_split{split}.txt"))


def _of_ucf101(path: Path, split: str) -> Iterator[Entry]:
    for where, line in _lines(path):
        # A number may follow; names have no spaces.
        label, slash, name = line.split()[0].partition("/")
        if not slash or not label or not name:
            raise DataError(f"{where}: expected CLASS/video.avi. Received: {line[:100]}")
        yield Entry(Path(name).stem, label, split, where)


def _of_hmdb51(path: Path) -> Iterator[Entry]:
    label = path.name.rpartition("_test_split")[0]
    for where, line in _lines(path):
        name, _, kind = line.rpartition(" ")
        if not name or kind not in _HMDB51:
            raise DataError(f"{where}: expected video.avi and 0, 1 or 2. Received: {line[:100]}")
        split = _HMDB51[kind]
        if split is not None:
            yield Entry(Path(name.strip()).stem, label, split, where)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8: {error}") from error
    for count, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{path}, line {count}", line.strip()
