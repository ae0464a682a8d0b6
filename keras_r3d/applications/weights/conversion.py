"""A checkpoint into a `.keras` file, with what is needed to trust the result."""

import dataclasses
import functools
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_r3d.applications import models
from keras_r3d.applications.builders.blocks import split_groups
from keras_r3d.applications.metadata import Metadata, read_metadata
from keras_r3d.applications.networks import C3D_NETWORKS, HEAD, NETWORKS
from keras_r3d.applications.weights import checkpoints, hub
from keras_r3d.applications.weights.checkpoints import Checkpoint
from keras_r3d.applications.weights.containers.tensors import printable
from keras_r3d.applications.weights.weights_file import (
    COMPACT_ABOUT,
    Value,
    WeightsFile,
    load_network,
    named_variables,
    open_file,
    shapeless_options,
)
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError, WeightsError
from keras_r3d.system.progress import Progress

PROGRESS_FROM_BYTES = 50_000_000


@dataclasses.dataclass(frozen=True)
class CompactFile:
    """A compact file that was written; as text, what the command prints."""

    source: Path
    destination: Path

    def __str__(self) -> str:
        before, after = (path.stat().st_size / 1e6 for path in (self.source, self.destination))
        return f"Written: {self.destination}, {after:.1f} MB ({self.source}: {before:.1f} MB)"


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What was found in a checkpoint and became of it; as text, what the command prints."""

    source: Path
    checkpoint: Checkpoint | None  # None of a file of Keras 1 or 2
    destination: Path
    network: str
    options: Mapping[str, Any]  # the builder's arguments, read from the file or asked for
    parameters: int
    used: int  # number of tensors that went into the network: all but the counters
    unused: int  # number of those that only training needs, as `num_batches_tracked`
    metadata: Metadata  # of the new file
    conventions: str  # whether the normalization is "published", "given" or "assumed"
    logits: np.ndarray  # of the probe, `linspace(-1, 1)` in `probe_shape`, after normalizing
    probe_shape: tuple[int, ...]  # in PyTorch's order: batch, channels, frames, height, width
    difference: float  # largest one between the outputs of the model and of the file loaded again

    def __str__(self) -> str:
        checkpoint, about = self.checkpoint, self.metadata
        origin = f"{self.source}, of Keras 1 or 2"
        if checkpoint:
            key = f" under {printable(checkpoint.key)}" if checkpoint.key else ""
            if checkpoint.others:
                others = ", ".join(f"SOURCE#{printable(other)}" for other in checkpoint.others)
                key += f"; others: {others}"
            origin = f"{checkpoint.path}, {checkpoint.container} container{key}"
        names = [*about.labels[:3], "…"] if about.labels else ["not known (give --labels)"]
        mean, std = (", ".join(f"{v:.4f}" for v in values) for values in (about.mean, about.std))
        normalization = self.conventions
        if normalization == "assumed":
            normalization = "ASSUMED, the file does not say; if wrong, give --mean and --std"
        options = [f"{key} {value}" for key, value in self.options.items() if key != "classes"]
        size, shape = math.prod(self.probe_shape), ", ".join(map(str, self.probe_shape))
        ramp = f"linspace(-1, 1, {size}).reshape({shape})"
        how = "In NumPy", f"np.{ramp}, channels first, normalized"
        if checkpoint and checkpoint.container in checkpoints.OF_PYTORCH:
            how = "In PyTorch", f"model.eval()(torch.{ramp})[0, :5]"
        rows = {
            "Checkpoint": origin,
            "Network": f"{self.network}, {self.parameters:,} parameters",
            "Options": ", ".join(options),
            "Tensors": f"{self.used} used, 0 left over, {self.unused} that only training needs",
            "Classes": f"{self.options['classes']}; names: {', '.join(names)}",
            "Normalization": f"mean [{mean}], std [{std}] of 0-255 ({normalization})",
            "Logits": f"{' '.join(f'{v:.5f}' for v in self.logits[:5])} … of the clip below",
            how[0]: how[1],
            "Written": f"{self.destination}; loaded again, its scores differ by "
            f"{self.difference:.1e}",
        }
        return "\n".join(f"{name:14}{text}" for name, text in rows.items())


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    conv1_t_stride: int | None = None,
    max_pool: bool | None = None,
    pool5_padding: str | None = None,
    bgr: bool | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion | CompactFile:
    """Writes the network of a checkpoint as a `.keras` file and loads it again.

    Or writes the weights of a `.keras` file into a compact file, `.npz`, which is half as large;
    `labels` and the arguments behind it are then not used.

    Args:
        source: checkpoint of one of `list_models()`, PyTorch's or another that weights are
            published in, FILE#KEY where it has several, or `.h5` file of C3D; for a compact file,
            `.keras` file of one. Or hf://OWNER/NAME/FILE.
        destination: `.keras` or `.npz` file to write.
        labels: class names in the order of the outputs: a list, a file, or kinetics400.
        mean: what normalizing subtracts: RGB, 0-255.
        std: what it then divides by: RGB, 0-255.
        conv1_t_stride: stride in time of the first convolution, which no authors' file says.
        max_pool: max-pooling behind it, which no authors' file says.
        pool5_padding: of C3D, where pool5 gets 4x4 of 7x7 from: "behind" or "both".
        bgr: C3D takes blue first; the model that is written takes RGB.
        overwrite: replace `destination` if it exists.
        progress: takes the number of bytes read so far, and of all. None shows a bar where there
            are many and a terminal.

    Returns:
        What was found and became of it; `print` shows it as a table.

    Raises:
        WeightsError: the file is of another architecture, or `destination` cannot be accepted.
        CheckpointError: the source is damaged, or no checkpoint.
        ArgumentError: an argument is wrong.
        WriteError: the file cannot be written.
    """
    files.check_no_url(destination, "destination")
    source, destination = Path(hub.fetch(os.fspath(source), "source")), Path(destination)
    if destination.suffix not in (".keras", ".npz"):
        raise WeightsError(f"The file to write must end in .keras or .npz. Received: {destination}")
    if destination.exists() and not overwrite:
        raise WeightsError(
            f"{destination} already exists; choose another name, or pass `overwrite`."
        )
    try:
        if destination.suffix == ".npz":
            return _write_compact(source, destination)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* has several networks")  # the result says so
            file = open_file(source)
        if file.checkpoint is None and "bgr" not in file.options:
            raise WeightsError(f"{source} is a file of Keras 3, not a checkpoint.")
        assert file.network is not None  # opening a checkpoint of none of ours is an error
        if "classes" not in file.options:
            raise WeightsError(
                f"{source} has no classifier: load it as a backbone, "
                f"get_model('{file.network}', weights=…, include_top=False)."
            )
        c3d = {"pool5_padding": pool5_padding, "bgr": bgr}
        r3d = {"conv1_t_stride": conv1_t_stride, "max_pool": max_pool}
        asked = {name: value for name, value in (c3d | r3d).items() if value is not None}
        own = c3d if file.network in C3D_NETWORKS else r3d if file.network in NETWORKS else {}
        if foreign := [name for name in asked if name not in own]:
            raise ArgumentError(
                f"`{foreign[0]}` is no option of {file.network}, which {source} holds."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of what is assumed; the result says so
            model = models.get_model(
                file.network,
                weights=_report_reading(file, progress),
                labels=labels,
                mean=mean,
                std=std,
                **asked,
            )
    except WeightsError:
        raise
    except ValueError as error:
        raise ArgumentError(str(error)) from error
    # As a run's best.keras: stock parts, and no XLA, with which `predict` crawls on CPU.
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"], jit_compile=False)
    about = read_metadata(model)
    assert about is not None  # the builder has just attached it
    shape = (1, file.options["in_channels"], 16, 112, 112)
    clip = np.linspace(-1, 1, math.prod(shape), dtype=np.float32).reshape(shape)
    options = {**file.options, **shapeless_options(model)}
    if bgr is not None:
        options["bgr"] = bgr
    clip = clip.transpose(0, 2, 3, 4, 1)[..., :: -1 if options.get("bgr") else 1]
    clip = clip * np.array(about.std, np.float32)
    clip += np.array(about.mean, np.float32)
    head = model.get_layer(HEAD)
    both = keras.Model(model.input, [head.input, model.output])
    features, scores = (keras.ops.convert_to_numpy(y) for y in both(clip))
    kernel, bias = head.get_weights()
    with files.atomic(destination) as temporary:
        model.save(temporary)
        again = split_groups(keras.models.load_model(temporary))
        difference = float(abs(keras.ops.convert_to_numpy(again(clip)) - scores).max())
        if not difference < 1e-6 or read_metadata(again) != about:
            raise WeightsError(
                f"{destination} was not kept: loaded again, its outputs differ by {difference}."
            )
    checkpoint = file.checkpoint
    conventions = "published" if mean is None and std is None else "given"
    return Conversion(
        source,
        checkpoint,
        destination,
        file.network,
        options=options,
        parameters=model.count_params(),
        used=len(file.values),
        unused=len(checkpoint.tensors) - len(file.values) if checkpoint else 0,
        metadata=about,
        conventions="assumed" if mean is None and file.conventions is None else conventions,
        logits=(features @ kernel + bias)[0],
        probe_shape=shape,
        difference=difference,
    )


def _write_compact(source: Path, destination: Path) -> CompactFile:
    if source.suffix != ".keras":
        raise WeightsError(f"A compact file is made of a .keras file. Received: {source}")
    if not source.is_file():
        raise WeightsError(f"There is no file {source}.")
    model = load_network(source)
    about = read_metadata(model)
    if about is None:
        raise WeightsError(f"{source}: The model {model.name} was not built by keras_r3d.")
    values = {key: getattr(about, key) for key in ("labels", "mean", "std")}
    frames, height, width = model.input_shape[1:4]
    size = height if height == width else [height, width]
    text = json.dumps({**values, **shapeless_options(model), "frames": frames, "size": size})
    arrays = {COMPACT_ABOUT: np.frombuffer(text.encode(), np.uint8)}
    for name, variable in named_variables(model).items():
        array = keras.ops.convert_to_numpy(variable)
        halved = array.ndim > 1 and np.abs(array).max() < np.finfo(np.float16).max
        arrays[name] = array.astype(np.float16 if halved else np.float32)
    with files.atomic(destination) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    return CompactFile(source, destination)


def _report_reading(file: WeightsFile, progress: Callable[[int, int], None] | None) -> WeightsFile:
    """Makes each value that is read report how many bytes have been."""
    total = 4 * sum(math.prod(value.shape) for value in file.values.values())
    if progress is None and (total < PROGRESS_FROM_BYTES or not sys.stdout.isatty()):
        return file
    show, done = progress or Progress("MB", unit=1e6), 0

    def read(value: Value) -> np.ndarray:
        nonlocal done
        array = value.read()
        done += 4 * array.size
        show(done, total)
        return array

    values = {
        name: dataclasses.replace(value, read=functools.partial(read, value))
        for name, value in file.values.items()
    }
    return dataclasses.replace(file, values=values)
