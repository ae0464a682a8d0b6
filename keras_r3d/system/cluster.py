"""Shares of a command on the machines of a Ray cluster.

A share is the same command with `--shard_index`, in a process of its own that holds its model; Ray
says where it runs. No frame goes through Ray: machines read and write the same paths. What is done
is what is there, so a share whose machine was lost is started again and makes what is missing.
"""

import dataclasses
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from keras_r3d._version import __version__
from keras_r3d.system import workers
from keras_r3d.system.errors import ArgumentError, R3DError
from keras_r3d.system.progress import Progress

_TRIES = 3  # of a share
_SHARES = 2  # for each that runs at a time, so that a slow one does not keep the others
_MOST_CPUS = 16  # of a share
_PATIENCE = 10.0  # seconds for an address to answer
_PORT = 10001  # of ray://


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where the parts of a command are made.

    Attributes:
        cluster: makes the parts on a Ray cluster: "auto", HOST:PORT or ray://HOST:PORT.
    """

    cluster: str | None = None


def make_shares(
    address: str, module: str, words: Sequence[str], decodes: bool, say: Callable[[str], None]
) -> None:
    """Runs all shares of a command, `python -m MODULE WORDS`, on a cluster; joins nothing.

    Args:
        decodes: whether it takes `--processes`; else a share takes a GPU, where there are some.

    Raises:
        ArgumentError: Ray is not installed, or the cluster does not answer.
        R3DError: a machine is not fit, or shares failed.
    """
    ray = _connect(address)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        _check(ray, nodes, [os.getcwd(), *_paths(words)])
        cpus = int(min(_MOST_CPUS, *(node["Resources"]["CPU"] for node in nodes)))
        gpus = 0 if decodes else sum(node["Resources"].get("GPU", 0) for node in nodes)
        slots = sum(int(node["Resources"]["CPU"]) // cpus for node in nodes)
        slots = int(min(slots, gpus) if gpus else slots)
        count = slots * _SHARES if slots > 1 else 1
        say(f"{address}: {len(nodes)} machines, {slots} shares of {cpus} CPUs at a time.")
        run = ray.remote(num_cpus=cpus, num_gpus=int(bool(gpus)), max_retries=0)(_run)
        more = [f"--shard_count={count}", *([f"--processes={cpus}"] if decodes else [])]

        def start(index: int) -> Any:
            command = ["-m", module, *words, f"--shard_index={index}", *more]
            return run.remote(command, os.getcwd(), cpus)

        running = {start(index): (index, 1) for index in range(count)}
        progress, again, failures, made = Progress("parts"), 0, list[str](), False
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
            elif tries < _TRIES:
                again += 1
                running[start(index)] = index, tries + 1
            else:
                failures.append(f"  {index}: {text}")
        if again:
            say(f"{again} times a share was started again.")
        if failures:
            raise R3DError(
                f"Shares that failed {_TRIES} times:\n" + "\n".join(failures) + "\nWhat the others "
                "made is kept: mend it, then run again to make what is missing."
            )
    finally:
        ray.shutdown()


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


def _paths(words: Sequence[str]) -> list[str]:
    """Returns those of a command's words that are files or folders here."""
    values = (word.partition("=")[2] if word.startswith("--") else word for word in words)
    return [os.path.abspath(value) for value in values if value and os.path.exists(value)]


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


def _run(command: Sequence[str], folder: str, cpus: int) -> tuple[int, str]:
    """Runs a share on this machine; returns its exit code, and how its output ends."""
    environment = os.environ | {"TF_NUM_INTRAOP_THREADS": str(cpus), "OMP_NUM_THREADS": str(cpus)}
    done = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=workers.end_with_parent,
    )
    text = done.communicate()[0].strip().splitlines()[-3:]
    where = f"{socket.gethostname()}: {shlex.join(command)}: " if done.returncode else ""
    return done.returncode, where + "\n".join(text)
