"""A training that can begin: videos, devices, networks and steps, opened, built and checked."""

import collections
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import ops
from matplotlib.figure import Figure

from keras_r3d import recipe as recipes
from keras_r3d.applications import metadata
from keras_r3d.applications.networks import HEAD
from keras_r3d.data import pipeline, sheet
from keras_r3d.data.annotations import Annotations
from keras_r3d.data.annotations.labels import rarest
from keras_r3d.data.opening import Source
from keras_r3d.data.sampling import order
from keras_r3d.recipe import Recipe
from keras_r3d.system.devices import Devices
from keras_r3d.training import checks, finetune
from keras_r3d.training.finetune import Say
from keras_r3d.training.optimization.step import Steps

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@dataclasses.dataclass(frozen=True)
class Opened:
    """What is trained on what, and where; the recipe has all that its weights decide."""

    recipe: Recipe
    source: Source
    devices: Devices

    @property
    def annotations(self) -> Annotations:
        """The labeled videos."""
        return self.source.annotations

    @property
    def classes(self) -> Sequence[str]:
        """What the network answers with."""
        return self.annotations.classes

    def describe_data(self) -> str:
        """Returns a line on the videos."""
        videos = self.annotations
        counts = ", ".join(f"{name} {len(split)}" for name, split in videos.splits.items())
        return f"Data: {self.source.path}: {len(videos.classes)} classes; videos: {counts}"

    def draw_clips(self) -> Figure:
        """Draws training clips as the network sees them."""
        videos, train = self.annotations.split("train"), self.recipe.train
        return sheet.training_sheet(self.source.reader, videos, self.recipe.clips, train.seed)


@dataclasses.dataclass(frozen=True)
class Setup(Opened):
    """A training over epochs: everything is opened, built and checked, nothing is written.

    Attributes:
        kept: the network that is saved: of stock layers, in float32; it gives probabilities.
        steps: of the network that is trained, which takes the same weights: in the recipe's
            precision, on all devices; it gives logits.
        chooses: whether the validation loss chooses the epoch that is kept; else it is the last.
    """

    kept: keras.Model
    steps: Steps
    chooses: bool

    @property
    def steps_per_epoch(self) -> int:
        train, videos = self.recipe.train, self.annotations.split("train")
        return max(1, round(len(videos) * train.clips_per_video / train.batch_size))

    def batches(self, first_step: int) -> Iterator[Any]:
        """Gives this worker's batches from a step on, without end, one part a replica."""
        train, here = self.annotations.split("train"), self.devices.replicas_here

        def clips(_: Any) -> tf.data.Dataset:
            return pipeline.training_clips(
                self.source.reader,
                train,
                self.annotations.classes,
                self.recipe.clips,
                broken_share=self.recipe.videos.broken_share,
                start=first_step * here,
                **self._order,
            )

        if self.devices.replicas == 1:
            return iter(clips(None))
        return iter(self.devices.strategy.distribute_datasets_from_function(clips))

    def names_of_batch(self, step: int) -> list[str]:
        """Returns the names of the videos of this worker's part of a step."""
        here, videos = self.devices.replicas_here, self.annotations.split("train")
        labels = rarest(videos)
        batches = range(step * here, (step + 1) * here)
        numbers = {n for b in batches for n in order.batch_videos(b, labels, **self._order)}
        return sorted({videos[number].name for number in numbers})

    @property
    def _order(self) -> dict[str, Any]:
        """What decides which videos are in which batch."""
        train, devices = self.recipe.train, self.devices
        return {
            "batch_size": train.batch_size // devices.replicas,
            "seed": train.seed,
            "balanced": self.recipe.videos.balanced,
            "clips_per_pass": train.clips_per_pass or 1,
            "shard": (devices.worker, devices.workers),
        }

    def validation(self) -> Iterator[Any] | None:
        """Gives the batches of this worker's share of the validation videos, once; None without."""
        videos = self.annotations.splits.get("validation")
        if not videos:
            return None
        worker, workers = self.devices.worker, self.devices.workers
        stream = pipeline.validation_clips(
            self.source.reader,
            videos[worker::workers],
            self.annotations.classes,
            self.recipe.clips,
            batch_size=self.recipe.eval.batch_size // workers,
        )
        return map(self.steps.shared_out, stream)

    def describe(self) -> list[str]:
        """Returns lines on devices and network."""
        devices, train, network = self.devices, self.recipe.train, self.steps.network
        replicas = devices.replicas
        trained = sum(math.prod(v.shape) for v in network.trainable_variables)
        weights = sum(math.prod(v.shape) for v in network.weights if "moving_" not in v.path)
        shares = f"{train.batch_size // replicas} each" if replicas > 1 else "all of it"
        parts = f" in {train.accumulate} parts" if train.accumulate else ""
        frozen = f", {weights - trained:,} of them frozen" if weights > trained else ""
        return [
            f"Devices: {devices.description}; {replicas} replica{'s' * (replicas > 1)}; batch "
            f"{train.batch_size} clips, {shares}{parts}; {train.precision}; XLA "
            f"{'on' if self.steps.compiled else 'off'}; {self.source.reader.threads} threads read "
            "clips",
            f"Model: {self.recipe.model.name}, {weights:,} parameters{frozen}",
        ]


