"""Shares of a call on the machines of a Ray cluster.

A share is the same call with `shard_index`, in a process of its own that holds its model; Ray says
where it runs. No frame goes through Ray: machines read and write the same places. What is done is
what is there, so a share whose machine was lost is started again and makes what is missing.
"""

import collections
import contextlib
import functools
import inspect
import logging
import os
import pickle
import platform
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

from keras_r3d._version import __version__
from keras_r3d.system import workers
from keras_r3d.system.errors import ArgumentError, R3DError
from keras_r3d.system.progress import Progress
from keras_r3d.system.text import remove_temporary_folders
from keras_r3d.system.work import Spread

_TRIES = 3  # of a share
_SHARES = 2  # for each that runs at a time, so that a slow one does not keep the others
_MOST_CPUS = 16  # of a share
_MOST_PATHS = 20  # of a list, that are looked for on each machine
_PATIENCE = 20.0  # seconds for an address to answer
_EVERY = 2.0  # seconds between two looks at what is done
_PORTS = {"": "6379", "ray://": "10001"}  # where an address names none
_HERE_ONLY = ("progress", "say")  # arguments
_COUNT = re.compile(r"videos done: (\d+) of ([\d.]+)")  # a line of a share

P = ParamSpec("P")
R = TypeVar("R")


def spread(function: Callable[P, R]) -> Callable[P, R]:
    """Lets a function that takes the arguments of `Spread` make its parts on a cluster.

    Its other arguments must be such that can be pickled. What the cluster does is printed.
    """

    @functools.wraps(function)
    def call(*arguments: P.args, **keywords: P.kwargs) -> R:
        options: dict[str, Any] = dict(keywords)
        address = options.pop("cluster", None)
        if address is None or options.get("dry_run"):
            return function(*arguments, **options)
        asked = {name: options.pop(name) for name in Spread.__annotations__ if name in options}
        Spread(**asked, cluster=address)
        shared = {name: value for name, value in options.items() if name not in _HERE_ONLY}
        _make_shares(str(address), call, arguments, shared)
        return function(*arguments, **options, finish=True)  # type: ignore[arg-type]

    return call


