"""On which devices a model runs, and how many machines share the work."""

import dataclasses
import functools
import json
import os
import re
from pathlib import Path

import tensorflow as tf

from keras_r3d.system.errors import DeviceError

FORMS = "'all', 'cpu', 'cpu:N' (N virtual devices, for trying things out), 'gpu:0,2,…'"
_DRIVER = Path("/proc/driver/nvidia/version")  # is there where NVIDIA's driver is


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a run."""

    # Mirrors the model over all of them; the default strategy on a single one.
    strategy: tf.distribute.Strategy
    description: str  # in words
    on_gpu: bool = False
    worker: int = 0  # number of this process among those that train together
    workers: int = 1

    @property
    def chief(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.worker == 0

    @property
    def replicas(self) -> int:
        """How many copies of the model compute a step, over all workers."""
        return self.strategy.num_replicas_in_sync

    @property
    def replicas_here(self) -> int:
        """How many of them are this worker's."""
        return self.replicas // self.workers

    @property
    def jit_compile(self) -> bool | str:
        """What a model that is kept is compiled with: XLA's Conv3D is slow on CPU."""
        return "auto" if self.on_gpu else False


@functools.cache
def choose(devices: str = "all") -> Devices:
    """Takes devices as `FORMS` says; with `TF_CONFIG` set, those of all its workers.

    Once a process: TensorFlow sets its devices up once. DeviceError: they are not there, or
    `TF_CONFIG` is damaged.
    """
    match = re.fullmatch(r"all|cpu(?::0*([1-9][0-9]*))?|gpu:([0-9]+(?:,[0-9]+)*)", devices)
    if match is None:
        raise DeviceError(f"`devices` must be one of {FORMS}. Received: {devices}")
    virtual = int(match[1] or 0)
    if virtual and os.environ.get("TF_CONFIG"):
        raise DeviceError(
            f"`devices` {devices}: virtual devices are for one machine alone, but the environment "
            "variable TF_CONFIG is set. Take 'cpu', or unset it."
        )
    gpus = [] if devices.startswith("cpu") else tf.config.list_physical_devices("GPU")
    if match[2]:
        numbers = sorted({int(number) for number in match[2].split(",")})
        if missing := [number for number in numbers if number >= len(gpus)]:
            raise DeviceError(
                f"`devices` {devices}: GPU {missing[0]} is not there; TensorFlow sees {len(gpus)}."
            )
        gpus = [gpus[number] for number in numbers]
    try:
        tf.config.set_visible_devices(gpus, "GPU")
        if virtual:
            (cpu,) = tf.config.list_physical_devices("CPU")
            parts = [tf.config.LogicalDeviceConfiguration()] * virtual
            tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError as error:
        raise DeviceError(f"`devices` {devices}: TensorFlow is running already: {error}") from error
    text = f"{len(gpus)} GPU{'s' * (len(gpus) > 1)}" if gpus else f"CPU, {os.cpu_count()} cores"
    if virtual:
        text += f" as {virtual} virtual device{'s' * (virtual > 1)}"
    if os.environ.get("TF_CONFIG"):
        return _several_workers(text, bool(gpus))
    strategy = tf.distribute.get_strategy()
    if len(gpus) > 1 or virtual > 1:
        names = [f"GPU:{n}" for n in range(len(gpus))] or [f"CPU:{n}" for n in range(virtual)]
        strategy = tf.distribute.MirroredStrategy(names)
    return Devices(strategy, text, bool(gpus))


def unused_gpu(driver: Path = _DRIVER) -> str:
    """Says how to use an NVIDIA GPU that is there, but not for TensorFlow; else ""."""
    if tf.config.list_physical_devices("GPU") or not driver.exists():
        return ""
    cuda = "it was built without CUDA" if not tf.test.is_built_with_cuda() else "CUDA is missing"
    return (
        f"this machine has an NVIDIA GPU, which TensorFlow {tf.__version__} cannot use ({cuda}): "
        f"pip install 'tensorflow[and-cuda]=={tf.__version__}'. (CUDA_VISIBLE_DEVICES may hide it.)"
    )


def _several_workers(description: str, on_gpu: bool) -> Devices:
    text = os.environ["TF_CONFIG"]
    try:
        config = json.loads(text)
        workers = config["cluster"]["worker"]
        kind, number = config["task"]["type"], int(config["task"]["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(
            'The environment variable TF_CONFIG must be like {"cluster": {"worker": '
            '["host:port", …]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: {text}"
        ) from error
    right = isinstance(workers, list) and kind == "worker" and set(config["cluster"]) == {"worker"}
    if not right or not 0 <= number < len(workers):
        raise DeviceError(
            "TF_CONFIG must have tasks of type 'worker' only, numbered from 0 (the first writes "
            f"the run folder). Received: {text}"
        )
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    description += f", worker {number} of {len(workers)}"
    return Devices(strategy, description, on_gpu, number, len(workers))
