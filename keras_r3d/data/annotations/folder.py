"""What lies in a folder: videos, which are files or folders of numbered pictures."""

import functools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_r3d.system import files
from keras_r3d.system.errors import DataError
from keras_r3d.system.objects import inputs
from keras_r3d.system.objects.calls import is_url

_SUFFIXES = "3gp asf avi f4v flv gif m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogg ogv ts vob webm wmv"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES.split())
LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".json")
_NUMBERED = re.compile(r"(.*?)(\d+)(\.(?:jpe?g|png|bmp|webp))", re.IGNORECASE)
# What systems leave in folders, beside names that begin with a dot.
_LEFT_BEHIND = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"}


def is_video_name(name: str) -> bool:
    """Whether a file is a video by its suffix."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def is_list_name(name: str) -> bool:
    """Whether a file is a list of videos by its suffix."""
    return name.lower().endswith(LIST_SUFFIXES)


def is_file(path: str) -> bool:
    """Whether a path is a file; a URL tells it by its suffix."""
    return is_video_name(path) or is_list_name(path) if is_url(path) else os.path.isfile(path)


def stem(path: str) -> str:
    """Returns the name of a video, without the suffix of a file."""
    name = os.path.basename(path)
    return os.path.splitext(name)[0] if is_video_name(name) else name


def is_picture_folder(path: str) -> bool:
    """Whether a path is a folder of numbered pictures, and of no videos or folders."""
    return os.path.isdir(path) and _is_video(*entries(path))


def contents(folder: str) -> tuple[list[str], list[str]]:
    """Returns the paths of the videos in a folder, at any depth, and of the other files."""
    folders, names = entries(folder)
    if _is_video(folders, names):
        if is_url(folder):
            raise DataError(
                f"{folder} holds numbered pictures, which are not read from a URL: copy them to "
                "the disk, or make a video file of them."
            )
        return [folder], []
    videos: list[str] = []
    others: list[str] = []
    for name in names:
        (videos if is_video_name(name) else others).append(os.path.join(folder, name))
    for path in folders:
        more, rest = contents(path)
        videos += more
        others += rest
    return sorted(videos), sorted(others)


def entries(folder: str | Path) -> tuple[list[str], list[str]]:
    """Returns the paths of the folders in a folder and the names of its files, sorted.

    Links are followed, but for those to a folder above; what systems leave behind is no data.
    A folder at a URL is as it was when it was last listed.
    """
    if is_url(str(folder)):
        above, names = inputs.entries(str(folder)) or ([], [])
        return [p for p in above if _is_data(os.path.basename(p))], list(filter(_is_data, names))
    try:
        with os.scandir(folder) as found:
            data = sorted((e for e in found if _is_data(e.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read ({error.strerror}).") from error
    folders = [e.path for e in data if e.is_dir() and not (e.is_symlink() and _loops(e.path))]
    return folders, [e.name for e in data if not e.is_dir()]


def _is_data(name: str) -> bool:
    return name[:1] not in ("", ".") and name not in _LEFT_BEHIND


def _loops(link: str) -> bool:
    return any(os.path.samefile(link, above) for above in Path(os.path.abspath(link)).parents)


def _is_video(folders: Sequence[str], names: Sequence[str]) -> bool:
    return not folders and not any(map(is_video_name, names)) and bool(_numbered(names))


def picture_names(path: str) -> dict[int, str]:
    """Returns the names of the numbered pictures of a folder, by number; none if it has none.

    Of pictures that are named in several ways, those of the most common one.
    """
    try:
        return _picture_names(path, os.stat(path).st_mtime_ns)
    except OSError:
        return {}


@functools.lru_cache(maxsize=1024)
def _picture_names(path: str, modified: int) -> dict[int, str]:
    return _numbered(os.listdir(path))


def _numbered(names: Iterable[str]) -> dict[int, str]:
    ways: dict[tuple[str, str], dict[int, str]] = {}
    for name in names:
        if name[0] != "." and (match := _NUMBERED.fullmatch(name)):
            ways.setdefault((match[1], match[3]), {})[int(match[2])] = name
    return max(ways.values(), key=len, default={})


def exists(path: str) -> bool:
    """Whether there is a file, or a folder of numbered pictures."""
    if is_url(path):
        return inputs.about(path) is not None
    return os.path.isfile(path) or bool(picture_names(path))


def parts(path: str) -> list[str]:
    """Returns the files that a video is made of: itself, or the pictures of a folder in order."""
    pictures = sorted(picture_names(path).items())
    return [os.path.join(path, name) for _, name in pictures] or [path]


def size(path: str) -> int:
    """Returns the bytes of a video; OSError if it is not there."""
    if is_url(path):
        return known.size if (known := inputs.about(path)) else inputs.copy(path).size
    return sum(map(os.path.getsize, parts(path)))


def sha256(path: str) -> str:
    """Returns the SHA-256 of a video, of its pictures one after the other; or OSError."""
    if is_url(path):
        copied = inputs.copy(path)
        return files.sha256(copied.path)
    return files.sha256(*parts(path))
