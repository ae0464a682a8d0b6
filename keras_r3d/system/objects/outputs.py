"""Results at s3:// or gs://: made in a temporary folder here, and put there file by file.

A file that is put is whole, or not there. Messages name the URL in place of the folder here.
"""

import contextlib
import functools
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from keras_r3d.system import text
from keras_r3d.system.errors import ArgumentError, WriteError
from keras_r3d.system.objects import calls
from keras_r3d.system.objects.calls import FileSystem, is_url
from keras_r3d.system.retrying import retry

_WRITABLE = ("s3", "gs")
_TRIES, _AT_A_TIME = 5, 16
_TRIES_OF_A_REQUEST = 3  # of the many that a large file takes
_MIRROR_SECONDS = 60.0
PARTIAL = ".partial-"  # how names begin of what is being written
_urls: dict[Path, str] = {}  # of folders here, those that they stand for
_mirrored: set[Path] = set()  # folders that `mirrored` puts


def local(path: str | os.PathLike[str], argument: str = "output") -> Path:
    """Returns where a result is made: at its path, or here if that is a URL; nothing is asked yet.

    Raises:
        ArgumentError: results cannot be written to such a URL.
    """
    if not is_url(os.fspath(path)):
        return Path(path)
    scheme, _, rest = os.fspath(path).rstrip("/").partition("://")
    folder, _, name = rest.rpartition("/")
    if scheme not in _WRITABLE or not folder or "@" in folder:
        schemes = " or ".join(f"{name}://BUCKET/NAME" for name in _WRITABLE)
        raise ArgumentError(
            f"`{argument}` must be a path, or {schemes} without a password. Received: "
            f"{scheme}://{rest.rpartition('@')[2]}"
        )
    _system(scheme, argument)
    url = f"{scheme}://{folder}"
    known = (place for place, other in _urls.items() if other == url)
    if (here := next(known, None)) is None:
        _urls[here := text.temporary_folder(url)] = url
    return here / name


def exists(path: Path) -> bool:
    """Whether there is a file or folder at the URL that a path here stands for."""
    return bool(_url(path) and sizes(path))


def sizes(path: Path) -> dict[str, int]:
    """Returns the bytes of what lies in a folder, here or at its URL, by name; "" of a file."""
    if url := _url(path):
        place = url.partition("://")[2]
        found = _call(url, "ls", url, detail=True)
        return {row["name"].removeprefix(place).strip("/"): row["size"] or 0 for row in found}
    if path.is_dir():
        found = {}
        for entry in os.scandir(path):
            with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                found[entry.name] = entry.stat(follow_symlinks=False).st_size
        return found
    return {"": path.stat().st_size} if path.exists() else {}


def all_sizes(path: Path) -> dict[str, int] | None:
    """Returns the bytes of all files below the URL that a folder stands for; None if for none."""
    if not (url := _url(path)):
        return None
    place, found = url.partition("://")[2], _call(url, "find", url, detail=True)
    return {name.removeprefix(place).strip("/"): row["size"] for name, row in dict(found).items()}


def publish(paths: Iterable[Path]) -> None:
    """Puts files, and all files of folders, where they stand for a URL that is not mirrored."""
    paths = [p for p in paths if _url(p) and _mirrored.isdisjoint((p, *p.parents))]
    found = [file for path in paths for file in (path, *sorted(path.rglob("*")))]
    _all(_put, (file for file in found if file.is_file()))


def release(path: Path) -> None:
    """Removes a file here that was put where it stands for a URL: there may be no room for all."""
    if _url(path):
        path.unlink()


def fetch(path: Path) -> None:
    """Makes a file or folder here what is at the URL that it stands for, if it does."""
    if url := _url(path):
        _remove_here(path)
        _all(functools.partial(_get, path, url), _call(url, "find", url))


def fetched(place: str | os.PathLike[str], argument: str) -> str:
    """Returns where a file or folder lies here, fetched if it is at such a URL.

    Raises:
        ArgumentError: nothing is there.
        WriteError: it cannot be had.
    """
    name = os.fspath(place)
    if name.partition("://")[0] not in _WRITABLE or not is_url(name):
        return name
    path = local(name, argument)
    fetch(path)
    if not path.exists():
        raise ArgumentError(f"`{argument}` {path}: there is nothing there.")
    return str(path)


