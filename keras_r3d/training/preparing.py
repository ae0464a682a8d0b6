"""Opening, building and checking all that a training needs, before anything is written."""

import collections
import dataclasses
import datetime
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_r3d import run_folder
from keras_r3d._version import __version__
from keras_r3d.data import annotations, opening, pipeline
from keras_r3d.data.annotations import Annotations
from keras_r3d.data.opening import Source
from keras_r3d.data.sampling import order
from keras_r3d.recipe import Recipe, listed
from keras_r3d.system.devices import Devices, choose
from keras_r3d.system.errors import DataError, R3DError, RecipeError
from keras_r3d.training import finetune, networks, resuming
from keras_r3d.training.networks import Networks
from keras_r3d.training.optimization.step import Steps

Say = Callable[[str], None]

LEAST_TO_CHOOSE = 30  # validation videos: with fewer the best epoch is luck


@dataclasses.dataclass(frozen=True)
class Options:
    """How and where a training runs; what it is, says the recipe.

    Attributes:
        devices: as `keras_r3d.system.devices.choose` takes them.
        fresh: start over; a run that is in the folder is moved aside.
        histograms: TensorBoard also gets histograms of the weights.
        xla: let XLA compile the gradient (on CPU much slower).
    """

    devices: str = "all"
    fresh: bool = False
    histograms: bool = False
    xla: bool = False


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A training that could begin: all is opened, built and checked, nothing is written."""

    recipe: Recipe
    opened: Source
    hardware: Devices
    networks: Networks
    steps: Steps

    @property
    def annotations(self) -> Annotations:
        """The labelled videos."""
        return self.opened.annotations

    @property
    def chooses(self) -> bool:
        """Whether the validation loss chooses the epoch that is kept; else it is the last."""
        return len(self.annotations.splits.get("validation", ())) >= LEAST_TO_CHOOSE

    @property
    def steps_per_epoch(self) -> int:
        """Steps that an epoch has."""
        train, videos = self.recipe.train, self.annotations.split("train")
        return max(1, round(len(videos) * train.clips_per_video / train.batch_size))

    def batches(self, first_step: int) -> Iterator[Any]:
        """Gives this worker's batches from a step on, without end, one part a replica."""
        here = self.hardware.replicas_here
        train, found = self.recipe.train, self.annotations

        def clips(_: Any) -> tf.data.Dataset:
            return pipeline.training_clips(
                self.opened.reader,
                found.split("train"),
                found.classes,
                self.recipe.data,
                batch_size=train.batch_size // self.hardware.replicas,
                seed=train.seed,
                start=first_step * here,
                shard=(self.hardware.worker, self.hardware.workers),
            )

        if self.hardware.replicas == 1:
            return iter(clips(None))
        return iter(self.hardware.strategy.distribute_datasets_from_function(clips))

    def names_of_batch(self, step: int) -> list[str]:
        """Returns the names of the videos of this worker's part of a step."""
        here = self.hardware.replicas_here
        videos = self.annotations.split("train")
        labels = [video.label for video in videos]
        numbers = [
            number
            for batch in range(step * here, (step + 1) * here)
            for number in order.batch_videos(
                batch,
                labels,
                self.recipe.data,
                batch_size=self.recipe.train.batch_size // self.hardware.replicas,
                seed=self.recipe.train.seed,
                shard=(self.hardware.worker, self.hardware.workers),
            )
        ]
        return sorted({videos[number].name for number in numbers})

    def validation(self) -> Iterator[Any]:
        """Gives the batches of this worker's share of the validation videos, once."""
        videos = self.annotations.split("validation")
        worker, workers = self.hardware.worker, self.hardware.workers
        stream = pipeline.validation_clips(
            self.opened.reader,
            videos[worker::workers],
            self.annotations.classes,
            self.recipe.data,
            batch_size=self.recipe.eval.batch_size // workers,
        )
        return map(self.steps.shared_out, stream)


