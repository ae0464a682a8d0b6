"""The frame of all benchmarks: contenders take turns, so that all see the same load of the machine.

They are steps of this process, or run in processes of their own, which stand still while it is not
their turn. What is told of each is the median of its turns.
"""

import contextlib
import ctypes
import dataclasses
import functools
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
from typing import Any

from keras_r3d.system.errors import R3DError
from keras_r3d.system.opencv import cv2


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
    cores: int | None = None  # how many it may use; None: all that the turns are taken on


@dataclasses.dataclass
class Result:
    """What a contender did; `problem` is why it dropped out, "" if it did not."""

    version: str = ""
    problem: str = ""
    seconds: list[float] = dataclasses.field(default_factory=list)  # of an item, in each turn
    cpu_seconds: list[float] = dataclasses.field(default_factory=list)  # of its process alone
    peak_megabytes: float | None = None  # that its process has held, libraries included
    shown: list[Any] = dataclasses.field(default_factory=list)

    @property
    def rate(self) -> float:
        """Items a second, the median of the turns."""
        return 1 / statistics.median(self.seconds)


def in_process(
    steps: Mapping[str, Callable[[], object]], items: float, rounds: int
) -> dict[str, Result]:
    """Lets steps, of as many items each, take turns in this process, once more to warm up."""
    results = {name: Result() for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            seconds, _ = _time(step)  # it may have processes that work for it
            if turn:
                results[name].seconds.append(seconds / items)
    return results


def in_turns(
    contenders: Sequence[Contender],
    task: Any,
    plan: Callable[[int], Sequence[Sequence[Any]]],
    required: Sequence[str],
    *,
    cores: Sequence[int] | None = None,  # that they may use; None: all
    shows: Sequence[Any] = (),  # items that each makes once, for its result
) -> dict[str, Result]:
    """Lets contenders take turns, all as many; one that drops out takes no more.

    A plan gives the items of each turn, the first of which warms up, by the pace of a contender.
    Raises R3DError if one drops out that is required, without which nothing is compared.
    """
    cores = sorted(os.sched_getaffinity(0)) if cores is None else cores
    plans = {pace: plan(pace) for pace in {contender.pace for contender in contenders}}
    results = {contender.name: Result() for contender in contenders}
    processes: dict[str, _Process] = {}
    with contextlib.ExitStack() as stack:
        for turn in range(len(next(iter(plans.values())))):
            for contender in contenders:
                name, items = contender.name, plans[contender.pace][turn]
                result = results[name]
                try:
                    if turn == 0:
                        process = _Process(contender, task, cores[: contender.cores])
                        stack.callback(process.close)
                        processes[name] = process
                        result.version = process.receive()
                        result.shown = [process.ask("show", item) for item in shows]
                        process.ask("run", items)
                    elif not result.problem:
                        times, result.peak_megabytes = processes[name].ask("run", items)
                        result.seconds.append(times[0] / len(items))
                        result.cpu_seconds.append(times[1] / len(items))
                except _DroppedOutError as error:
                    result.problem = str(error)
                    if name in required:
                        raise R3DError(f"'{name}' {error}") from error
    return results


def report(
    title: str,
    results: Mapping[str, Result],
    unit: str,  # what is counted
    *,
    scale: float = 1,  # units in an item
    against: Mapping[str, str] | None = None,  # by head of a column, who all are compared with
    by: str = "rate",  # what is compared; others on the machine hardly move "cpu rate"
    more: Mapping[str, Mapping[str, Any]] | None = None,  # figures of contenders
) -> dict[str, dict[str, Any]]:
    """Prints a line for each contender, or why it dropped out, and returns the figures of each."""
    rows: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        rows[name] = {"version": result.version, "problem": result.problem}
        if not result.problem:
            seconds, cpu_seconds = result.seconds, statistics.median(result.cpu_seconds or [0.0])
            rows[name] |= {
                **{"rate": scale * result.rate, "lowest": scale / max(seconds)},
                "highest": scale / min(seconds),
                "cpu rate": scale / cpu_seconds if cpu_seconds else None,
                "peak MB": result.peak_megabytes,
            }
    for name, row in rows.items():
        for head, other in (against or {}).items():
            rate, reference = row.get(by), rows[other].get(by)
            row[head] = rate / reference if rate and reference else None
        row |= (more or {}).get(name, {})
    used = dict.fromkeys(head for row in rows.values() for head in row if row[head] is not None)
    heads = [head for head in used if head not in ("version", "problem")]
    turns = max(len(result.seconds) for result in results.values())
    print(f"{title}\n  {f'{unit} a second, median of {turns} turns':36}", end="")
    print("".join(f"{head:>11}" for head in heads))
    for name, row in rows.items():
        cells = "".join(f"{_cell(row.get(head)):>11}" for head in heads).rstrip()
        problem = "  " + textwrap.shorten(row["problem"], 150, placeholder=" …")
        version = f" ({row['version']})" if row["version"] else ""
        print(f"  {name + version:36}{problem if row['problem'] else cells}")
    return rows


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.0f}" if value >= 1000 else f"{value:.2f}" if value >= 0.01 else f"{value:.1e}"


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
            times = _time(functools.partial(worker.run, about))
            pipe.send(("done", (times, peak_megabytes())))
    except EOFError:
        return  # the other side has gone
    except Exception as error:  # of any library
        first_line = str(error).strip().splitlines()[:1]
        pipe.send((problem, ": ".join([type(error).__name__, *first_line])))


def _time(step: Callable[[], object]) -> tuple[float, float]:
    """Returns the seconds and CPU seconds of a step."""
    started, cpu_started = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - started, time.process_time() - cpu_started


def import_tensorflow() -> Any:
    """Imports TensorFlow, to compute on the cores of this process and nothing else."""
    import tensorflow as tf

    cores = len(os.sched_getaffinity(0))
    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    return tf


def peak_megabytes() -> float:
    """Returns the most memory that this process has held so far."""
    # Not `getrusage`: that begins with the peak of the process it was started from.
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6
