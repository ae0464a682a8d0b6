"""A contender in a process of its own, which stands still while it is not its turn."""

import contextlib
import ctypes
import dataclasses
import importlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

from benchmarks.clips.draws import Draw
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.system.errors import R3DError
from keras_r3d.system.opencv import cv2


class DroppedOutError(Exception):
    """A contender that cannot be imported, fails or crashes."""


@dataclasses.dataclass(frozen=True)
class Turn:
    """What a contender did in its turn.

    Attributes:
        cpu_seconds: time that its threads ran, all together; others on the machine hardly move it.
        peak_megabytes: most memory its process has held so far, libraries included.
    """

    clips: int
    seconds: float
    cpu_seconds: float
    peak_megabytes: float


class Process:
    """Starts a contender, pinned to some cores, and waits until it is ready.

    Args:
        contender: made of `task`, has `name`, `modules`, `ready` and `run` as
            `benchmarks.clips.contenders.Contender` has them.
        cores: numbers of the cores it may use.

    Raises:
        DroppedOutError: it cannot be imported or made.
    """

    def __init__(self, contender: type[Any], task: Any, cores: Sequence[int]):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(contender, task, list(cores), theirs), daemon=True
        )
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        try:
            self.version: str = self._receive()
        except BaseException:
            self.close()
            raise

    def turn(self, draws: Sequence[Any]) -> Turn:
        """Lets it make clips and times them.

        Raises:
            DroppedOutError: it fails or crashes.
        """
        return self._ask("run", draws)

    def show(self, draw: Draw) -> Frame | None:
        """Returns the clip it makes of a draw, if it makes that one.

        Raises:
            DroppedOutError: it fails or crashes.
        """
        return self._ask("show", draw)

    def close(self) -> None:
        """Ends it."""
        self._process.kill()  # also ends a process that stands still
        self._process.join()

    def _ask(self, what: str, about: Any) -> Any:
        os.kill(self._pid, signal.SIGCONT)
        with contextlib.suppress(ConnectionError):  # it has crashed, as `_receive` finds
            self._pipe.send((what, about))
        return self._receive()

    def _receive(self) -> Any:
        try:
            kind, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise DroppedOutError(
                f"crashed: its process ended with code {self._process.exitcode}"
            ) from None
        if kind != "done":
            raise DroppedOutError(answer)
        os.kill(self._pid, signal.SIGSTOP)  # or a loader would fill its buffers at others' cost
        return answer

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid


def in_turns(
    contenders: Sequence[type[Any]],
    task: Any,
    cores: Sequence[int],
    work: Sequence[Any],
    rounds: int,
    before: Callable[[str, Process], None] | None = None,
) -> tuple[dict[str, list[Turn]], dict[str, str], dict[str, str]]:
    """Lets each do the same work, one after the other, once to warm up and then `rounds` times.

    Args:
        contenders: as `Process` takes them.
        before: called once for each, with its name, when it has warmed up.

    Returns:
        The turns, why some dropped out, and versions, by name.

    Raises:
        R3DError: one fails that could do it before.
    """
    running: dict[str, Process] = {}
    turns: dict[str, list[Turn]] = {}
    problems: dict[str, str] = {}
    versions: dict[str, str] = {}
    try:
        for one in contenders:
            try:
                running[one.name] = process = Process(one, task, cores)
                versions[one.name] = process.version
                process.turn(work)
                if before is not None:
                    before(one.name, process)
            except DroppedOutError as error:
                problems[one.name] = str(error)
                if one.name in running:
                    running.pop(one.name).close()
                continue
            turns[one.name] = []
        for _ in range(rounds):
            for name, process in running.items():
                turns[name].append(process.turn(work))
    except DroppedOutError as error:
        raise R3DError(str(error)) from error
    finally:
        for process in running.values():
            process.close()
    return turns, problems, versions


def _serve(contender: type[Any], task: Any, cores: list[int], pipe: connection.Connection) -> None:
    """Runs in the new process: imports, makes the contender, then answers questions."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it may stand still then
    os.sched_setaffinity(0, cores)
    cv2.setNumThreads(len(cores))
    try:
        try:
            modules = [importlib.import_module(name) for name in contender.modules]
        except Exception as error:  # the loading of native libraries fails in many ways
            pipe.send(("dropped out", f"not importable: {_first_line(error)}"))
            return
        made = contender(task)
        pipe.send(("done", getattr(modules[0], "__version__", "") if modules else ""))
        while True:
            what, about = pipe.recv()
            if what == "show":
                pipe.send(("done", made.show(about)))
                continue
            made.ready(about)
            started, cpu_started = time.perf_counter(), time.process_time()
            made.run(about)
            seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
            pipe.send(("done", Turn(len(about), seconds, cpu_seconds, peak_megabytes())))
    except EOFError:
        return  # the other side has gone
    except Exception as error:  # of any library
        pipe.send(("dropped out", f"failed: {_first_line(error)}"))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def peak_megabytes() -> float:
    """Returns the most memory that this process has held so far."""
    # Not `getrusage`: that begins with the peak of the process it was started from.
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6
