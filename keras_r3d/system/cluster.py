"""Shares of a call on the machines of a Ray cluster.

A share is the same call with `shard_index`, in a process of its own that holds its model; Ray says
where it runs. No frame goes through Ray: machines read and write the same places. What is done is
what is there, so a share whose machine was lost is started again and makes what is missing.
"""

import functools
import inspect
import os
import pickle
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

from keras_r3d._version import __version__
from keras_r3d.system import workers
from keras_r3d.system.errors import ArgumentError, R3DError
from keras_r3d.system.progress import Progress
from keras_r3d.system.work import Spread

_TRIES = 3  # of a share
_SHARES = 2  # for each that runs at a time, so that a slow one does not keep the others
_MOST_CPUS = 16  # of a share
_MOST_PATHS = 20  # of a list, that are looked for on each machine
_PATIENCE = 10.0  # seconds for an address to answer
_PORT = 10001  # of ray://
_HERE_ONLY = ("progress", "say")  # arguments

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
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        _check(ray, nodes, [os.getcwd(), *_paths([*arguments, *keywords.values()])])
        cpus = int(min(_MOST_CPUS, *(node["Resources"]["CPU"] for node in nodes)))
        gpus = 0 if decodes else sum(node["Resources"].get("GPU", 0) for node in nodes)
        slots = sum(int(node["Resources"]["CPU"]) // cpus for node in nodes)
        slots = int(min(slots, gpus) if gpus else slots)
        count = slots * _SHARES if slots > 1 else 1
        print(f"{address}: {len(nodes)} machines, {slots} shares of {cpus} CPUs at a time.")
        run = ray.remote(num_cpus=cpus, num_gpus=int(bool(gpus)), max_retries=0)(_run)
        keywords |= {"processes": cpus} if decodes else {}
        payload = ray.put(_pickled(function, arguments, keywords))

        def start(index: int) -> Any:
            return run.remote(payload, index, count, os.getcwd(), cpus)

        running = {start(index): (index, 1) for index in range(count)}
        progress, failures, made = Progress("parts"), list[str](), False
        restarts = remade = 0
        while running and (made or not failures):
            (done, *_), _ = ray.wait(list(running))
            index, tries = running.pop(done)
            try:
                code, text = ray.get(done)
            except ray.exceptions.RayError as error:  # its machine, or its process there, is gone
                code, text = 1, f"it was lost ({type(error).__name__})"
            if code == 0:
                made = True
                if figures := re.search(r"(\d+) of (\d+) parts are made", text):
                    progress(int(figures[1]), int(figures[2]))
                if parts := re.search(r"(\d+) of them again", text):
                    remade += int(parts[1])
            elif tries < _TRIES:
                restarts += 1
                running[start(index)] = index, tries + 1
            else:
                failures.append(f"  {index}: {text}")
        if restarts:
            print(f"{restarts} times a share was started again; {remade} parts were made again.")
        if failures:
            raise R3DError(
                f"Shares that failed {_TRIES} times:\n" + "\n".join(failures) + "\nWhat the others "
                "made is kept: mend it, then run again to make what is missing."
            )
    finally:
        ray.shutdown()


def _pickled(*call: Any) -> bytes:
    try:
        return pickle.dumps(call)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ArgumentError(
            f"`cluster`: an argument cannot be sent to other machines ({error}): pass names and "
            "lists."
        ) from error


def _connect(address: str) -> Any:
    """Returns Ray, connected; a server that is not there is not waited for."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ArgumentError(
            f"`cluster` needs Ray ({error}): `pip install 'keras_r3d[cluster]'`."
        ) from error
    host, _, port = address.removeprefix("ray://").partition(":")
    try:
        if address != "auto":
            port = port or str(_PORT)
            socket.create_connection((host, int(port)), _PATIENCE).close()
        ray.init(address, log_to_driver=False, configure_logging=False)
    except (OSError, ValueError, ConnectionError, RuntimeError) as error:
        raise ArgumentError(
            f"`cluster` {address} does not answer as a Ray cluster does ({error}): name HOST:PORT "
            "of its head, or start one with `ray start --head`."
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


def _check(ray: Any, nodes: Sequence[dict[str, Any]], paths: Sequence[str]) -> None:
    """Raises R3DError, before any work, if a machine lacks paths or has another keras_r3d."""
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    answers = [
        look.options(scheduling_strategy=affinity(node["NodeID"], soft=False)).remote(paths)
        for node in nodes
    ]
    for node, answer in zip(nodes, answers, strict=True):
        try:
            version, missing = ray.get(answer, timeout=6 * _PATIENCE)
        except Exception as error:
            said = str(error).strip().splitlines()[-1]
            version, missing = f"none that can be used ({said})", []
        if version != __version__:
            raise R3DError(
                f"{node['NodeManagerAddress']} has another keras_r3d than the {__version__} here: "
                f"{version}. Install the same on all machines."
            )
        if missing:
            raise R3DError(
                f"{node['NodeManagerAddress']} does not see {', '.join(missing[:5])}: each machine "
                "of the cluster must see the same paths as this one."
            )


def _look(paths: Sequence[str]) -> tuple[str, list[str]]:
    return __version__, [path for path in paths if not os.path.exists(path)]


def _run(payload: bytes, index: int, count: int, folder: str, cpus: int) -> tuple[int, str]:
    """Makes a share on this machine; returns its exit code, and how its output ends."""
    environment = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
    environment |= {"TF_NUM_INTRAOP_THREADS": str(cpus), "OMP_NUM_THREADS": str(cpus)}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.Popen(
        [sys.executable, "-m", __name__, f"{index}-of-{count}"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=workers.end_with_parent,
    )
    text = done.communicate(payload)[0].decode(errors="replace").strip().splitlines()[-3:]
    where = f"{socket.gethostname()}: " if done.returncode else ""
    return done.returncode, where + "\n".join(text)


def _serve(share: str) -> int:
    """Makes the share of a call that stdin brings, and prints it; returns the exit code."""
    index, _, count = share.partition("-of-")
    try:
        function, arguments, keywords = pickle.load(sys.stdin.buffer)
        made = function(*arguments, **keywords, shard_index=int(index), shard_count=int(count))
        if isinstance(made, Iterator):  # predictions, which are made as they are taken
            list(made)
            made = getattr(made, "share", None)
        print(made, flush=True)
    except (R3DError, OSError) as error:
        print(f"Error: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    os._exit(_serve(sys.argv[1]))  # also while decoders hang
