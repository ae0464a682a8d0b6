"""Training steps of one network: ours, and PyTorch's. Each runs in a process of its own."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np


@dataclasses.dataclass(frozen=True)
class StepTask:
    """What is trained: a network for 400 classes on made-up clips, SGD as in the paper."""

    model: str
    batch_size: int
    frames: int
    size: int

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns uint8 clips and int32 labels."""
        rng = np.random.default_rng(0)
        shape = (self.batch_size, self.frames, self.size, self.size, 3)
        clips = rng.integers(0, 256, shape, dtype=np.uint8)
        return clips, rng.integers(0, 400, self.batch_size, dtype=np.int32)


class Ours:
    """The training's own step, in float32."""

    name: ClassVar[str] = "keras_r3d, float32"
    modules: ClassVar[tuple[str, ...]] = ("tensorflow",)
    precision: ClassVar[str] = "float32"
    compiled: ClassVar[bool] = False

    def __init__(self, task: StepTask):
        import tensorflow as tf

        cores = len(os.sched_getaffinity(0))
        tf.config.threading.set_inter_op_parallelism_threads(cores)
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        from keras_r3d import recipe
        from keras_r3d.system import devices
        from keras_r3d.training import setup
        from keras_r3d.training.optimization.step import Steps

        classes = [f"{number:03}" for number in range(400)]
        experiment = recipe.load(
            "kinetics34",
            [
                f'model.name="{task.model}"',
                f"clips.frames={task.frames}",
                f"clips.size={task.size}",
                f"train.batch_size={task.batch_size}",
                f'train.precision="{self.precision}"',
                "train.optimizer.learning_rate=0.01",
            ],
        )
        hardware = devices.choose("all")
        kept = setup.build_kept(experiment, classes, hardware, say=lambda line: None)
        network = setup.build_trained(kept, experiment, hardware)
        self._steps = Steps(
            network, experiment.train, hardware, classes=400, compiled=self.compiled
        )
        clips, labels = task.batch()
        self._batch = tf.constant(clips), tf.constant(labels)
        self._step, self._stop = tf.constant(0), tf.constant(0.0)

    def ready(self, clips: Sequence[Any]) -> None:
        """Has nothing to do."""

    def run(self, clips: Sequence[Any]) -> None:
        """Takes as many steps as make so many clips."""
        for _ in range(len(clips) // len(self._batch[1])):
            self._steps.train(self._batch, self._step, self._stop).numpy()


class OursBfloat16(Ours):
    """The same in mixed precision."""

    name = "keras_r3d, bfloat16"
    precision = "bfloat16"


class OursXla(Ours):
    """The same, compiled by XLA."""

    name = "keras_r3d, float32, XLA"
    compiled = True


class PyTorch:
    """The same network in PyTorch, channels last."""

    name: ClassVar[str] = "PyTorch, float32"
    modules: ClassVar[tuple[str, ...]] = ("torch",)
    precision: ClassVar[str] = "float32"

    def __init__(self, task: StepTask):
        import torch

        from benchmarks.steps.torch_network import R3D

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        network = R3D(task.model, 400).to(memory_format=torch.channels_last_3d)
        clips, labels = task.batch()
        self._torch, self._network = torch, network
        self._clips = torch.from_numpy(clips)
        self._labels = torch.from_numpy(labels.astype(np.int64))
        self._optimizer = torch.optim.SGD(
            network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3, dampening=0.9
        )

    def ready(self, clips: Sequence[Any]) -> None:
        """Has nothing to do."""

    def run(self, clips: Sequence[Any]) -> None:
        """Takes as many steps as make so many clips."""
        torch = self._torch
        for _ in range(len(clips) // len(self._labels)):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
                logits = self._network(self._clips)
                loss = torch.nn.functional.cross_entropy(logits.float(), self._labels)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            loss.item()


class PyTorchBfloat16(PyTorch):
    """The same under autocast."""

    name = "PyTorch, bfloat16"
    precision = "bfloat16"
