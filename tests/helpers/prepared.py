"""Makes clip stores in the tests' own process."""

from pathlib import Path

import pytest

from keras_r3d.data import annotations
from keras_r3d.data.store import planning, preparing
from keras_r3d.data.store.encoding import StoreSettings
from keras_r3d.data.store.levels import Levels
from keras_r3d.system import workers
from keras_r3d.system.errors import WriteError


def inline(function, items, *, workers, limit_seconds):
    """Stands for `workers.run`: no processes, so no second in which one starts."""
    for number, item in enumerate(items):
        result = call(function, item)
        if isinstance(result, WriteError):
            raise result
        yield number, result


call = workers.call


def job(source: Path, sizes=(64, 48), *, by="short_side", quality=90, fps=0.0) -> planning.Job:
    settings = StoreSettings(Levels(by, tuple(sizes)), quality, fps)
    return planning.job(annotations.read(source, "auto"), annotations.root(source), settings)


def prepare_job(work: planning.Job, store: Path, run=inline, **options) -> preparing.PreparedStore:
    defaults = {"processes": 1, "limit_seconds": 60, "shard_bytes": 2**30}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "run", run)
        return preparing.prepare(
            work, store, **{"progress": lambda done, total: None, **defaults, **options}
        )


def prepare(source: Path, store: Path, *sizes: int, shard_bytes: int = 2**30, run=None, **options):
    """Prepares a folder of videos; returns what `preparing.prepare` does."""
    work = job(source, sizes or (64, 48), **options)
    return prepare_job(work, store, run or inline, shard_bytes=shard_bytes)


def content(folder: Path) -> dict[str, bytes]:
    """Returns all files of a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
