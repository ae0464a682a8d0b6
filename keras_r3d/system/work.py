"""Resumable work over many videos: a plan, numbered parts, and a last step that joins them.

The plan is written once, before any part. A part follows from the plan and its number alone, is
written beside its place and renamed, and may be made again at any time. So what is done is what is
there: a killed process loses the parts it was making and nothing else, and several processes or
machines share the parts without talking to each other.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError, R3DError, WriteError


@dataclasses.dataclass(frozen=True)
class Share:
    """The parts that one of several processes or machines makes: each `count`-th, from `index`."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.index < self.count:
            raise ArgumentError(
                "`shard_index` must be at least 0 and below `shard_count`. Received: "
                f"shard_index={self.index}, shard_count={self.count}"
            )

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    def of(self, numbers: Iterable[int]) -> list[int]:
        """Returns those of some parts that this share makes."""
        return [number for number in numbers if number % self.count == self.index]


@dataclasses.dataclass(frozen=True)
class Work:
    """A folder in which parts are made: new, empty, or with earlier work of the same request."""

    folder: Path
    plan_name: str  # of the file of the plan in the folder
    request: dict[str, Any]  # JSON values that decide what the parts hold; they begin the plan
    error: type[R3DError]  # class of the errors about a folder that holds something else
    share: Share = Share()

    @property
    def scratch(self) -> Path:
        """The folder of what is not finished; it is there while the work is open."""
        return self.folder / f".partial-{self.share}"

    def is_begun(self) -> bool:
        """Whether the folder has a plan; raises `error` if it holds anything but this work."""
        if (self.folder / self.plan_name).is_file():
            self._compare(self._read_plan())
            return True
        if self.folder.is_file():
            raise self.error(f"{self.folder} is a file: choose a folder that does not exist yet.")
        if self.folder.is_dir() and any(
            # These two are there when a process is killed before it has written its plan.
            not path.name.startswith(".partial-") and path.suffix != ".lock"
            for path in self.folder.iterdir()
        ):
            raise self.error(
                f"{self.folder} is not empty and is left as it is: choose a folder that does not "
                "exist yet."
            )
        return False

    @contextlib.contextmanager
    def open(self, divide: Callable[[], dict[str, Any]] = dict) -> Iterator[dict[str, Any]]:
        """Keeps a second process from the same share, and gives the plan.

        If there is none yet, `divide` returns what it says beside the request. Raises `error` as
        `is_begun`, or if another process makes this share, and WriteError.
        """
        self.is_begun()
        is_new = not self.folder.exists()
        taken = self.error(
            f"Another process writes to {self.folder}: wait for its end, or stop it."
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self.folder / f".{self.share}.lock"
            with files.locked(lock, taken):
                shutil.rmtree(self.scratch, ignore_errors=True)  # of a process that was killed
                self.scratch.mkdir()
                try:
                    if not self.is_begun():  # again: now no other process changes it
                        self._write_plan({**self.request, **divide()})
                    yield self._read_plan()
                finally:
                    shutil.rmtree(self.scratch, ignore_errors=True)
                    lock.unlink(missing_ok=True)
                    if is_new and not any(self.folder.iterdir()):
                        self.folder.rmdir()
        except WriteError:
            raise
        except OSError as error:
            raise WriteError(files.explain(self.folder, error)) from error

    def put(self, temporary: Path, path: Path) -> None:
        """Moves a finished file out of `scratch` to its place."""
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def _write_plan(self, plan: dict[str, Any]) -> None:
        """Writes the plan, unless another share was first."""
        temporary = self.scratch / uuid.uuid4().hex
        temporary.write_text(json.dumps(plan, indent=1, ensure_ascii=False) + "\n", "utf-8")
        path = self.folder / self.plan_name
        try:
            os.link(temporary, path)
        except FileExistsError:
            self._compare(self._read_plan())
        except OSError:  # a file system without links
            self.put(temporary, path)

    def _read_plan(self) -> dict[str, Any]:
        path = self.folder / self.plan_name
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise self.error(
                f"{path} is damaged ({error}): remove {self.folder} to start over."
            ) from error

    def _compare(self, plan: dict[str, Any]) -> None:
        """Raises `error` if a plan is of another request, with what differs."""
        new = dict(_flatten(json.loads(json.dumps(self.request))))
        old = dict(_flatten({key: plan.get(key) for key in self.request}))
        lines = [
            f"  {key}: {old.get(key)} then, {new.get(key)} now\n"
            for key in sorted({*old, *new})
            if old.get(key) != new.get(key)
        ]
        if lines:
            raise self.error(
                f"{self.folder} was begun with something else, and is left as it is:\n"
                f"{''.join(lines)}Resume with that, choose another `output`, or remove the folder."
            )


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
