"""Resumable work over many videos: a plan, numbered parts, and a last step that joins them.

The plan is written once, before any part. A part follows from the plan and its number alone, is
written beside its place and renamed, and may be made again at any time. So what is done is what is
there: a killed process loses the parts it was making and nothing else, and several processes or
machines share the parts without talking to each other.
"""

import contextlib
import dataclasses
import itertools
import json
import math
import os
import shutil
import socket
import uuid
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError, R3DError, WriteError
from keras_r3d.system.objects import outputs

_ABOUT = "about"  # array of a part: the bytes of a JSON text
# Of a part: minutes of work, whose results fit into memory. Of a short list little is lost.
_MOST_SECONDS, _MOST_ITEMS, _MANY_PARTS = 1200.0, 64, 64
_DAMAGED = (OSError, EOFError, LookupError, TypeError, ValueError, zipfile.BadZipFile)

Progress = Callable[[int, int], None]


class Spreading(TypedDict, total=False):
    """The keyword arguments of `Spread`, as functions over many videos take them."""

    shard_index: int | None
    shard_count: int | None
    finish: bool
    cluster: str | None


@dataclasses.dataclass(frozen=True)
class Spread:
    """Who makes the parts of a work: this process, or several. See docs/cluster.md.

    Attributes:
        shard_index: makes only each `shard_count`-th part, from this one on.
        shard_count: processes or machines that share the work; `finish` follows.
        finish: joins the parts that they made.
        cluster: makes the parts on a Ray cluster: "auto", HOST:PORT or ray://HOST:PORT.
    """

    shard_index: int | None = None
    shard_count: int | None = None
    finish: bool = False
    cluster: str | None = None

    def __post_init__(self) -> None:
        if (self.shard_index is None) != (self.shard_count is None):
            raise ArgumentError("`shard_index` and `shard_count` go together: pass both, or none.")
        count = self.shard_count
        if count is not None and not 0 <= (self.shard_index or 0) < count:
            raise ArgumentError(
                "`shard_index` must be at least 0 and below `shard_count`. Received: "
                f"shard_index={self.shard_index}, shard_count={count}"
            )
        if self.finish and count is not None:
            raise ArgumentError("`finish` joins what all made: pass no `shard_index` with it.")
        if self.cluster is not None and (self.finish or count is not None):
            raise ArgumentError(
                "`cluster` stands alone: pass no `shard_index`, `shard_count` or `finish`."
            )

    @property
    def is_share(self) -> bool:
        """Whether others make parts, too, so that nothing is joined here."""
        return self.shard_count is not None

    def check(self, output: Any, argument: str = "output") -> None:
        """Raises ArgumentError if others make parts, and there is no place to keep them beside."""
        if not output and (self.is_share or self.finish):
            raise ArgumentError(
                f"`{argument}` is missing: what several processes make is kept beside it."
            )

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.shard_index or 0}-of-{self.shard_count or 1}"

    def of(self, numbers: Iterable[int]) -> list[int]:
        """Returns those of some parts that this process makes, or joins."""
        count = self.shard_count or 1
        return [number for number in numbers if number % count == (self.shard_index or 0)]


@dataclasses.dataclass(frozen=True)
class Share:
    """What one of several processes made; nothing is joined yet. Printed, it is a report.

    Attributes:
        parts: of the whole work.
        missing: numbers of those that are still to be made, by whomever.
        again: numbers of those that this process made, and one that was killed had begun.
    """

    parts: int
    missing: Sequence[int]
    again: Sequence[int] = ()

    def __str__(self) -> str:
        verb = "is" if len(self.missing) == 1 else "are"
        left = f"; {len(self.missing)} {verb} missing." if self.missing else ": pass --finish."
        again = f", {len(self.again)} of them again" if self.again else ""
        return f"{self.parts - len(self.missing)} of {self.parts} parts are made{again}{left}"


@dataclasses.dataclass(frozen=True)
class PartMaker:
    """How parts are made.

    Attributes:
        results: takes numbers of items and a folder for what is not finished; yields the number and
            the result of each, in any order.
        pack: takes the number of a part, and its items' numbers and results, in their order;
            returns what is kept: values for JSON, and arrays by name.
        is_whole: takes the number of a part and its values; whether what lies beside it is there.
    """

    results: Callable[[Sequence[int], Path], Generator[tuple[int, Any], None, None]]
    pack: Callable[[int, Iterator[tuple[int, Any]]], tuple[Any, Mapping[str, np.ndarray]]]
    is_whole: Callable[[int, Any], bool] = lambda number, about: True