def _make_shares(
    address: str, function: Callable[..., Any], arguments: Sequence[Any], keywords: dict[str, Any]
) -> None:
    """Makes all shares of a call on a cluster; joins nothing. One that decodes takes no GPU.

    Raises:
        ArgumentError: Ray is not installed, or the cluster does not answer.
        R3DError: a machine is not fit, or shares failed.
    """
    decodes = "processes" in inspect.signature(function).parameters
    ray = _connect(address)
    try:
        nodes = [
            node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
        ]
        nodes = _check(ray, nodes, [os.getcwd(), *_paths([*arguments, *keywords.values()])])
        cpus = int(min(_MOST_CPUS, *(node["Resources"]["CPU"] for node in nodes)))
        gpus = 0 if decodes else sum(node["Resources"].get("GPU", 0) for node in nodes)
        slots = sum(int(node["Resources"]["CPU"]) // cpus for node in nodes)
        slots = int(min(slots, gpus) if gpus else slots)
        count = slots * _SHARES if slots > 1 else 1
        print(f"{address}: {len(nodes)} machines, {slots} shares of {cpus} CPUs at a time.")
        run = ray.remote(num_cpus=cpus, num_gpus=int(bool(gpus)), max_retries=0)(_run)
        keywords |= {"processes": cpus} if decodes else {}
        payload = ray.put(_pickled(function, arguments, keywords))
        counter = ray.remote(num_cpus=0, max_restarts=-1)(_Counter)
        counter = counter.options(scheduling_strategy=_at(ray, nodes[0], soft=True)).remote()

        def start(index: int) -> Any:
            return run.remote(payload, counter, index, count, os.getcwd(), cpus)

        running = {start(index): (index, 1) for index in range(count)}
        progress, shown = Progress("videos"), (0, 0)
        failures, made = list[str](), False
        counts: dict[int, tuple[int, float]] = {}  # of shares: videos done, and of all
        restarts = remade = 0
        while running and (made or not failures):
            ended, _ = ray.wait(list(running), timeout=_EVERY)
            with contextlib.suppress(ray.exceptions.RayError):  # its machine is gone: it comes back
                counts |= ray.get(counter.get.remote(), timeout=_EVERY)
            for done in ended:
                index, tries = running.pop(done)
                try:
                    code, text, counts[index] = ray.get(done)
                # Its machine, or its process there, is gone.
                except ray.exceptions.RayError as error:
                    code, text = 1, f"it was lost ({type(error).__name__})"
                if code == 0:
                    made = True
                    if parts := re.search(r"(\d+) of them again", text):
                        remade += int(parts[1])
                elif tries < _TRIES:
                    restarts += 1
                    running[start(index)] = index, tries + 1
                else:
                    failures.append(f"  {index}: {text}")
            # Shares that have not begun are about as long as the others.
            total = sum(total for _, total in counts.values()) * count / max(1, len(counts))
            if shown != (shown := (sum(done for done, _ in counts.values()), round(total))):
                progress(*shown)
        if restarts:
            print(f"{restarts} times a share was started again; {remade} parts were made again.")
        if failures:
            raise R3DError(
                f"Shares that failed {_TRIES} times:\n" + "\n".join(failures) + "\nWhat the others "
                "made is kept: mend it, then run again to make what is missing."
            )
    finally:
        ray.shutdown()


class _Counter:
    """Holds what shares have done: an actor, to which they tell it."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[int, float]] = {}

    def put(self, index: int, count: tuple[int, float]) -> None:
        self._counts[index] = count

    def get(self) -> dict[int, tuple[int, float]]:
        return self._counts


def _pickled(*call: Any) -> bytes:
    try:
        return pickle.dumps(call)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ArgumentError(
            f"`cluster`: an argument cannot be sent to other machines ({error}): pass names and "
            "lists."
        ) from error


def _connect(address: str) -> Any:
    """Returns Ray, connected; a server that is not there, or no Ray, is not waited for."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    client = "ray://" if address.startswith("ray://") else ""
    host, _, port = address.removeprefix(client).partition(":")
    port = port or _PORTS[client]
    full = address if address == "auto" else f"{client}{host}:{port}"
    if host in ("127.0.0.1", "localhost"):
        # Ray asks the machine's other address instead, where a cluster of loopback does not answer.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise ArgumentError(
            f"`cluster` needs Ray ({error}): `pip install 'keras_r3d[cluster]'`."
        ) from error
    if ray.is_initialized():
        raise ArgumentError(
            "`cluster`: this process is connected to Ray already: call `ray.shutdown()` first."
        )
    outcome: list[Exception | None] = []

    def connect() -> None:
        try:
            ray.init(full, log_to_driver=False, configure_logging=False)
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    try:
        if address != "auto":
            socket.create_connection((host, int(port)), _PATIENCE).close()
        # In a thread (it says so): it tries for minutes, and would take SIGTERM for itself.
        logging.getLogger("ray._private.worker").setLevel(logging.ERROR)
        workers.start_thread(connect, "ray.init").join(_PATIENCE)
        failure = outcome[0] if outcome else TimeoutError(f"nothing for {_PATIENCE:g} s")
        if failure:
            raise failure
        with contextlib.suppress(ValueError):  # not the main thread, which alone takes signals
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # Ray's prints a trace
    except Exception as error:
        if outcome:
            ray.shutdown()
        raise ArgumentError(
            f"`cluster` {address} does not answer as a Ray cluster does "
            f"({' '.join(str(error).split())}): name HOST:PORT of the head of one with Python "
            f"{platform.python_version()} and Ray {ray.__version__}, as here, or start one with "
            "`ray start --head`."
        ) from error
    return ray


def _paths(value: Any) -> Iterator[str]:
    """Yields the files and folders here that are named by arguments of a call."""
    if isinstance(value, str | os.PathLike):
        if os.path.exists(value):
            yield os.path.abspath(value)
    elif isinstance(value, Sequence):
        for item in value[:_MOST_PATHS]:
            yield from _paths(item)
    elif isinstance(value, functools.partial):
        yield from _paths([*value.args, *value.keywords.values()])
    else:  # a model or a run, or a video
        yield from _paths([getattr(value, name, "") for name in ("made_of", "path")])


