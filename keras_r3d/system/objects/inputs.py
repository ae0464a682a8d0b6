"""Videos and lists at s3://, gs://, http(s):// and others: what is there, and copies of it here.

A file at a URL must not change while a process reads it. What was learned of files is remembered:
there may be 300,000 of them, and to ask for each takes as long as the way to the server and back.
"""

import contextlib
import functools
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from keras_r3d.system import files, text
from keras_r3d.system.errors import DataError, StoreError, UnreachableError
from keras_r3d.system.objects import remote
from keras_r3d.system.objects.calls import PACKAGES, SILENCE_SECONDS
from keras_r3d.system.objects.remote import About

KEPT_BYTES, KEPT_FILES = 2 * 2**30, 128  # copies in each process; the last used are kept
AT_A_TIME = 64  # requests
WORTH_LISTING = 16  # files: of a folder of which fewer are asked for, each is
_LISTING_SECONDS = 900.0  # for all pages, of 1000 files each

_known: dict[str, About | None] = {}  # by URL; None of one that is not there
_folders: dict[str, tuple[set[str], list[str]]] = {}  # folders and names of files in each listed
_listed: set[str] = set()  # those with all that is below
_copies: "OrderedDict[str, Copy]" = OrderedDict()
_copying = threading.Lock()
_waiting: "weakref.WeakValueDictionary[str, Any]" = weakref.WeakValueDictionary()  # locks


class Copy:
    """The content of a URL in a file without a name, which ends with the last that holds it.

    So nothing is left behind, however a process ends.

    Attributes:
        size: in bytes.
        path: that it can be opened by, as long as it is held.

    Raises:
        FileNotFoundError: there is no such file.
        UnreachableError: it cannot be read.
        WriteError: the disk is full, …
    """

    def __init__(self, url: str):
        known = _known[url] = _ask(url)
        if known is None:
            raise FileNotFoundError(url)
        self.size, server = known.size, _open(url)
        try:
            self._file = tempfile.TemporaryFile(prefix="keras_r3d-")  # noqa: SIM115 (it is held)
            self.path = f"/proc/self/fd/{self._file.fileno()}"
            for offset in range(0, self.size, remote.PIECE_BYTES):
                piece = min(remote.PIECE_BYTES, self.size - offset)
                with _told():
                    self._file.write(remote.ask(server, url, (offset, piece)))
            self._file.flush()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise files.WriteError(files.explain(tempfile.gettempdir(), error)) from error


def copy(url: str) -> Copy:
    """Returns a copy of a file, made or kept; raises as `Copy`."""
    with _copying:
        lock = _waiting.setdefault(url, threading.Lock())
    with lock:
        made = _copies.get(url) or Copy(url)
        with _copying:
            _copies[url] = made
            _copies.move_to_end(url)
            total = sum(each.size for each in _copies.values())
            while len(_copies) > (KEPT_FILES if total <= KEPT_BYTES else 1):
                total -= _copies.popitem(last=False)[1].size
        return made


def check(url: str) -> None:
    """Raises DataError if nothing can be read from such a URL; nothing is asked."""
    _open(url)


def has_listing(url: str) -> bool:
    """Whether the server of a URL tells what is in a folder."""
    return not isinstance(_open(url), remote.Web)


def about(url: str) -> About | None:
    """Returns what is known of a file, which is asked for once; None if there is none."""
    if url not in _known and not any(url.startswith(f"{root}/") for root in _listed):
        _known[url] = _ask(url)
    return _known.get(url)


def is_listed(url: str) -> bool:
    """Whether a file was there when its folder was listed."""
    folder, _, name = url.rpartition("/")
    return folder in _folders and name in _folders[folder][1]


def learn(urls: Iterable[str]) -> None:
    """Asks for what is not known of many files, at a time; of folders with many, by listing."""
    unknown: dict[str, list[str]] = defaultdict(list)
    for url in dict.fromkeys(urls):
        if _known.get(url) is None:
            unknown[url.rpartition("/")[0]].append(url)

    def list_folder(folder: str) -> Sequence[str]:
        """Returns those that are still unknown: files may be read where none may list them."""
        asked = unknown[folder]
        if len(asked) >= WORTH_LISTING and has_listing(folder):
            with contextlib.suppress(UnreachableError):
                found = _find(folder, deep=False)
                _known.update((url, found.get(url)) for url in asked)
                return ()
        return asked

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        left = [url for urls in pool.map(list_folder, unknown) for url in urls]
        _known.update(zip(left, pool.map(_ask, left), strict=True))


