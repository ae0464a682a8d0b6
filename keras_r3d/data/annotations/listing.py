"""Videos named on a command line: files, folders, globs, a list on stdin, live sources."""

import glob
import io
import os
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from keras_r3d.data import annotations
from keras_r3d.data.annotations import FRAME_RATE, FRAME_RATES, Video
from keras_r3d.system.errors import DataError, check_range
from keras_r3d.system.objects import inputs
from keras_r3d.system.objects.calls import PACKAGES, WEB, is_url

STDIN = "-"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SECRETS = re.compile(r"(?<=://)[^/?#]*@|\?.*")  # name and password, and what is asked


def is_live(word: str) -> bool:
    """Whether a word is a camera's number or an address, and not the name of a file.

    Of http(s):// the suffix of a file tells, without a query; s3:// and the like are files.
    """
    if os.path.exists(word) or (is_url(word) and word.partition("://")[0].lower() in PACKAGES):
        return False
    is_file = "?" not in word and annotations.is_file(word) and word.startswith(WEB)
    return not is_file and (word.isdecimal() or bool(_ADDRESS.match(word)))


def paths(words: Iterable[str], lines: Iterable[str] = (), **options: Any) -> list[str]:
    """Returns the paths of the videos that words name, as `videos`, each file once."""
    return list(dict.fromkeys(video.path for video in videos(words, lines, **options)))


def videos(
    words: Iterable[str | Video],
    lines: Iterable[str] = (),
    *,
    opens_lists: bool = True,
    frame_rate: float = FRAME_RATE,
    say: Callable[[str], None] = warnings.warn,
) -> list[Video]:
    """Returns the videos that words name, each once, in their order.

    Words are videos; folders, for all videos at any depth; lists, for the videos and segments in
    them, if `opens_lists`; globs (`**` is any folders); "-" for `lines`, of a path each. A missing
    file, or a glob without a match, is returned unchanged. `frame_rate` is that of folders of
    pictures, where a list has no other (else ArgumentError, if it is out of range); `say` takes
    notes on lists.
    """
    check_range(*FRAME_RATES, frame_rate=frame_rate)
    named: dict[tuple[str, float, float], Video] = {}
    for word in words:
        listed: list[str] | list[Video]
        if isinstance(word, Video):
            listed = [word]
        elif word == STDIN:
            if isinstance(lines, io.TextIOWrapper):
                lines.reconfigure(errors="surrogateescape")  # a file name may be any bytes
            listed = [line for line in (line.rstrip("\r\n") for line in lines) if line.strip()]
            if not listed:
                raise DataError("'-' takes paths of videos, one a line, but none came on stdin.")
        elif os.path.isdir(word) or _is_remote_folder(word):
            if is_url(word):
                inputs.find(word := annotations.absolute(word))
            listed, _ = annotations.contents(word)
            if not listed:
                suffixes = " ".join(sorted(annotations.VIDEO_SUFFIXES))
                raise DataError(
                    f"{word} holds no videos. Known suffixes: {suffixes}; or folders of numbered "
                    "pictures."
                )
        elif opens_lists and _is_list(word):
            listed, notes = annotations.listed_videos(word, frame_rate)
            for note in notes:
                say(f"Note: {note}")
        elif glob.has_magic(word) and not os.path.lexists(word):
            matches = sorted(glob.glob(word, recursive=True))
            listed = [path for path in matches if annotations.exists(path)] or [word]
        else:
            listed = [word]
        for item in listed:
            video = item if isinstance(item, Video) else Video(item, "", frame_rate=frame_rate)
            if is_url(video.path):
                inputs.check(video.path)
            place = os.path.abspath(video.path), video.start_seconds, video.end_seconds
            named.setdefault(place, video)
    return list(named.values())


def names_several(word: str) -> bool:
    """Whether a word is a folder, a list or a glob of videos, and not one of them."""
    if os.path.isdir(word):
        return not annotations.is_picture_folder(word)
    if is_url(word):
        return _is_list(word) or _is_remote_folder(word)
    return _is_list(word) or (glob.has_magic(word) and not os.path.exists(word))


def _is_list(word: str) -> bool:
    return annotations.is_list_name(word) and annotations.is_file(word)


def _is_remote_folder(word: str) -> bool:
    return is_url(word) and not annotations.is_file(word)


def printable(text: str) -> str:
    """Returns a name that can be printed: any bytes become one line, without a password."""
    text = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return _SECRETS.sub("", text) if _ADDRESS.match(text) else text


def names(videos: Sequence[str]) -> list[str]:
    """Returns a different file name, without suffix, for each of different videos.

    It is the video's own if they are all different, else it includes the folders below the root.
    """
    absolute = [os.path.abspath(video) for video in videos]
    root = os.path.commonpath([os.path.dirname(path) for path in absolute]) if absolute else ""
    below = [os.path.relpath(path, root).replace(os.sep, "_") for path in absolute]
    candidates = [
        [os.path.splitext(os.path.basename(path))[0] for path in absolute],
        [os.path.splitext(name)[0] for name in below],
        below,
        [f"{number}_{name}" for number, name in enumerate(below, 1)],
    ]
    # A file system may not distinguish case.
    return next(
        [printable(name) for name in stems]
        for stems in candidates
        if len({printable(name).casefold() for name in stems}) == len(stems)
    )
