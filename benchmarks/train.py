"""One training step of a network: ours beside PyTorch's, and what a saved state costs."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.options import Options
from benchmarks.turns import Contender, Worker, in_turns, one_by_one, report

_SAVE_MINUTES = 10.0  # between two states, as the recipes have it
# A network for 400 classes, clips uint8 `(batch, frames, size, size, 3)`, labels int32, and the
# shapes of our weights.
Task = tuple[str, np.ndarray, np.ndarray, dict[str, tuple[int, ...]]]


def _start_ours(task: Task, *, precision: str = "float32", compiled: bool = False) -> Worker:
    """The training's own step, SGD as in the paper."""
    import tensorflow as tf

    cores = len(os.sched_getaffinity(0))
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    from keras_r3d import recipe
    from keras_r3d.system import devices
    from keras_r3d.training import setup
    from keras_r3d.training.optimization.step import Steps

    model, clips, labels, _ = task
    changes = [f"model.name={model}", f"clips.frames={clips.shape[1]}"]
    changes += [f"clips.size={clips.shape[2]}", f"train.batch_size={len(clips)}"]
    changes += [f"train.precision={precision}", "train.optimizer.learning_rate=0.01"]
    experiment = recipe.load("kinetics34", changes)
    hardware = devices.choose("all")
    classes = [f"{number:03}" for number in range(400)]
    kept = setup.build_kept(experiment, classes, hardware, say=lambda line: None)
    network = setup.build_trained(kept, experiment, hardware)
    steps = Steps(network, experiment.train, hardware, classes=400, compiled=compiled)
    batch, step, stop = (tf.constant(clips), tf.constant(labels)), tf.constant(0), tf.constant(0.0)
    return one_by_one(lambda _: steps.train(batch, step, stop).numpy())


def _start_pytorch(task: Task, *, precision: str = "float32") -> Worker:
    """The same network in PyTorch, channels last; bfloat16 is autocast."""
    import torch

    from benchmarks.torch_network import Network

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model, clips, labels, shapes = task
    rng = np.random.default_rng(0)
    weights = {key: 0.01 * rng.standard_normal(shape, np.float32) for key, shape in shapes.items()}
    network = Network(model, weights, training=True)
    clips, labels = torch.from_numpy(clips), torch.from_numpy(labels).long()
    optimizer = torch.optim.SGD(
        [w for w in network.weights.values() if w.requires_grad],
        lr=0.01,
        momentum=0.9,
        weight_decay=1e-3,
        dampening=0.9,
    )

    def step(_: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(clips)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return one_by_one(step)


_OURS, _BFLOAT16 = "keras_r3d, float32", {"precision": "bfloat16"}
_CONTENDERS = (
    Contender(_OURS, _start_ours, ("tensorflow",)),
    Contender("keras_r3d, bfloat16", _start_ours, ("tensorflow",), _BFLOAT16),
    Contender(f"{_OURS}, XLA", _start_ours, ("tensorflow",), {"compiled": True}),
    Contender("PyTorch, float32", _start_pytorch, ("torch",)),
    Contender("PyTorch, bfloat16", _start_pytorch, ("torch",), _BFLOAT16),
)


def run(options: Options) -> dict[str, Any]:
    """Measures and prints."""
    batch_size, frames, size = options.batch_size, options.frames, options.size
    network = options.build_network((frames, size, size, 3))
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (batch_size, frames, size, size, 3), np.uint8)
    shapes = {weight.path: tuple(weight.shape) for weight in network.weights}
    task = options.model, clips, rng.integers(0, 400, batch_size, np.int32), shapes
    contenders = [c for c in _CONTENDERS if options.xla or "compiled" not in c.options]
    turns = [["a step"]] * (options.rounds + 1)
    results = in_turns(contenders, task, lambda pace: turns, [_OURS])
    peers = {}
    for name, result in results.items():
        peer = results["PyTorch, bfloat16" if "bfloat16" in name else "PyTorch, float32"]
        if name.startswith("keras_r3d") and not result.problem and not peer.problem:
            peers[name] = {"of peer": result.rate / peer.rate}
    title = f"Training step, {options.model}, {batch_size} clips of {frames}x{size}x{size}"
    against = {"of ours": _OURS}
    rows = report(title, results, "clips", scale=batch_size, against=against, more=peers)
    state = _save_state(network)
    print(
        f"A saved state: {state['megabytes']:.0f} MB in {state['seconds']:.2f} s; one every "
        f"{_SAVE_MINUTES:g} minutes is {state['share']:.2%} of the time."
    )
    return {"contenders": rows, "state": state}


def _save_state(network: Any) -> dict[str, float]:
    """Saves the weights of a network and as many velocities."""
    from keras_r3d.training import state

    parts = ("weights", "velocities")
    arrays = {f"{part}/{v.path}": np.array(v) for part in parts for v in network.weights}
    with tempfile.TemporaryDirectory(prefix="keras_r3d-benchmark-") as folder:
        started = time.monotonic()
        path = state.save(Path(folder), 1, state.State(arrays, {}))
        seconds = time.monotonic() - started
        megabytes = path.stat().st_size / 1e6
    share = seconds / (60 * _SAVE_MINUTES + seconds)
    return {"megabytes": megabytes, "seconds": seconds, "share": share}
