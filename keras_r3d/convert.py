"""Converts a PyTorch checkpoint: `python -m keras_r3d.convert SOURCE.pth DEST.keras`.

`python -m keras_r3d.convert SOURCE.keras DEST.npz` writes a model's weights into a compact file.
"""

import math
import sys
from pathlib import Path

from absl import flags

from keras_r3d.system import command
from keras_r3d.system.errors import R3DError

PROGRESS_FROM_BYTES = 50_000_000


def _define_flags() -> None:
    flags.DEFINE_string(
        "labels", None, "Class names in the order of the outputs: a file, or kinetics400."
    )
    flags.DEFINE_list("mean", None, "What normalising subtracts: RGB, 0-255, with commas.")
    flags.DEFINE_list("std", None, "What it then divides by: RGB, 0-255, with commas.")
    flags.DEFINE_integer("conv1_t_stride", None, "Stride in time of the first convolution.")
    flags.DEFINE_bool("max_pool", None, "Max-pooling behind it.")
    flags.DEFINE_bool("overwrite", False, "Replace DEST if it exists.")


def _main(source: str, destination: str) -> None:
    from keras_r3d.applications.weights import conversion

    if destination.endswith(".npz"):
        _compact(source, Path(destination))
        return
    bar = command.Progress("MB", unit=1e6)

    def progress(so_far: int, total: int) -> None:
        if total >= PROGRESS_FROM_BYTES and sys.stdout.isatty():
            bar(so_far, total)

    try:
        done = conversion.convert(
            source,
            destination,
            labels=command.value("labels"),
            mean=_numbers("mean"),
            std=_numbers("std"),
            conv1_t_stride=command.value("conv1_t_stride"),
            max_pool=command.value("max_pool"),
            overwrite=command.value("overwrite"),
            progress=progress,
        )
    except ValueError as error:
        raise R3DError(str(error)) from error
    print(summary(done, destination))


def _compact(source: str, destination: Path) -> None:
    """Writes the weights of a `.keras` file of ours into a compact file."""
    from keras_r3d.applications.weights import compact
    from keras_r3d.inference.models import runtimes

    if Path(source).suffix != ".keras":
        raise R3DError(f"A compact file is made of a .keras file. Received: {source}")
    if destination.exists() and not command.value("overwrite"):
        raise R3DError(f"{destination} already exists; pass --overwrite, or choose another name.")
    if not Path(source).is_file():
        raise R3DError(f"There is no file {source}.")
    model = runtimes.load_network(Path(source))
    try:
        compact.write(model, destination)
    except ValueError as error:
        raise R3DError(f"{source}: {error}") from error
    sizes = (Path(path).stat().st_size / 1e6 for path in (source, destination))
    print("Written: {1}, {3:.1f} MB ({0}: {2:.1f} MB)".format(source, destination, *sizes))


def _numbers(name: str) -> list[float] | None:
    words = command.value(name)
    try:
        return None if words is None else [float(word) for word in words]
    except ValueError as error:
        raise R3DError(f"--{name} must be numbers with commas. Received: {words}") from error


def summary(done, destination: str) -> str:
    """Says what was found and what became of it."""
    checkpoint, about = done.checkpoint, done.metadata
    prefix = f", names begin with {checkpoint.prefix}" if checkpoint.prefix else ""
    wrapper = f" under '{checkpoint.wrapper}'" if checkpoint.wrapper else ""
    options = dict(done.options)
    classes = options.pop("classes")
    labels = f"{', '.join(about.labels[:3])}, …" if about.labels else "not known (give --labels)"
    source = done.conventions
    if source == "assumed":
        source = "ASSUMED, the file does not say; if wrong, give --mean and --std"
    shape = ", ".join(str(size) for size in done.probe_shape)
    count = math.prod(done.probe_shape)
    rows = {
        "Checkpoint": f"{checkpoint.path}, {checkpoint.container} container{wrapper}{prefix}",
        "Network": f"{done.network}, {done.parameters:,} parameters",
        "Options": ", ".join(f"{key} {value}" for key, value in options.items()),
        "Tensors": f"{done.used} used, 0 left over, {done.counters} step counters",
        "Classes": f"{classes}; names: {labels}",
        "Normalisation": f"mean {_short(about.mean)}, std {_short(about.std)} of 0-255 ({source})",
        "Logits": f"{' '.join(f'{value:.5f}' for value in done.logits[:5])} … of the clip below",
        "In PyTorch": f"model.eval()(torch.linspace(-1, 1, {count}).reshape({shape}))[0, :5]",
        "Written": f"{destination}; loaded again, its scores differ by {done.difference:.1e}",
    }
    return "\n".join(f"{name:14}{text}" for name, text in rows.items())


def _short(values) -> str:
    return "[" + ", ".join(f"{value:.4f}" for value in values) + "]"


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("SOURCE", "DEST"))