def prepare(recipe: Recipe, data_dir: str | Path, options: Options, say: Say = print) -> Prepared:
    """Opens the data, takes the devices and builds the networks of a recipe.

    Raises:
        R3DError: anything in the recipe, the data or the devices that keeps it from being done; of
            what shows before a video is opened, all.
    """
    hardware = choose(options.devices)
    recipe, opened = _open(recipe, data_dir, hardware, say)
    found, train = opened.annotations, recipe.train
    opened.reader.require_readable(found.split("train"), "train")
    if found.splits.get("validation"):
        opened.reader.require_readable(found.split("validation"), "validation")
    keras.utils.set_random_seed(train.seed)
    if train.deterministic:
        tf.config.experimental.enable_op_determinism()
    built = networks.build(recipe, found.classes, hardware, say)
    return assembled(recipe, opened, hardware, built, xla=options.xla)


def assembled(
    recipe: Recipe, opened: Source, hardware: Devices, built: Networks, *, xla: bool = False
) -> Prepared:
    """Makes the steps of a training of networks that are built."""
    found, train = opened.annotations, recipe.train
    counts = collections.Counter(video.label for video in found.split("train"))
    mean = len(found.split("train")) / len(counts)
    weights = [mean / counts[name] if counts[name] else 1.0 for name in found.classes]
    steps = Steps(
        built.trained,
        train,
        hardware,
        classes=len(found.classes),
        head=finetune.head(built.trained),
        class_weights=weights if train.class_weights else None,
        compiled=xla,
    )
    return Prepared(recipe, opened, hardware, built, steps)


def _open(
    recipe: Recipe, data_dir: str | Path, hardware: Devices, say: Say
) -> tuple[Recipe, Source]:
    """Opens the weights and the annotations of a recipe, and says all that is wrong with them."""
    errors: list[R3DError] = [
        RecipeError(problem) for problem in resuming.device_problems(recipe, hardware)
    ]
    try:
        settled = finetune.settle(recipe.model, say, in_channels=recipe.data.channels)
        recipe = dataclasses.replace(recipe, model=settled)
    except R3DError as error:
        errors.append(error)
    try:
        opened = opening.open_source(
            data_dir,
            recipe.data,
            cache_gib=recipe.data.cache_gib,
            seed=recipe.train.seed,
            least_validation=0 if recipe.eval.split == "validation" else LEAST_TO_CHOOSE,
        )
    except R3DError as error:
        errors.append(error)
    else:
        problems = resuming.split_problems(opened.annotations, recipe)
        errors += [DataError(problem) for problem in problems]
        if not errors:
            return recipe, opened
    if len(errors) == 1:
        raise errors[0]
    raise RecipeError(listed("This training", [str(error) for error in errors]))


def create_run(recipe: Recipe, opened: Source, hardware: Devices, workdir: Path) -> run_folder.Run:
    """Makes the folder of a training that begins."""
    found = opened.annotations
    return run_folder.create(
        workdir,
        recipe,
        found.classes,
        annotations.to_csv(found),
        {
            "status": "training",
            "data_dir": opened.path,
            "video_root": opened.root,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "devices": hardware.description,
            "replicas": hardware.replicas,
            "keras_r3d": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "videos": {name: len(split) for name, split in found.splits.items()},
        },
    )


def described(prepared: Prepared, options: Options) -> list[str]:
    """Returns lines on devices and network."""
    hardware, train = prepared.hardware, prepared.recipe.train
    replicas, network = hardware.replicas, prepared.networks.trained
    trained = sum(math.prod(v.shape) for v in network.trainable_variables)
    weights = sum(math.prod(v.shape) for v in network.weights if "moving_" not in v.path)
    shares = f"{train.batch_size // replicas} each" if replicas > 1 else "all of it"
    parts = f" in {train.accumulate} parts" if train.accumulate > 1 else ""
    lines = [
        f"Devices: {hardware.description}; {replicas} replica{'s' * (replicas > 1)}; batch "
        f"{train.batch_size} clips, {shares}{parts}; {train.precision}; XLA "
        f"{'on' if options.xla else 'off'}; {prepared.opened.reader.threads} threads read clips",
        f"Model: {prepared.recipe.model.name}, {weights:,} parameters"
        + (f", {weights - trained:,} of them frozen" if weights > trained else ""),
    ]
    return lines