def _at(ray: Any, node: dict[str, Any], soft: bool = False) -> Any:
    """Returns what has Ray run something on a machine; `soft`: elsewhere, if it is gone."""
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    return affinity(node["NodeID"], soft=soft)


def _check(ray: Any, nodes: Sequence[dict[str, Any]], paths: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the machines that are still there, before any work.

    Raises R3DError if one lacks paths or has another keras_r3d, or none is left.
    """
    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    answers = [look.options(scheduling_strategy=_at(ray, node)).remote(paths) for node in nodes]
    errors, left = ray.exceptions, []
    for node, answer in zip(nodes, answers, strict=True):
        name = node["NodeManagerAddress"]
        try:
            version, missing = ray.get(answer, timeout=3 * _PATIENCE)
        except (errors.NodeDiedError, errors.LocalRayletDiedError, errors.TaskUnschedulableError):
            print(f"{name} is gone, and left out.")
            continue
        except Exception as error:
            said = str(error).strip().splitlines()[-1]
            version, missing = f"none that can be used ({said})", []
        if version != __version__:
            raise R3DError(
                f"{name} has another keras_r3d than the {__version__} here: {version}. Install the "
                "same on all machines."
            )
        if missing:
            raise R3DError(
                f"{name} does not see {', '.join(missing[:5])}: each machine of the cluster must "
                "see the same paths as this one."
            )
        left.append(node)
    if not left:
        raise R3DError(
            "No machine of the cluster is left that has CPUs: start some, then run again."
        )
    return left


def _look(paths: Sequence[str]) -> tuple[str, list[str]]:
    return __version__, [path for path in paths if not os.path.exists(path)]


def _run(
    payload: bytes, counter: Any, index: int, count: int, folder: str, cpus: int
) -> tuple[int, str, tuple[int, float]]:
    """Makes a share on this machine.

    Returns its exit code, how its output ends, and the numbers of videos done and to do.
    """
    environment = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
    environment |= {"TF_NUM_INTRAOP_THREADS": str(cpus), "OMP_NUM_THREADS": str(cpus)}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    share = subprocess.Popen(
        [sys.executable, "-m", __name__, f"{index}-of-{count}"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=workers.end_with_parent,
    )
    assert share.stdin is not None
    assert share.stdout is not None
    with contextlib.suppress(BrokenPipeError), share.stdin:  # it ended at once, and says why
        share.stdin.write(payload)
    done, lines = (0, 0.0), collections.deque[str](maxlen=3)
    for line in share.stdout:
        text = line.decode(errors="replace").strip()
        if match := _COUNT.fullmatch(text):
            done = int(match[1]), float(match[2])
            counter.put.remote(index, done)
        elif text:
            lines.append(text)
    code = share.wait()
    return code, (f"{socket.gethostname()}: " if code else "") + "\n".join(lines), done


def _serve(share: str) -> int:
    """Makes the share of a call that stdin brings, and prints it; returns the exit code."""
    index, _, count = share.partition("-of-")
    told = 0.0

    def tell(done: int, total: float) -> None:
        nonlocal told
        if done >= total or time.monotonic() > told + _EVERY:
            told = time.monotonic()
            print(f"videos done: {done} of {total}", flush=True)

    try:
        function, arguments, keywords = pickle.load(sys.stdin.buffer)
        if "progress" in inspect.signature(function).parameters:
            keywords["progress"] = tell
        made = function(*arguments, **keywords, shard_index=int(index), shard_count=int(count))
        if isinstance(made, Iterator):  # predictions, which are made as they are taken
            total, done = len(getattr(made, "videos", ())) / int(count), 0
            for done, _ in enumerate(made, 1):
                tell(done, max(done + 1, total))
            tell(done, done)
            made = getattr(made, "share", None)
        print(made, flush=True)
    except (R3DError, OSError) as error:
        print(f"Error: {error}", flush=True)
        return 1
    finally:
        remove_temporary_folders()
    return 0


if __name__ == "__main__":
    os._exit(_serve(sys.argv[1]))  # also while decoders hang
