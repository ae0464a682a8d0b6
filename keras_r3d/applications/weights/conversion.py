"""A PyTorch checkpoint into a `.keras` file, with what is needed to trust the result."""

import dataclasses
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_r3d.applications import metadata, models
from keras_r3d.applications.metadata import Metadata
from keras_r3d.applications.weights.checkpoints import Checkpoint
from keras_r3d.applications.weights.identify import HEAD
from keras_r3d.applications.weights.weights_file import Value, open_file, shapeless_options
from keras_r3d.system import files
from keras_r3d.system.errors import WeightsError

PROBE_SHAPE = (1, 3, 16, 112, 112)  # PyTorch's order: batch, channels, frames, height, width


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What was found in a checkpoint and became of it.

    Attributes:
        network: name of the network.
        options: the builder's arguments, read from the file or given.
        used: number of tensors that went into the network: all but the counters.
        counters: number of `num_batches_tracked`, which only training needs.
        metadata: normalisation and class names, as the new file has them.
        conventions: whether the normalisation is "published", "given" or "assumed".
        logits: of the probe, `linspace(-1, 1)` in the shape `probe_shape`, after normalising.
        difference: largest one between the outputs of the model and of the file loaded again.
    """

    checkpoint: Checkpoint
    network: str
    options: dict[str, Any]
    parameters: int
    used: int
    counters: int
    metadata: Metadata
    conventions: str
    probe_shape: tuple[int, ...]
    logits: np.ndarray
    difference: float


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    conv1_t_stride: int | None = None,
    max_pool: bool | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Writes the network of a PyTorch checkpoint as a `.keras` file and loads it again.

    Args:
        source: checkpoint of one of `list_models()`.
        destination: `.keras` file to write.
        labels, mean, std, conv1_t_stride, max_pool: as for the builders; the last two cannot be
            read from the authors' files.
        overwrite: replace a file that is there.
        progress: takes the number of bytes read so far, and of all.

    Raises:
        WeightsError: the file is of another architecture, or `destination` cannot be accepted.
        CheckpointError: the source is damaged, or no checkpoint.
        ValueError: an argument is wrong.
        WriteError: the file cannot be written.
    """
    destination = Path(destination)
    if destination.suffix != ".keras":
        raise WeightsError(f"The file to write must end in .keras. Received: {destination}")
    if destination.exists() and not overwrite:
        raise WeightsError(
            f"{destination} exists and is left as it is: choose another name, or --overwrite it."
        )
    found = open_file(source)
    checkpoint = found.checkpoint
    if checkpoint is None:
        raise WeightsError(f"{source} is a file of Keras, not a PyTorch checkpoint.")
    assert found.network is not None  # opening a checkpoint of none of ours is an error
    if "classes" not in found.options:
        raise WeightsError(
            f"{source} has no classifier (fc.weight): load it as a backbone, "
            f"get_model('{found.network}', weights=…, include_top=False)."
        )
    conventions = "published" if mean is None and std is None else "given"
    if mean is None and found.conventions is None:
        conventions = "assumed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what is assumed; we say so ourselves
        model = models.get_model(
            found.network,
            weights=dataclasses.replace(found, values=_reported(found.values, progress)),
            labels=labels,
            mean=mean,
            std=std,
            conv1_t_stride=conv1_t_stride,
            max_pool=max_pool,
        )
    # As a run's best.keras: stock parts, and no XLA, with which `predict` crawls on CPU.
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"], jit_compile=False)
    about = metadata.read(model)
    assert about is not None  # the builder has just attached it
    shape = (1, found.options["in_channels"], *PROBE_SHAPE[2:])
    clip = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    clip = clip.transpose(0, 2, 3, 4, 1) * np.array(about.std, np.float32)
    clip += np.array(about.mean, np.float32)
    head = model.get_layer(HEAD)
    both = keras.Model(model.input, [head.input, model.output])
    features, scores = (keras.ops.convert_to_numpy(y) for y in both(clip))
    logits = features @ keras.ops.convert_to_numpy(head.kernel)
    logits += keras.ops.convert_to_numpy(head.bias)
    with files.atomic(destination) as temporary:
        model.save(temporary)
        again = keras.models.load_model(temporary)
        scores_again = keras.ops.convert_to_numpy(again(clip))
        difference = float(abs(scores_again - scores).max())
        if not difference < 1e-6 or metadata.read(again) != about:
            raise WeightsError(
                f"{destination} was not kept: loaded again, its outputs differ by {difference}."
            )
    counters = sum(name.endswith("num_batches_tracked") for name in checkpoint.tensors)
    return Conversion(
        checkpoint,
        found.network,
        {**found.options, **shapeless_options(model)},
        model.count_params(),
        len(found.values),
        counters,
        about,
        conventions,
        shape,
        logits[0],
        difference,
    )


def _reported(values, progress: Callable[[int, int], None] | None) -> dict[str, Value]:
    """Makes each read tell how far it all is."""
    total = 4 * sum(int(np.prod(value.shape)) for value in values.values())
    so_far = 0

    def reporting(value: Value) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            nonlocal so_far
            array = value.read()
            so_far += 4 * array.size
            if progress is not None:
                progress(so_far, total)
            return array

        return read

    return {k: dataclasses.replace(value, read=reporting(value)) for k, value in values.items()}
