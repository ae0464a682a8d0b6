"""Which videos the words of a command line mean: files, folders, globs, a list, live sources."""

import glob
import io
import os
import re
from collections.abc import Iterable, Sequence

from keras_r3d.data import annotations
from keras_r3d.system.errors import DataError

STDIN = "-"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SECRETS = re.compile(r"(?<=://)[^/?#]*@|\?.*")  # name and password, and what is asked


def is_live(word: str) -> bool:
    """Whether a word is the number of a camera or an address, and no file has this name."""
    return not os.path.exists(word) and (word.isdecimal() or bool(_ADDRESS.match(word)))


def paths(words: Iterable[str], lines: Iterable[str] = ()) -> list[str]:
    """Returns the paths of the videos that words name, each file once, in their order.

    Args:
        words: files; folders, of which all files are taken that are videos by their suffix, also
            those further below; globs (`**` is any folders); "-" for `lines`. A file that is not
            there, or a glob that fits none, is returned as it is.
        lines: paths of files, one a line.

    Raises:
        DataError: a folder without videos, no line.
    """
    found: dict[str, str] = {}
    for word in words:
        if word == STDIN:
            if isinstance(lines, io.TextIOWrapper):
                lines.reconfigure(errors="surrogateescape")  # a file name may be any bytes
            listed = [line for line in (line.rstrip("\r\n") for line in lines) if line.strip()]
            if not listed:
                raise DataError("'-' takes paths of videos, one a line, but none came on stdin.")
        elif os.path.isdir(word):
            listed = annotations.videos_in(word)
            if not listed:
                raise DataError(
                    f"{word} holds no videos. Known suffixes: "
                    f"{' '.join(sorted(annotations.VIDEO_SUFFIXES))}"
                )
        elif glob.has_magic(word) and not os.path.lexists(word):
            matches = sorted(glob.glob(word, recursive=True))
            listed = [path for path in matches if os.path.isfile(path)] or [word]
        else:
            listed = [word]
        for path in listed:
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


def printable(text: str) -> str:
    """Returns a name as it can be printed: of any bytes, on one line, without a password."""
    text = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return _SECRETS.sub("", text) if _ADDRESS.match(text) else text


def names(videos: Sequence[str]) -> list[str]:
    """Returns a file name without suffix for each of different videos, all different.

    That of the video where no other has it, else with the folders below the common one.
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
    # A file system may hold names for the same that differ in case.
    return next(
        [printable(name) for name in some]
        for some in candidates
        if len({printable(name).casefold() for name in some}) == len(some)
    )