def prepare(
    recipe: Recipe,
    data: str | Path,
    devices: Devices,
    say: Say = print,
    *,
    xla: bool = False,
    deterministic: bool = False,
    cache_gib: float = 0.0,
) -> Setup:
    """Opens the data and builds the networks of a recipe; raises R3DError if that cannot be done.

    All that can be found wrong before a video is opened is said at once.
    """
    source, (model,) = checks.open_source(recipe, data, devices, say, cache_gib)
    recipe, splits = dataclasses.replace(recipe, model=model), source.annotations.splits
    for split in ("train", "validation"):
        if splits.get(split):
            source.reader.require_readable(splits[split], split)
    keras.utils.set_random_seed(recipe.train.seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    videos = source.annotations
    kept = build_kept(recipe, videos.classes, devices, say, several=videos.several)
    chooses = len(splits.get("validation", ())) >= checks.LEAST_TO_CHOOSE
    return assemble(Opened(recipe, source, devices), kept, chooses=chooses, xla=xla)


def assemble(opened: Opened, kept: keras.Model, *, chooses: bool, xla: bool = False) -> Setup:
    """Makes the steps of a training that begins with the weights of a network."""
    recipe, devices, classes = opened.recipe, opened.devices, opened.annotations.classes
    train, network = recipe.train, build_trained(kept, recipe, devices)
    weights = None
    if train.class_weights:
        videos = opened.annotations.split("train")
        counts = collections.Counter(label for video in videos for label in video.labels)
        mean = counts.total() / len(counts)
        weights = [mean / counts[name] if counts[name] else 1.0 for name in classes]
    head, number = finetune.head(network), len(classes)
    steps = Steps(
        network,
        train,
        devices,
        classes=number,
        head=head,
        class_weights=weights,
        compiled=xla,
        several=opened.annotations.several,
    )
    return Setup(recipe, opened.source, devices, kept, steps, chooses)


def build_kept(
    recipe: Recipe,
    classes: Sequence[str],
    devices: Devices,
    say: Say = print,
    *,
    several: bool = False,
) -> keras.Model:
    """Builds the network of a recipe, with the weights it starts from."""
    with tf.device("CPU:0"):
        shape = recipe.clips.shape
        kept = finetune.build_model(recipe.model, shape, classes, say, several=several)
        complete(kept, recipe, classes, devices, [0.5] * len(classes) if several else None)
    return kept


def complete(
    kept: keras.Model,
    recipe: Recipe,
    classes: Sequence[str],
    devices: Devices,
    thresholds: Sequence[float] | None,  # of several labels
) -> None:
    """Records in a network what it classifies and how; compiles it, so that Keras evaluates it."""
    about = {"labels": list(classes), "recipe": recipes.to_dict(recipe)}
    metadata.record(kept, **about, thresholds=None if thresholds is None else list(thresholds))
    loss, metrics = "sparse_categorical_crossentropy", ["accuracy"]
    if thresholds is not None:
        loss, metrics = "binary_crossentropy", ["binary_accuracy"]
    kept.compile("sgd", loss, metrics=metrics, jit_compile=devices.jit_compile)


def build_trained(kept: keras.Model, recipe: Recipe, devices: Devices) -> keras.Model:
    """Builds the network that is trained for one that is kept, with its weights."""
    precision = recipe.train.precision
    with devices.strategy.scope():
        trained = keras.models.clone_model(
            kept, clone_function=lambda layer: _for_training(layer, precision, devices.on_gpu)
        )
    trained.set_weights(kept.get_weights())
    finetune.freeze(trained, recipe.model.freeze or "")
    return trained


def _for_training(layer: keras.Layer, precision: str, on_gpu: bool) -> keras.Layer:
    kind, config = type(layer), layer.get_config()
    if not isinstance(layer, keras.Layer):  # an operation without a type of its own
        return kind.from_config(config)
    # Pixels and logits stay float32: bfloat16 has 256 levels, and would make many logits equal.
    if layer.name not in (metadata.LAYER, HEAD) and kind is not keras.layers.Normalization:
        config["dtype"] = _POLICIES[precision]
    if layer.name == HEAD:
        config["activation"] = "linear"
    if kind is keras.layers.Conv3D and precision == "bfloat16" and not on_gpu:
        frames, reach = layer.input.shape[1], layer.kernel_size[0]
        if layer.padding == "same" and 1 < frames < reach:
            kind = _PaddedConv3D
    return kind.from_config(config)


class _PaddedConv3D(keras.layers.Conv3D):
    """A convolution at stride 1 that is padded before, not by TensorFlow.

    TensorFlow (2.16 to 2.21, oneDNN, CPU) leaves a part of the gradient of a bfloat16 kernel as it
    finds the memory, if it pads and there are fewer frames than the kernel spans: 2, in conv4_x.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        sides = [(size // 2, size // 2) for size in self.kernel_size]
        return ops.conv(
            ops.pad(inputs, [(0, 0), *sides, (0, 0)]),
            kernel,
            padding="valid",
            data_format=self.data_format,
        )