@dataclasses.dataclass(frozen=True)
class Work:
    """A folder in which parts are made: new, empty, or with earlier work of the same request."""

    folder: Path
    plan_name: str  # of the file of the plan in the folder
    request: dict[str, Any]  # JSON values that decide what the parts hold; they begin the plan
    error: type[R3DError]  # class of the errors about a folder that holds something else
    items: Sequence[str] = ()  # names of the videos, as parts count them
    is_there: Callable[[int], bool] = lambda number: True  # whether this machine has that item
    length: Callable[[int], float] = lambda number: 0.0  # its seconds; 0 if they are not known
    spread: Spread = Spread()
    parts_folder: str = ""  # in the folder
    again: list[int] = dataclasses.field(default_factory=list)  # parts that were begun before

    @property
    def scratch(self) -> Path:
        """The folder of what is not finished; it is there while the work is open."""
        return self.folder / f".partial-{self.spread.name}"

    def is_begun(self) -> bool:
        """Whether the folder has a plan; raises `error` if it holds anything but this work."""
        found = outputs.sizes(self.folder)  # first: another share may write the plan meanwhile
        outputs.fetch(self.folder / self.plan_name)
        if (self.folder / self.plan_name).is_file():
            self._compare(self._read_plan())
            return True
        if "" in found:
            raise self.error(f"{self.folder} is a file: choose a folder that does not exist yet.")
        # These two are there when a process is killed before it has written its plan.
        if any(not name.startswith(".partial-") and not name.endswith(".lock") for name in found):
            raise self.error(
                f"{self.folder} is not empty and is left as it is: choose a folder that does not "
                "exist yet."
            )
        return False

    @contextlib.contextmanager
    def open(self, divide: Callable[[], list[int]] | None = None) -> Iterator[list[int]]:
        """Keeps a second process from the same share, and gives the first item of each part.

        `divide` returns them if there is no plan yet; None makes parts about as long. Raises
        `error` as `is_begun`, or if another process makes this share, the videos are not here, or
        there is nothing to finish; and WriteError.
        """
        if self.is_begun():
            outputs.fetch(self.folder / self.parts_folder)
        elif self.spread.finish:
            raise self.error(f"{self.folder} has no parts yet: make them before you pass `finish`.")
        is_new = not self.folder.exists()
        taken = self.error(
            f"Another process writes to {self.folder}: wait for its end, or stop it."
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self.folder / f".{self.spread.name}.lock"
            with files.locked(lock, taken):
                # Of a process that was killed.
                self.again.extend(int(path.stem) for path in self.scratch.glob("*.begun"))
                shutil.rmtree(self.scratch, ignore_errors=True)
                self.scratch.mkdir()
                try:
                    if not self.is_begun():  # again: now no other process changes it
                        seen = next(filter(self.is_there, range(len(self.items))), 0)
                        parts = divide() if divide else self._divide()
                        self._write_plan({**self.request, "seen": seen, "parts": parts})
                    plan = self._read_plan()
                    if self.spread.is_share and not self.is_there(plan["seen"]):
                        raise self.error(
                            f"{self.items[plan['seen']]} is not on {socket.gethostname()}: each "
                            "machine that makes parts must see the videos under the same paths."
                        )
                    yield plan["parts"]
                finally:
                    shutil.rmtree(self.scratch, ignore_errors=True)
                    lock.unlink(missing_ok=True)
                    with contextlib.suppress(OSError):  # it is not empty, or was removed
                        if is_new:
                            self.folder.rmdir()
        except WriteError:
            raise
        except OSError as error:
            raise WriteError(files.explain(self.folder, error)) from error

    def make(self, starts: Sequence[int], maker: PartMaker, progress: Progress) -> Iterator[int]:
        """Makes the parts that are this process's; yields each when it is there, in order.

        Args:
            starts: the first item of each part.
            progress: takes the number of this process's items that are done, and of all of them.

        Raises:
            R3DError: `error`, if parts are missing that are to be joined.
        """
        parts = [range(*ends) for ends in itertools.pairwise([*starts, len(self.items)])]
        missing = self._missing(len(parts), maker)
        if self.spread.finish and missing:
            raise self.error(
                f"{self.folder} lacks {len(missing)} of its {len(parts)} parts: "
                f"{', '.join(map(str, missing[:10]))}{', …' * (len(missing) > 10)}. Make them "
                "(`shard_index`, `shard_count`), then pass `finish` again."
            )
        mine = self.spread.of(range(len(parts)))
        unmade = set(missing).intersection(mine)
        total = sum(len(parts[number]) for number in mine)
        count = itertools.count(total - sum(len(parts[number]) for number in unmade))
        if done := next(count):
            progress(done, total)
        (self.folder / self.parts_folder).mkdir(exist_ok=True)
        making = self._make(sorted(unmade), parts, maker, lambda: progress(next(count), total))
        with contextlib.closing(making):
            for number in mine:
                if number in unmade:
                    next(making)
                yield number

    def share(self) -> Share:
        """Returns what is made by now, by whomever."""
        parts = range(len(self._read_plan()["parts"]))
        there = outputs.sizes(self.folder / self.parts_folder)
        return Share(len(parts), [n for n in parts if self._part(n).name not in there], self.again)

    def read(
        self, number: int, names: Iterable[str] | None = None
    ) -> tuple[Any, dict[str, np.ndarray]]:
        """Returns the values of a part, and of its arrays those of these names, or all."""
        path = self._part(number)
        try:
            with np.load(path) as arrays:
                about = json.loads(arrays[_ABOUT].tobytes())
                wanted = set(arrays) - {_ABOUT}
                wanted &= wanted if names is None else set(names)
                return about, {name: arrays[name] for name in wanted}
        except _DAMAGED as error:
            raise self.error(f"{path} is damaged ({error}): remove it, then run again.") from error

    def put(self, temporary: Path, path: Path) -> None:
        """Moves a finished file out of `scratch` to its place."""
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        outputs.publish([path])

    def remove(self) -> None:
        """Removes the parts, when what they were made for is written."""
        outputs.remove(self.folder)

    def _divide(self) -> list[int]:
        """Returns the first item of each part, by their lengths as far as these are known."""
        usual = _MOST_SECONDS / _MOST_ITEMS
        lengths = [self.length(number) or usual for number in range(len(self.items))]
        most = min(_MOST_SECONDS, math.fsum(lengths) / _MANY_PARTS)
        starts, full = list[int](), math.inf
        for number, seconds in enumerate(lengths):
            if full + seconds > most or number - starts[-1] == _MOST_ITEMS:
                starts.append(number)
                full = 0.0
            full += seconds
        return starts

    def _part(self, number: int) -> Path:
        return self.folder / self.parts_folder / f"{number:05d}.npz"

    def _missing(self, count: int, maker: PartMaker) -> list[int]:
        """Returns the numbers of the parts that are not there, whole (power may have failed)."""
        missing = []
        for number in range(count):
            try:
                about, _ = self.read(number, ())
                if maker.is_whole(number, about):
                    continue
            except self.error:
                pass
            missing.append(number)
        return missing

    def _make(
        self,
        numbers: Sequence[int],
        parts: Sequence[range],
        maker: PartMaker,
        done: Callable[[], None],
    ) -> Generator[int, None, None]:
        """Makes parts, one after the other; yields the number of each."""
        running = maker.results([item for n in numbers for item in parts[n]], self.scratch)
        waiting: dict[int, Any] = {}

        def in_order(items: range) -> Iterator[tuple[int, Any]]:
            for item in items:
                while item not in waiting:
                    waiting.update([next(running)])
                yield item, waiting.pop(item)
                done()

        with contextlib.closing(running):
            for number in numbers:
                (begun := self.scratch / f"{number}.begun").touch()
                about, arrays = maker.pack(number, in_order(parts[number]))
                path = self._part(number)
                text = np.frombuffer(json.dumps(about).encode(), np.uint8)
                np.savez(self.scratch / path.name, **{_ABOUT: text}, **arrays)
                self.put(self.scratch / path.name, path)
                begun.unlink()
                yield number

    def _write_plan(self, plan: dict[str, Any]) -> None:
        """Writes the plan, unless another share was first."""
        temporary = self.scratch / uuid.uuid4().hex
        temporary.write_text(json.dumps(plan, indent=1, ensure_ascii=False) + "\n", "utf-8")
        path = self.folder / self.plan_name
        try:
            os.link(temporary, path)
            outputs.publish([path])
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


@contextlib.contextmanager
def kept_beside(output: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Gives the folder for the parts of what becomes `output`; None: one that is removed again."""
    if output is not None:
        yield Path(f"{os.fspath(output)}.parts")
        return
    with files.scratch_folder() as folder:
        yield folder / "parts"


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