def find(url: str) -> None:
    """Lists a folder and all below it, anew, for `entries` and `about`.

    Raises:
        DataError: there is no such folder, or its server lists none.
        UnreachableError: the server does not answer, or refuses.
    """
    if not has_listing(url):
        raise DataError(
            f"{url} is no clip store, and servers of http(s):// do not list folders: name videos "
            "(.mp4, …), or a list of them, such as URL/list.csv."
        )
    found = _find(url, deep=True)
    if not found:
        raise DataError(f"{url} does not exist: no such bucket, or nothing in that folder.")
    for known in (_known, _folders):
        for place in [name for name in list(known) if name.startswith(f"{url}/")]:
            del known[place]
    _listed.add(url)
    _known.update(found)
    for place in found:
        folder, _, name = place.rpartition("/")
        _folders.setdefault(folder, (set(), []))[1].append(name)
        while folder.startswith(f"{url}/"):
            above = folder.rpartition("/")[0]
            _folders.setdefault(above, (set(), []))[0].add(folder)
            folder = above


def entries(url: str) -> tuple[list[str], list[str]] | None:
    """Returns the URLs of the folders in a folder, and the names of its files, as `find` saw them.

    None if it saw no such folder.
    """
    if url not in _folders:
        return None
    folders, names = _folders[url]
    return sorted(folders), sorted(names)


def lists(folder: str, names: Iterable[str], optional: Iterable[str] = ()) -> Path:
    """Returns a new folder here with copies of lists, which messages show as that of their URLs.

    Those that are not there are left out, and optional ones that are refused: some servers say so
    of a file that is not there.
    """
    here = text.temporary_folder(folder)
    for name in (*names, *optional):
        try:
            copied = Copy(f"{folder}/{name}")
            shutil.copyfile(copied.path, here / name)
        except (FileNotFoundError, UnreachableError) as error:
            refused = isinstance(error.__cause__, PermissionError) and name in optional
            if isinstance(error, UnreachableError) and not refused:
                raise
    return here


def _ask(url: str) -> About | None:
    server = _open(url)
    with _told(), contextlib.suppress(FileNotFoundError):
        return remote.retried(lambda: server.about(url, SILENCE_SECONDS), url)
    return None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Raises UnreachableError for an answer that is of no use."""
    try:
        yield
    except StoreError as error:
        raise UnreachableError(str(error)) from error


def _find(url: str, *, deep: bool) -> dict[str, About]:
    server = _open(url)
    assert isinstance(server, remote.Fsspec)
    try:
        return remote.retried(lambda: server.find(url, _LISTING_SECONDS, deep=deep), url)
    except FileNotFoundError:
        return {}


def _open(url: str) -> remote.Web | remote.Fsspec:
    scheme, _, rest = url.partition("://")
    if scheme != scheme.lower():
        raise DataError(f"{scheme}:// must be written {scheme.lower()}://.")
    try:
        if scheme not in ("http", "https"):
            return _of_bucket(f"{scheme}://{rest.partition('/')[0]}")
        server = remote.Web(url)
    except StoreError as error:
        raise DataError(str(error)) from None
    if "?" in url:
        raise DataError(
            f"{server.root}: videos and lists are named without a query (?…), which results would "
            "show: use s3:// with credentials of the environment, or a copy here."
        )
    return server


@functools.cache
def _of_bucket(root: str) -> remote.Fsspec:
    try:
        return remote.Fsspec(root)
    except ImportError as error:
        scheme = root.partition("://")[0].lower()
        raise DataError(
            f"{root}: what reads videos from {scheme}:// is not installed ({error}): `pip install "
            f"fsspec {PACKAGES[scheme]}`, or copy them to the disk."
        ) from error
