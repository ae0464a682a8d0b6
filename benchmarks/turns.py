"""Several ways to do one thing in turns, so that all see the same load of the machine.

Contenders run in processes of their own, which stand still while it is not their turn.
"""

import contextlib
import ctypes
import dataclasses
import importlib
import multiprocessing
import os
import signal
import statistics
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

from keras_r3d.system.errors import R3DError
from keras_r3d.system.opencv import cv2


def interleaved(
    steps: Mapping[str, Callable[[], object]], units: float, rounds: int
) -> dict[str, float]:
    """Runs steps in turns, in this process, once more to warm up.

    Returns:
        Units (of which a step takes `units`) per second of each, the median over the rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
    return {name: units / statistics.median(times[1:]) for name, times in seconds.items()}


@dataclasses.dataclass(frozen=True)
class Worker:
    """A contender that has started. Items are whatever a turn is made of: only `run` is timed."""

    run: Callable[[Sequence[Any]], object]  # does all items of a turn
    ready: Callable[[Sequence[Any]], object] = lambda items: None  # before `run` of the same
    show: Callable[[Any], Any] = lambda item: None  # what it makes of an item, to be compared


def one_by_one(make: Callable[[Any], Any]) -> Worker:
    """Returns a worker that makes the items of a turn one after the other."""

    def run(items: Sequence[Any]) -> None:
        for item in items:
            make(item)

    return Worker(run, show=make)


@dataclasses.dataclass(frozen=True)
class Contender:
    """What is measured; `start` takes a task and the options, in the contender's own process."""

    name: str
    start: Callable[..., Worker]
    modules: tuple[str, ...] = ()  # that it imports; the report gives the version of the first
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pace: int = 1  # times the items in a turn; with more, what was prefetched counts less


class Entry(NamedTuple):
    """A contender, the cores it may use, and the items of its turns; the first warms up."""

    contender: Contender
    cores: Sequence[int]
    turns: Sequence[Sequence[Any]]
    shows: Sequence[Any] = ()


@dataclasses.dataclass
class Result:
    """What a contender did; `problem` is why it dropped out, "" if it did not."""

    version: str = ""
    problem: str = ""
    seconds: list[float] = dataclasses.field(default_factory=list)  # of an item, in each turn
    cpu_seconds: list[float] = dataclasses.field(default_factory=list)  # that its threads ran
    peak_megabytes: float = 0.0  # that its process has held, libraries included
    shown: list[Any] = dataclasses.field(default_factory=list)

    @property
    def rate(self) -> float:
        """Items a second, the median of the turns."""
        return 1 / statistics.median(self.seconds)

    @property
    def cpu_rate(self) -> float:
        """Items a CPU second: others on the machine hardly move it."""
        return 1 / statistics.median(self.cpu_seconds)


def in_turns(entries: Sequence[Entry], task: Any, required: Sequence[str]) -> dict[str, Result]:
    """Lets contenders take turns, all as many; one that drops out takes no more.

    Returns:
        Results by name.

    Raises:
        R3DError: one drops out without which nothing is compared.
    """
    results = {entry.contender.name: Result() for entry in entries}
    processes: dict[str, _Process] = {}
    with contextlib.ExitStack() as stack:
        for turn in range(len(entries[0].turns)):
            for contender, cores, turns, shows in entries:
                result = results[contender.name]
                try:
                    if turn == 0:
                        process = _Process(contender, task, cores)
                        stack.callback(process.close)
                        processes[contender.name] = process
                        result.version = process.receive()
                        result.shown = [process.ask("show", item) for item in shows]
                        process.ask("run", turns[0])
                    elif not result.problem:
                        times = processes[contender.name].ask("run", turns[turn])
                        result.seconds.append(times[0] / len(turns[turn]))
                        result.cpu_seconds.append(times[1] / len(turns[turn]))
                        result.peak_megabytes = times[2]
                except _DroppedOutError as error:
                    result.problem = str(error)
                    if contender.name in required:
                        raise R3DError(f"'{contender.name}' {error}") from error
    return results


def print_table(
    results: Mapping[str, Result],
    figures: Mapping[str, Mapping[str, Any]],
    columns: Mapping[str, tuple[str, str]],
) -> None:
    """Prints figures of contenders, or why they dropped out; columns have a key and a format."""
    print(f"  {'':36}" + "".join(f"{head:>9}" for head in columns))
    for name, result in results.items():
        cells = [f"  {textwrap.shorten(result.problem, 150, placeholder=' …')}"]
        if not result.problem:
            values = [(figures[name].get(key), form) for key, form in columns.values()]
            cells = ["" if value is None else f"{value:{form}}" for value, form in values]
        version = f" ({result.version})" if result.version else ""
        print((f"  {name + version:36}" + "".join(f"{cell:>9}" for cell in cells)).rstrip())


class _DroppedOutError(Exception):
    """A contender that cannot be imported, fails or crashes."""


class _Process:
    """A contender in a process that is pinned to some cores."""

    def __init__(self, contender: Contender, task: Any, cores: Sequence[int]):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (contender, task, list(cores), theirs)
        self._process: Any = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    def ask(self, question: str, about: Any) -> Any:
        """Lets it run until it has answered."""
        os.kill(self._process.pid, signal.SIGCONT)
        with contextlib.suppress(ConnectionError):  # it has crashed, as `receive` finds
            self._pipe.send((question, about))
        return self.receive()

    def receive(self) -> Any:
        """Waits for its answer, then lets it stand still."""
        try:
            kind, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            raise _DroppedOutError(f"crashed: its process ended with code {code}") from None
        if kind != "done":
            raise _DroppedOutError(f"{kind}: {answer}")
        os.kill(self._process.pid, signal.SIGSTOP)  # or it would fill buffers at others' cost
        return answer

    def close(self) -> None:
        """Ends it."""
        self._process.kill()  # also ends a process that stands still
        self._process.join()


def _serve(contender: Contender, task: Any, cores: list[int], pipe: connection.Connection) -> None:
    """Runs in the new process: imports, starts the contender, then answers questions."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it may stand still then
    os.sched_setaffinity(0, cores)
    cv2.setNumThreads(len(cores))
    problem = "not importable"  # the loading of native libraries fails in many ways
    try:
        modules = [importlib.import_module(name) for name in contender.modules]
        problem = "failed"
        worker = contender.start(task, **contender.options)
        pipe.send(("done", getattr(modules[0], "__version__", "") if modules else ""))
        while True:
            question, about = pipe.recv()
            if question == "show":
                pipe.send(("done", worker.show(about)))
                continue
            worker.ready(about)
            started, cpu_started = time.perf_counter(), time.process_time()
            worker.run(about)
            seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
            pipe.send(("done", (seconds, cpu_seconds, peak_megabytes())))
    except EOFError:
        return  # the other side has gone
    except Exception as error:  # of any library
        pipe.send(
            (problem, ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]]))
        )


def peak_megabytes() -> float:
    """Returns the most memory that this process has held so far."""
    # Not `getrusage`: that begins with the peak of the process it was started from.
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6