@contextlib.contextmanager
def mirrored(folder: Path) -> Iterator[None]:
    """Makes a folder what is at the URL that it stands for, and keeps that URL like it.

    What was written is put there once a minute, the oldest first, and in the end. If it cannot be
    put then, it is kept here, and the WriteError says where; that nothing can be is said at once.
    """
    if not (url := _url(folder)):
        yield
        return
    fetch(folder)
    for method, content in (("pipe_file", (b"",)), ("rm_file", ())):  # before hours of work
        _call(url, method, f"{url}/{PARTIAL}try", *content)
    put, done = _files(folder), threading.Event()

    def repeat() -> None:
        while not done.wait(_MIRROR_SECONDS):
            with contextlib.suppress(WriteError):  # until the next time
                _mirror(folder, put)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    _mirrored.add(folder)
    try:
        yield
    finally:
        _mirrored.remove(folder)
        done.set()
        thread.join()
        try:
            _mirror(folder, put)
        except WriteError as error:
            reason = str(error)  # with the URL
            text.shown_as.clear()  # so that they stay, and are named
            raise WriteError(
                f"{reason} The files are kept in {folder}: copy them to {url}, then run again to "
                "resume."
            ) from error


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Returns when each file in a folder was written, and its size."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
            if path.is_file() and f"/{PARTIAL}" not in str(path):
                status = path.stat()
                found[path] = status.st_mtime_ns, status.st_size
    return found


def _mirror(folder: Path, put: dict[Path, tuple[int, int]]) -> None:
    """Puts the files that are not as in `put`, and removes those that are gone; changes `put`."""
    now = _files(folder)
    for path, status in sorted(now.items(), key=lambda item: item[1]):
        if put.get(path) != status and path.exists():
            _put(path)
            put[path] = status
    for path in put.keys() - now.keys():
        remove(path)
        del put[path]


def remove(path: Path) -> None:
    """Removes a folder, here and at the URL that it stands for."""
    _remove_here(path)
    if (url := _url(path)) and exists(path):
        _call(url, "rm", url, recursive=True)


def _remove_here(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _url(path: Path) -> str | None:
    for place, url in _urls.items():
        if path.is_relative_to(place):
            return f"{url}/{path.relative_to(place).as_posix()}"
    return None


def _get(path: Path, url: str, name: str) -> None:
    place = path / name.removeprefix(url.partition("://")[2]).lstrip("/")
    body = _call(url, "cat_file", f"{url.partition('://')[0]}://{name}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
    except OSError as error:
        raise WriteError(
            f"{url} could not be copied to {tempfile.gettempdir()} ({error.strerror}): free some "
            "space there, or set TMPDIR to another folder."
        ) from error


def _put(path: Path) -> None:
    url = _url(path)
    assert url is not None
    _call(url, "put_file", str(path), url, size=path.stat().st_size)


def _all(function: Any, items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(function, items))


@functools.cache
def _system(scheme: str, argument: str = "output") -> FileSystem:
    try:
        return FileSystem(scheme, _TRIES_OF_A_REQUEST)
    except ImportError as error:
        raise ArgumentError(
            f"`{argument}`: what writes {scheme}:// is not installed ({error}): `pip install "
            f"fsspec {calls.PACKAGES[scheme]}`."
        ) from error


def _call(url: str, method: str, *arguments: Any, size: int = 0, **options: Any) -> Any:
    """Calls a method of the file system of a URL, with retries; raises WriteError."""
    seconds = 8 * calls.SILENCE_SECONDS + size / calls.SLOWEST_BYTES_PER_SECOND
    call = functools.partial(_system(url.partition("://")[0]).call, method, *arguments)

    def failure(reason: str) -> WriteError:
        return WriteError(
            f"{url} could not be used: {reason} Check the address and the network, then run again."
        )

    try:
        return retry(
            lambda _: call(seconds=seconds, **options),
            retries=_TRIES,
            deadline_seconds=math.inf,
            failure=failure,
        )
    except FileNotFoundError as error:
        if method in ("find", "ls"):
            return []
        raise WriteError(f"{url}: there is no such bucket: make it, then run again.") from error
    except PermissionError as error:
        raise WriteError(
            f"{url}: the server refuses it ({error}). Check the credentials of this machine and "
            "that they may write there."
        ) from error
