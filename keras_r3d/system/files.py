"""Writing files so that a reader sees the old one or the new one, never half of one."""

import contextlib
import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_r3d.system.errors import ArgumentError, R3DError, WriteError
from keras_r3d.system.objects import outputs
from keras_r3d.system.text import shown

_PARTIAL = outputs.PARTIAL  # and the number of the process
_TAIL = 16  # letters, that hold all suffixes
_MOST_BYTES = 255  # of a file name on Linux and macOS
_REMEDIES = {
    errno.ENAMETOOLONG: "choose a shorter name",
    **dict.fromkeys((errno.ENOSPC, errno.EFBIG), "free some space there"),
    errno.EDQUOT: "free some space there (your quota is used up)",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "choose a folder you may write to"),
    errno.EROFS: "choose a folder that is not read-only",
}


def explain(path: str | os.PathLike[str], error: OSError) -> str:
    """Says in one sentence why writing `path` failed and what to do."""
    if shown(path) != os.fspath(path):  # made here for a URL: what fails is this machine's disk
        path = tempfile.gettempdir()
    remedy = _REMEDIES.get(error.errno or 0, "see that the folder is there and can be written")
    return f"Could not write {path} ({error.strerror or error}): {remedy}, then run again."


def file_name(stem: str, suffix: str = "") -> str:
    """Returns `stem + suffix`, in which a hash stands for the end of a stem that is too long."""
    most = _MOST_BYTES - len(os.fsencode(suffix))
    if len(os.fsencode(stem)) > most:
        digest = sha256_of([os.fsencode(stem)])[:8]
        stem = os.fsencode(stem)[: most - 9].decode(errors="ignore") + "~" + digest
    return stem + suffix


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside `path`, to write a file or folder at; then puts it in place.

    If the block fails the temporary is removed and what stood at `path` stays. The temporary keeps
    the suffixes of `path`, which many writers look at. WriteError: the disk is full, …
    """
    path = Path(path)
    begins, end = f"{_PARTIAL}{os.getpid()}-{path.name[:-_TAIL]}", path.name[-_TAIL:]
    temporary = path.with_name(file_name(begins, end))
    with _cleaned(temporary, path):
        yield temporary
        if temporary.is_file():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)


def made_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Returns a folder that `fill` makes the content of, unless it is there already.

    Another process may make it at the same time: the first one's is kept. WriteError as `atomic`.
    """
    if folder.is_dir():
        return folder
    make_folder(folder.parent)
    try:
        with atomic(folder) as temporary:
            temporary.mkdir()
            fill(temporary)
    except WriteError:
        if not folder.is_dir():  # nobody else was faster
            raise
    return folder


@contextlib.contextmanager
def all_or_none(folder: Path, paths: Iterable[Path]) -> Iterator[None]:
    """Makes a folder for new files and folders in it; if the block fails, it takes them away again.

    What was there before stays. WriteError: the folder cannot be made.
    """
    new = [path for path in paths if not os.path.lexists(path)]
    folders = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        make_folder(folder)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # somebody else put something there
            for path in new:
                _remove(path)
            for path in folders:
                path.rmdir()
        raise


@contextlib.contextmanager
def together(folder: Path, replaced: Iterable[str] = ()) -> Iterator[Path]:
    """Gives a temporary folder in `folder`, to write files in; then puts all of them in place.

    If the block fails, `folder` stays as it was: its files are all old, or all new. The files named
    in `replaced` go where the block writes no new ones. WriteError: the disk is full, …
    """
    temporary = folder / f"{_PARTIAL}{os.getpid()}-together"
    with _cleaned(temporary, folder):
        temporary.mkdir()
        yield temporary
        new = sorted(path.name for path in temporary.iterdir())
        for name in new:
            os.replace(temporary / name, folder / name)
        for name in set(replaced) - set(new):
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _cleaned(temporary: Path, path: Path) -> Iterator[None]:
    """Removes a temporary before and after a block, whose errors name `path` in its place."""
    try:
        _remove(temporary)  # of a process with this number that was killed
        try:
            yield
        finally:
            _remove(temporary)
    except WriteError as error:  # names a file that nobody has seen
        raise WriteError(str(error).replace(str(temporary), str(path))) from error
    except OSError as error:
        raise WriteError(explain(path, error)) from error


@contextlib.contextmanager
def locked(path: Path, held: Exception) -> Iterator[None]:
    """Locks a file, which is made if it is not there; the lock ends with the process.

    Raises `held` where another process holds it, WriteError where it cannot be written.
    """
    try:
        lock = path.open("a")  # for writing, or NFS does not lock it
    except OSError as error:
        raise WriteError(explain(path, error)) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise held from error
        except OSError:
            pass  # a file system without locks
        yield


def make_folder(path: Path) -> None:
    """Makes a folder and those that it is in, where they are not there. Raises WriteError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(explain(path, error)) from error


def check_new(
    path: str | os.PathLike[str], argument: str, error: type[R3DError] = ArgumentError
) -> None:
    """Raises an error, naming `argument`, if something is at a path: nothing is ever replaced."""
    check_no_url(path, argument, error)
    if os.path.lexists(path) or outputs.exists(Path(path)):
        raise error(f"{path} already exists; choose another `{argument}`.")


def check_no_url(
    path: str | os.PathLike[str], argument: str, error: type[R3DError] = ArgumentError
) -> None:
    """Raises an error, naming `argument`, for a URL, also one that was made a `Path`."""
    if re.match(r"\w+:/", str(path)):
        url = re.sub(r"^(\w+:)/+", r"\1//", str(path))
        raise error(f"`{argument}` must be a path, not a URL. Received: {url}")


def check_writable(folder: Path) -> None:
    """Raises WriteError if no file can be made in a folder, before hours of work."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise WriteError(explain(folder, error)) from error


def is_leftover(path: Path) -> bool:
    """Whether `atomic` was writing a file when its process was killed, or is."""
    return path.name.startswith(_PARTIAL)


def remove_leftovers(folder: Path) -> None:
    """Removes what `atomic` left in a folder when its process was killed.

    To be called when this process writes nothing there: a killed one may have had its number.
    """
    for path in folder.glob(f"{_PARTIAL}*"):
        number = path.name.removeprefix(_PARTIAL).partition("-")[0]
        if number == str(os.getpid()) or not Path("/proc", number).exists():
            with contextlib.suppress(OSError):
                _remove(path)


def _remove(path: Path) -> None:
    with _uninterrupted():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM back until a block is done, or half a folder would be left."""
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted
        yield
        return
    come: list[int] = []
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not None]
    before = {number: signal.signal(number, lambda n, _: come.append(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for came in come:
            signal.raise_signal(came)


@contextlib.contextmanager
def scratch_folder(parent: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Gives a folder that is removed in the end, also by an interrupt that comes meanwhile."""
    with tempfile.TemporaryDirectory(prefix=".keras_r3d-", dir=parent) as folder:
        try:
            yield Path(folder)
        finally:
            _remove(Path(folder))


def cache() -> Path:
    """Returns the folder of what can be had again: `$KERAS_R3D_CACHE`, else ~/.cache/keras_r3d."""
    return Path(os.environ.get("KERAS_R3D_CACHE") or Path.home() / ".cache" / "keras_r3d")


def sha256(*paths: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of files, one after the other, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def sha256_of(parts: Iterable[bytes]) -> str:
    """Returns the SHA-256 of bytes, one part after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file in UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns the text of a CSV file."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(header)
    lines.writerows(rows)
    return text.getvalue()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a JSON file, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def append_json(path: str | os.PathLike[str], value: Any) -> None:
    """Appends a line to a file of JSON lines."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
