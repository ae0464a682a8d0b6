"""Several machines training together, each a process on this one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import small_recipe

from keras_r3d import recipe
from keras_r3d.system.command import INTERRUPTED

# Ten steps; then each worker writes down its own variables.
SCRIPT = """
import sys
import numpy as np, tensorflow as tf
from keras_r3d import recipe
from keras_r3d.system.devices import choose
from keras_r3d.training import setup

path, data_dir, out = sys.argv[1:]
ready = setup.prepare(recipe.load(path), data_dir, choose(), say=lambda line: None)
for layer in ready.steps.network.layers:
    if "_bn" in layer.name:
        layer.trainable = False  # statistics of few flat clips would magnify the last bit
batches, losses = ready.batches(0), []
for step in range(10):
    sums = ready.steps.train(next(batches), tf.constant(step), tf.constant(0.0))
    losses.append(sums.numpy()[0])
variables = ready.steps.network.variables + ready.steps.optimizer.variables
videos = [ready.names_of_batch(step) for step in range(2)]
np.savez(out, losses=losses, videos=[" ".join(v) for v in videos],
         **{f"{n:03} {v.path}": np.asarray(v) for n, v in enumerate(variables)})
"""
STEADY = [
    'train.optimizer={kind="sgd", learning_rate=1e-5, momentum=0.9, dampening=0.9, '
    "weight_decay=1e-3}",
    'train.schedule={kind="plateau", factor=0.1, patience=10, threshold=1e-4, drops=3}',
    "train.synchronized_batch_norm=true",
    "train.clips_per_video=8",
    "train.batch_size=8",
]


def environment(index: int, ports: list[int]) -> dict[str, str]:
    workers = [f"127.0.0.1:{port}" for port in ports]
    config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
    return {**os.environ, "TF_CONFIG": json.dumps(config)} if ports else dict(os.environ)


def free_ports(count: int) -> list[int]:
    with_sockets = [socket.socket() for _ in range(count)]
    for one in with_sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in with_sockets]
    for one in with_sockets:
        one.close()
    return ports


def written_recipe(folder: Path, *changes: str) -> str:
    (folder / "small.toml").write_text(recipe.dumps(small_recipe()))
    changed = recipe.load(str(folder / "small.toml"), changes)
    (folder / "recipe.toml").write_text(recipe.dumps(changed))
    return str(folder / "recipe.toml")


@pytest.mark.slow
def test_two_workers_train_as_one(class_folders, tmp_path):
    path = written_recipe(tmp_path, *STEADY, 'eval.split="validation"')  # leaves eight videos
    ports = free_ports(2)
    arguments = [sys.executable, "-c", SCRIPT, path, str(class_folders)]
    processes = [
        subprocess.Popen(
            [*arguments, str(tmp_path / f"{name}.npz")],
            env=environment(index, used),
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, index, used in (("one", 0, ports), ("two", 1, ports), ("alone", 0, []))
    ]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    one, two, alone = (dict(np.load(tmp_path / f"{name}.npz")) for name in ("one", "two", "alone"))
    videos = [[set(str(text).split()) for text in run.pop("videos")] for run in (one, two, alone)]
    for first, second, all_of_them in zip(*videos, strict=True):
        assert first | second == all_of_them
        assert not first & second  # eight videos, eight clips
    for name in alone:
        np.testing.assert_array_equal(one[name], two[name], name)
        np.testing.assert_allclose(one[name], alone[name], rtol=1e-5, atol=1e-5, err_msg=name)


class Job:
    """Two workers of the command."""

    def __init__(self, path: str, data_dir: Path, workdir: Path):
        ports = free_ports(2)
        self.workdir = workdir
        self.logs = [workdir.parent / f"worker-{index}.log" for index in range(2)]
        self.processes = []
        for index, log in enumerate(self.logs):
            with log.open("w") as file:
                self.processes.append(
                    subprocess.Popen(
                        [
                            *(sys.executable, "-m", "keras_r3d.train", f"--recipe={path}"),
                            *(f"--data_dir={data_dir}", f"--workdir={workdir}"),
                            "--save_steps=5",
                        ],
                        env=environment(index, ports),
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )

    def wait_for_states(self) -> None:
        begun = time.monotonic()
        before = set(self.workdir.glob("state/step_*"))
        while len(set(self.workdir.glob("state/step_*")) - before) < 2:
            assert time.monotonic() - begun < 120, self.logs[0].read_text()
            time.sleep(0.05)

    def end(self) -> list[int]:
        return [process.wait(timeout=400) for process in self.processes]


@pytest.mark.slow
@pytest.mark.timeout(1200)  # six processes that start
def test_a_job_whose_worker_is_killed_or_asked_to_stop_goes_on(class_folders, tmp_path):
    changes = ["train.epochs=20", "train.clips_per_video=8"]
    path = written_recipe(tmp_path, *STEADY, *changes)
    job = Job(path, class_folders, tmp_path / "run")
    job.wait_for_states()
    job.processes[1].kill()
    assert job.end() == [1, -signal.SIGKILL]
    text = job.logs[0].read_text()
    assert "Another worker has gone. Start all of them again" in text
    assert "Traceback" not in text

    job = Job(path, class_folders, tmp_path / "run")
    job.wait_for_states()
    job.processes[1].terminate()
    assert job.end() == [INTERRUPTED, INTERRUPTED]
    text = job.logs[0].read_text()
    assert "Resuming after epoch" in text
    assert "Stopped by another worker" in text

    job = Job(path, class_folders, tmp_path / "run")
    assert job.end() == [0, 0]
    assert "keras_r3d.evaluate --model" in job.logs[0].read_text()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "trained"
    assert not (tmp_path / "run" / "evaluation.json").exists()
